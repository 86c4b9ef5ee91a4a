"""The calendar: each moment once, where clocks are put forward and back, and after a time when nobody looked."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from supervisor.core.signals import DigestDue
from supervisor.runtime.calendar import Calendar, last_due, next_due

PARIS = ZoneInfo("Europe/Paris")
MONDAYS = "0 9 * * MON"


def at(text: str) -> datetime:
    """Return a moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


MOMENTS = {
    "in winter": (MONDAYS, "2026-01-07T00:00:00", "2026-01-05T08:00:00", "2026-01-12T08:00:00"),
    "in summer": (MONDAYS, "2026-07-08T00:00:00", "2026-07-06T07:00:00", "2026-07-13T07:00:00"),
    "over the day when clocks go forward": (MONDAYS, "2026-03-29T12:00:00", "2026-03-23T08:00:00", "2026-03-30T07:00:00"),
    "over the day when they go back": (MONDAYS, "2026-10-25T12:00:00", "2026-10-19T07:00:00", "2026-10-26T08:00:00"),
    "an hour that is skipped": ("30 2 * * SUN", "2026-03-29T06:00:00", "2026-03-29T01:00:00", "2026-04-05T00:30:00"),
    "the moment itself": (MONDAYS, "2026-01-05T08:00:00", "2026-01-05T08:00:00", "2026-01-12T08:00:00"),
    "a moment after it": (MONDAYS, "2026-01-05T08:00:00.5", "2026-01-05T08:00:00", "2026-01-12T08:00:00"),
    "a second before it": (MONDAYS, "2026-01-05T07:59:59", "2025-12-29T08:00:00", "2026-01-05T08:00:00"),
}  # fmt: skip


@pytest.mark.parametrize("name", MOMENTS)
def test_a_week_has_one_moment(name: str) -> None:
    """Nine o'clock is nine o'clock to those who read it."""
    cron, now, last, coming = MOMENTS[name]

    assert at(last) == last_due(cron, PARIS, at(now))
    assert at(coming) == next_due(cron, PARIS, at(now))


def test_every_moment_of_two_years_is_posted_as_the_last_one_of_its_week() -> None:
    """What is reckoned forward and backward is the same."""
    moment = at("2025-01-01T00:00:00")
    for _ in range(104):
        moment = next_due(MONDAYS, PARIS, moment)
        assert moment == last_due(MONDAYS, PARIS, moment)
        assert moment == last_due(MONDAYS, PARIS, moment + timedelta(days=6))


async def test_what_was_due_while_nobody_was_there_is_posted_at_the_start() -> None:
    """The engine knows whether it was told; a plan that stays the same posts nothing anew."""
    posted: list[DigestDue] = []
    calendar = Calendar(posted.append, lambda: at("2026-01-07T00:00:00"))

    calendar.use("", PARIS)
    assert [] == posted
    calendar.use(MONDAYS, PARIS)
    calendar.use(MONDAYS, PARIS)
    assert [DigestDue(at("2026-01-05T08:00:00"))] == posted
    calendar.close()


@pytest.mark.acceptance
async def test_it_posts_when_the_moment_comes() -> None:
    """On the real clock, each second once."""
    posted: list[DigestDue] = []
    calendar = Calendar(posted.append)

    calendar.use("* * * * * *", PARIS)
    async with asyncio.timeout(10):
        while len({p.at for p in posted}) < 3:
            await asyncio.sleep(0.05)
    calendar.close()
    known = len(posted)
    await asyncio.sleep(0.1)

    assert known == len(posted)
    assert sorted(p.at for p in posted) == [p.at for p in posted]
