"""What is done to a machine that exists: isolate, restore, restart, stop, terminate, capture, and its registration.

Blocking; each runs in a thread under the instance's lock, so no two of them meet. Each writes down what is wanted
before it does it: a replay after a crash finds the note and carries on. `Refused` means nothing was done; an `OSError`
on the way means that nobody can say, and is turned into `Unclear` by the caller.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import assert_never

from supervisor.core.machine import MachineState
from supervisor.core.requests import (
    Capture,
    Deregister,
    Done,
    Isolate,
    Launch,
    Mark,
    Outcome,
    Refused,
    Register,
    Request,
    Restart,
    Restore,
    Stop,
    Sweep,
    Terminate,
    Unclear,
)
from supervisor.errors import ProviderError
from supervisor.files import is_locked, locked
from supervisor.providers.local import launching, process
from supervisor.providers.local.capture import capture
from supervisor.providers.local.front_door_client import FrontDoor
from supervisor.providers.local.layout import Layout
from supervisor.providers.local.machine import Record, instance_id, load, save, state_of, utc_now
from supervisor.providers.local.options import LocalOptions

LOCK_PATIENCE = 30.0  # seconds that an act waits for another on the same machine
GRACE = 2.0  # seconds between asking a process to end and ending it
PATIENCE = 8.0  # seconds until processes that can't be frozen or ended make an act unclear


@dataclass(frozen=True, slots=True)
class Acts:
    """All acts on one fleet's machines. `front_door` is None for a fleet without a load balancer."""

    layout: Layout
    options: LocalOptions
    supervisor: str
    front_door: FrontDoor | None

    def perform(self, request: Request) -> Outcome:
        """Carry out one request. Never raises for a no."""
        if request.fleet != self.layout.fleet:
            return Refused(f"this is fleet {self.layout.fleet}, not {request.fleet}")
        if isinstance(request, Sweep):
            return Done(instance=request.instance, detail="a local machine leaves nothing behind")
        id = instance_id(request.fleet, request.token) if isinstance(request, Launch) else request.instance
        if not id.startswith("i-") or not id.removeprefix("i-").isalnum():
            return Refused(f"{id!r} is not the id of a local instance")
        try:
            with locked(self.layout.lock(id), LOCK_PATIENCE):
                if isinstance(request, Launch):
                    return launching.launch(self.layout, self.options, self.supervisor, id, request)
                return self._act(request)
        except (OSError, ValueError, ProviderError) as error:
            return Unclear(f"{request.verb} of {id} was cut short: {error}")

    def _act(
        self, request: Register | Deregister | Capture | Isolate | Restore | Restart | Stop | Mark | Terminate
    ) -> Outcome:
        folder = self.layout.instance(request.instance)
        record = load(folder)
        if record is not None and record.fleet != self.layout.fleet:
            return Refused(f"{request.instance} belongs to fleet {record.fleet}, not to {self.layout.fleet}")
        if isinstance(request, Deregister):
            return self._deregister(folder, record, request)
        if record is None or record.terminated_at is not None:
            if isinstance(request, Terminate):
                return Done(instance=request.instance, detail="it is gone already")
            return Refused(f"there is no machine {request.instance}" + (" any more" if record is not None else ""))
        if record.terminating and not isinstance(request, Terminate):
            return Refused(f"{request.instance} is being terminated")
        match request:
            case Register():
                return self._register(folder, record)
            case Capture():
                return Done(instance=record.id, detail=str(capture(folder, record, request.token)))
            case Isolate():
                return self._isolate(folder, record, request)
            case Restore():
                return self._restore(folder, record, request)
            case Restart():
                return self._restart(folder, record, request)
            case Stop():
                return self._stop(folder, record)
            case Mark():
                return Done(instance=record.id)  # nobody but us may end a local machine: no mark is asked for
            case Terminate():
                return self._terminate(folder, record)
            case _:
                assert_never(request)

    # ------------------------------------------------------------------------------------------ load balancer

    def _is_registered(self, record: Record) -> bool:
        """Raises `ProviderError` when the front door does not answer: nobody can say."""
        if self.front_door is None:
            return record.registered
        return record.id in self.front_door.targets()

    def _register(self, folder: Path, record: Record) -> Outcome:
        if record.isolated:
            return Refused(f"{record.id} is isolated: restore it first")
        state, reason = state_of(folder, record)
        if state is not MachineState.RUNNING:
            return Refused(f"{record.id} does not run: {reason or state}")
        if self.front_door is None:
            save(folder, replace(record, registered=True))
        else:
            self.front_door.register(record.id, record.address, record.port)
        return Done(instance=record.id)

    def _deregister(self, folder: Path, record: Record | None, request: Deregister) -> Outcome:
        # Unknown machines too: what is gone must not stay in the load balancer.
        if self.front_door is not None:
            self.front_door.deregister(request.instance)
        elif record is not None and record.registered:
            save(folder, replace(record, registered=False))
        return Done(instance=request.instance)

    # ------------------------------------------------------------------------------------------ quarantine

    def _isolate(self, folder: Path, record: Record, request: Isolate) -> Outcome:
        # 1. From here on no launcher starts it any more.
        save(folder, replace(record, isolated=True, isolation_tags=request.tags, registered=False))
        # 2. Freeze first: a machine that may be hostile is stopped even while the front door does not answer.
        if not process.freeze(folder, PATIENCE):
            return Unclear(f"{record.id} still has running processes after SIGSTOP")
        # 3. Out of the load balancer, if it is still there.
        if self.front_door is not None:
            self.front_door.deregister(record.id)
        return Done(instance=record.id, detail="frozen, its memory and disk are kept")

    def _restore(self, folder: Path, record: Record, request: Restore) -> Outcome:
        if record.generation_of(request.token) is None:
            state, _ = state_of(folder, record)
            anew = state is MachineState.STOPPED
            record = record.asked(request.token, record.generation + 1 if anew else record.generation)
            record = replace(record, isolated=False, stopped=False, isolation_tags=())
            save(folder, record)
        return self._run(folder, record)

    def _run(self, folder: Path, record: Record) -> Outcome:
        """Let a machine run as its record wants: thaw what is frozen, make the newest start if it was not made."""
        if record.isolated or record.stopped:
            return Done(instance=record.id, detail="done before, and set aside since")
        found = process.read_process(folder / "process.json")
        if found is not None and found.generation >= record.generation:
            process.thaw(folder)
            return Done(instance=record.id)
        if found is not None and not process.end(folder, GRACE, PATIENCE):
            return Unclear(f"{record.id} still has processes of its former start")
        return launching.carry_on(self.layout, folder, record)

    def _restart(self, folder: Path, record: Record, request: Restart) -> Outcome:
        if record.generation_of(request.token) is None:
            if record.isolated or record.stopped:
                return Refused(f"{record.id} is {'isolated' if record.isolated else 'stopped'}: restore it first")
            record = record.asked(request.token, record.generation + 1)
            save(folder, record)
        return self._run(folder, record)

    def _stop(self, folder: Path, record: Record) -> Outcome:
        if self._is_registered(record):
            return Refused(f"{record.id} is still registered at the load balancer: deregister it first")
        save(folder, replace(record, stopped=True))
        return self._end(folder, record) or Done(instance=record.id, detail="stopped, its disk is kept")

    def _terminate(self, folder: Path, record: Record) -> Outcome:
        if self._is_registered(record):
            return Refused(f"{record.id} is still registered at the load balancer: deregister it first")
        save(folder, replace(record, terminating=True))
        if trouble := self._end(folder, record):
            return trouble
        for part in ("root", ".root.part"):
            shutil.rmtree(folder / part, ignore_errors=True)
        if (folder / "root").exists():
            return Unclear(f"{folder / 'root'} can't be removed")
        save(folder, replace(record, terminating=True, terminated_at=utc_now()))
        return Done(instance=record.id)

    def _end(self, folder: Path, record: Record) -> Outcome | None:
        """End all processes of a machine; None once it is certain."""
        # What is isolated must not run again, not even to say goodbye.
        ended = process.end(folder, 0.0 if record.isolated else GRACE, PATIENCE)
        # A launcher that was born while we looked still holds the lock, or finds our note and goes home.
        deadline = time.monotonic() + PATIENCE
        while ended and is_locked(folder / "lock"):
            if time.monotonic() > deadline:
                ended = False
            ended = ended and process.end(folder, 0.0, PATIENCE)
            time.sleep(0.02)
        return None if ended else Unclear(f"{record.id} still has processes after SIGKILL")
