"""Many runs become few numbers: medians, worst seeds, ratios, goals, and a report that stands alone."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from supervisor.sim.exam.goals import goals, percentile
from supervisor.sim.exam.plot import MOST_STEPS, plot, thinned
from supervisor.sim.exam.report import report
from supervisor.sim.exam.runs import ORACLE, SICKBAY, Play, Played, Saying, Trace, Truth
from supervisor.sim.exam.score import Score
from supervisor.sim.exam.tally import count, duels, span, tally

SCORE = Score(
    "2 clean crash", 30, 1, SICKBAY, 31.0, 31.0, 120.0, 0, 0, 4.0, 1, 0, 1, True, 0, 0.0, 0, (), True, ""
)  # fmt: skip
TRUTH = Truth(2, shared=False, cause="instance", names=True)
TRACE = Trace(3600.0, 30, 21.0, ((0.0, 30.0), (600.0, 29.0)), ((0.0, 0.0), (600.0, 1.0)), (700.0,), (690.0,), (Saying(640.0, "<b>i-1</b> & friends", "instance"),))  # fmt: skip


def played(policy: str, seed: int = 1, without: str = "", **changed: object) -> Played:
    """Return one run."""
    score = replace(SCORE, healer=policy, seed=seed, **changed)  # type: ignore[arg-type]
    return Played(Play("2.toml", 30, seed, policy, without), TRUTH, score, TRACE)


def test_lost_capacity_counts_beyond_what_the_oracle_loses_in_the_same_seed() -> None:
    """The oracle loses 3 minutes in the first seed and 1 in the second."""
    runs = [
        played(ORACLE, 1, lost=3.0),
        played(ORACLE, 2, lost=1.0),
        played(SICKBAY, 1, lost=4.0),
        played(SICKBAY, 2, lost=6.0),
    ]

    own = next(row for row in tally(runs) if row.policy == SICKBAY)

    assert own.lost == (1.0, 5.0)
    assert (own.cost, own.worst) == (3.0, 5.0)


def test_the_best_baseline_is_the_cheapest_and_never_the_oracle() -> None:
    """Sickbay costs 1, the baselines 4 and 24, the oracle nothing."""
    runs = [
        played(ORACLE, lost=3.0),
        played(SICKBAY),
        played("naive", lost=7.0),
        played("karpenter", lost=7.0, cause_right=False),
        played(SICKBAY, without="challenge", lost=3.0),
    ]

    (duel,) = duels(tally(runs))

    assert duel.best is not None
    assert (duel.best.policy, duel.ratio) == ("naive", 0.25)


def test_a_veto_makes_a_run_wrong_whatever_it_cost() -> None:
    """One of two seeds broke the floor."""
    runs = [played(SICKBAY, 1), played(SICKBAY, 2, vetoes=("the floor is 24",))]

    (row,) = tally(runs)

    assert (row.rights, row.is_right, row.vetoed, row.why) == (1, False, 1, "the floor is 24")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        pytest.param(None, "–", id="never"),
        pytest.param(31.4, "31s", id="seconds"),
        pytest.param(1800.0, "30m", id="minutes"),
        pytest.param(9000.0, "2.5h", id="hours"),
    ],
)
def test_a_duration_is_short(seconds: float | None, words: str) -> None:
    """It fits a column."""
    assert span(seconds) == words


def test_a_goal_is_missed_by_the_slowest_of_a_hundred_but_not_by_one_in_two_hundred() -> None:
    """The 99th percentile leaves out one in a hundred."""
    assert percentile([1.0] * 99 + [9.0], 0.99) == 1.0
    assert percentile([1.0] * 98 + [9.0] * 2, 0.99) == 9.0


def test_a_crash_that_was_never_seen_misses_its_goals() -> None:
    """None is not fast."""
    found = {goal.what: goal for goal in goals(tally([played(SICKBAY, detected=None, named=None, cause_right=False)]))}

    assert found["crash detection, 10 s checks, p50"].word == "MISSED"
    assert found["crash detection, 10 s checks, p50"].measured == "never"
    assert found["fault that shows at once named within 2 min, fleets of 30+"].met is False
    assert found["replacements that never boot: launches before stopping"].word == "not measured"


class Reader(HTMLParser):
    """Checks that what was opened is closed, and notes what is asked of elsewhere."""

    VOID = ("meta", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elsewhere: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elsewhere += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "srcset", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elsewhere += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "srcset", "action")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_is_well_formed_and_needs_nothing_from_elsewhere() -> None:
    """It can be mailed, and what machines say can't become markup."""
    runs = [
        played(ORACLE),
        played(SICKBAY),
        played("naive", vetoes=("<i>floor</i>",)),
        played(SICKBAY, without="challenge"),
    ]
    rows = tally(runs)
    page = report(rows, runs, goals(rows), {"2 clean crash": "One machine <dies>."}, "An exam")
    reader = Reader()
    reader.feed(page)

    assert reader.open == []
    assert reader.elsewhere == []
    assert not re.search(r"https?://|@import|url\(|<script", page)
    assert "<i>floor" not in page
    assert "veto" in page
    assert "One machine &lt;dies&gt;." in page
    assert "no challenge round before a removal" in page


def test_a_plot_is_xml_and_says_in_words_what_it_shows() -> None:
    """Whoever can't see it hears it."""
    picture = ET.fromstring(plot(TRACE))  # noqa: S314  # our own text

    assert picture.get("aria-label") == "29 of 30 machines served at the least, 21 were needed; 1 removals, 1 launches"


def test_a_long_curve_is_thinned_and_keeps_its_lowest_moment() -> None:
    """Ten thousand steps, one deep fall."""
    steps = [(float(at), 30.0 if at != 5000 else 3.0) for at in range(10_000)]

    kept = thinned(steps, 10_000.0)

    assert len(kept) <= MOST_STEPS + 2
    assert min(value for _, value in kept) == 3.0
    assert list(kept) == sorted(kept)


def test_a_count_is_short() -> None:
    """Whole numbers have no point."""
    assert [count(value) for value in (None, 0.0, 2.0, 2.25, 12.6)] == ["–", "0", "2", "2.2", "13"]
