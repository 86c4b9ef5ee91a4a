"""We keep to half of what AWS allows, whatever is asked of us, and slow down when it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.providers.ec2.buckets import CROWD, PACES, RECOVERY, Bucket, Buckets, bucket_of
from tests.standins.aws.limits import BUCKETS

times = st.lists(st.floats(0, 50), min_size=1, max_size=60).map(sorted)
numbers = st.tuples(st.integers(1, 20), st.floats(0.1, 20))


@given(numbers, times, st.floats(0, 5), st.sets(st.integers(0, 59)))
def test_never_more_than_capacity_and_rate_allow(
    size: tuple[int, float], asked: list[float], patience: float, refused: set[int]
) -> None:
    """In any window of the calls that were let through, refusals of AWS's in between or not."""
    capacity, rate = size
    bucket = Bucket(capacity, rate, capacity, 0.0)
    begun = []
    for number, now in enumerate(asked):
        if number in refused:
            bucket = bucket.slowed(now)
        bucket, wait = bucket.taken(now, patience)
        if wait is not None:
            assert 0 <= wait <= patience
            begun.append(now + wait)
    begun.sort()
    for first, start in enumerate(begun):
        for last in range(first, len(begun)):
            assert last - first + 1 <= capacity + rate * (begun[last] - start) + 1e-6


def test_a_refusal_halves_the_pace_and_time_brings_it_back() -> None:
    """Not at once."""
    bucket = Bucket(10, 2.0, 10, 0.0).slowed(0.0)
    assert (0.5, 0.0) == (bucket.pace, bucket.tokens)
    assert (0.75, 1.0) == (bucket.filled(RECOVERY / 4).pace, bucket.filled(2 * RECOVERY).pace)


def test_many_refusals_never_stop_us_altogether() -> None:
    """A sixteenth is left."""
    bucket = Bucket(10, 2.0, 10, 0.0)
    for number in range(20):
        bucket = bucket.slowed(number * CROWD)
    assert 1 / 16 <= bucket.pace < 1 / 8


def test_a_crowd_of_refusals_counts_once() -> None:
    """Its calls were on their way before we slowed down."""
    bucket = Bucket(10, 2.0, 10, 0.0)
    for number in range(8):
        bucket = bucket.slowed(number * CROWD / 10)
    assert 0.5 == pytest.approx(bucket.pace, abs=0.01)


def test_who_can_not_wait_takes_nothing() -> None:
    """So a crowd that gives up does not keep those who come later."""
    bucket, wait = Bucket(1, 1.0, 1, 0.0).taken(0.0, 2.0)
    assert 0.0 == wait
    waits = []
    for _ in range(5):
        bucket, wait = bucket.taken(0.0, 2.0)
        waits.append(wait)
    assert [1.0, 2.0, None, None, None] == waits
    assert 1.0 == bucket.taken(2.0, 2.0)[1]


def test_a_clock_that_stands_or_goes_back_gives_nothing() -> None:
    """No tokens from nowhere."""
    assert 3.0 == Bucket(10, 5.0, 3.0, 7.0).filled(2.0).tokens


@pytest.mark.parametrize("name", PACES)
def test_our_buckets_are_half_of_the_accounts(name: str) -> None:
    """People and other programs have the other half."""
    assert PACES[name][0] <= BUCKETS[name][0] / 2
    assert PACES[name][1] <= BUCKETS[name][1] / 2


@pytest.mark.parametrize(
    ("service", "action", "params", "expected"),
    [
        ("ec2", "RunInstances", (), "RunInstances"),
        ("ec2", "CreateTags", (), "CreateTags"),
        ("ec2", "StopInstances", ("InstanceIds",), "mutations"),
        ("ec2", "DescribeInstances", ("Filters",), "reads"),
        ("ec2", "DescribeVolumes", (), "unfiltered reads"),
        ("ec2", "GetConsoleOutput", ("InstanceId",), "reads"),
        ("elbv2", "DescribeTargetHealth", (), "elbv2"),
        ("autoscaling", "DetachInstances", (), "autoscaling"),
    ],
)
def test_actions_are_grouped_as_aws_does(service: str, action: str, params: tuple[str, ...], expected: str) -> None:
    """Each takes from one bucket."""
    assert expected == bucket_of(service, action, dict.fromkeys(params))


def test_a_full_queue_is_told_at_once() -> None:
    """The shell around the arithmetic: without waiting there is one token."""
    buckets = Buckets({"elbv2": (2, 0.001)}, patience=0.0)
    assert [True, True, False] == [buckets.wait("elbv2", "RegisterTargets", {}) for _ in range(3)]
    buckets.slow("elbv2", "RegisterTargets", {})
    assert not buckets.wait("elbv2", "RegisterTargets", {})
