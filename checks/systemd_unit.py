"""The check `systemd_unit`."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from supervisor.api import BeatReport, CheckResult, InsideCheck, ProgramAnswer, ending, first_line

State = Literal["active", "inactive", "failed", "activating", "deactivating", "reloading", "maintenance"]
TYPES = "service|socket|device|mount|automount|swap|target|path|timer|slice|scope"
Unit = Annotated[str, Field(pattern=rf"^[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]*\.({TYPES})$", max_length=255)]

PASSING = frozenset({"activating", "deactivating"})
SERVING = frozenset({"reloading", "refreshing"})
PROPERTIES = "LoadState,ActiveState,SubState,NRestarts,Result"


class SystemdUnitCheck(InsideCheck, kind="systemd_unit"):
    """Whether units of systemd on the instance are in the state that they should be in.

    A unit that failed, is inactive, or waits to be started again after it ended is CRITICAL, with systemd's reason; one
    that is about to start or to stop is WARNING; one that reloads is active. One that the machine does not know is
    UNKNOWN: nearly always it is the name that is wrong.

    ```toml
    [[fleet.web.check]]
    kind = "systemd_unit"
    role = "readiness"
    units = ["nginx.service"]
    ```
    """

    units: Annotated[tuple[Unit, ...], Field(min_length=1, max_length=32)]
    """Names with their type, such as "nginx.service"."""
    states: Annotated[tuple[State, ...], Field(min_length=1)] = ("active",)
    """The states that are well: ["active", "inactive"] for a service that a timer starts."""

    def command(self) -> Sequence[str]:
        """Ask for properties, not for a page for people: it takes no rights, and its words do not change."""
        return ("env", "LC_ALL=C", "systemctl", "show", "-p", PROPERTIES, "--", *self.units)

    def seen(self, answer: ProgramAnswer) -> CheckResult:
        """Read a block for each unit, in the order in which they were asked for."""
        blocks = [_properties(block) for block in answer.stdout.decode(errors="replace").strip().split("\n\n")]
        if answer.code != 0 or len(blocks) != len(self.units) or not all("ActiveState" in b for b in blocks):
            why = first_line(answer.stderr) or ending(answer.code, "and told nothing that can be read")
            return CheckResult.unknown(f"systemctl: {why}")
        return CheckResult.worst([self._judged(unit, b) for unit, b in zip(self.units, blocks, strict=True)])

    def told(self, beat: BeatReport) -> CheckResult:
        """Read the facts `unit:NAME`."""
        return CheckResult.worst([self._judged_fact(unit, beat.facts.get(f"unit:{unit}")) for unit in self.units])

    def _judged_fact(self, unit: str, state: str | None) -> CheckResult:
        if state is None:
            return CheckResult.unknown(f"its heartbeat tells nothing of {unit}")
        return self._judged(unit, {"ActiveState": state})

    def _judged(self, unit: str, found: Mapping[str, str]) -> CheckResult:
        state, result = found["ActiveState"], found.get("Result", "")
        restarts = found.get("NRestarts", "")
        metrics = {f"restarts:{unit}": float(restarts)} if restarts.isdecimal() else {}
        why = f" ({result})" if result not in ("", "success") else ""
        if found.get("LoadState") == "not-found":
            return CheckResult.unknown(f"{unit} is not known on this machine")
        if state in self.states or (state in SERVING and "active" in self.states):
            return CheckResult.ok(f"{unit} is {state}", metrics=metrics)
        if found.get("SubState") == "auto-restart":
            return CheckResult.critical(f"{unit} ended and waits to be started again{why}", metrics=metrics)
        text = f"{unit} is {state}{why}, expected {' or '.join(self.states)}"
        if state in PASSING:
            return CheckResult.warning(text, metrics=metrics)
        return CheckResult.critical(text, metrics=metrics)


def _properties(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
