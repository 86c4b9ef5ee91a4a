"""Snapshots take their time: `pending` at first, `completed` much later. AWS has no token for them: twice asked, twice made."""

from __future__ import annotations

from tests.standins.aws.call import Call, Json
from tests.standins.aws.clock import Clock, Timing
from tests.standins.aws.emulator import Emulator


class Snapshots:
    """The snapshots that are not yet complete."""

    def __init__(self, emulator: Emulator, clock: Clock, timing: Timing) -> None:
        """Begin with none."""
        self._emulator = emulator
        self._clock = clock
        self._timing = timing
        self._due: dict[str, float] = {}

    def create(self, call: Call) -> Json:
        """CreateSnapshot and CreateSnapshots."""
        answer = self._emulator.call(call.service, call.action, call.params)
        for shown in answer.get("Snapshots", [answer]):
            self._emulator.ec2().snapshots[shown["SnapshotId"]].status = "pending"
            self._due[shown["SnapshotId"]] = self._clock.now + self._timing.snapshot
            shown["State"] = "pending"
        return answer

    def tick(self) -> None:
        """Complete what is due."""
        for name, at in list(self._due.items()):
            if self._clock.now >= at:
                del self._due[name]
                if name in self._emulator.ec2().snapshots:
                    self._emulator.ec2().snapshots[name].status = "completed"
