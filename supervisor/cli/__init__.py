"""The command line. The only place that exits, but for `supervisor.__main__` before it."""

from supervisor.cli import clouds, local, observe, operate, plugins, replay, simulate, trying
from supervisor.cli.base import app

__all__ = ["app", "clouds", "local", "main", "observe", "operate", "plugins", "replay", "simulate", "trying"]


def main() -> None:
    """Run the command line."""
    app()
