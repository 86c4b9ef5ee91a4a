"""What the fleets of one region share: the API with its limits, the threads, and one look at all machines for all of them.

An answer is shared by all who ask the same within a second of its beginning, and never after something was changed.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ClassVar, ParamSpec, TypeVar

import structlog

from supervisor.providers.ec2.api import Answer, BotoApi, ReadError
from supervisor.providers.ec2.options import Ec2Options
from supervisor.providers.ec2.scope import FLEET

log = structlog.get_logger()

READERS = 8  # threads that read; an act of its own reads in the thread that acts
ACTORS = 8  # threads that change something: never kept by reads
STALE = 1.0  # seconds that a look may be older than the question
SPOT = "SpotInstanceRequestId"
LATE = 8.0  # seconds after which a balancer's or a status's answer is none: the machines are known all the same
PAGE = 1000
BATCH = 50  # the most ids that DescribeAutoScalingInstances takes
BROKEN = frozenset({"InternalError", "InternalFailure", "Unavailable", "ServiceUnavailable"})

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Look:
    """What AWS said of every machine here, and of how one fleet's machines serve. None: it did not say."""

    instances: tuple[Answer, ...]
    statuses: Mapping[str, Answer] | None = None
    targets: Mapping[str, Sequence[Answer] | None] = field(default_factory=dict)
    """By target group's ARN."""
    members: Mapping[str, Answer] | None = None
    """Of Auto Scaling groups, by instance; asked only where the fleet has a group."""
    spots: Mapping[str, Answer] | None = None
    """The requests behind spot machines, by their id; asked only where the fleet has such."""


@dataclass(frozen=True, slots=True)
class _Flight:
    """A question on its way, or answered."""

    task: asyncio.Task[Any]  # Any: each question has its own kind of answer
    began: float
    changes: int


class Region:
    """One region, seen with one profile's credentials, for all fleets that have opened it."""

    _opened: ClassVar[dict[tuple[str, str], Region]] = {}

    def __init__(self, name: str, profile: str, api: BotoApi | None = None, late: float = LATE) -> None:
        """Begin with one user. Nothing is asked yet. `late` in seconds, as `LATE`."""
        self.name = name
        self.profile = profile
        self.api = api or BotoApi(name, profile)
        self.zones: set[str] = set()
        """Where machines of these fleets are, or may be launched."""
        self._users = 1
        self._late_after = late
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix=f"ec2-{name}-reads")
        self._actors = ThreadPoolExecutor(ACTORS, thread_name_prefix=f"ec2-{name}-acts")
        self._flights: dict[str, _Flight] = {}
        self._late: dict[str, asyncio.Future[Any]] = {}  # Any: as in a flight
        self._silent: set[str] = set()

    @classmethod
    def open(cls, name: str, profile: str) -> Region:
        """Return a region for one more fleet. Each user closes it once."""
        found = cls._opened.get((name, profile))
        if found is None:
            found = cls._opened[name, profile] = cls(name, profile)
        else:
            found._users += 1
        return found

    def close(self) -> None:
        """Count a user out; the last one closes the region. What has not begun never will; threads end when calls do."""
        self._users -= 1
        if self._users:
            return
        if self._opened.get((self.name, self.profile)) is self:
            del self._opened[self.name, self.profile]
        for flight in self._flights.values():
            flight.task.cancel()
        self._flights.clear()
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._actors.shutdown(wait=False, cancel_futures=True)
        self.api.close()

    async def reading(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do something that reads, in a thread. A cancelled wait does not end it. Raises `ReadError` when closed."""
        if self._users <= 0:
            raise ReadError(f"{self.name} is closed: nothing is asked any more")
        call = functools.partial(work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._readers, call)

    async def acting(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do something that changes, in a thread that no read keeps. A cancelled wait does not end it.

        Raises `RuntimeError` when closed: then nothing was begun.
        """
        call = functools.partial(work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._actors, call)

    # ------------------------------------------------------------------------------------------ one look for all

    async def look(self, fleet: str, options: Ec2Options) -> Look:
        """Return what AWS says now, as far as one fleet needs it. Raises `ReadError`: all or nothing."""
        instances = await self._shared("DescribeInstances", self._instances)
        async with asyncio.TaskGroup() as asking:
            statuses = asking.create_task(self._told("DescribeInstanceStatus", self._statuses))
            targets = {
                arn: asking.create_task(self._told(arn, functools.partial(self._targets, arn)))
                for arn in options.target_groups
            }
            members = spots = None
            if requests := [str(i[SPOT]) for i in instances if i.get(SPOT) and tag_of(i, FLEET) == fleet]:
                wanted = functools.partial(self._spots, requests)
                spots = asking.create_task(self._told(f"spot requests of fleet {fleet}", wanted))
            if options.auto_scaling_group:
                ids = [str(i["InstanceId"]) for i in instances if tag_of(i, FLEET) == fleet]
                ask = functools.partial(self._members, ids)
                members = asking.create_task(self._told(f"members of fleet {fleet}", ask))
        told = {arn: task.result() for arn, task in targets.items()}
        return Look(
            instances,
            statuses.result(),
            told,
            members.result() if members else None,
            spots.result() if spots else None,
        )

    async def _told(self, what: str, ask: Callable[[], R]) -> R | None:
        return await self._shared(what, lambda: self._perhaps(what, ask))

    async def _shared(self, what: str, ask: Callable[[], Coroutine[None, None, R]]) -> R:
        """Ask something, or take the answer to the same question: asked a moment ago, and nothing changed since.

        A question that is under way for longer is waited for, and then asked again: a slow AWS gets no queue.
        """
        asked, changes = time.monotonic(), self.api.changes
        while True:
            flight = self._flights.get(what)
            if flight is not None and flight.began >= asked - STALE and flight.changes >= changes:
                break
            if flight is not None and not flight.task.done():
                await asyncio.wait({flight.task})
                continue
            # Both are taken before anything is sent: what changes meanwhile may or may not be in the answer.
            began, known = time.monotonic(), self.api.changes
            task = asyncio.create_task(ask(), name=f"{what} in {self.name}")
            task.add_done_callback(_heard)
            self._flights[what] = _Flight(task, began, known)
        # One fleet that waits no longer must not end the question of the others.
        answer: R = await asyncio.shield(flight.task)
        return answer

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
            self._late[what] = asked
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

    def _spots(self, requests: Sequence[str]) -> dict[str, Answer]:
        found: dict[str, Answer] = {}
        for start in range(0, len(requests), PAGE // 10):
            # By a filter: one request that AWS has forgotten would fail all others that are asked for by id.
            filters = [{"Name": "spot-instance-request-id", "Values": list(requests[start : start + PAGE // 10])}]
            pages = self.api.pages("ec2", "DescribeSpotInstanceRequests", "SpotInstanceRequests", Filters=filters)
            found |= {str(request[SPOT]): request for request in pages}
        return found


def tag_of(shown: Answer, name: str) -> str | None:
    """Return a tag of anything that EC2 shows; None where it has no such tag."""
    return next((str(tag.get("Value", "")) for tag in shown.get("Tags", []) if tag["Key"] == name), None)


def _heard(asked: asyncio.Future[R]) -> None:
    if not asked.cancelled():
        asked.exception()  # perhaps nobody waits for it any more, and asyncio would complain
