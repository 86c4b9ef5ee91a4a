"""Talks to the running daemon on its unix socket, for the command line."""

from __future__ import annotations

import http.client
import json
import socket
import uuid
from pathlib import Path
from typing import Any

from supervisor.errors import DaemonUnreachable, OperatorError

PATIENCE = 20.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(self._path))


class Client:
    """One daemon, by its socket."""

    def __init__(self, path: Path) -> None:
        """Connect at each request."""
        self._path = path

    def get(self, path: str) -> Any:  # Any: JSON
        """Return a view. Raises `DaemonUnreachable` and `OperatorError`."""
        return self._ask("GET", path, None)

    def post(self, verb: str, body: dict[str, Any]) -> str:  # Any: JSON
        """Ask for something; return the answer's sentence."""
        return str(self._ask("POST", f"/api/v1/{verb}", body)["text"])

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> Any:  # Any: JSON
        connection = _UnixConnection(self._path)
        try:
            headers = {"Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            found = json.loads(answer.read() or b"null")
        except (FileNotFoundError, ConnectionRefusedError) as error:  # the latter: it was killed, its socket is left
            raise DaemonUnreachable(f"no daemon listens on {self._path}; start it with `sickbay run`") from error
        except PermissionError as error:
            raise DaemonUnreachable(f"{self._path} may not be opened by you; use the daemon's user or group") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise DaemonUnreachable(f"the daemon on {self._path} does not answer ({error}); is it running?") from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise OperatorError(str(found.get("error", answer.reason)) if isinstance(found, dict) else answer.reason)
        return found
