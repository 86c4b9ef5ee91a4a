"""The `Cloud` port of a local fleet: what stands on disk and in the kernel, shown as machines.

File work and waiting happen in a few threads of its own, so the event loop is never kept.
"""

from __future__ import annotations

import asyncio
import functools
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from supervisor.core.machine import Leftover, Machine, MachineState, Offer, Placement, TargetHealth
from supervisor.core.requests import Outcome, Request, Unclear
from supervisor.errors import ProviderError
from supervisor.files import locked, tail, trim_log
from supervisor.providers.local import process
from supervisor.providers.local.acts import LOCK_PATIENCE, PATIENCE, Acts
from supervisor.providers.local.front_door_client import FrontDoor
from supervisor.providers.local.image import ImageStore, image_id
from supervisor.providers.local.layout import Layout
from supervisor.providers.local.machine import forget_old, is_shown, load, load_all, seen, utc_now
from supervisor.providers.local.options import LocalOptions

THREADS = 8
MOST_LOG = 16 << 20  # bytes of one machine's log
MOST_LINES = 10_000

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Balancer:
    """What the load balancer says: the health of each registered machine, or nothing at all."""

    targets: Mapping[str, TargetHealth]
    answered: bool


class LocalCloud:
    """One local fleet. Machines and front door live on when it is closed, or when the supervisor dies."""

    def __init__(self, layout: Layout, options: LocalOptions, version: str, supervisor: str) -> None:
        """Open a fleet. Nothing is made or started yet."""
        self.layout = layout
        self.options = options
        self.version = version
        self._front_door = FrontDoor(layout, options) if options.front_door else None
        self._acts = Acts(layout, options, supervisor, self._front_door)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=f"local-{layout.fleet}")

    @classmethod
    def open(cls, fleet: str, options: LocalOptions, version: str, state: Path, uid: str) -> LocalCloud:
        """See that a fleet's front door can listen, then make its folders and keep its image. Raises `ProviderError`."""
        layout = Layout.of(state, fleet)
        cloud = cls(layout, options, version, uid)
        if cloud._front_door is not None and (why := cloud._front_door.why_not()):
            raise ProviderError(why)
        layout.make()
        ImageStore(layout.images).keep(options.image)
        return cloud

    async def offer(self) -> Offer:
        """Return the image by its content, and the configured labels. Raises `ProviderError`."""
        return await self._in_thread(offered, self.options, self.version)

    async def leftovers(self) -> Sequence[Leftover]:
        """Return nothing: a local machine's folder goes with it."""
        return ()

    async def inventory(self) -> Sequence[Machine]:
        """Return every machine of the fleet, terminated ones for another hour. Raises `ProviderError`."""
        return await self._in_thread(self._inventory)

    async def perform(self, request: Request) -> Outcome:
        """Carry out one request. Running it twice has the effect of once; it never raises for a no."""
        try:
            return await self._in_thread(self._acts.perform, request)
        except RuntimeError as error:  # closed: nothing was begun, and the journal will replay it
            return Unclear(f"{request.verb}: {error}")

    async def logs(self, instance: str, lines: int) -> Sequence[str]:
        """Return the last lines of an instance's output; empty where there is none."""
        return await self._in_thread(self._logs, instance, min(lines, MOST_LINES))

    async def close(self) -> None:
        """Let go of the threads; machines and front door live on."""
        self._threads.shutdown(wait=False)

    async def destroy(self) -> None:
        """End every machine and the front door, and remove the fleet's folder. For demos in a folder of their own.

        Raises `ProviderError` when something can't be ended; the folder then stays.
        """
        await self._in_thread(self._destroy)
        await self.close()

    async def _in_thread(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        call = functools.partial(work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    # ------------------------------------------------------------------------------------------ in threads

    def _inventory(self) -> list[Machine]:
        now = utc_now()
        balancer = self._ask_balancer()
        found = []
        for folder, record in load_all(self.layout):
            if not is_shown(record, now):
                forget_old(self.layout, folder, record, now)
                continue
            trim_log(folder / "log", MOST_LOG)
            if self._front_door is not None:
                target = balancer.targets.get(record.id)
                found.append(seen(folder, record, target, answered=balancer.answered))
                continue
            # Without a load balancer registration is a note, and whoever runs counts as healthy there.
            machine = seen(folder, record, TargetHealth.HEALTHY if record.registered else None, answered=True)
            runs = machine.state is MachineState.RUNNING
            found.append(machine if runs else seen(folder, record, _dead(record.registered), answered=True))
        return found

    def _ask_balancer(self) -> _Balancer:
        if self._front_door is None:
            return _Balancer({}, answered=True)
        try:
            return _Balancer(self._front_door.targets(), answered=True)
        except ProviderError:
            # The machines are known all the same. The port says so by `registered=None`.
            return _Balancer({}, answered=False)

    def _logs(self, instance: str, lines: int) -> Sequence[str]:
        if not instance.removeprefix("i-").isalnum():
            return ()
        folder = self.layout.instance(instance)
        record = load(folder)
        return tail(folder / "log", lines) if record is not None and record.fleet == self.layout.fleet else ()

    def _destroy(self) -> None:
        try:
            if self._front_door is not None:
                self._front_door.stop()
            for folder, record in load_all(self.layout):
                with locked(self.layout.lock(record.id), LOCK_PATIENCE):
                    if not process.end(folder, 0.0, PATIENCE):
                        raise ProviderError(f"{record.id} still has processes after SIGKILL; {folder} is kept")
            shutil.rmtree(self.layout.folder)
            if not any(path.is_dir() and path != self.layout.images for path in self.layout.base.iterdir()):
                shutil.rmtree(self.layout.base)
        except OSError as error:
            raise ProviderError(f"{self.layout.folder} can't be removed: {error}") from error


def offered(options: LocalOptions, version: str) -> Offer:
    """Return what a fleet is launched from. Raises `ProviderError` in one clear sentence."""
    return Offer(image_id(options.image), version, (), tuple(Placement(zone) for zone in options.zones))


def _dead(registered: bool) -> TargetHealth | None:
    return TargetHealth.UNHEALTHY if registered else None
