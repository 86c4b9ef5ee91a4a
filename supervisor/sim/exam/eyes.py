"""How a healer sees the site: its questions go out from the supervisor's own post, and so do its sentinels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any

from supervisor.core.settings import CheckPolicy
from supervisor.core.signals import NO_METRICS, Result, SelfReported, Sense, SentinelReported
from supervisor.core.terms import BootTime, Seconds, Status
from supervisor.sim.exam.clockwork import Clockwork
from supervisor.sim.exam.parts import Post
from supervisor.sim.exam.rows import rows
from supervisor.sim.exam.site import BLIP, LATENCY, Answer, Site

AT_ONCE: Seconds = 1.0  # answers that come sooner than this are handed over together
_GONE = Answer(Status.CRITICAL, True, 0.0, "no answer")


@dataclass(slots=True)
class Round:
    """Questions that are always asked together: one for each pair. Made once, asked again and again."""

    instances: tuple[str, ...]
    checks: tuple[CheckPolicy, ...]
    names: tuple[str, ...]
    latencies: tuple[Seconds, ...]
    places: dict[str, list[int]]


class SiteEyes:
    """The ways out of the supervisor's host."""

    def __init__(self, site: Site, theirs: Clockwork) -> None:
        """`theirs` is the healer's own clockwork: an answer waits while it sleeps."""
        self._site = site
        self._theirs = theirs
        self._blips = site.dice.of("blips")
        self._late = site.dice.of("late")
        self._until_blip = self._gap()

    def _gap(self) -> int:
        """Return how many questions go well before the next one is lost: one throw instead of hundreds."""
        return int(self._blips.expovariate(BLIP)) if self._site.noise else 1 << 60

    # -- questions

    def ask(self, fleet: str, instance: str, check: CheckPolicy, then: Callable[[Result], None]) -> None:
        """Ask one check of one machine now."""
        result = self._ask(instance, check, check.timeout, self._theirs.now)
        self._theirs.at(result.done, lambda: then(result))

    def balancer(self, fleet: str, instance: str, path: str = "/") -> bool | None:
        """Return whether a load balancer's own probe of a machine passes now; None: gone."""
        box = self._site.boxes.get(instance)
        if box is None or box.removed is not None:
            return None
        return self._site.passes_balancer(box)

    def round(self, pairs: Sequence[tuple[str, CheckPolicy]]) -> Round:
        """Make a round of questions, to be asked with `ask_round`."""
        places: dict[str, list[int]] = {}
        for place, (instance, _) in enumerate(pairs):
            places.setdefault(instance, []).append(place)
        boxes = self._site.boxes
        latencies = tuple(LATENCY * (boxes[i].quirk if i in boxes else 1.0) for i, _ in pairs)
        return Round(
            tuple(i for i, _ in pairs), tuple(c for _, c in pairs), tuple(c.name for _, c in pairs), latencies, places
        )

    def ask_round(self, asked: Round, stretch: float, then: Callable[[Sequence[Result]], None]) -> None:
        """Ask a whole round now; `then` gets the quick answers together, and later the slow ones."""
        site, now, count = self._site, self._theirs.now, len(asked.instances)
        soon: list[Any]
        if not site.is_calm:
            soon = [None] * count
            places: Sequence[int] = range(count)
        else:
            spread = 1 + 0.2 * self._late.random()
            done = [now + latency * spread for latency in asked.latencies]
            well, heard, sent, text, metrics = map(repeat, (Status.OK, False, now, "", NO_METRICS))
            soon = rows(Result, asked.instances, asked.names, well, heard, sent, done, text, metrics)
            odd = (
                sorted(place for one in site.odd & asked.places.keys() for place in asked.places[one])
                if site.odd
                else []
            )
            blips = self._blipped(count)
            places = odd if not blips else sorted({*odd, *blips})
            lost = set(blips)
            for place in blips:
                timeout = asked.checks[place].timeout * stretch
                soon[place] = _silence(asked.instances[place], asked.names[place], now, timeout)
            places = [place for place in odd if place not in lost]
            self._hold_back(soon, lost, then)
        for place in places:
            check = asked.checks[place]
            soon[place] = self._ask(asked.instances[place], check, check.timeout * stretch, now)
        self._hold_back(soon, places, then)
        there = [result for result in soon if result is not None] if None in soon else soon
        if there:
            then(there)

    def _hold_back(self, soon: list[Any], places: Iterable[int], then: Callable[[Sequence[Result]], None]) -> None:
        """Keep the answers back that take their time; those that come at the same moment come together."""
        later: dict[BootTime, list[Result]] = {}
        for place in places:
            result: Result = soon[place]
            if result.done - result.sent > AT_ONCE:
                soon[place] = None
                later.setdefault(result.done, []).append(result)
        for moment, results in later.items():
            self._theirs.at(moment, partial(then, results))

    def _blipped(self, count: int) -> list[int]:
        """Return which of so many questions are lost by chance."""
        found: list[int] = []
        while self._until_blip < count:
            found.append(self._until_blip)
            self._until_blip += 1 + self._gap()
        self._until_blip -= count
        return found

    def _ask(self, instance: str, check: CheckPolicy, timeout: Seconds, now: BootTime) -> Result:
        box = self._site.boxes.get(instance)
        answer = _GONE if box is None else self._site.answer(box, check, timeout)
        wait = timeout if answer.silent else answer.latency
        return Result(instance, check.name, answer.status, answer.silent, now, now + wait, answer.text)

    # -- the supervisor's own senses

    def sentinels(self) -> list[SentinelReported]:
        """Return what the sentinels find now: the way out, the cloud, each zone's fixed point, each dependency."""
        site, post = self._site, self._site.post
        way = post.names and not self._lost(post)
        said = [
            SentinelReported("way-out", way, "" if way else "no answer"),
            SentinelReported("names", post.names, "" if post.names else "names do not resolve"),
        ]
        for name, zone in sorted(site.zones.items()):
            ok = not zone.cut and name not in post.unseen and not self._lost(post)
            said.append(SentinelReported(f"zone-{name}", ok, "" if ok else "no answer", Sense.ZONE, name))
        for name, dependency in sorted(site.dependencies.items()):
            ok = not dependency.down and not dependency.slow and not self._lost(post)
            said.append(SentinelReported(f"dependency-{name}", ok, "" if ok else "no answer", Sense.DEPENDENCY, name))
        return said

    def myself(self) -> SelfReported:
        """Return how the supervisor's own host is doing."""
        post = self._site.post
        late = min(5.0, post.late)
        return SelfReported(lag=late / 2, start_delay=late / 10.0, names_resolve=post.names)

    def _lost(self, post: Post) -> bool:
        """Return whether a sentinel's question is lost: it is asked twice."""
        return post.loss > 0 and self._late.random() < post.loss**2


def _silence(instance: str, check: str, now: BootTime, timeout: Seconds) -> Result:
    return Result(instance, check, Status.CRITICAL, True, now, now + timeout, f"no answer within {timeout:.0f}s")
