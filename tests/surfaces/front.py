"""The production HTTP server around a production engine that woke up with a story's journal: no daemon, no cloud."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from ssl import SSLContext

from supervisor import __version__
from supervisor.core.documents import FiguresDoc
from supervisor.core.engine import Engine
from supervisor.core.measured import Measured
from supervisor.core.model import Record
from supervisor.core.settings import Settings
from supervisor.core.signals import OperatorAsked, Reply, Signal, Turn
from supervisor.core.terms import Lifecycle, Mode, Now
from supervisor.ports import AuditLog, Store
from supervisor.runtime.service import Service
from supervisor.sim.run import until
from supervisor.sim.world import Behaviour, World
from supervisor.store import AuditFile
from supervisor.surfaces.access import Rules
from supervisor.surfaces.listen import Taken, take
from supervisor.surfaces.web import Server
from tests import stages

LOOPBACK = Rules()  # no tokens: TCP reads
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\x1b[31m"


def journal(settings: Settings, *, says: str = "HTTP 500, expected 200", mode: Mode = Mode.AUTO) -> list[Record]:
    """Return what the journal holds of a fleet where one machine crashed and was replaced, and another one errs."""
    there = stages.stage(settings)

    async def heals(service: Service, world: World) -> None:
        await stages.calm(service, world)
        world.crash(stages.instances(service)[0].id)
        await until(lambda: any(i.closed_at for i in stages.incidents(service)), 1200)
        await until(lambda: not stages.instances(service, Lifecycle.PROBATION), 3600)

    async def errs(service: Service, world: World) -> None:
        await stages.calm(service, world)
        sick = stages.instances(service, Lifecycle.IN_SERVICE)[-1]
        world.behave(sick.id, Behaviour.ERRORS)
        world.machines[sick.id].says = says
        world.machines[sick.id].log += ["listens on 80", "error: cart is on fire"]
        await until(lambda: any(i.held for i in stages.incidents(service)), 1200)

    there.live(heals)
    there.settings = replace(settings, mode=mode)
    there.live(errs)
    return list(there.records())


class Front:
    """One engine and its server."""

    def __init__(
        self,
        records: Sequence[Record],
        settings: Settings,
        rules: Rules = LOOPBACK,
        audit: AuditLog | None = None,
        store: Store | None = None,
    ) -> None:
        """Wake up."""
        self.boot = 5000.0
        self.wall = datetime.now(UTC)
        self.engine = Engine(records, settings, self.now())
        self.stable = asyncio.Lock()
        self.unready = ""
        self.measured = Measured()
        self.told: list[object] = []  # by Alertmanager's webhook
        self.server = Server(
            self.engine.ctx,
            self.stable,
            self.ask,
            figures,
            no_metrics,
            audit or AuditFile(Path("/nowhere/state.db")),
            rules,
            ready=lambda: self.unready,
            measured=self.measured,
            alerts=self.hear,
        )
        self.store = store
        self.asked: list[OperatorAsked] = []
        self.port = 0
        self.slow: asyncio.Event | None = None  # what the engine's answer waits for
        self.taken: Taken | None = None

    async def close(self) -> None:
        """Stop listening."""
        await self.server.close()
        if self.taken is not None:
            self.taken.close()

    def now(self) -> Now:
        """A later moment each time."""
        self.boot += 0.01
        return Now(self.boot, self.wall + timedelta(seconds=self.boot - 5000))

    def step(self, *signals: Signal) -> Turn:
        """Let the engine take signals, and publish what happened."""
        turn = self.engine.step(list(signals), self.now())
        if self.store is not None:
            self.store.commit(turn.changes, turn.deletes)
        self.engine.settle()
        self.server.events.publish(turn.events)
        return turn

    def hear(self, body: object) -> str:
        """Take what the webhook tells; what is no table can't be understood."""
        if not isinstance(body, dict):
            raise ValueError("body: expected a table")  # what the real one raises
        self.told.append(body)
        return "1 fire"

    async def ask(self, request: OperatorAsked) -> Reply:
        """Answer an operator."""
        self.asked.append(request)
        if self.slow is not None:
            await self.slow.wait()
        return self.step(request).replies[0]


def no_metrics(_: str) -> tuple[bytes, str]:
    """Nothing is counted here."""
    return b"", "text/plain; charset=utf-8"


def figures() -> FiguresDoc:
    """A shell's figures."""
    return {
        "version": __version__,
        "config": "/etc/sickbay/config.toml",
        "config_refused": [],
        "warnings": ["fleet web: this is a warning"],
        "store": {"commits": 1, "refuses": ""},
        "steps_under_way": 0,
        "surfaces": [{"name": "slack", "waiting": 3, "trouble": "Slack refuses: channel_not_found; invite the app"}],
        "prober": {
            "alive": True,
            "restarts": 0,
            "started": 1,
            "missed": 0,
            "in_flight": 0,
            "lag_p50": 0.0,
            "lag_p99": 0.0,
            "lag_max": 0.0,
        },
    }


@asynccontextmanager
async def serving(front: Front, folder: Path, port: int = 0, tls: SSLContext | None = None) -> AsyncIterator[Front]:
    """Listen on a unix socket and on a port of loopback, a free one unless it is named."""
    front.taken = take(folder / "s.sock", ("127.0.0.1", port))
    await front.server.listen(front.taken, tls)
    front.port = front.server.ports[0]
    try:
        yield front
    finally:
        await front.close()
