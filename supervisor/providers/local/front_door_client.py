"""The provider's side of the front door: starts it where it is missing, and speaks to it over its control socket.

Blocking: called from threads only. Every failure is a `ProviderError`, after which nobody can say.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import supervisor
from supervisor.core.machine import TargetHealth
from supervisor.errors import ProviderError
from supervisor.files import locked, read_json, tail, trim_log
from supervisor.providers.local import detached, process
from supervisor.providers.local.address import why_taken
from supervisor.providers.local.layout import Layout
from supervisor.providers.local.options import LocalOptions, split_listen

SOCKET = "control.sock"
ANSWER_WITHIN = 3.0  # seconds
START_WITHIN = 15.0  # seconds
END_WITHIN = 8.0  # seconds
MOST_LOG = 4 << 20  # bytes


@dataclass(frozen=True, slots=True)
class FrontDoor:
    """One fleet's load balancer, wherever it runs."""

    layout: Layout
    options: LocalOptions

    @property
    def folder(self) -> Path:
        """Its folder: found again by what stands there."""
        return self.layout.front_door

    def targets(self) -> Mapping[str, TargetHealth]:
        """Return the health of every registered target, by id."""
        answer = self._ask("GET", "/targets")
        return {entry["id"]: TargetHealth(entry["health"]) for entry in answer["targets"]}

    def register(self, id: str, address: str, port: int) -> None:
        """Put a target in, unless it stands there already."""
        self._ask("PUT", f"/targets/{quote(id, safe='')}", {"address": address, "port": port})

    def deregister(self, id: str) -> None:
        """Take a target out, if it is there."""
        self._ask("DELETE", f"/targets/{quote(id, safe='')}")

    def why_not(self) -> str:
        """Return '' if it runs or could be started now, else one sentence."""
        if self._runs() and self._listens_on() == self.options.front_door:
            return ""
        why = why_taken(*split_listen(self.options.front_door))
        return f"the front door of fleet {self.layout.fleet} can't listen: {why}" if why else ""

    def ensure(self) -> None:
        """Make sure that it runs, with these options. Raises `ProviderError`."""
        try:
            with locked(self.folder / "start.lock", START_WITHIN + END_WITHIN):
                trim_log(self.folder / "log", MOST_LOG)
                if self._runs() and self._is_as_configured():
                    return
                # One that serves is ended only when the next one can have its place.
                if why := self.why_not():
                    raise ProviderError(why)
                self._stop()
                environment = {"PYTHONPATH": str(Path(supervisor.__file__).parents[1])}
                detached.write_launch(self.folder, self._command(), self.folder, environment)
                detached.start(self.folder, generation=0)
                self._await_answer()
        except (OSError, ValueError) as error:
            raise ProviderError(f"the front door of fleet {self.layout.fleet} can't be started: {error}") from error

    def stop(self) -> None:
        """End it. Its targets stay on disk. Raises `ProviderError`."""
        try:
            with locked(self.folder / "start.lock", START_WITHIN + END_WITHIN):
                self._stop()
        except (OSError, ValueError) as error:
            raise ProviderError(f"the front door of fleet {self.layout.fleet} can't be ended: {error}") from error

    # ------------------------------------------------------------------------------------------ its process

    def _command(self) -> list[str]:
        # -P: nothing that lies in the working folder is ever imported.
        return [
            *(sys.executable, "-P", "-m", "supervisor.providers.local.front_door"),
            *("--fleet", self.layout.fleet, "--state", str(self.layout.state)),
            *("--listen", self.options.front_door, "--health-path", self.options.health_path),
            *("--health-interval", str(self.options.health_interval.total_seconds())),
            *("--health-timeout", str(self.options.health_timeout.total_seconds())),
        ]

    def _is_as_configured(self) -> bool:
        return self._started_as() == self._command()

    def _listens_on(self) -> str:
        try:
            started_as = self._started_as()
        except (OSError, ValueError):
            return ""
        return started_as[started_as.index("--listen") + 1] if "--listen" in started_as[:-1] else ""

    def _started_as(self) -> list[str]:
        spec = read_json(self.folder / "launch.json")
        argv = spec.get("argv") if isinstance(spec, dict) else None
        return [str(part) for part in argv] if isinstance(argv, list) else []

    def _runs(self) -> bool:
        try:
            found = process.read_process(self.folder / "process.json")
        except (OSError, ValueError):
            return False
        return found is not None and found.is_alive

    def _stop(self) -> None:
        if not process.end(self.folder, END_WITHIN, END_WITHIN):
            raise TimeoutError("its process does not end")

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_WITHIN
        while True:
            try:
                self._ask_once("GET", "/targets", None)
                return
            except OSError as error:
                if not self._runs():
                    said = tail(self.folder / "log", 1) or ("it ended without a word",)
                    raise ProviderError(f"the front door of fleet {self.layout.fleet} ended: {said[0]}") from error
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.02)

    # ------------------------------------------------------------------------------------------ its socket

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:  # Any: JSON
        self.ensure()
        try:
            return self._ask_once(method, path, body)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise ProviderError(f"the front door of fleet {self.layout.fleet} does not answer: {error}") from error

    def _ask_once(self, method: str, path: str, body: Mapping[str, object] | None) -> Any:  # Any: JSON
        connection = _UnixConnection(self.folder / SOCKET)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
        finally:
            connection.close()
        if answer.status != 200:
            raise OSError(f"HTTP {answer.status}: {text[:200]}")
        return json.loads(text)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket, whose path may be of any length."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_WITHIN)
        self.path = path

    def connect(self) -> None:
        with short_path(self.path) as path:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(ANSWER_WITHIN)
            self.sock.connect(path)


class short_path:  # noqa: N801 - used like a function
    """A path of a few bytes for a socket in any folder: the kernel takes at most 107, a state folder may be longer."""

    def __init__(self, path: Path) -> None:
        """Name the socket."""
        self.path = path
        self._folder = -1

    def __enter__(self) -> str:
        """Return the path; good until the block ends."""
        self._folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._folder}/{self.path.name}"

    def __exit__(self, *_: object) -> None:
        """Let go of the folder."""
        os.close(self._folder)
