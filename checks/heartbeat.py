"""The check `heartbeat`."""

from typing import ClassVar

from supervisor.api import CheckResult, Duration, Instance, PassiveCheck, Report


class HeartbeatCheck(PassiveCheck, kind="heartbeat"):
    """Whether the signs of life still come that the machine sends by itself, over `[mqtt]`.

    Silence is CRITICAL and *silent*: alone it condemns nobody. Where nobody's heartbeat can be heard, and of a machine that
    never sent one, it is UNKNOWN. The numbers that came with the newest one are kept for plots.

    ```toml
    [mqtt]
    url = "mqtts://broker.internal:8883"

    [[fleet.web.check]]
    name = "heart"
    kind = "heartbeat"
    role = "advisory"
    ```
    """

    needs: ClassVar[str] = "mqtt"
    stale_after: Duration | None = None
    """Silence is an ordinary one up to this age; without it, as long as the machine's own habit makes likely."""

    def judge(self, instance: Instance, report: Report) -> CheckResult:
        """Compare the silence with the habit."""
        if report.deaf:
            return CheckResult.unknown(f"heartbeats are not heard: {report.deaf}")
        beat = report.beat
        if beat is None:
            return CheckResult.unknown("no heartbeat was ever heard of this machine")
        limit = self.stale_after.total_seconds() if self.stale_after is not None else None
        if beat.fresh if limit is None else beat.age <= limit:
            return CheckResult.ok(f"heard {_words(beat.age)} ago", metrics={"age": beat.age, **beat.metrics})
        usual = f", usually every {_words(beat.usual)}" if beat.usual else ""
        return CheckResult.no_answer(f"no sign of life for {_words(beat.age)}{usual}")


def _words(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m" if not rest else f"{minutes}m{rest:02d}s"
