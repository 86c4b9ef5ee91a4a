"""A scenario as its TOML file says it: the fleet, the faults on a timeline, what is truly wrong, what is right to do.

Read by the catalogue, played by the player. It says nothing about how anybody judges.
"""

from __future__ import annotations

import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from supervisor.core.duration import parse
from supervisor.core.terms import Cause, ChangeKind, Seconds
from supervisor.errors import ConfigError


def _seconds(given: object) -> object:
    return parse(given).total_seconds() if isinstance(given, str) else given


Duration = Annotated[Seconds, BeforeValidator(_seconds), Field(ge=0)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Kind(StrEnum):
    """What may happen at the site."""

    # to machines
    CRASH = "crash"  # the host is gone from the network; its cloud still says running
    STOP_PROCESS = "stop_process"  # nobody listens any more; the host and its agent are well
    HANG = "hang"  # accepts connections, never answers
    SLOW = "slow"  # answers `factor` times later
    ERRORS = "errors"  # answers a share of the questions wrongly
    LOSSY = "lossy"  # its link loses a share
    FLAP = "flap"  # crashed for `down`, well for `up`, again and again
    LIE = "lie"  # one check's answer about it is wrong
    MUTE = "mute"  # its application is sick and sends no heartbeats; every check passes
    STOP = "stop"  # stopped by a user
    TERMINATE = "terminate"  # ended by the cloud
    RECLAIM = "reclaim"  # a spot machine: announced two minutes before its end
    PARTITION = "partition"  # cut off whole, orders do not reach it; it comes back as it was, and registers itself
    # to what they share
    CUT_ZONE = "cut_zone"
    CUT_SUBNET = "cut_subnet"
    HAZARD = "hazard"  # machines of one type crash `factor` times as often as usual
    BREAK_DEPENDENCY = "break_dependency"  # for a share of the machines; with `cold`, they need as long to recover
    LOAD = "load"  # everybody answers `factor` times later
    OVERLOAD = "overload"  # retries keep everybody busy until somebody sheds load
    BAD_CHECK = "bad_check"  # a new version of a check is wrong; with `growth`, it spreads over that time
    DUD_IMAGE = "dud_image"  # whatever is launched from now on never boots
    REPLAY = "replay"  # failures as a fitted log has them: mostly single, now and then many at once
    # to the supervisor
    LOSE_SIGHT = "lose_sight"  # a share of everything that it sends and asks is lost
    UNSEEN_ZONE = "unseen_zone"  # it alone has no way into a zone
    NO_NAMES = "no_names"  # names do not resolve for it
    STARVE = "starve"  # its host is so busy that everything is late
    SLEEP = "sleep"  # it is suspended
    CLOCK = "clock"  # its wall clock jumps by `factor` seconds
    KILL_HEALER = "kill_healer"  # it dies at a step of its healing, another one for each seed
    PAGER_DOWN = "pager_down"
    BEATS_LATE = "beats_late"  # the heartbeats' queue delivers late
    # to the cloud's API
    CLOUD_DOWN = "cloud_down"
    THROTTLE = "throttle"
    EMPTY_LIST = "empty_list"
    LOSE_ANSWERS = "lose_answers"  # the effect is there, the answer is not
    NO_CAPACITY = "no_capacity"
    QUOTA = "quota"
    # by people and other programs
    SCALE_IN = "scale_in"
    HOLD = "hold"
    PAUSE = "pause"
    TELL = "tell"


class Who(_Model):
    """Which machines: so many, or a share, of those with the labels given. All of them when neither is given."""

    count: int | None = Field(default=None, ge=1)
    share: float | None = Field(default=None, gt=0, le=1)
    zone: str = ""
    subnet: str = ""
    host: str = ""
    type: str = ""
    victims: bool = False  # only those that a fault struck before


class Fault(_Model):
    """One thing that happens. What a kind needs and takes is in `TAKES`."""

    kind: Kind
    at: Duration
    lasts: Duration | None = None  # None: for ever
    who: Who | None = None
    own: bool | None = None  # whether the machines it strikes are at fault themselves; None: as is usual for the kind
    zone: str = ""
    subnet: str = ""
    dependency: str = ""
    check: str = ""
    type: str = ""
    share: float | None = Field(default=None, gt=0, le=1)
    factor: float | None = None
    up: Duration | None = None
    down: Duration | None = None
    delay: Duration | None = None
    cold: Duration | None = None
    growth: Duration | None = None
    slow: bool = False
    impaired: bool = False  # the cloud says so
    change: ChangeKind | None = None
    target: str = ""
    text: str = ""

    @model_validator(mode="after")
    def _fits(self) -> Fault:
        needs, takes = TAKES[self.kind]
        given = self.model_fields_set - {"kind", "at", "lasts", "own"}
        if missing := sorted(needs - given):
            raise ValueError(f"{self.kind} needs {', '.join(missing)}")
        if extra := sorted(given - needs - takes):
            raise ValueError(f"{self.kind} does not take {', '.join(extra)}")
        return self

    @property
    def is_own(self) -> bool:
        """Whether those it strikes are at fault themselves."""
        return self.kind in OWN if self.own is None else self.own


_NONE: frozenset[str] = frozenset()
_WHO = frozenset({"who"})
TAKES: dict[Kind, tuple[frozenset[str], frozenset[str]]] = {
    Kind.CRASH: (_WHO, frozenset({"impaired"})),
    Kind.STOP_PROCESS: (_WHO, _NONE),
    Kind.HANG: (_WHO, _NONE),
    Kind.SLOW: (frozenset({"who", "factor"}), _NONE),
    Kind.ERRORS: (frozenset({"who", "share"}), _NONE),
    Kind.LOSSY: (frozenset({"who", "share"}), _NONE),
    Kind.FLAP: (frozenset({"who", "up", "down"}), _NONE),
    Kind.LIE: (frozenset({"who", "check"}), _NONE),
    Kind.MUTE: (_WHO, _NONE),
    Kind.STOP: (_WHO, _NONE),
    Kind.TERMINATE: (_WHO, _NONE),
    Kind.RECLAIM: (_WHO, frozenset({"delay"})),
    Kind.PARTITION: (_WHO, _NONE),
    Kind.CUT_ZONE: (frozenset({"zone"}), frozenset({"impaired"})),
    Kind.CUT_SUBNET: (frozenset({"subnet"}), _NONE),
    Kind.HAZARD: (frozenset({"type", "factor"}), _NONE),
    Kind.BREAK_DEPENDENCY: (frozenset({"dependency"}), frozenset({"who", "slow", "cold", "share"})),
    Kind.LOAD: (frozenset({"factor"}), _NONE),
    Kind.OVERLOAD: (frozenset({"factor"}), _NONE),
    Kind.BAD_CHECK: (frozenset({"check"}), frozenset({"growth"})),
    Kind.DUD_IMAGE: (_NONE, _NONE),
    Kind.REPLAY: (frozenset({"factor"}), _NONE),
    Kind.LOSE_SIGHT: (frozenset({"share"}), _NONE),
    Kind.UNSEEN_ZONE: (frozenset({"zone"}), _NONE),
    Kind.NO_NAMES: (_NONE, _NONE),
    Kind.STARVE: (frozenset({"delay"}), _NONE),
    Kind.SLEEP: (_NONE, _NONE),
    Kind.CLOCK: (frozenset({"factor"}), _NONE),
    Kind.KILL_HEALER: (_NONE, _NONE),
    Kind.PAGER_DOWN: (_NONE, _NONE),
    Kind.BEATS_LATE: (frozenset({"delay"}), _NONE),
    Kind.CLOUD_DOWN: (_NONE, _NONE),
    Kind.THROTTLE: (frozenset({"share"}), _NONE),
    Kind.EMPTY_LIST: (_NONE, _NONE),
    Kind.LOSE_ANSWERS: (frozenset({"share"}), _NONE),
    Kind.NO_CAPACITY: (_NONE, _NONE),
    Kind.QUOTA: (_NONE, _NONE),
    Kind.SCALE_IN: (frozenset({"share"}), _NONE),
    Kind.HOLD: (frozenset({"who"}), frozenset({"text"})),
    Kind.PAUSE: (_NONE, frozenset({"text"})),
    Kind.TELL: (frozenset({"change", "target"}), frozenset({"text"})),
}
"""What each kind needs, and what else it takes; `at`, `lasts` and `own` go with all."""

OWN = frozenset(
    {
        Kind.CRASH, Kind.STOP_PROCESS, Kind.HANG, Kind.SLOW, Kind.ERRORS, Kind.LOSSY, Kind.FLAP, Kind.MUTE,
        Kind.TERMINATE, Kind.PARTITION, Kind.HAZARD, Kind.RECLAIM, Kind.REPLAY,
    }
)  # fmt: skip
"""Kinds that are their machines' own fault, unless a scenario says otherwise."""


class Truth(_Model):
    """What is really wrong. `shared` scenarios forbid over-kill; a cause of None means that nothing is."""

    cause: Cause | None = None
    value: str = ""
    also: tuple[Cause, ...] = ()  # names that are right as well
    shared: bool = False


class Expect(_Model):
    """What a right run looks like. What is None is not looked at."""

    replaced: bool | None = None  # each machine at fault is out, and the fleet is whole at the end
    untouched: bool | None = None  # nothing was removed and nothing launched
    over_kill: int | None = 0
    false_quarantines: int | None = None
    removals: int | None = None
    launches_at_most: int | None = None
    launches_at_least: int | None = None
    launches_per_fault: float | None = None
    pages_at_most: int | None = None
    pages_at_least: int | None = None
    named: bool = False  # the right cause is told ...
    named_within: Duration = 300.0  # ... by then
    detected_within: Duration | None = None
    recovered_within: Duration | None = None
    orphans: int | None = 0
    double_serving: Duration | None = None


class Scenario(_Model):
    """One scenario."""

    number: int
    title: str
    about: str
    sizes: tuple[int, ...]
    quick: tuple[int, ...] = ()  # sizes that are played when time is short
    lasts: Duration
    quick_lasts: Duration | None = None
    demand: float = Field(default=0.7, gt=0, le=1)
    checks: tuple[str, ...] = ("tcp", "http", "disk", "deep", "dns")
    noise: bool = True
    crashes: float = 0.0  # background crashes, times 1.2 in an instance-year
    heartbeats: bool = True
    fault: tuple[Fault, ...] = ()
    truth: Truth = Truth()
    expect: Expect = Expect()

    @model_validator(mode="after")
    def _in_time(self) -> Scenario:
        for number, fault in enumerate(self.fault, 1):
            if fault.at >= self.lasts:
                raise ValueError(f"fault {number} ({fault.kind}) begins at {fault.at:.0f}s, after the end")
        if strangers := sorted(set(self.quick) - set(self.sizes)):
            raise ValueError(f"quick names sizes that are not in sizes: {strangers}")
        return self

    @property
    def name(self) -> str:
        """Its short name, such as "25 A zone is lost"."""
        return f"{self.number} {self.title}"

    def quickened(self) -> Scenario:
        """Return it as it is played when time is short."""
        return self.model_copy(update={"sizes": self.quick, "lasts": self.quick_lasts or self.lasts})


def read(path: Path) -> Scenario:
    """Read one scenario's file. Raises `ConfigError` with one sentence that names the file and the place in it."""
    try:
        with path.open("rb") as file:
            given: dict[str, Any] = tomllib.load(file)
        return Scenario.model_validate(given)
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is no TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        what = str(first["msg"]).removeprefix("Value error, ")
        raise ConfigError(f"{path}: {where + ': ' if where else ''}{what}") from error
