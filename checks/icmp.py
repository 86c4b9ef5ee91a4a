"""The check `icmp`."""

from datetime import timedelta
from typing import Annotated, Self

from pydantic import Field, model_validator

from supervisor.api import Check, CheckResult, Duration, Instance, Probe


class IcmpCheck(Check, kind="icmp"):
    """Ping: ask the instance's kernel for echoes, and compare how many come back and how fast.

    An echo says that the network and the kernel are there, and nothing of any service; many networks drop echoes. Give
    this check the role `advisory`, where it tells a dead machine from a dead service, and let `http` or `tcp` condemn.
    Where the kernel allows the daemon's group no echoes, the check is UNKNOWN and says which command mends it.

    ```toml
    [[fleet.web.check]]
    name = "ping"
    kind = "icmp"
    role = "advisory"
    count = 5
    loss = 0.2
    warn = "50ms"
    ```
    """

    count: Annotated[int, Field(ge=1, le=20)] = 1
    """How many echoes a run asks for, 20 ms apart."""
    wait: Annotated[Duration, Field(gt=timedelta())] = timedelta(seconds=1)
    """How long each is waited for. Choose `timeout` longer than this, and than 20 ms for each echo besides."""
    loss: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The share of echoes that may be lost; more is CRITICAL, and all of them are silence."""
    warn: Duration | None = None
    """The mean round trip that is a WARNING; none by default."""
    critical: Duration | None = None
    """The mean round trip that is CRITICAL; none by default."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.warn is not None and self.critical is not None and self.warn > self.critical:
            raise ValueError("expected `warn` to be no longer than `critical`; swap them")
        return self

    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        """Ask once."""
        answer = await probe.icmp.echo(instance.address, count=self.count, wait=self.wait.total_seconds())
        lost = answer.sent - len(answer.round_trips)
        mean = sum(answer.round_trips) / len(answer.round_trips)
        metrics = {"loss": lost / answer.sent, "slowest": max(answer.round_trips)}
        trip = f"round trip {mean * 1000:.3g} ms"
        if lost / answer.sent > self.loss:
            return CheckResult.critical(f"{lost} of {answer.sent} echoes lost, {trip}", seconds=mean, metrics=metrics)
        for limit, judged in ((self.critical, CheckResult.critical), (self.warn, CheckResult.warning)):
            if limit is not None and mean >= limit.total_seconds():
                allowed = f"{limit.total_seconds() * 1000:g} ms"
                return judged(f"{trip}, expected less than {allowed}", seconds=mean, metrics=metrics)
        return CheckResult.ok(
            f"{trip}{f', {lost} of {answer.sent} lost' if lost else ''}", seconds=mean, metrics=metrics
        )
