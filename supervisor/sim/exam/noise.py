"""What goes wrong by itself: bursts of loss, and machines that crash now and then. Blips are the eyes' business."""

from __future__ import annotations

from supervisor.core.terms import Seconds
from supervisor.sim.exam.parts import Box, Power
from supervisor.sim.exam.site import Site, weibull

DAY: Seconds = 86400.0
YEAR: Seconds = 365 * DAY
CRASHES_A_YEAR = 1.2
REPEATS = 0.16  # of those that failed, so many fail again within a day
BURST_LOSS = 0.5


class Noise:
    """Keeps the site from being a laboratory."""

    def __init__(self, site: Site, *, bursts: bool, crashes: float) -> None:
        """`crashes` times as many as usual; 0 for none."""
        self._site = site
        self._crashes = crashes
        self._hazard: dict[str, float] = {}
        if bursts:
            self._next_burst()
        if crashes:
            self._next_crash()

    def worsen(self, type: str, factor: float) -> None:
        """Let machines of a type crash more often (1.0: as usual). The first call for a type starts its own course."""
        known = type in self._hazard
        self._hazard[type] = factor
        if not known:
            self._next_hazard(type)

    def _next_burst(self) -> None:
        site, dice = self._site, self._site.dice.of("bursts")

        def burst() -> None:
            alive = [box for _, box in sorted(site.boxes.items()) if box.removed is None]
            if alive:
                box = dice.choice(alive)
                lasts = dice.uniform(5.0, 25.0)
                box.burst_until, box.burst_loss = site.clock.now + lasts, BURST_LOSS
                site.touch(box)
                site.clock.after(lasts, lambda: site.touch(box))
            self._next_burst()

        site.clock.after(dice.expovariate(max(1, site.size) / DAY), burst)

    def _next_crash(self) -> None:
        site, dice = self._site, self._site.dice.of("crashes")
        mean = YEAR / (CRASHES_A_YEAR * self._crashes * max(1, site.size))

        def crash() -> None:
            self._strike([b for _, b in sorted(site.boxes.items()) if b.removed is None])
            self._next_crash()

        site.clock.after(weibull(dice, mean), crash)

    def _next_hazard(self, type: str) -> None:
        site, dice = self._site, self._site.dice.of(f"hazard {type}")
        alike = [b for _, b in sorted(site.boxes.items()) if b.type == type and b.removed is None]
        factor = self._hazard[type]
        mean = YEAR / (CRASHES_A_YEAR * factor * max(1, len(alike))) if factor > 0 else DAY

        def crash() -> None:
            if self._hazard[type] > 0:
                self._strike([b for _, b in sorted(site.boxes.items()) if b.type == type and b.removed is None])
            self._next_hazard(type)

        site.clock.after(weibull(dice, mean), crash)

    def _strike(self, alive: list[Box]) -> None:
        site, dice = self._site, self._site.dice.of("crashes")
        alive = [box for box in alive if box.at_fault is None and box.power is Power.RUNNING]
        if not alive:
            return
        box = dice.choice(alive)
        self.crash(box)
        if dice.random() < REPEATS:
            site.clock.after(dice.uniform(0.0, DAY), lambda: self.again(box.zone))

    def again(self, zone: str) -> None:
        """Let what came in its place fail, too: the newest machine of the zone."""
        site = self._site
        alive = [
            b for _, b in sorted(site.boxes.items()) if b.zone == zone and b.removed is None and b.at_fault is None
        ]
        if alive:
            self.crash(max(alive, key=lambda box: (box.launched, box.id)))

    def crash(self, box: Box) -> None:
        """Let one crash."""
        site = self._site
        site.ledger.began()
        site.strike(box, own=True)
        box.crashed = True
        site.touch(box)
