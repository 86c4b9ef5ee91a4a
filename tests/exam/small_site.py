"""A site of a few machines that answer as a test says: enough to see what one policy does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from supervisor.core.machine import Machine, MachineState
from supervisor.core.requests import Deregister, Done, Launch, Outcome, Refused, Register, Request, Terminate
from supervisor.core.settings import CheckPolicy, FleetPolicy, Settings
from supervisor.core.signals import Result
from supervisor.core.terms import BootTime, Mode, Now, Role, Seconds, Status
from supervisor.sim.exam.clockwork import Clockwork
from supervisor.sim.exam.healer import Desk, Healer, Page

CHECK = CheckPolicy("http", "http", Role.LIVENESS, 10.0, 3.0)
T0 = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Box:
    """One machine."""

    id: str
    zone: str
    boots_at: BootTime = 0.0
    dead: bool = False
    registered: bool = True
    state: MachineState = MachineState.RUNNING
    impaired: str = ""


@dataclass
class SmallSite:
    """Eyes, cloud and pager of a desk in one."""

    size: int
    zones: tuple[str, ...] = ("a", "b", "c")
    boot: Seconds = 90.0
    clockwork: Clockwork = field(default_factory=Clockwork)
    boxes: dict[str, Box] = field(default_factory=dict)
    removed: list[tuple[BootTime, str]] = field(default_factory=list)
    withdrawn: list[tuple[BootTime, str]] = field(default_factory=list)
    launched: list[BootTime] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    refuses: Outcome | None = None
    lists_nothing: bool = False

    def __post_init__(self) -> None:
        """Build the machines."""
        for number in range(self.size):
            name = f"i-{number:03d}"
            self.boxes[name] = Box(name, self.zones[number % len(self.zones)])

    def desk(self) -> Desk:
        """Return a desk at this site."""
        policy = FleetPolicy("web", self.size, "img", "1.0.0", self.zones, (CHECK,), ())
        settings = Settings(Mode.AUTO, {"web": policy})
        return Desk(settings, self.clockwork, self, self, self, lambda: Now(self.clockwork.now, T0 + timedelta(seconds=self.clockwork.now)))  # fmt: skip

    def run(self, healer: Healer, until: BootTime) -> None:
        """Let a healer work."""
        healer.begin(self.desk())
        self.clockwork.run(until)

    def kill(self, at: BootTime, count: int, zone: str = "") -> None:
        """Let so many machines die."""
        names = [box.id for box in self.boxes.values() if zone in ("", box.zone)][:count]
        self.clockwork.at(at, lambda: self._set(names, dead=True))

    def revive(self, at: BootTime) -> None:
        """Let all that died work again."""
        self.clockwork.at(at, lambda: self._set(list(self.boxes), dead=False))

    def _set(self, names: Sequence[str], *, dead: bool) -> None:
        for name in names:
            self.boxes[name].dead = dead

    def _well(self, name: str) -> bool:
        box = self.boxes.get(name)
        return box is not None and not box.dead and self.clockwork.now >= box.boots_at

    # -- eyes

    def ask(self, fleet: str, instance: str, check: CheckPolicy, then: Callable[[Result], None]) -> None:
        """Answer at once, or be silent until the time-out."""
        sent = self.clockwork.now
        if self._well(instance):
            then(Result(instance, check.name, Status.OK, False, sent, sent))
            return
        late = sent + check.timeout
        self.clockwork.at(late, lambda: then(Result(instance, check.name, Status.CRITICAL, True, sent, late)))

    def balancer(self, fleet: str, instance: str, path: str = "/") -> bool | None:
        """Say whether it answers the balancer."""
        return self._well(instance) if instance in self.boxes else None

    # -- cloud

    def list(self, fleet: str, then: Callable[[Sequence[Machine] | None], None]) -> None:
        """List."""
        found = [] if self.lists_nothing else list(self.boxes.values())
        then([Machine(b.id, "web", b.state, b.zone, "img", "1.0.0", "", b.registered, impaired=b.impaired) for b in found])  # fmt: skip

    def perform(self, request: Request, then: Callable[[Outcome], None]) -> None:
        """Do it."""
        now = self.clockwork.now
        match request:
            case Launch():
                if self.refuses is not None:
                    then(self.refuses)
                    return
                name = f"n-{len(self.launched):03d}"
                self.launched.append(now)
                self.boxes[name] = Box(name, request.zone, now + self.boot, registered=False)
                then(Done(name))
                return
            case Register():
                self.boxes[request.instance].registered = True
            case Deregister():
                self.withdrawn.append((now, request.instance))
                if request.instance in self.boxes:
                    self.boxes[request.instance].registered = False
            case Terminate():
                if request.instance not in self.boxes or self.boxes[request.instance].registered:
                    then(Refused("it is still registered"))
                    return
                del self.boxes[request.instance]
                self.removed.append((now, request.instance))
            case _:
                pass
        then(Done(getattr(request, "instance", "")))

    def tell(self, page: Page) -> None:
        """Take a page."""
        self.pages.append(page)
