"""Captures: what people need to understand a fault, kept beside the machine. At most one per token."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from supervisor.files import tail, write_durably
from supervisor.providers.local.machine import Record, state_of, utc_now
from supervisor.providers.local.process import members

LOG_LINES = 400
MOST_PROCESSES = 64
MOST_CHARACTERS = 16_384  # of one piece


def capture(folder: Path, record: Record, token: str) -> Path:
    """Write down what can be seen of a machine now, unless this token did before. Raises `OSError`, `ProviderError`."""
    name = (
        token if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", token) else hashlib.sha256(token.encode()).hexdigest()
    )
    path = folder / "captures" / f"{name}.json"
    if path.exists():
        return path
    path.parent.mkdir(mode=0o700, exist_ok=True)
    state, reason = state_of(folder, record)
    found = members(folder)
    content = {
        "token": token,
        "at": utc_now(),
        "machine": asdict(record),
        "state": state,
        "reason": reason,
        "processes": [_process(process.pid) for process in found[:MOST_PROCESSES]],
        "processes_in_all": len(found),
        "listening": _listening(record.address),
        "host": {name: _read(Path("/proc") / name) for name in ("loadavg", "meminfo")},
        "log": list(tail(folder / "log", LOG_LINES)),
    }
    write_durably(path, json.dumps(content, indent=1, default=datetime.isoformat))
    return path


def _process(pid: int) -> dict[str, object]:
    proc = Path(f"/proc/{pid}")
    try:
        files = len(os.listdir(proc / "fd"))
    except OSError:
        files = -1
    return {
        "pid": pid,
        "command": _read(proc / "cmdline").replace("\0", " ").strip(),
        "open_files": files,
        "waits_in": _read(proc / "wchan"),
        "status": _read(proc / "status"),
        "limits": _read(proc / "limits"),
        "io": _read(proc / "io"),
    }


def _read(path: Path) -> str:
    """Return what the kernel says; a process may go away at any moment, which is no reason to lose the rest."""
    try:
        return path.read_bytes()[:MOST_CHARACTERS].decode("utf-8", "replace")
    except OSError:
        return ""


def _listening(address: str) -> list[int]:
    """Return the ports on which somebody listens at an IPv4 address, from the kernel's own table."""
    wanted = "".join(f"{int(part):02X}" for part in reversed(address.split(".")))
    ports = set()
    for line in _read_whole(Path("/proc/net/tcp")).splitlines()[1:]:
        fields = line.split()
        host, _, port = fields[1].partition(":")
        if host == wanted and fields[3] == "0A":
            ports.add(int(port, 16))
    return sorted(ports)


def _read_whole(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
