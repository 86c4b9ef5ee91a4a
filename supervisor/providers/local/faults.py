"""Breaking machines from outside, for the demo and for drills: the supervisor knows nothing of it.

`crash` works on any machine; the others need an image that reads the file `fault` in its folder, as the one that ships
does. Blocking, a few milliseconds. Each raises `LookupError` when there is no such machine.
"""

from __future__ import annotations

import signal
from pathlib import Path

from supervisor.providers.local.layout import Layout
from supervisor.providers.local.machine import load
from supervisor.providers.local.process import members


def crash(state: Path, fleet: str, instance: str) -> None:
    """Kill all of its processes, as the kernel does when memory runs out."""
    for process in members(_folder(state, fleet, instance)):
        process.send(signal.SIGKILL)


def hang(state: Path, fleet: str, instance: str) -> None:
    """Its port stays open, and it answers nobody."""
    _write(state, fleet, instance, "hang")


def errors(state: Path, fleet: str, instance: str) -> None:
    """It answers everything with HTTP 500."""
    _write(state, fleet, instance, "errors")


def slow(state: Path, fleet: str, instance: str, seconds: float = 2.0) -> None:
    """It answers well, but late."""
    _write(state, fleet, instance, f"slow {seconds}")


def heal(state: Path, fleet: str, instance: str) -> None:
    """Take the fault away; a crashed machine stays dead."""
    (_folder(state, fleet, instance) / "root" / "fault").unlink(missing_ok=True)


def _write(state: Path, fleet: str, instance: str, word: str) -> None:
    # By rename: the machine reads it at every request, and must never see half a word.
    root = _folder(state, fleet, instance) / "root"
    part = root / ".fault"
    part.write_text(word, encoding="ascii")
    part.replace(root / "fault")


def _folder(state: Path, fleet: str, instance: str) -> Path:
    layout = Layout.of(state, fleet)
    folder = layout.instance(instance)
    record = load(folder)
    if record is None or record.fleet != fleet or record.terminated_at is not None:
        raise LookupError(f"there is no machine {instance} in fleet {fleet}")
    return folder
