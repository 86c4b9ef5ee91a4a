"""Asks a unix socket as another user: only root can, and only in a process of its own."""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Sequence
from multiprocessing.connection import Connection

from tests.program import LOADED


def ask_as(user: int, groups: Sequence[int], path: str, method: str, place: str) -> tuple[int, str]:
    """Return what a process of that user and those groups is answered."""
    ours, theirs = LOADED.Pipe()
    process = LOADED.Process(target=_ask, args=(theirs, user, groups, path, method, place))
    process.start()
    try:
        assert ours.poll(30)
        status, text = ours.recv()
        return int(status), str(text)
    finally:
        process.join(10)
        ours.close()
        theirs.close()


def _ask(theirs: Connection, user: int, groups: Sequence[int], path: str, method: str, place: str) -> None:
    os.setgroups(list(groups))
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    connection = http.client.HTTPConnection("localhost", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(path)
    body = '{"name": "ada"}' if method == "POST" else None
    connection.request(method, place, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    theirs.send((answer.status, answer.read().decode()))
