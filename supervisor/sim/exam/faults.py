"""What breaks, mechanically: each kind of fault changes parts of the site, and takes its change back at its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from supervisor.core.settings import Settings
from supervisor.core.terms import ChangeKind, Seconds
from supervisor.sim.exam.healer import Healer
from supervisor.sim.exam.noise import DAY, Noise
from supervisor.sim.exam.parts import BadCheck, Box, Process
from supervisor.sim.exam.scenario import Fault, Kind, Who
from supervisor.sim.exam.site import FLEET, Site

Undo = Callable[[], None]
SPOT_NOTICE: Seconds = 120.0
DIE_AT_STEPS = 8
STARVED_BLIND = 1.0  # from this lateness on, in seconds, nothing that is seen can be trusted


class Faults:
    """The faults of one run. `tell` reaches the healer as soon as it is awake."""

    def __init__(
        self, site: Site, noise: Noise, healer: Healer, settings: Settings, tell: Callable[[Undo], None]
    ) -> None:
        """Stand ready."""
        self._site = site
        self._noise = noise
        self._healer = healer
        self._settings = settings
        self._tell = tell
        self._die_at: int | None = None
        self._count = 0
        self._kinds: set[Kind] = set()
        self._mechanics: dict[Kind, Callable[[Fault, list[Box]], Undo | None]] = {
            Kind.CRASH: self._crash,
            Kind.STOP_PROCESS: self._process,
            Kind.HANG: self._process,
            Kind.SLOW: self._slow,
            Kind.ERRORS: self._errors,
            Kind.LOSSY: self._lossy,
            Kind.FLAP: self._flap,
            Kind.LIE: self._lie,
            Kind.MUTE: self._mute,
            Kind.STOP: self._stop,
            Kind.TERMINATE: self._terminate,
            Kind.RECLAIM: self._reclaim,
            Kind.PARTITION: self._partition,
            Kind.CUT_ZONE: self._cut_zone,
            Kind.CUT_SUBNET: self._cut_subnet,
            Kind.HAZARD: self._hazard,
            Kind.BREAK_DEPENDENCY: self._break_dependency,
            Kind.LOAD: self._load,
            Kind.OVERLOAD: self._overload,
            Kind.BAD_CHECK: self._bad_check,
            Kind.DUD_IMAGE: self._dud_image,
            Kind.REPLAY: self._replay,
            Kind.LOSE_SIGHT: self._lose_sight,
            Kind.UNSEEN_ZONE: self._unseen_zone,
            Kind.NO_NAMES: self._no_names,
            Kind.STARVE: self._starve,
            Kind.SLEEP: self._sleep,
            Kind.CLOCK: self._clock,
            Kind.KILL_HEALER: self._kill_healer,
            Kind.PAGER_DOWN: self._pager_down,
            Kind.BEATS_LATE: self._beats_late,
            Kind.CLOUD_DOWN: self._trouble,
            Kind.THROTTLE: self._trouble,
            Kind.EMPTY_LIST: self._trouble,
            Kind.LOSE_ANSWERS: self._trouble,
            Kind.NO_CAPACITY: self._trouble,
            Kind.QUOTA: self._trouble,
            Kind.SCALE_IN: self._scale_in,
            Kind.HOLD: self._hold,
            Kind.PAUSE: self._pause,
            Kind.TELL: self._say,
        }

    def schedule(self, number: int, fault: Fault) -> None:
        """Have one fault begin, and end, at its time."""
        self._kinds.add(fault.kind)
        self._site.clock.at(fault.at, lambda: self._begin(number, fault))

    def asked(self) -> None:
        """Take note of one request of the healer's: it may die of it."""
        self._count += 1
        if self._die_at is not None and self._count == self._die_at:
            self._die_at = None
            self._healer.killed()

    def _begin(self, number: int, fault: Fault) -> None:
        site = self._site
        if fault.kind not in _SETTING or self._kinds <= _SETTING:
            site.ledger.began()
        boxes = site.pick(fault.who, f"who {number}") if fault.who is not None else []
        undo = self._mechanics[fault.kind](fault, boxes)
        if fault.kind in _ON_MACHINES:
            for box in boxes:
                site.strike(box, own=fault.is_own)
        site.touch_all(boxes)
        if fault.lasts is not None and undo is not None:
            ends = undo

            def end() -> None:
                ends()
                if fault.kind in _ON_MACHINES and fault.is_own:
                    for box in boxes:
                        site.heal(box)
                site.touch_all(boxes)

            site.clock.after(fault.lasts, end)

    # -- to machines

    def _crash(self, fault: Fault, boxes: list[Box]) -> Undo:
        def set_to(crashed: bool) -> None:
            for box in boxes:
                box.crashed = crashed
                box.impaired = "the host does not answer" if crashed and fault.impaired else ""
                if not crashed:
                    box.boots_at = max(box.boots_at, self._site.clock.now)

        set_to(True)
        return lambda: set_to(False)

    def _process(self, fault: Fault, boxes: list[Box]) -> Undo:
        state = Process.DEAD if fault.kind is Kind.STOP_PROCESS else Process.HUNG
        for box in boxes:
            box.process = state

        def undo() -> None:
            for box in boxes:
                box.process = Process.RUNNING

        return undo

    def _slow(self, fault: Fault, boxes: list[Box]) -> Undo:
        return _set(boxes, "slow", fault.factor or 1.0, 1.0)

    def _errors(self, fault: Fault, boxes: list[Box]) -> Undo:
        return _set(boxes, "errors", fault.share or 0.0, 0.0)

    def _lossy(self, fault: Fault, boxes: list[Box]) -> Undo:
        return _set(boxes, "loss", fault.share or 0.0, 0.0)

    def _mute(self, fault: Fault, boxes: list[Box]) -> Undo:
        return _set(boxes, "mute", True, False)

    def _flap(self, fault: Fault, boxes: list[Box]) -> Undo:
        over = False
        site = self._site

        def turn(crashed: bool) -> None:
            for box in boxes:
                box.crashed = crashed and not over
            site.touch_all(boxes)
            if not over:
                site.clock.after((fault.down if crashed else fault.up) or 60.0, lambda: turn(not crashed))

        def undo() -> None:
            nonlocal over
            over = True
            for box in boxes:
                box.crashed = False

        turn(True)
        return undo

    def _lie(self, fault: Fault, boxes: list[Box]) -> Undo:
        for box in boxes:
            box.lies.add(fault.check)

        def undo() -> None:
            for box in boxes:
                box.lies.discard(fault.check)

        return undo

    def _stop(self, fault: Fault, boxes: list[Box]) -> None:
        for box in boxes:
            self._site.end(box, "Client.UserInitiatedShutdown", by_user=True, stopped=True)

    def _terminate(self, fault: Fault, boxes: list[Box]) -> None:
        for box in boxes:
            self._site.end(box, "Server.InternalError")
            box.registered_at = None

    def _reclaim(self, fault: Fault, boxes: list[Box]) -> None:
        for box in boxes:
            box.notices = ("spot-interruption: terminate in 2 minutes",)

        def end() -> None:
            for box in boxes:
                self._site.end(box, "Server.SpotInstanceTermination")
                box.registered_at = None
                self._site.touch(box)

        self._site.clock.after(fault.delay or SPOT_NOTICE, end)

    def _partition(self, fault: Fault, boxes: list[Box]) -> Undo:
        for box in boxes:
            box.cut = True

        def undo() -> None:
            for box in boxes:
                box.cut = False
                if box.removed is not None:  # it never heard of its end: it goes on, and registers itself again
                    box.isolated, box.registered_at = False, self._site.clock.now

        return undo

    # -- to what they share

    def _cut_zone(self, fault: Fault, boxes: list[Box]) -> Undo:
        site, zone = self._site, self._site.zones[fault.zone]
        inside = [box for _, box in sorted(site.boxes.items()) if box.zone == fault.zone]

        def set_to(cut: bool) -> None:
            zone.cut = cut
            for box in inside:
                box.impaired = "the host does not answer" if cut and fault.impaired else ""
            site.touch_all(box for _, box in sorted(site.boxes.items()) if box.zone == fault.zone)

        set_to(True)
        return lambda: set_to(False)

    def _cut_subnet(self, fault: Fault, boxes: list[Box]) -> Undo:
        site, subnet = self._site, self._site.subnets[fault.subnet]

        def set_to(cut: bool) -> None:
            subnet.cut = cut
            site.touch_all(box for _, box in sorted(site.boxes.items()) if box.subnet == fault.subnet)

        set_to(True)
        return lambda: set_to(False)

    def _hazard(self, fault: Fault, boxes: list[Box]) -> Undo:
        self._noise.worsen(fault.type, fault.factor or 1.0)
        return lambda: self._noise.worsen(fault.type, 0.0)

    def _break_dependency(self, fault: Fault, boxes: list[Box]) -> Undo:
        site, dependency = self._site, self._site.dependencies[fault.dependency]
        name = fault.dependency
        if fault.who is None:
            dependency.down, dependency.slow = True, fault.slow
        else:
            dependency.slow = fault.slow
            for box in boxes:
                box.sick_of.add(name)

        def undo() -> None:
            dependency.down = dependency.slow = False
            for box in boxes:
                box.sick_of.discard(name)
            if fault.cold:
                cold = site.pick(Who(share=fault.share or 1.0), "cold caches")
                for box in cold:
                    box.sick_of.add(name)
                    site.touch(box)

                def warm() -> None:
                    for box in cold:
                        box.sick_of.discard(name)
                        site.touch(box)

                site.clock.after(fault.cold, warm)

        return undo

    def _load(self, fault: Fault, boxes: list[Box]) -> Undo:
        self._site.load = fault.factor or 1.0
        return lambda: setattr(self._site, "load", 1.0)

    def _overload(self, fault: Fault, boxes: list[Box]) -> Undo:
        self._site.overload = fault.factor or 1.0
        return lambda: setattr(self._site, "overload", 0.0)

    def _bad_check(self, fault: Fault, boxes: list[Box]) -> Undo:
        site, name = self._site, fault.check
        bad = site.bad_checks[name] = BadCheck("2")
        fleet = self._settings.fleets[FLEET]
        old = self._settings
        checks = tuple(replace(c, version="2") if c.name == name else c for c in fleet.checks)
        new = replace(self._settings, fleets={FLEET: replace(fleet, checks=checks)})

        def configure(settings: Settings) -> None:
            self._settings = settings
            self._tell(lambda: self._healer.configured(settings))

        configure(new)
        self._tell(lambda: self._healer.changed(ChangeKind.CHECK, name, f"check {name} has a new version", FLEET))
        if not fault.growth:
            bad.about.update(site.boxes)
        else:
            order = sorted(site.boxes)
            site.dice.of("growth").shuffle(order)
            step = max(1, len(order) // 100)
            parts = [order[at : at + step] for at in range(0, len(order), step)]
            for place, part in enumerate(parts):
                site.clock.after(fault.growth * place / len(parts), lambda part=part: bad.about.update(part))  # type: ignore[misc]  # bound now

        def undo() -> None:
            site.bad_checks.pop(name, None)
            configure(old)

        return undo

    def _dud_image(self, fault: Fault, boxes: list[Box]) -> Undo:
        self._site.dud_image = True
        return lambda: setattr(self._site, "dud_image", False)

    def _replay(self, fault: Fault, boxes: list[Box]) -> Undo:
        """Fail as ten years of logs say: 96 % of incidents are one node, 1 % three or more, those 10 % of all failures."""
        site, dice, noise = self._site, self._site.dice.of("replay"), self._noise
        over = False

        def next() -> None:
            if over:
                return
            chance = dice.random()
            count = 1 if chance < 0.96 else 2 if chance < 0.99 else min(3 + int(dice.expovariate(1 / 8.6)), 40)
            hosts = site.pick(Who(count=1), "replay where")
            near = [b for b in site.pick(Who(), "replay who") if b.zone == hosts[0].zone and b.at_fault is None]
            for box in near[:count]:
                noise.crash(box)
            if dice.random() < 0.16 and near:
                zone = near[0].zone
                site.clock.after(dice.uniform(0.0, DAY), lambda: noise.again(zone))
            site.clock.after(dice.expovariate((fault.factor or 1.0) / DAY), next)

        def undo() -> None:
            nonlocal over
            over = True

        next()
        return undo

    # -- to the supervisor

    def _blinded(self, on: bool) -> None:
        post = self._site.post
        blind = post.loss >= 0.3 or not post.names or post.late >= STARVED_BLIND
        post.blind_since = (
            (post.blind_since if post.blind_since is not None else self._site.clock.now) if blind else None
        )

    def _lose_sight(self, fault: Fault, boxes: list[Box]) -> Undo:
        return self._post("loss", fault.share or 1.0, 0.0)

    def _no_names(self, fault: Fault, boxes: list[Box]) -> Undo:
        return self._post("names", False, True)

    def _starve(self, fault: Fault, boxes: list[Box]) -> Undo:
        return self._post("late", fault.delay or 0.0, 0.0)

    def _pager_down(self, fault: Fault, boxes: list[Box]) -> Undo:
        return self._post("pager", False, True)

    def _beats_late(self, fault: Fault, boxes: list[Box]) -> Undo:
        return self._post("beats_late", fault.delay or 0.0, 0.0)

    def _post(self, name: str, bad: object, good: object) -> Undo:
        setattr(self._site.post, name, bad)
        self._blinded(True)

        def undo() -> None:
            setattr(self._site.post, name, good)
            self._blinded(False)

        return undo

    def _unseen_zone(self, fault: Fault, boxes: list[Box]) -> Undo:
        self._site.post.unseen.add(fault.zone)
        return lambda: self._site.post.unseen.discard(fault.zone)

    def _sleep(self, fault: Fault, boxes: list[Box]) -> None:
        self._site.post.asleep_until = self._site.clock.now + (fault.lasts or 600.0)

    def _clock(self, fault: Fault, boxes: list[Box]) -> Undo:
        self._site.post.wall_offset += fault.factor or 0.0

        def undo() -> None:
            self._site.post.wall_offset -= fault.factor or 0.0

        return undo

    def _kill_healer(self, fault: Fault, boxes: list[Box]) -> None:
        self._die_at = self._count + 1 + self._site.dice.of("death").randrange(DIE_AT_STEPS)

    # -- to the cloud's API

    def _trouble(self, fault: Fault, boxes: list[Box]) -> Undo:
        name, bad, good = _TROUBLES[fault.kind]
        setattr(self._site.trouble, name, fault.share if bad is None else bad)
        return lambda: setattr(self._site.trouble, name, good)

    # -- by people and other programs

    def _scale_in(self, fault: Fault, boxes: list[Box]) -> None:
        site = self._site
        leaving = site.pick(Who(share=fault.share), "scale in")
        fleet = self._settings.fleets[FLEET]
        desired = fleet.desired - len(leaving)
        self._settings = settings = replace(self._settings, fleets={FLEET: replace(fleet, desired=desired)})
        self._tell(lambda: self._healer.configured(settings))
        site.desired = desired
        site.ledger.want(desired)
        for box in leaving:
            box.removed, box.registered_at = site.clock.now, None
            site.end(box, "Client.InstanceInitiatedShutdown", by_user=True)

    def _hold(self, fault: Fault, boxes: list[Box]) -> Undo:
        for box in boxes:
            self._site.held.add(box.id)
            self._site.victims.add(box.id)
            name, seconds = box.id, fault.lasts or 14400.0
            self._tell(lambda name=name, seconds=seconds: self._healer.operator("hold", name, seconds))  # type: ignore[misc]  # bound now

        def undo() -> None:
            for box in boxes:
                self._site.held.discard(box.id)

        return undo

    def _pause(self, fault: Fault, boxes: list[Box]) -> Undo:
        self._site.post.paused_since = self._site.clock.now
        self._tell(lambda: self._healer.operator("pause", fault.text or "drill", fault.lasts or 3600.0))

        def undo() -> None:
            self._site.post.paused_since = None
            self._tell(lambda: self._healer.operator("resume", fault.text or "drill", 0.0))

        return undo

    def _say(self, fault: Fault, boxes: list[Box]) -> None:
        kind = fault.change or ChangeKind.CONFIG
        self._tell(lambda: self._healer.changed(kind, fault.target, fault.text or f"{kind} {fault.target}", FLEET))


def _set(boxes: list[Box], name: str, bad: object, good: object) -> Undo:
    for box in boxes:
        setattr(box, name, bad)

    def undo() -> None:
        for box in boxes:
            setattr(box, name, good)

    return undo


_TROUBLES: dict[Kind, tuple[str, object, object]] = {
    Kind.CLOUD_DOWN: ("down", True, False),
    Kind.THROTTLE: ("throttled", None, 0.0),
    Kind.EMPTY_LIST: ("empty", True, False),
    Kind.LOSE_ANSWERS: ("lost", None, 0.0),
    Kind.NO_CAPACITY: ("no_capacity", True, False),
    Kind.QUOTA: ("quota", True, False),
}
_SETTING = frozenset(
    {
        Kind.TELL, Kind.HOLD, Kind.PAUSE, Kind.PAGER_DOWN, Kind.KILL_HEALER, Kind.DUD_IMAGE, Kind.QUOTA,
        Kind.NO_CAPACITY, Kind.LOSE_ANSWERS, Kind.THROTTLE, Kind.CLOUD_DOWN,
    }
)  # fmt: skip
"""What only makes another fault harder to heal: where there is one, time counts from that one."""
_ON_MACHINES = frozenset(
    {
        Kind.CRASH, Kind.STOP_PROCESS, Kind.HANG, Kind.SLOW, Kind.ERRORS, Kind.LOSSY, Kind.FLAP, Kind.LIE, Kind.MUTE,
        Kind.STOP, Kind.TERMINATE, Kind.RECLAIM, Kind.PARTITION,
    }
)  # fmt: skip
