"""One question on its socket: connecting, sending, receiving, until its reader has what it wants."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Sequence
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP
from time import monotonic
from typing import TYPE_CHECKING

from supervisor.api import Refusal
from supervisor.core.terms import Seconds
from supervisor.runtime.asking import Done, Outcome
from supervisor.runtime.faults import OURS, meaning
from supervisor.runtime.lean.form import Form
from supervisor.runtime.lean.names import Place
from supervisor.runtime.lean.reading import Broken

if TYPE_CHECKING:
    from supervisor.runtime.lean.asker import LeanAsker

STREAM = int(socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER without any: closing resets the connection, and leaves nothing behind here or there."""
TROUBLE = EPOLLERR | EPOLLHUP
NEWS = EPOLLIN | EPOLLRDHUP | TROUBLE
ENDING = EPOLLRDHUP | TROUBLE
SIZE = 16 * 1024


class Conversation:
    """One question, until it has ended or is given up.

    Its asker tells it of events, and is told when it has ended: then `outcome` is there for `done`.
    """

    __slots__ = (
        "_asker",
        "_connecting",
        "_form",
        "_places",
        "_reader",
        "_sock",
        "_unsent",
        "begun",
        "done",
        "fd",
        "host",
        "outcome",
        "queue",
    )
    _sock: socket.SocketType
    outcome: Outcome
    queue: dict[Conversation, None]

    def __init__(self, asker: LeanAsker, form: Form, host: str, done: Done) -> None:
        """Open nothing yet."""
        self._asker = asker
        self._form = form
        self._reader = form.reader()
        self._unsent = form.request(host)
        self._places: Sequence[Place] = ()  # where else it may be asked
        self._connecting = True
        self.host = host
        self.done: Done | None = done
        self.begun: Seconds = monotonic()
        self.fd = -1

    def connect(self, place: Place, others: Sequence[Place] = ()) -> None:
        """Begin, at one place, and where that fails at the others."""
        family, address = place
        self._places = others
        try:
            sock = self._sock = socket.SocketType(family, STREAM)
            self.fd = sock.fileno()
            if self._form.listens or not self._unsent:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            # The handshake's last word goes with the request; where there is none, the other side is told by the reset.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
            number = sock.connect_ex((address, self._form.port))
            if number not in (0, errno.EINPROGRESS):
                raise OSError(number, os.strerror(number))
            self._asker.watch(self)
        except OSError as error:
            self._failed(error)

    def on(self, events: int) -> None:
        """Go on, as far as there is something to go on with."""
        try:
            if self._connecting:
                if events & TROUBLE:
                    number = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    raise OSError(number, os.strerror(number))
                if not events & EPOLLOUT:
                    return
                self._connecting = False
                self._connected()
            elif self._unsent and events & EPOLLOUT:
                self._flush()
            if events & NEWS and self.fd >= 0:
                self._receive(events)
        except BlockingIOError:
            return
        except OSError as error:
            self._failed(error)
        except Broken as error:
            self.end(Refusal(f"broken answer ({error})"))

    def _connected(self) -> None:
        if self._unsent:
            self._flush()
        if not self._form.listens:
            self._answered()

    def _flush(self) -> None:
        sent = self._sock.send(self._unsent)
        self._unsent = self._unsent[sent:]

    def _receive(self, events: int) -> None:
        while True:
            data = self._sock.recv(SIZE)
            if not data:
                self._reader.end()
            if not data or self._reader.take(data):
                self._answered()
                return
            if len(data) < SIZE and not events & ENDING:  # nothing is left, and more will be an event
                return

    def _answered(self) -> None:
        self.end(self._reader.answer(monotonic() - self.begun))

    def _failed(self, error: OSError) -> None:
        if self._connecting and self._places and error.errno not in OURS:
            self._leave()
            self.connect(self._places[0], self._places[1:])
        else:
            self.end(meaning(error))

    def end(self, outcome: Outcome) -> None:
        """End with this."""
        self.outcome = outcome
        self._leave()
        self._asker.ended(self)

    def cancel(self) -> None:
        """End at once, and tell nobody."""
        if self.done is not None:
            self.done = None
            self._leave()
            self._asker.forget(self)

    def _leave(self) -> None:
        if self.fd >= 0:
            self._asker.unwatch(self.fd)
            self._sock.close()
            self.fd = -1
