"""The site: everything outside the supervisor, and what is of use there at each moment.

Symptoms follow from the state of the parts. Nothing here judges, and nothing here knows a healer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import ceil, exp, log

from supervisor.core.machine import Machine, MachineState, TargetHealth
from supervisor.core.settings import CheckPolicy
from supervisor.core.terms import BootTime, Scope, Seconds, Status
from supervisor.sim.exam.clockwork import Clockwork
from supervisor.sim.exam.ledger import Ledger
from supervisor.sim.exam.parts import NEVER, BadCheck, Box, Dependency, Place, Post, Power, Process, Trouble
from supervisor.sim.exam.scenario import Who

FLEET = "web"
ZONES = ("a", "b", "c")
HOST_SIZE = 8  # machines of one zone that share a placement group
ODD_TYPE_EVERY = 10  # each tenth machine is of type x
BALANCER_DOWN: Seconds = 20.0  # a load balancer's own probes need so long to notice
BALANCER_UP: Seconds = 20.0
LATENCY: Seconds = 0.02
BLIP = 0.002
BOOT_MEDIAN: Seconds = 90.0
BOOT_SIGMA = 0.35
BOOT_FAILS = 0.01


@dataclass(frozen=True, slots=True)
class Answer:
    """What a question was answered, and how long that took; silence takes as long as one waits."""

    status: Status
    silent: bool
    latency: Seconds
    text: str


@dataclass(slots=True)
class Dice:
    """One stream of chance for each concern, so that one more throw of one moves no other."""

    seed: str
    _streams: dict[str, random.Random] = field(default_factory=dict)

    def of(self, name: str) -> random.Random:
        """Return a concern's stream."""
        found = self._streams.get(name)
        if found is None:
            found = self._streams[name] = random.Random(f"{self.seed}/{name}")
        return found


class Site:
    """Machines of one fleet in three zones, a load balancer before them, and the supervisor's post."""

    def __init__(self, clockwork: Clockwork, dice: Dice, size: int, *, noise: bool, demand: float) -> None:
        """Build a fleet that has served for a day."""
        self.clock = clockwork
        self.dice = dice
        self.size = size
        self.desired = size
        self.noise = noise
        self.boxes: dict[str, Box] = {}
        self.zones = {zone: Place() for zone in ZONES}
        self.subnets = {f"{zone}{number}": Place() for zone in ZONES for number in (1, 2)}
        self.dependencies = {"db": Dependency(), "dns": Dependency()}
        self.bad_checks: dict[str, BadCheck] = {}
        self.post = Post()
        self.trouble = Trouble()
        self.dud_image = False
        self.load = 1.0
        self.overload = 0.0  # how many times over each question is asked
        self.odd: set[str] = set()  # machines whose answers depend on more than chance
        self.victims: set[str] = set()
        self.held: set[str] = set()
        self.demand = min(ceil(demand * size), size)
        self.ledger = Ledger(clockwork, size)
        self.quirks = dice.of("quirks")
        self._answers = dice.of("answers")
        self._shown: dict[str, tuple[Machine, BootTime]] = {}  # as last shown, and until when that holds
        self._sorted: list[str] = []
        for number in range(size):
            zone = ZONES[number % 3]
            self._build(f"i-{number:05d}", zone, number // 3, launched=-86400.0, boots_at=-86000.0)
        for box in self.boxes.values():
            box.registered_at = -86000.0
            box.has_served = True
            box.worth, box.worth_since = 1.0, -86000.0
        self.ledger.serving = float(size)
        self.ledger.demand = self.demand

    def _build(self, id: str, zone: str, rank: int, *, launched: BootTime, boots_at: BootTime) -> Box:
        number = len(self.boxes)
        box = Box(
            id=id,
            zone=zone,
            subnet=f"{zone}{rank % 2 + 1}",
            host=f"{zone}-h{rank // HOST_SIZE}",
            type="x" if number % ODD_TYPE_EVERY == 0 else "m",
            image="img-1",
            version="1.0.0",
            address=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
            launched=launched,
            boots_at=boots_at,
            quirk=exp(self.quirks.gauss(0.0, 0.1)),
        )
        self.boxes[id] = box
        return box

    # -- machines come and go

    def launch(self, id: str, zone: str) -> Box:
        """Start one machine."""
        now, dice = self.clock.now, self.dice.of("boot")
        takes = BOOT_MEDIAN * exp(dice.gauss(0.0, BOOT_SIGMA))
        fails = dice.random() < BOOT_FAILS and self.noise
        box = self._build(id, zone, len(self.boxes), launched=now, boots_at=now + takes)
        box.power = Power.PENDING
        self.odd.add(id)
        if self.dud_image or fails:
            box.boots_at = NEVER
            box.at_fault = now
        self.clock.after(min(20.0, takes), lambda: self._runs(box))
        if box.boots_at < NEVER:
            self.clock.after(takes, lambda: self.touch(box))
        return box

    def _runs(self, box: Box) -> None:
        if box.power is Power.PENDING:
            box.power = Power.RUNNING
            self.touch(box)

    def end(self, box: Box, reason: str, *, by_user: bool = False, stopped: bool = False) -> None:
        """Let a machine end, whoever wants it."""
        if box.power is not Power.TERMINATED:
            box.power = Power.STOPPED if stopped else Power.TERMINATED
            box.reason, box.by_user = reason, by_user
            if not stopped:
                box.gone_from_list = self.clock.now + 3600.0
            self.touch(box)

    def strike(self, box: Box, *, own: bool) -> None:
        """Note that a fault has a machine; `own`: it is the machine's own."""
        self.victims.add(box.id)
        if own and box.at_fault is None:
            box.at_fault = self.clock.now
            self.ledger.fault_began(box.id)

    def heal(self, box: Box) -> None:
        """Note that a machine's own fault is over."""
        box.at_fault = None

    def touch(self, box: Box) -> None:
        """Take account of a machine that was changed: is it of use, and is it odd."""
        now = self.clock.now
        self._shown.pop(box.id, None)
        worth = self._worth(box)
        if worth != box.worth:
            self.ledger.serve(worth - box.worth)
            box.worth, box.worth_since = worth, now
            box.has_served = box.has_served or worth > 0
        self.ledger.double(box.id, double=worth > 0 and box.removed is not None)
        if self._is_plain(box):
            self.odd.discard(box.id)
        else:
            self.odd.add(box.id)

    def touch_all(self, boxes: Iterable[Box]) -> None:
        """Take account of several."""
        for box in boxes:
            self.touch(box)

    def is_up(self, box: Box) -> bool:
        """Return whether a machine has booted and is not off."""
        return box.power is Power.RUNNING and not box.crashed and self.clock.now >= box.boots_at

    def is_reachable(self, box: Box) -> bool:
        """Return whether anybody at all gets through to a machine."""
        return not (box.cut or box.isolated or self.zones[box.zone].cut or self.subnets[box.subnet].cut)

    def _worth(self, box: Box) -> float:
        """Return which share of a machine's work visitors get; what it depends on does not count here."""
        if box.registered_at is None or not self.is_up(box) or not self.is_reachable(box) or box.mute:
            return 0.0
        if box.process is not Process.RUNNING:
            return 0.0
        lost = 1 - (1 - box.loss) * (1 - self.zones[box.zone].loss)
        return (1 - box.errors) * (1 - lost) / max(1.0, box.slow / 2)

    def _is_plain(self, box: Box) -> bool:
        if not self.is_up(box) or not self.is_reachable(box) or box.process is not Process.RUNNING:
            return False
        if box.mute or box.lies or box.sick_of or self.zones[box.zone].loss or box.burst_until > self.clock.now:
            return False
        return box.loss == 0 and box.slow == 1 and box.errors == 0

    @property
    def is_calm(self) -> bool:
        """Whether plain machines answer as always: nothing is wrong with what all share."""
        if self.post.is_odd or self.bad_checks or self.load != 1.0 or self.overload:
            return False
        return not any(one.down or one.slow for one in self.dependencies.values())

    # -- looking

    def pick(self, who: Who, stream: str) -> list[Box]:
        """Choose machines of the fleet, by chance but for the labels."""
        found = [
            box
            for _, box in sorted(self.boxes.items())
            if box.removed is None
            and box.power is Power.RUNNING
            and who.zone in ("", box.zone)
            and who.subnet in ("", box.subnet)
            and who.host in ("", box.host)
            and who.type in ("", box.type)
            and (not who.victims or box.id in self.victims)
        ]
        count = len(found)
        if who.count is not None:
            count = min(who.count, len(found))
        elif who.share is not None:
            count = max(1, round(who.share * len(found)))
        return sorted(self.dice.of(stream).sample(found, count), key=lambda box: box.id)

    def shown(self) -> list[Machine]:
        """Return what the cloud lists."""
        now = self.clock.now
        if len(self._sorted) != len(self.boxes):
            self._sorted = sorted(self.boxes)
        found = []
        for id in self._sorted:
            shown = self._shown.get(id)
            if shown is None or now >= shown[1]:
                box = self.boxes[id]
                if now >= box.gone_from_list:
                    continue
                # What the load balancer says changes by itself, a while after the machine did.
                settled = max(box.worth_since, box.registered_at or 0.0) + max(BALANCER_UP, BALANCER_DOWN)
                shown = self._shown[id] = (self._show(box), settled if now < settled else box.gone_from_list)
            found.append(shown[0])
        return found

    def _show(self, box: Box) -> Machine:
        return Machine(
            id=box.id,
            fleet=FLEET,
            state=MachineState(box.power),
            zone=box.zone,
            image=box.image,
            version=box.version,
            address=box.address,
            registered=box.registered_at is not None,
            target=self.target(box),
            isolated=box.isolated,
            reason=box.reason,
            stopped_by_user=box.by_user,
            tags=box.tags,
            impaired=box.impaired,
            notices=box.notices,
            labels=(("subnet", box.subnet), ("type", box.type), ("host", box.host)),
        )

    def target(self, box: Box) -> TargetHealth:
        """Return what the load balancer says of a machine, from its own probes."""
        if box.registered_at is None:
            return TargetHealth.UNKNOWN
        now = self.clock.now
        well = self.passes_balancer(box)
        if well:
            return (
                TargetHealth.HEALTHY
                if now - max(box.registered_at, box.worth_since) >= BALANCER_UP
                or (box.worth_since < box.registered_at - BALANCER_UP)
                else TargetHealth.INITIAL
            )
        return TargetHealth.UNHEALTHY if now - box.worth_since >= BALANCER_DOWN else TargetHealth.HEALTHY

    def passes_balancer(self, box: Box) -> bool:
        """Return whether the load balancer's own probe would pass: it sits in the same zones, not at our post."""
        return self.is_up(box) and self.is_reachable(box) and box.process is Process.RUNNING and box.errors < 0.5

    # -- answering

    def answer(self, box: Box, check: CheckPolicy, timeout: Seconds) -> Answer:
        """Answer one question of the supervisor's, from the state of every part on the way."""
        dice, post = self._answers, self.post
        nature = nature_of(check)
        if not post.names and nature != "disk":
            return Answer(Status.UNKNOWN, False, 0.01, "the check itself failed: the name does not resolve")
        if self._is_lost(box, dice):
            return Answer(Status.CRITICAL, True, timeout, f"no answer within {timeout:.0f}s")
        if box.power is not Power.RUNNING or box.crashed or not self.is_reachable(box):
            return Answer(Status.CRITICAL, True, timeout, f"no answer within {timeout:.0f}s")
        bad = self.bad_checks.get(check.name)
        said = self._ability(box, nature, dice)
        if said is None and bad is not None and box.id in bad.about:
            said = "field 'status' is missing, expected 'ok'"
        if said is None and check.name in box.lies:
            said = "disk 97% full, expected below 90%"
        if said is not None:
            return Answer(
                Status.CRITICAL, said == "", timeout if said == "" else 0.02, said or f"no answer within {timeout:.0f}s"
            )
        latency = LATENCY * box.quirk * exp(dice.gauss(0.0, 0.2)) * (1.0 if nature == "disk" else box.slow * self.load)
        if post.late:
            latency += dice.expovariate(1.0 / post.late)
        if latency > timeout:
            return Answer(Status.CRITICAL, True, timeout, f"no answer within {timeout:.0f}s")
        return Answer(Status.OK, False, latency, "")

    def _is_lost(self, box: Box, dice: random.Random) -> bool:
        post, now = self.post, self.clock.now
        if box.zone in post.unseen:
            return True
        kept = (1 - post.loss) * (1 - box.loss) * (1 - self.zones[box.zone].loss)
        if box.burst_until > now:
            kept *= 1 - box.burst_loss
        if self.noise:
            kept *= 1 - BLIP
        return kept < 1 and dice.random() >= kept

    def _ability(self, box: Box, nature: str, dice: random.Random) -> str | None:
        """Return why a machine can't answer well; '' where it hangs, None where it can."""
        up = self.clock.now >= box.boots_at
        if nature in ("disk", "dns"):  # its agent answers
            if not up:
                return "connection refused"
            if nature == "dns" and (self.dependencies["dns"].down or "dns" in box.sick_of):
                return "names do not resolve"
            return None
        if not up or box.process is Process.DEAD:
            return "connection refused"
        if nature == "tcp":
            return None
        if box.process is Process.HUNG:
            return ""
        if box.errors and dice.random() < box.errors:
            return "HTTP 500, expected 200"
        if self.overload and dice.random() < self._overloaded():
            return ""
        if nature == "deep":
            db = self.dependencies["db"]
            if "db" in box.sick_of or db.down:
                return (
                    "HTTP 503: the database does not answer in time"
                    if db.slow
                    else "HTTP 503: no connection to the database"
                )
        return None

    def _overloaded(self) -> float:
        """Return the share of questions that starve: the fewer serve, the more."""
        offered = self.demand * self.overload
        return max(0.0, 1 - self.ledger.serving / offered) if offered else 0.0

    def at_fault(self) -> list[Box]:
        """Return the machines that are at fault themselves now, and still in the fleet."""
        return [b for _, b in sorted(self.boxes.items()) if b.at_fault is not None and b.removed is None]


def nature_of(check: CheckPolicy) -> str:
    """Return which of the five checks of the site a check is like."""
    if check.kind in ("tcp", "http", "disk", "deep", "dns"):
        return check.kind
    if check.scope is Scope.LOCAL:
        return "disk"
    return "deep" if check.depends_on else "http"


def weibull(dice: random.Random, mean: Seconds, shape: float = 0.7) -> Seconds:
    """Return a time to failure: more soon after a failure than later."""
    scale = mean / 1.2658  # the mean of a Weibull of shape .7 is 1.2658 times its scale
    return float(scale * (-log(1.0 - dice.random())) ** (1 / shape))


Undo = Callable[[], None]
