"""Numbers for plots: the newest are kept, and never too many."""

from __future__ import annotations

from supervisor.core.measured import LABELS, LOOK, OLD, POINTS, Measured
from supervisor.core.signals import Result
from supervisor.core.terms import Status


def result(at: float, instance: str = "i-1", check: str = "queue", **metrics: float) -> Result:
    """Return a result with numbers."""
    return Result(instance, check, Status.OK, False, at, at + 0.1, "", metrics)


def shown(kept: Measured, instance: str = "i-1") -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Return what is kept of an instance."""
    return {(check, label): list(zip(s.at, s.values, strict=True)) for check, label, s in kept.of(instance)}


def test_each_number_is_kept_with_its_time() -> None:
    """By check and label; results without a number leave nothing."""
    kept = Measured()
    kept.take(
        [result(1.0, length=3.0), result(2.0), result(3.0, length=4.0, age_seconds=0.5), result(3.0, "i-2", length=9.0)]
    )

    assert {("queue", "age_seconds"): [(3.0, 0.5)], ("queue", "length"): [(1.0, 3.0), (3.0, 4.0)]} == shown(kept)
    assert {} == shown(kept, "i-none")


def test_the_oldest_points_go() -> None:
    """So many are a plot."""
    kept = Measured()
    kept.take(result(float(n), length=float(n)) for n in range(POINTS + 10))

    assert [(float(n), float(n)) for n in range(10, POINTS + 10)] == shown(kept)["queue", "length"]


def test_a_check_that_measures_something_else_each_time_is_bounded() -> None:
    """What it measured longest ago goes."""
    kept = Measured()
    kept.take(result(float(n))._replace(metrics={f"n{n}": 1.0}) for n in range(LABELS + 5))

    assert {f"n{n}" for n in range(5, LABELS + 5)} == {label for _, label in shown(kept)}


def test_all_together_are_bounded_and_old_ones_make_room() -> None:
    """Nobody's new number pushes another out that is still measured."""
    kept = Measured(most=2)
    kept.take([result(0.0, "i-1", a=1.0), result(0.0, "i-2", a=1.0), result(1.0, "i-3", a=1.0)])

    assert ({}, 1) == (shown(kept, "i-3"), kept.left_out)

    kept.take([result(OLD + LOOK, "i-1", a=2.0), result(OLD + LOOK + 1, "i-3", a=1.0)])

    assert ({}, 1) == (shown(kept, "i-2"), kept.left_out)
    assert [(OLD + LOOK + 1, 1.0)] == shown(kept, "i-3")["queue", "a"]
