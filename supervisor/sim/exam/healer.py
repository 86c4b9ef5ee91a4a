"""The two sides of the desk: what a healer (the production engine, a baseline, the oracle) is, and what it is given.

A healer sees the site only through its desk, and the desk shares the supervisor's own faults: a healer that is cut off,
starved or asleep is so here. Everything is synchronous on the clockwork; an answer comes by a call later on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from supervisor.core.machine import Machine
from supervisor.core.requests import Outcome, Request
from supervisor.core.settings import CheckPolicy, Settings
from supervisor.core.signals import Beat, Result
from supervisor.core.terms import BootTime, Cause, ChangeKind, Now, Seconds
from supervisor.sim.exam.clockwork import Clockwork


@dataclass(frozen=True, slots=True)
class Page:
    """Something that a healer told people: an incident opened, a cause named, help asked for.

    `cause` (with `value`, such as the zone) is set when it says what is wrong; `urgent` when it wakes somebody.
    """

    at: BootTime
    text: str
    cause: Cause | None = None
    value: str = ""
    urgent: bool = True


class Eyes(Protocol):
    """How a healer sees."""

    def ask(self, fleet: str, instance: str, check: CheckPolicy, then: Callable[[Result], None]) -> None:
        """Ask one check of one machine now; `then` is called when the answer, or the time-out, is there."""
        ...

    def balancer(self, fleet: str, instance: str, path: str = "/") -> bool | None:
        """Return whether a load balancer's own probe of a machine passes now, from where the balancer is; None: gone."""
        ...


class CloudDesk(Protocol):
    """The cloud as a healer reaches it."""

    def list(self, fleet: str, then: Callable[[Sequence[Machine] | None], None]) -> None:
        """Ask for the fleet's machines; None when the cloud does not answer."""
        ...

    def perform(self, request: Request, then: Callable[[Outcome], None]) -> None:
        """Carry out one request."""
        ...


class Pager(Protocol):
    """Where a healer tells people; it may be down, and then nothing else changes."""

    def tell(self, page: Page) -> None:
        """Tell."""
        ...


@dataclass(slots=True)
class Desk:
    """Everything a healer has. `listen` is how a site reports what comes unasked."""

    settings: Settings
    clockwork: Clockwork
    eyes: Eyes
    cloud: CloudDesk
    pager: Pager
    now: Callable[[], Now]
    seed: int = 0


class Healer(Protocol):
    """Who watches the fleets of a scenario. One per run; `begin` starts its timers on the desk's clockwork."""

    name: str

    def begin(self, desk: Desk) -> None:
        """Sit down at the desk: the fleets of `desk.settings` exist already, healthy and serving."""
        ...

    def heartbeats(self, beats: Sequence[Beat]) -> None:
        """Signs of life that came in by another way."""
        ...

    def changed(self, kind: ChangeKind, target: str, text: str, fleet: str) -> None:
        """Somebody told of a change: a deploy, a push of configuration."""
        ...

    def operator(self, verb: str, target: str, seconds: Seconds) -> None:
        """An operator asks: hold, pause, resume, scale. Baselines that know no such thing ignore it."""
        ...

    def configured(self, settings: Settings) -> None:
        """The configuration was changed: a check's version, the desired size."""
        ...

    def killed(self) -> None:
        """The healer's process dies now and is started again at once, with what it keeps on disk."""
        ...
