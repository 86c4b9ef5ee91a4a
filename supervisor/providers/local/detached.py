"""Starting a process that outlives the supervisor: writes what to start, and runs the launcher for it.

Under systemd the supervisor's own control group is emptied when its service stops, so there the launcher is put into a
scope of its own by `systemd-run`. Only there: everywhere else a session of its own is enough.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from supervisor.errors import ProviderError
from supervisor.files import write_durably
from supervisor.providers.local.process import MARK

LAUNCHER = Path(__file__).with_name("launcher.py")
PATIENCE = 15.0  # seconds that a launcher may take


def write_launch(folder: Path, argv: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> None:
    """Write FOLDER/launch.json: what the launcher becomes. Its output goes to FOLDER/log."""
    spec = {
        "argv": list(argv),
        "cwd": str(cwd),
        "environment": dict(environment) | minimal_environment(folder),
        "log": str(folder / "log"),
    }
    write_durably(folder / "launch.json", json.dumps(spec, indent=1))


def minimal_environment(folder: Path) -> dict[str, str]:
    """Return what every started process gets. Nothing of the supervisor's own environment: it may hold secrets."""
    # The interpreter's folder comes first: what `#!/usr/bin/env python3` finds is then a Python that works here.
    path = os.pathsep.join((str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"))
    return {"PATH": path, "LANG": "C.UTF-8", MARK: str(folder)}


def start(folder: Path, generation: int) -> None:
    """Run the launcher and wait until the process has become its program, or need not any more.

    Raises `ProviderError` when it can't be started, `subprocess.TimeoutExpired` when nobody can say.
    """
    command = [*_scope(), sys.executable, "-I", "-S", str(LAUNCHER), str(folder), str(generation)]
    environment = minimal_environment(folder)
    if "XDG_RUNTIME_DIR" in os.environ:  # where systemd-run finds the user's manager; the program doesn't get it
        environment["XDG_RUNTIME_DIR"] = os.environ["XDG_RUNTIME_DIR"]
    answer = subprocess.run(
        command,
        cwd="/",
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C meant for the supervisor must not cut a launch in two
        timeout=PATIENCE,
        check=False,
    )
    if answer.returncode != 0:
        said = answer.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ProviderError(f"{folder.name} can't be started: {said[-1] if said else f'exit {answer.returncode}'}")


def _scope() -> list[str]:
    """Return the command prefix that leaves the service's control group; empty where there is none to leave."""
    if "INVOCATION_ID" not in os.environ or not Path("/run/systemd/system").is_dir() or not _in_service():
        return []
    manager = [] if os.geteuid() == 0 else ["--user"]
    return ["systemd-run", "--quiet", "--collect", "--scope", *manager, "--"]


def _in_service() -> bool:
    """Whether systemd would end our children with us: terminals inherit INVOCATION_ID, but live in scopes."""
    try:
        parts = Path("/proc/self/cgroup").read_text(encoding="utf-8").strip().split("/")
    except OSError:
        return True
    return any(part.endswith(".service") and not part.startswith("user@") for part in parts)
