"""EC2's token buckets: one for each action, one for each kind of action, one for the instances that are launched.

https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html has the numbers. They belong to the account.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.standins.aws.call import AwsError, Call
from tests.standins.aws.clock import Clock

BUCKETS = {
    "reads": (100, 20.0),
    "unfiltered reads": (50, 10.0),
    "mutations": (50, 5.0),
    "RunInstances": (5, 2.0),
    "StartInstances": (5, 2.0),
    "TerminateInstances": (100, 5.0),
    "CreateTags": (100, 10.0),
    "instances launched": (1000, 2.0),
    "instances terminated": (1000, 20.0),
    "elbv2": (40, 10.0),
    "autoscaling": (40, 10.0),
}


@dataclass(slots=True)
class Bucket:
    """So many tokens at most, so many anew in a second."""

    capacity: float
    refill: float
    tokens: float
    seen: float


class Limits:
    """The buckets of an account, full at first."""

    def __init__(self, clock: Clock) -> None:
        """Begin with AWS's numbers."""
        self._clock = clock
        self._buckets = {name: Bucket(n, refill, n, 0.0) for name, (n, refill) in BUCKETS.items()}
        self.refused = 0

    def set(self, name: str, capacity: float, refill: float) -> None:
        """Give an action, or one of `BUCKETS`, other numbers."""
        self._buckets[name] = Bucket(capacity, refill, capacity, self._clock.now)

    def take(self, call: Call) -> None:
        """Count a call, or refuse it; a refused one takes no token."""
        wanted = [(name, 1.0) for name in (call.action, _kind(call)) if name in self._buckets][:1]
        if call.action == "RunInstances":
            wanted.append(("instances launched", float(call.params["MaxCount"])))
        if call.action == "TerminateInstances":
            wanted.append(("instances terminated", float(len(call.ids("InstanceIds")))))
        buckets = [(self._filled(name), amount) for name, amount in wanted]
        if any(bucket.tokens < amount for bucket, amount in buckets):
            self.refused += 1
            if call.service == "ec2":
                raise AwsError("RequestLimitExceeded", "Request limit exceeded.")
            raise AwsError("Throttling", "Rate exceeded", 400)
        for bucket, amount in buckets:
            bucket.tokens -= amount

    def _filled(self, name: str) -> Bucket:
        bucket, now = self._buckets[name], self._clock.now
        bucket.tokens = min(bucket.capacity, bucket.tokens + (now - bucket.seen) * bucket.refill)
        bucket.seen = now
        return bucket


def _kind(call: Call) -> str:
    if call.service != "ec2":
        return call.service
    if call.is_mutating:
        return "mutations"
    narrowed = any(key.endswith(("Id", "Ids")) or key in ("Filters", "MaxResults") for key in call.params)
    return "reads" if narrowed else "unfiltered reads"
