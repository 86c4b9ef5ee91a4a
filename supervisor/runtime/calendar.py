"""The calendar: posts a signal when a moment comes that people agreed on, in their time zone.

The moments themselves are reckoned by cronsim: an hour that is skipped or comes twice fires once. What was due while nobody
was there is posted at the start; the engine knows what was done.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from cronsim import CronSim

from supervisor.core.signals import DigestDue


def last_due(cron: str, zone: tzinfo, now: datetime) -> datetime:
    """Return the last moment of a cron expression that is not after `now`, in UTC."""
    after = now.replace(microsecond=0) + timedelta(seconds=1)
    return next(CronSim(cron, after.astimezone(zone), reverse=True)).astimezone(UTC)


def next_due(cron: str, zone: tzinfo, now: datetime) -> datetime:
    """Return its first moment after `now`, in UTC."""
    return next(CronSim(cron, now.astimezone(zone))).astimezone(UTC)


class _Cron(BaseTrigger):  # type: ignore[misc]  # the library has no types
    """A cron expression for the scheduler, whose own crontab counts the days of the week otherwise."""

    def __init__(self, cron: str, zone: tzinfo) -> None:
        """Take an expression that was checked."""
        self._cron = cron
        self._zone = zone

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return the next moment."""
        return next_due(self._cron, self._zone, previous_fire_time or now)


class Calendar:
    """Posts what is due. `use` may be called again with another plan."""

    def __init__(
        self, post: Callable[[DigestDue], None], now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Begin without a plan."""
        self._post = post
        self._now = now
        self._plan: tuple[str, tzinfo] | None = None
        self._scheduler: AsyncIOScheduler | None = None

    def use(self, cron: str, zone: tzinfo) -> None:
        """Post a digest at these moments; '' for never. Needs a running loop."""
        plan = (cron, zone) if cron else None
        if plan == self._plan:
            return
        self.close()
        self._plan = plan
        if plan is None:
            return
        scheduler = self._scheduler = AsyncIOScheduler(timezone=UTC)
        # A moment that passed while we could not look counts all the same, once.
        scheduler.add_job(self._look, _Cron(cron, zone), misfire_grace_time=None, coalesce=True)
        scheduler.start()
        self._post(DigestDue(last_due(cron, zone, self._now())))

    def close(self) -> None:
        """Post nothing any more."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
        self._scheduler = None
        self._plan = None

    async def _look(self) -> None:
        if self._plan is not None:
            self._post(DigestDue(last_due(*self._plan, self._now())))
