"""What the fleets of one region share: the API with its limits, the threads, and one look at everything for all of them.

A look may be shared by all who ask within a second of its beginning, and never after something was changed.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import ClassVar, ParamSpec, TypeVar

import structlog

from supervisor.providers.ec2.api import Answer, BotoApi, ReadError
from supervisor.providers.ec2.options import Ec2Options

log = structlog.get_logger()

READERS = 8  # threads that read; an act of its own reads in the thread that acts
ACTORS = 8  # threads that change something: never kept by reads
STALE = 1.0  # seconds that a look may be older than the question
FLEET = "sickbay:fleet"
LATE = 8.0  # seconds after which a balancer's or a status's answer is none: the machines are known all the same
PAGE = 1000
BATCH = 50  # the most ids that DescribeAutoScalingInstances takes
BROKEN = frozenset({"InternalError", "InternalFailure", "Unavailable", "ServiceUnavailable"})

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Look:
    """What AWS said of every machine of every fleet here. None: it did not say."""

    instances: tuple[Answer, ...]
    statuses: Mapping[str, Answer] | None = None
    targets: Mapping[str, Sequence[Answer] | None] = field(default_factory=dict)
    """By target group's ARN."""
    members: Mapping[str, Answer] | None = None
    """Of Auto Scaling groups, by instance; asked only where a fleet has a group."""


@dataclass(frozen=True, slots=True)
class _Flight:
    """A look on its way, or done."""

    task: asyncio.Task[Look]
    began: float
    changes: int


class Region:
    """One region, seen with one profile's credentials. `open` and `close` count the fleets."""

    _opened: ClassVar[dict[tuple[str, str], Region]] = {}

    def __init__(self, name: str, profile: str, api: BotoApi | None = None, late: float = LATE) -> None:
        """Begin without fleets. Nothing is asked yet. `late` in seconds, as `LATE`."""
        self.name = name
        self.profile = profile
        self.api = api or BotoApi(name, profile)
        self._late_after = late
        self._fleets: dict[str, Ec2Options] = {}
        self._uses: Counter[str] = Counter()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix=f"ec2-{name}-reads")
        self._actors = ThreadPoolExecutor(ACTORS, thread_name_prefix=f"ec2-{name}-acts")
        self._flight: _Flight | None = None
        self._late: dict[str, asyncio.Future[object]] = {}
        self.zones: set[str] = set()
        """Where machines of these fleets are, or may be launched."""
        self._silent: set[str] = set()

    @classmethod
    def open(cls, fleet: str, options: Ec2Options) -> Region:
        """Join the fleets of a region; the first one opens it."""
        key = (options.region, options.profile)
        if key not in cls._opened:
            cls._opened[key] = cls(*key)
        region = cls._opened[key]
        region.join(fleet, options)
        return region

    def join(self, fleet: str, options: Ec2Options) -> None:
        """Count a fleet in. A reload opens it anew before the old one is closed: the new options count."""
        self._fleets[fleet] = options
        self._uses[fleet] += 1

    def close(self, fleet: str) -> None:
        """Count a fleet out; the last one closes the region. Threads end when their calls do."""
        self._uses -= Counter({fleet: 1})
        if fleet not in self._uses:
            self._fleets.pop(fleet, None)
        if self._uses:
            return
        if self._opened.get((self.name, self.profile)) is self:
            del self._opened[self.name, self.profile]
        if self._flight is not None:
            self._flight.task.cancel()
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._actors.shutdown(wait=False, cancel_futures=True)
        self.api.close()

    @property
    def is_open(self) -> bool:
        """Whether any fleet is counted in."""
        return bool(self._uses)

    async def reading(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do something that reads, in a thread. A cancelled wait does not end it."""
        call = functools.partial(work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._readers, call)

    async def acting(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do something that changes, in a thread that no read keeps. A cancelled wait does not end it."""
        call = functools.partial(work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._actors, call)

    # ------------------------------------------------------------------------------------------ one look for all

    async def look(self) -> Look:
        """Return what AWS says now of all machines of all fleets. Raises `ReadError`: all or nothing."""
        if not self.is_open:
            raise ReadError(f"{self.name} is closed: nothing is asked any more")
        now = time.monotonic()
        flight = self._flight
        if flight is None or now - flight.began > STALE or flight.changes != self.api.changes:
            task = asyncio.create_task(self._looked(), name=f"look at {self.name}")
            flight = self._flight = _Flight(task, now, self.api.changes)
        # One fleet that waits no longer must not end the look of the others.
        return await asyncio.shield(flight.task)

    async def _looked(self) -> Look:
        instances = await self._instances()
        groups = sorted({arn for options in self._fleets.values() for arn in options.target_groups})
        grouped = {name for name, options in self._fleets.items() if options.auto_scaling_group}
        ids = [str(i["InstanceId"]) for i in instances if tag_of(i, FLEET) in grouped]
        async with asyncio.TaskGroup() as asking:
            statuses = asking.create_task(self._perhaps("DescribeInstanceStatus", self._statuses))
            members = asking.create_task(
                self._perhaps("DescribeAutoScalingInstances", functools.partial(self._members, ids))
            )
            targets = {
                arn: asking.create_task(self._perhaps(arn, functools.partial(self._targets, arn))) for arn in groups
            }
        told = {arn: task.result() for arn, task in targets.items()}
        return Look(instances, statuses.result(), told, members.result())

    async def _instances(self) -> tuple[Answer, ...]:
        try:
            found = await self.reading(self._described)
        except ReadError as error:
            if error.code in BROKEN and self.zones:
                await self._blame(error)
            raise
        self.zones |= {str(i["Placement"]["AvailabilityZone"]) for i in found if i.get("Placement")}
        return found

    async def _blame(self, error: ReadError) -> None:
        """Find the zones for which the whole answer failed. Even if all of them answer now, half an answer is none."""
        zones = sorted(self.zones)
        answers = await asyncio.gather(*(self.reading(self._described, zone) for zone in zones), return_exceptions=True)
        dark = [zone for zone, answer in zip(zones, answers, strict=True) if isinstance(answer, BaseException)]
        if dark:
            names = ", ".join(dark)
            raise ReadError(
                f"AWS can't describe zone {names}: its machines are unknown ({error})", error.code
            ) from error

    async def _perhaps(self, what: str, ask: Callable[[], R]) -> R | None:
        """Return an answer that may be missing: None when it fails, or is late. Says so once, and once when it is back.

        While a late one is still under way, it is not asked again: threads are few.
        """
        under_way = self._late.get(what)
        if under_way is not None and not under_way.done():
            return None
        asked = asyncio.get_running_loop().run_in_executor(self._readers, ask)
        done, _ = await asyncio.wait({asked}, timeout=self._late_after)
        if not done:
            self._late[what] = asked  # type: ignore[assignment]  # a future of whatever it is
            asked.add_done_callback(_heard)
            self._note(what, f"no answer within {self._late_after:g}s")
            return None
        try:
            answer = asked.result()
        except ReadError as error:
            self._note(what, str(error))
            return None
        self._note(what, "")
        return answer

    def _note(self, what: str, trouble: str) -> None:
        if trouble and what not in self._silent:
            self._silent.add(what)
            log.warning("ec2.no_answer", region=self.name, what=what, error=trouble)
        elif not trouble and what in self._silent:
            self._silent.discard(what)
            log.info("ec2.answers_again", region=self.name, what=what)

    # ------------------------------------------------------------------------------------------ in threads

    def _described(self, zone: str = "") -> tuple[Answer, ...]:
        filters = [{"Name": "tag-key", "Values": [FLEET]}]
        if zone:
            filters.append({"Name": "availability-zone", "Values": [zone]})
        pages = self.api.pages("ec2", "DescribeInstances", "Reservations", Filters=filters, MaxResults=PAGE)
        return tuple(instance for reservation in pages for instance in reservation["Instances"])

    def _statuses(self) -> dict[str, Answer]:
        pages = self.api.pages(
            "ec2", "DescribeInstanceStatus", "InstanceStatuses", IncludeAllInstances=True, MaxResults=PAGE
        )
        return {str(status["InstanceId"]): status for status in pages}

    def _targets(self, arn: str) -> tuple[Answer, ...]:
        answer = self.api.read("elbv2", "DescribeTargetHealth", TargetGroupArn=arn)
        if "TargetHealthDescriptions" not in answer:
            raise ReadError(f"DescribeTargetHealth of {arn}: the answer has no targets' list, so it is not whole")
        return tuple(answer["TargetHealthDescriptions"])

    def _members(self, ids: Sequence[str]) -> dict[str, Answer]:
        found: dict[str, Answer] = {}
        for start in range(0, len(ids), BATCH):
            batch = list(ids[start : start + BATCH])
            pages = self.api.pages(
                "autoscaling", "DescribeAutoScalingInstances", "AutoScalingInstances", InstanceIds=batch
            )
            found |= {str(member["InstanceId"]): member for member in pages}
        return found


def tag_of(shown: Answer, name: str) -> str | None:
    """Return a tag of anything that EC2 shows; None where it has no such tag."""
    return next((str(tag.get("Value", "")) for tag in shown.get("Tags", []) if tag["Key"] == name), None)


def _heard(asked: asyncio.Future[R]) -> None:
    if not asked.cancelled():
        asked.exception()  # nobody waits for it any more, and asyncio would complain
