"""Plays many runs over the machine's cores; what comes back is in the order that was asked, whoever was ready first."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from supervisor.core import explaining
from supervisor.core.settings import Settings
from supervisor.sim.exam.ablation import Without
from supervisor.sim.exam.baselines import BASELINES
from supervisor.sim.exam.healer import Healer
from supervisor.sim.exam.oracle import Oracle
from supervisor.sim.exam.parts import Power
from supervisor.sim.exam.player import Run
from supervisor.sim.exam.runs import ORACLE, SICKBAY, Play, Played, Saying, Trace, Truth
from supervisor.sim.exam.scenario import Scenario, read
from supervisor.sim.exam.sickbay import Sickbay

SAMPLE = 10.0
"""Seconds between two looks at how many are sick, for a plot."""

FEW = 4
"""So few runs are over before other processes have begun."""

AT_ONCE = 300.0
"""Seconds by which a fault that shows at once is to be named; one that grows, or only slows, has longer."""

POLICIES = (SICKBAY, *BASELINES)
"""Who can be played, besides the oracle, which always is."""

Base = Callable[[str], Settings]
"""Reads the settings of a configuration file; given by whoever may read configurations."""


def play_all(
    plays: Sequence[Play], workers: int, base: Base | None = None, done: Callable[[int], None] = lambda _: None
) -> list[Played]:
    """Play everything, and return it in the order given; `done` hears how many are ready."""
    found = []
    for number, played in enumerate(_played(plays, workers, base), 1):
        found.append(played)
        done(number)
    return found


def _played(plays: Sequence[Play], workers: int, base: Base | None) -> Iterator[Played]:
    if workers <= 1 or len(plays) <= FEW:
        yield from (play_one(play, base) for play in plays)
        return
    # Spawned, not forked: a fork of a program with threads may hang.
    context = multiprocessing.get_context("spawn")
    # One at a time: short runs and very long ones lie side by side in the list.
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(_Player(base), plays, chunksize=1)


class _Player:
    """`play_one` with its reader of configurations, as another process can take it."""

    def __init__(self, base: Base | None) -> None:
        self._base = base

    def __call__(self, play: Play) -> Played:
        return play_one(play, self._base)


def play_one(play: Play, base: Base | None = None) -> Played:
    """Play one run."""
    scenario = _read(play.path)
    if play.quick:
        scenario = scenario.quickened()
    if play.without == "heartbeats":
        scenario = scenario.model_copy(update={"heartbeats": False})
    settings = base(play.config) if base is not None and play.config else None
    healer = make(play.policy)
    oracle = healer if isinstance(healer, Oracle) else None
    if play.without:
        healer = Without(healer, play.without)
    run = Run(scenario, play.size, play.seed, healer, settings)
    if oracle is not None:
        oracle.knows(run.site)
    sick: list[tuple[float, float]] = []
    if play.traced:
        run.site.clock.every(SAMPLE, lambda: sick.append((run.site.clock.now, _still_sick(run))))
    begun = time.process_time()
    with _flat(play.without == "signatures"):
        score = run.play()
    score = replace(score, cpu=round(time.process_time() - begun, 3))
    names = scenario.expect.named and scenario.expect.named_within <= AT_ONCE
    truth = Truth(scenario.number, scenario.truth.shared, str(scenario.truth.cause or ""), names)
    return Played(play, truth, score, _trace(run, sick) if play.traced else None)


def make(policy: str) -> Healer:
    """Make a healer by its name."""
    if policy == SICKBAY:
        return Sickbay()
    return Oracle() if policy == ORACLE else BASELINES[policy]()


@lru_cache(maxsize=256)
def _read(path: str) -> Scenario:
    return read(Path(path))


@contextmanager
def _flat(flat: bool) -> Iterator[None]:
    """Make every way to fail look the same, for as long as it lasts: the table is the judge's, so it is put back."""
    if not flat:
        yield
        return
    judge = vars(explaining)
    kept = judge["looks_like"]
    judge["looks_like"] = lambda *_: 0.0
    try:
        yield
    finally:
        judge["looks_like"] = kept


def _trace(run: Run, sick: Sequence[tuple[float, float]]) -> Trace:
    ledger = run.site.ledger
    removals = [act.at for act in ledger.acts if act.verb in ("deregister", "isolate", "terminate")]
    return Trace(
        lasts=run.scenario.lasts,
        desired=run.size,
        demand=ledger.demand,
        serving=((0.0, float(run.size)), *ledger.curve),
        sick=_steps(sick),
        removals=tuple(sorted(set(removals))),
        launches=tuple(act.at for act in ledger.launches),
        said=tuple(
            Saying(page.at, page.text, f"{page.cause} {page.value}".strip() if page.cause else "", page.urgent)
            for page in ledger.pages
        ),
    )


def _still_sick(run: Run) -> int:
    return sum(box.power is not Power.TERMINATED for box in run.site.at_fault())


def _steps(samples: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Keep only the samples where the number changed."""
    kept: list[tuple[float, float]] = []
    for at, value in samples:
        if not kept or kept[-1][1] != value:
            kept.append((at, value))
    return tuple(kept)
