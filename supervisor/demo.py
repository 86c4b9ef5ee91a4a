"""`sickbay demo`: the main job with nothing else installed.

A golden image that ships with the program, six real web servers in two zones behind a small front door, a visitor who
keeps asking, and one fault made from outside. The supervisor is the production one, at a faster pace.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console

from supervisor.core import views
from supervisor.core.documents import StoryDoc
from supervisor.core.model import Incident, IncidentState, Instance, Quarantine
from supervisor.core.terms import SERVING, FleetState
from supervisor.daemon import Daemon, read_config
from supervisor.errors import SickbayError
from supervisor.providers.local import LocalCloud, faults
from supervisor.surfaces.terminal import framed

FLEET = "web"
PAGE = 8750
START_LIMIT = 60.0
HEAL_LIMIT = 60.0

CONFIG = """
[supervisor]
mode = "auto"
state = "sqlite:///{state}/state.db"
listen = "127.0.0.1:{page}"
inventory = "500ms"

[fleet.web]
provider = "local"
environment = "demo"
desired = 6
version = "1.0.0"
remediation = ["replace"]

[fleet.web.local]
image = "builtin:web"
zones = ["a", "b"]
port = 8080
front_door = "127.0.0.1:{port}"
health_interval = "500ms"
health_timeout = "400ms"

[[fleet.web.check]]
name = "alive"
kind = "http"
port = 8080
path = "/healthz"
interval = "500ms"
timeout = "400ms"

[judgement]
speed = 20
{terminal}
"""


class Fault(StrEnum):
    """What breaks."""

    CRASH = "crash"
    HANG = "hang"
    ERRORS = "errors"


BREAK: dict[Fault, Callable[[Path, str, str], None]] = {
    Fault.CRASH: faults.crash,
    Fault.HANG: faults.hang,
    Fault.ERRORS: faults.errors,
}
WORDS = {
    Fault.CRASH: "its processes are killed",
    Fault.HANG: "it keeps its port open and answers nobody",
    Fault.ERRORS: "it answers everything with HTTP 500",
}


@dataclass(slots=True)
class Visitor:
    """Somebody who keeps asking the front door, and counts."""

    url: str
    answered: int = 0
    failed: int = 0
    kinds: dict[str, int] = field(default_factory=dict)

    async def run(self) -> None:
        """Ask ten times a second, for ever."""
        timeout = aiohttp.ClientTimeout(total=3)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                await self._ask(session)
                await asyncio.sleep(0.1)

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        try:
            async with session.get(self.url) as answer:
                kind = "" if answer.status < 500 else f"HTTP {answer.status}"
        except (aiohttp.ClientError, TimeoutError) as error:
            kind = type(error).__name__
        if kind:
            self.failed += 1
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
        else:
            self.answered += 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a demo ended."""

    healed: bool
    reason: str
    incident: StoryDoc | None


class Demo:
    """One run in a folder of its own, removed at the end."""

    def __init__(self, *, as_json: bool, folder: Path) -> None:
        """Write the configuration."""
        self._json = as_json
        self._folder = folder
        self._port, self._page = _free_port(), _free_port(PAGE)
        path = folder / "config.toml"
        terminal = "" if as_json else "[chat.terminal]"
        path.write_text(
            CONFIG.format(state=folder, port=self._port, page=self._page, terminal=terminal), encoding="utf-8"
        )
        self.daemon = Daemon(*read_config(path))
        self.visitor = Visitor(f"http://127.0.0.1:{self._port}/")

    @property
    def page(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self._page}/"

    def say(self, text: str = "") -> None:
        """Print a line for people."""
        if not self._json:
            print(text, flush=True)  # this is a program for a terminal

    async def once(self, fault: Fault, *, stay: bool) -> Outcome:
        """Start, break one machine, wait until the fleet is healed; then stay until interrupted, if asked to."""
        async with self._running():
            outcome = await self._healed(await self._break(fault))
            if stay:
                self.say(f"\nThe fleet stays up. Look at {self.page}")
                self.say(f"In another terminal: {_program()} status --config {self._folder / 'config.toml'}")
                self.say("Ctrl-C ends the demo.")
                await _interrupted()
            return outcome

    async def forever(self, fault: Fault, every: float) -> None:
        """Break one machine after another, until interrupted."""
        async with self._running():
            self.say(f"In another terminal: {_program()} status --config {self._folder / 'config.toml'}")
            while True:
                victim = await self._break(fault)
                await self._healed(victim)
                self.say(f"the next machine breaks in {every:.0f}s; Ctrl-C ends the demo")
                await asyncio.sleep(every)

    @contextlib.asynccontextmanager
    async def _running(self) -> Any:  # Any: an async context manager
        self.say("Sickbay demo: six real web servers in two zones, one golden image, one front door.")
        self.say(f"Everything runs under {self._folder}, and is removed at the end.")
        self.say(f"The page: {self.page}\n")
        daemon = asyncio.create_task(self.daemon.run(), name="daemon")
        visiting = asyncio.create_task(self.visitor.run(), name="visitor")
        try:
            _end_on(signal.SIGTERM)
            await self._wait(self._optimal, START_LIMIT, daemon, "the fleet did not come up")
            _end_on(signal.SIGHUP)  # a closed window; to the daemon within it would be a reload
            self.visitor.answered = self.visitor.failed = 0
            self.visitor.kinds.clear()
            yield
        finally:
            for task in (visiting, daemon):
                task.cancel()
            await asyncio.gather(visiting, daemon, return_exceptions=True)
            for cloud in self.daemon.clouds.values():
                if isinstance(cloud, LocalCloud):
                    await LocalCloud.open(FLEET, cloud.options, cloud.version, self._folder, "").destroy()

    # -- the story

    async def _break(self, fault: Fault) -> str:
        context = self.daemon.service.engine.ctx
        members = [context.world.need(Instance, i) for i in sorted(context.world.members[FLEET])]
        victim = next(i for i in members if i.lifecycle in SERVING)
        self.say(f"\n>>> breaking {victim.id} (zone {victim.zone}): {WORDS[fault]}\n")
        await asyncio.to_thread(BREAK[fault], self._folder, FLEET, victim.id)
        return victim.id

    async def _healed(self, victim: str) -> Outcome:
        task = next(t for t in asyncio.all_tasks() if t.get_name() == "daemon")
        try:
            await self._wait(
                lambda: self._closed(victim) and self._optimal(), HEAL_LIMIT, task, "it was not healed in time"
            )
        except TimeoutError as error:
            return Outcome(False, str(error), self._incident(victim))
        outcome = self._verdict(victim)
        await asyncio.sleep(0.3)  # the outbox speaks last
        self._report(outcome)
        return outcome

    async def _wait(self, done: Callable[[], bool], limit: float, daemon: asyncio.Task[None], why: str) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit
        while not (self.daemon.ready.is_set() and done()):
            if daemon.done():
                daemon.result()
                raise SickbayError("the daemon ended")
            if loop.time() > deadline:
                raise TimeoutError(f"{why} ({limit:.0f}s)")
            await asyncio.sleep(0.1)

    def _optimal(self) -> bool:
        fleet = self.daemon.service.engine.ctx.fleets[FLEET]
        return fleet.state is FleetState.OPTIMAL

    def _closed(self, victim: str) -> bool:
        world = self.daemon.service.engine.ctx.world
        return any(i.instance == victim and i.state is IncidentState.CLOSED for i in world.all(Incident))

    def _incident(self, victim: str) -> StoryDoc | None:
        context = self.daemon.service.engine.ctx
        found = [i for i in context.world.all(Incident) if i.instance == victim]
        return views.story_view(context, found[-1]) if found else None

    def _verdict(self, victim: str) -> Outcome:
        """The right machine was set aside, and no other one."""
        world = self.daemon.service.engine.ctx.world
        kept = sorted(q.instance for q in world.all(Quarantine) if q.ended_at is None)
        incident = self._incident(victim)
        if incident is None or kept != [victim]:
            return Outcome(False, f"set aside: {', '.join(kept) or 'nobody'}; expected {victim} alone", incident)
        return Outcome(True, f"{victim} was replaced by {incident['replacement']}; nobody else was touched", incident)

    def _report(self, outcome: Outcome) -> None:
        """Print the incident as it looks in chat."""
        if self._json or outcome.incident is None:
            return
        asked = self.visitor.answered + self.visitor.failed
        failures = ", ".join(f"{n}x {kind}" for kind, n in sorted(self.visitor.kinds.items())) or "none failed"
        results = [q["results"] for q in views.quarantines_view(self.daemon.service.engine.ctx)]
        more = [("Its last results", line) for line in (results[-1][-2:] if results else [])]
        more.append(("Visitors", f"{self.visitor.answered} of {asked} requests answered ({failures})"))
        more.append(("Verdict", outcome.reason))
        self.say()
        Console(highlight=False).print(framed(outcome.incident, more))


def _end_on(number: signal.Signals) -> None:
    """Let a signal end the demo as Ctrl-C does: whatever ends it, its machines end with it."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


async def _interrupted() -> None:
    """Wait for Ctrl-C, and then end as if nothing had happened."""
    done = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, done.set)
    await done.wait()


def _program() -> str:
    """Return what to type for `sickbay`: the whole path where it is not on the PATH, as after `make demo`."""
    return "sickbay" if shutil.which("sickbay") else shlex.quote(str(Path(sys.argv[0]).absolute()))


def _free_port(wanted: int = 0) -> int:
    """Return a free port of loopback: the wanted one if it is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return _free_port()
        return int(probe.getsockname()[1])


def demo(fault: Fault, *, once: bool, stay: bool, every: float, as_json: bool) -> int:
    """Run the demo; return the exit code: 0 when it was healed rightly, else 1."""
    folder = Path(tempfile.mkdtemp(prefix="sickbay-demo-"))
    try:
        run = Demo(as_json=as_json, folder=folder)
        if not once:
            with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
                asyncio.run(run.forever(fault, every))
            return 0
        try:
            outcome = asyncio.run(run.once(fault, stay=stay))
        except TimeoutError as error:
            outcome = Outcome(False, str(error), None)
        except asyncio.CancelledError:
            outcome = Outcome(False, "the demo was ended", None)
        if as_json:
            document = {"healed": outcome.healed, "reason": outcome.reason, "incident": outcome.incident}
            sys.stdout.write(json.dumps(document, indent=2) + "\n")
        elif not outcome.healed:
            sys.stderr.write(f"not healed: {outcome.reason}\n")
        return 0 if outcome.healed else 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
