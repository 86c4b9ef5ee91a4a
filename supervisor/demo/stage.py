"""The stage of the demo: the production supervisor at a faster pace, a fleet of real web servers, a visitor.

A golden image that ships with the program, a small front door, and one fault made from outside (`plots`).
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
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from supervisor.core import views
from supervisor.core.documents import StoryDoc
from supervisor.core.model import Incident
from supervisor.core.terms import FleetState, Seconds
from supervisor.daemon import Daemon, read_config
from supervisor.demo.plots import FLEET, Ending, Fault, Plot, plot
from supervisor.demo.visitor import Visitor
from supervisor.errors import SickbayError
from supervisor.providers.local import LocalCloud
from supervisor.surfaces.terminal import framed

PAGE = 8750
START_LIMIT = 60.0
SAID: Seconds = 0.3  # within which the outbox has told what happened: what comes after it is printed below it

CONFIG = """
[supervisor]
mode = "auto"
state = "sqlite:///{state}/state.db"
listen = "127.0.0.1:{page}"
inventory = "500ms"

[fleet.web]
provider = "local"
environment = "demo"
desired = {desired}
version = "1.0.0"
remediation = ["replace"]

[fleet.web.local]
image = "builtin:web"
zones = {zones}
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


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a demo ended."""

    healed: bool
    reason: str
    incident: StoryDoc | None


class Demo:
    """One run in a folder of its own, removed at the end."""

    def __init__(self, fault: Fault, *, as_json: bool, folder: Path) -> None:
        """Write the configuration."""
        self._fault = fault
        self._shape = plot(fault).shape
        self._json = as_json
        self._folder = folder
        self._port, self._page = _free_port(), _free_port(PAGE)
        path = folder / "config.toml"
        path.write_text(
            CONFIG.format(
                state=folder,
                port=self._port,
                page=self._page,
                desired=self._shape.desired,
                zones=json.dumps(self._shape.zones),
                terminal="" if as_json else "[chat.terminal]",
            ),
            encoding="utf-8",
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

    async def once(self, *, stay: bool) -> Outcome:
        """Start, break something, wait until all is well; then stay until interrupted, if asked to."""
        async with self._running():
            outcome = await self._play(plot(self._fault))
            if stay:
                self.say(f"\nThe fleet stays up. Look at {self.page}")
                self.say(f"In another terminal: {_program()} status --config {self._folder / 'config.toml'}")
                self.say("Ctrl-C ends the demo.")
                await _interrupted()
            return outcome

    async def forever(self, every: float) -> None:
        """Break one thing after another, until interrupted."""
        async with self._running():
            self.say(f"In another terminal: {_program()} status --config {self._folder / 'config.toml'}")
            while True:
                await self._play(plot(self._fault))
                self.say(f"the next fault comes in {every:.0f}s; Ctrl-C ends the demo")
                await asyncio.sleep(every)

    @contextlib.asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        self.say(f"Sickbay demo: {self._shape.words}, one golden image, one front door.")
        self.say(f"Everything runs under {self._folder}, and is removed at the end.")
        self.say(f"The page: {self.page}\n")
        daemon = asyncio.create_task(self.daemon.run(), name="daemon")
        visiting = asyncio.create_task(self.visitor.run(), name="visitor")
        try:
            _end_on(signal.SIGTERM)
            await self._wait(self._optimal, START_LIMIT, daemon, "the fleet did not come up")
            _end_on(signal.SIGHUP)  # a closed window; to the daemon within it would be a reload
            self.visitor.forget()
            yield
        finally:
            for task in (visiting, daemon):
                task.cancel()
            await asyncio.gather(visiting, daemon, return_exceptions=True)
            for cloud in self.daemon.clouds.values():
                if isinstance(cloud, LocalCloud):
                    await LocalCloud.open(FLEET, cloud.options, cloud.version, self._folder, "").destroy()

    # -- the story

    async def _play(self, story: Plot) -> Outcome:
        daemon = next(t for t in asyncio.all_tasks() if t.get_name() == "daemon")
        await asyncio.sleep(SAID)
        broken = await story.begin(self.daemon, self._folder)
        self.say(f"\n>>> breaking {broken}\n")
        lifting = asyncio.create_task(self._lift(story), name="lift")
        try:
            await self._wait(
                lambda: lifting.done() and story.is_over() and self._optimal(),
                story.limit,
                daemon,
                "it was not healed in time",
            )
        except TimeoutError as error:
            return self._outcome(Ending(False, str(error), story.ending().incident))
        finally:
            lifting.cancel()
        outcome = self._outcome(story.ending())
        await asyncio.sleep(SAID)
        self._report(outcome)
        return outcome

    async def _lift(self, story: Plot) -> None:
        done = await story.lift()
        if done:
            self.say(f"\n>>> {done}\n")

    async def _wait(self, done: Callable[[], bool], limit: Seconds, daemon: asyncio.Task[None], why: str) -> None:
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

    def _outcome(self, ending: Ending) -> Outcome:
        context = self.daemon.service.engine.ctx
        incident = context.world.get(Incident, ending.incident)
        story = None if incident is None else views.story_view(context, incident)
        return Outcome(ending.right, ending.reason, story)

    def _report(self, outcome: Outcome) -> None:
        """Print the incident as it looks in chat."""
        if self._json:
            return
        visitor, context = self.visitor, self.daemon.service.engine.ctx
        results = [q["results"] for q in views.quarantines_view(context)]
        more = [("Its last results", line) for line in (results[-1][-2:] if results else [])]
        more.append(("Visitors", f"{visitor.answered} of {visitor.asked} requests answered ({visitor.failures})"))
        more.append(("Outcome", outcome.reason))
        self.say()
        if outcome.incident is not None:
            Console(highlight=False).print(framed(outcome.incident, more))
        else:
            for label, value in more:
                self.say(f"{label}: {value}")


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
        run = Demo(fault, as_json=as_json, folder=folder)
        if not once:
            with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
                asyncio.run(run.forever(every))
            return 0
        try:
            outcome = asyncio.run(run.once(stay=stay))
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
