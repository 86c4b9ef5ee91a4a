"""Plays one scenario for one healer, and scores it. The same scenario, size, seed and healer: the same score."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import repeat

from supervisor.core.settings import Settings
from supervisor.core.signals import Beat
from supervisor.core.terms import BootTime, Now, Seconds
from supervisor.sim.exam.clockwork import Call, Clockwork
from supervisor.sim.exam.cloud import SiteCloud
from supervisor.sim.exam.eyes import SiteEyes
from supervisor.sim.exam.faults import Faults
from supervisor.sim.exam.healer import Desk, Healer, Page
from supervisor.sim.exam.measure import measured
from supervisor.sim.exam.noise import Noise
from supervisor.sim.exam.rows import rows
from supervisor.sim.exam.scenario import Scenario
from supervisor.sim.exam.score import Score
from supervisor.sim.exam.shape import settings_for
from supervisor.sim.exam.site import FLEET, Dice, Site

T0 = datetime(2026, 1, 1, tzinfo=UTC)
BEAT_INTERVAL: Seconds = 10.0


class HostTime(Clockwork):
    """Time as the supervisor's host lives it: nothing runs while it is suspended, everything due runs when it wakes."""

    def __init__(self, site: Site) -> None:
        """Run on the site's own clockwork."""
        super().__init__(site.clock.now)
        self._site = site

    def at(self, moment: BootTime, call: Call) -> None:
        """Have something called at a moment, or when the host is awake again."""
        self._site.clock.at(max(moment, self.now), lambda: self._awake(call))

    def _awake(self, call: Call) -> None:
        until = self._site.post.asleep_until
        if self._site.clock.now < until:
            self._site.clock.at(until, lambda: self._awake(call))
            return
        self.now = self._site.clock.now
        call()


class SitePager:
    """Writes down what people are told, unless the pager is down: then it is told when it is back."""

    def __init__(self, site: Site) -> None:
        """Ring at the site's people."""
        self._site = site

    def tell(self, page: Page) -> None:
        """Tell."""
        if self._site.post.pager:
            self._site.ledger.pages.append(replace(page, at=self._site.clock.now))
        else:
            self._site.clock.after(30.0, lambda: self.tell(page))


class Run:
    """One run, ready to be played; `site` can be looked at when it is over."""

    def __init__(self, scenario: Scenario, size: int, seed: int, healer: Healer, base: Settings | None = None) -> None:
        """Build the site and sit the healer down."""
        self.scenario, self.size, self.seed, self.healer = scenario, size, seed, healer
        dice = Dice(f"{scenario.number}/{size}/{seed}")
        clock = Clockwork()
        self.site = site = Site(clock, dice, size, noise=scenario.noise, demand=scenario.demand)
        self.settings = settings_for(scenario, size, base)
        theirs = HostTime(site)
        noise = Noise(site, bursts=scenario.noise, crashes=scenario.crashes)
        faults = Faults(site, noise, healer, self.settings, lambda call: theirs.after(0.0, call))
        eyes = SiteEyes(site, theirs)
        self.eyes = eyes
        cloud = SiteCloud(site, theirs, lambda _: faults.asked())
        desk = Desk(self.settings, theirs, eyes, cloud, SitePager(site), self._now, seed)
        theirs.after(0.0, lambda: healer.begin(desk))
        if scenario.heartbeats:
            clock.every(BEAT_INTERVAL, lambda: self._beat(theirs), BEAT_INTERVAL / 2)
        for number, fault in enumerate(scenario.fault, 1):
            faults.schedule(number, fault)

    def _now(self) -> Now:
        boot = self.site.clock.now
        return Now(boot, T0 + timedelta(seconds=boot + self.site.post.wall_offset))

    def _beat(self, theirs: Clockwork) -> None:
        """Let every machine that can send its sign of life to the queue; it comes from there by its own way."""
        site, now = self.site, self.site.clock.now
        odd = site.odd
        send: Iterable[str] = site.boxes
        if odd:
            send = [
                id
                for id, box in site.boxes.items()
                if id not in odd or (site.is_up(box) and site.is_reachable(box) and not box.mute)
            ]
        beats = rows(Beat, send, repeat(now))
        late = site.post.beats_late

        def deliver() -> None:
            if site.post.loss < 1:
                self.healer.heartbeats([Beat(beat.instance, theirs.now) for beat in beats] if late else beats)

        theirs.after(late + 0.1, deliver)

    def play(self) -> Score:
        """Play to the end."""
        self.site.clock.run(self.scenario.lasts)
        self.site.ledger.close()
        return measured(self.scenario, self.size, self.seed, self.healer.name, self.site)


def play(scenario: Scenario, size: int, seed: int, healer: Healer, base: Settings | None = None) -> Score:
    """Play one scenario for one healer."""
    return Run(scenario, size, seed, healer, base).play()


__all__ = ["FLEET", "HostTime", "Run", "SitePager", "play"]
