"""The machines behind a front door: who is registered, how each is judged, and whose turn it is.

Registration is kept in targets.json; health is only ever observed. No I/O but that file, no clock.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from supervisor.core.machine import TargetHealth
from supervisor.files import read_json, write_durably

FAILS_TO_LEAVE = 2
PASSES_TO_RETURN = 2  # a new target needs one


@dataclass(frozen=True, slots=True)
class Target:
    """One registered machine. `passes` and `fails` count the last equal answers of the health check."""

    id: str
    address: str
    port: int
    health: TargetHealth = TargetHealth.INITIAL
    passes: int = 0
    fails: int = 0

    @property
    def url(self) -> str:
        """Where it is asked, without a path."""
        return f"http://{self.address}:{self.port}"

    def answered(self, *, well: bool) -> Target:
        """Judge one more answer of the health check."""
        passes, fails = (self.passes + 1, 0) if well else (0, self.fails + 1)
        health = self.health
        if passes >= (1 if health is TargetHealth.INITIAL else PASSES_TO_RETURN):
            health = TargetHealth.HEALTHY
        elif fails >= FAILS_TO_LEAVE:
            health = TargetHealth.UNHEALTHY
        return replace(self, health=health, passes=passes, fails=fails)


class Targets:
    """All targets of one front door. Used from one event loop, except for `save`."""

    def __init__(self, path: Path) -> None:
        """Load what was registered before. Raises `OSError`, or `ValueError` when the file is damaged."""
        self.path = path
        self._turn = 0
        found = read_json(path) or {}
        self._targets = {
            id: Target(id, str(entry["address"]), int(entry["port"])) for id, entry in sorted(found.items())
        }

    def all(self) -> Mapping[str, Target]:
        """Return every registered target by id."""
        return self._targets

    def register(self, id: str, address: str, port: int) -> bool:
        """Add a target; False if it stands there already, whose health is then left as it is."""
        known = self._targets.get(id)
        if known is not None and (known.address, known.port) == (address, port):
            return False
        self._targets = {**self._targets, id: Target(id, address, port)}
        return True

    def deregister(self, id: str) -> bool:
        """Take a target out; False if it wasn't there."""
        known = id in self._targets
        self._targets = {other: target for other, target in self._targets.items() if other != id}
        return known

    def judge(self, id: str, *, well: bool) -> None:
        """Take in one answer of the health check; of none who has left."""
        if (target := self._targets.get(id)) is not None:
            self._targets = {**self._targets, id: target.answered(well=well)}

    def in_turn(self) -> list[Target]:
        """Return whom to ask, the next in turn first: the healthy ones, or all of them when none is.

        Failing open: when everything looks unhealthy, the check is more likely wrong than every machine.
        """
        everyone = list(self._targets.values())
        able = [target for target in everyone if target.health is TargetHealth.HEALTHY] or everyone
        if not able:
            return []
        self._turn += 1
        first = self._turn % len(able)
        return able[first:] + able[:first]

    def stored(self) -> str:
        """Return what is kept of the targets."""
        entries: dict[str, Any] = {  # Any: JSON
            target.id: {"address": target.address, "port": target.port} for target in self._targets.values()
        }
        return json.dumps(entries, indent=1)

    def save(self, text: str) -> None:
        """Keep what `stored` returned, durably. Blocking. Raises `OSError`."""
        write_durably(self.path, text)
