"""The scenarios in a folder, in the order of their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from supervisor.errors import ConfigError
from supervisor.sim.exam.scenario import Scenario, read


def shipped() -> Path:
    """Return the folder of the scenarios that came with Sickbay."""
    package = Path(__file__).resolve().parents[2]
    inside = package / "share" / "scenarios"
    return inside if inside.is_dir() else package.parent / "scenarios"


def load(folder: Path) -> Sequence[Scenario]:
    """Read every scenario of a folder. Raises `ConfigError` with the first thing that is wrong."""
    files = sorted(folder.glob("*.toml"))
    if not files:
        raise ConfigError(f"{folder}: no scenario (*.toml) was found in it")
    found: dict[int, tuple[Path, Scenario]] = {}
    for file in files:
        scenario = read(file)
        if scenario.number in found:
            raise ConfigError(f"{file}: number {scenario.number} is taken by {found[scenario.number][0].name}")
        found[scenario.number] = (file, scenario)
    return [scenario for _, (_, scenario) in sorted(found.items())]
