"""The check `disk`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from supervisor.api import BeatReport, CheckResult, InsideCheck, ProgramAnswer, ending, first_line

UNITS = {"%": 0.01, "B": 1.0, "KiB": 1024.0, "MiB": 1024.0**2, "GiB": 1024.0**3, "TiB": 1024.0**4}
Share = Annotated[str, Field(pattern=r"^[0-9]{1,2}(\.[0-9]+)?%$")]
Amount = Annotated[str, Field(pattern=r"^([0-9]{1,2}(\.[0-9]+)?%|[0-9]+(\.[0-9]+)?(B|KiB|MiB|GiB|TiB))$")]
Path = Annotated[str, Field(pattern=r"^/[^\x00-\x1f]*$", max_length=1024)]

# Each path by itself, so that one that is gone takes no other's place; an empty line ends each table.
SCRIPT = 'export LC_ALL=C; for p do df -P -B1 -- "$p"; echo; df -P -i -- "$p"; echo; done; :'
_LINE = re.compile(r".*?\s(\d+)\s+(\d+)\s+(-?\d+)\s+(?:-|\d+%)\s+/")
_AMOUNT = re.compile(r"([0-9.]+)(.+)")


@dataclass(frozen=True, slots=True)
class Free:
    """What is free: as a share, and as a count, where that is known."""

    ratio: float
    count: float | None = None

    def is_below(self, amount: str) -> bool:
        """Compare with a share, or with bytes."""
        number, unit = _AMOUNT.fullmatch(amount).groups()  # type: ignore[union-attr]  # its pattern was checked
        free = self.ratio if unit == "%" else self.count
        return free is not None and free < float(number) * UNITS[unit]


class DiskCheck(InsideCheck, kind="disk"):
    """How much is free on file systems of the instance: room, and inodes.

    Free is what is left for everybody but root, as `df` counts it. A path that the machine does not have is UNKNOWN, and
    so is a file system without a size; one without inodes of its own is judged by its room.

    ```toml
    [[fleet.web.check]]
    kind = "disk"
    role = "advisory"
    paths = ["/", "/var"]
    critical = "5GiB"
    interval = "1m"
    ```
    """

    paths: Annotated[tuple[Path, ...], Field(min_length=1, max_length=16)] = ("/",)
    """Absolute paths; each stands for the file system that it is on."""
    warn: Amount = "10%"
    """Less room than that is WARNING: a share such as "10%", or bytes such as "5GiB"."""
    critical: Amount = "3%"
    """Less room than that is CRITICAL."""
    warn_inodes: Share = "10%"
    """A smaller share of free inodes is WARNING."""
    critical_inodes: Share = "3%"
    """A smaller share of free inodes is CRITICAL."""

    @field_validator("warn", "critical")
    @classmethod
    def _share_by_heartbeat(cls, amount: str, known: ValidationInfo) -> str:
        if known.data.get("via") == "heartbeat" and not amount.endswith("%"):
            raise ValueError('expected a share such as "10%"; a heartbeat does not tell bytes')
        return amount

    def command(self) -> Sequence[str]:
        """Ask for bytes and for inodes."""
        return ("sh", "-c", SCRIPT, "sh", *self.paths)

    def seen(self, answer: ProgramAnswer) -> CheckResult:
        """Read two tables for each path, in the order in which they were asked for."""
        tables = _tables(answer.stdout.decode(errors="replace"))
        if answer.code != 0 or len(tables) != 2 * len(self.paths):
            why = first_line(answer.stderr) or ending(answer.code, "and told nothing that can be read")
            return CheckResult.unknown(f"df: {why}")
        why = answer.stderr.decode(errors="replace")
        rows = zip(self.paths, tables[::2], tables[1::2], strict=True)
        return CheckResult.worst([self._judged(path, room, inodes, _about(path, why)) for path, room, inodes in rows])

    def told(self, beat: BeatReport) -> CheckResult:
        """Read the metrics `disk_free_ratio:PATH` and `inodes_free_ratio:PATH`."""

        def free(label: str) -> Free | None:
            ratio = beat.metrics.get(label)
            return None if ratio is None else Free(ratio)

        rows = [(path, free(f"disk_free_ratio:{path}"), free(f"inodes_free_ratio:{path}")) for path in self.paths]
        return CheckResult.worst([self._judged(*row, f"its heartbeat tells nothing of {row[0]}") for row in rows])

    def _judged(self, path: str, room: Free | None, inodes: Free | None, otherwise: str) -> CheckResult:
        """Return what is known of one path; `otherwise` is said when nothing is."""
        if room is None:
            return CheckResult.unknown(otherwise)
        metrics = {f"disk_free_ratio:{path}": room.ratio}
        text = f"{path}: {_percent(room.ratio)} free"
        if room.count is not None:
            metrics[f"disk_free_bytes:{path}"] = room.count
            text += f" ({_bytes(room.count)})"
        if inodes is not None:
            metrics[f"inodes_free_ratio:{path}"] = inodes.ratio
        for make, amount, share in (
            (CheckResult.critical, self.critical, self.critical_inodes),
            (CheckResult.warning, self.warn, self.warn_inodes),
        ):
            if room.is_below(amount):
                return make(f"{text}, expected at least {amount}", metrics=metrics)
            if inodes is not None and inodes.is_below(share):
                return make(
                    f"{path}: {_percent(inodes.ratio)} of the inodes free, expected at least {share}", metrics=metrics
                )
        return CheckResult.ok(text, metrics=metrics)


def _tables(printed: str) -> list[Free | None]:
    """Return what each table tells; None for one without a line, or whose file system has no size."""
    found: list[Free | None] = []
    current: Free | None = None
    for line in printed.splitlines():
        if not line:
            found.append(current)
            current = None
        elif row := _LINE.match(line):
            used, free = float(row[2]), max(0.0, float(row[3]))
            current = Free(free / (used + free), free) if used + free else None
    return found


def _about(path: str, errors: str) -> str:
    """Return what was said about a path."""
    lines = (line for line in errors.splitlines() if f"{path}:" in line or f"{path}'" in line)
    return next(lines, f"df tells no size of {path}")


def _percent(ratio: float) -> str:
    return f"{ratio * 100:.3g}%"


def _bytes(count: float) -> str:
    unit = next((name for name in ("TiB", "GiB", "MiB", "KiB") if count >= UNITS[name]), "B")
    return f"{count / UNITS[unit]:.3g} {unit}"
