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
from supervisor.runtime.lean.kept import Kept
from supervisor.runtime.lean.names import Place
from supervisor.runtime.lean.tls import Channel

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
        "_places",
        "_reader",
        "_resumed",
        "_unsent",
        "begun",
        "channel",
        "done",
        "fd",
        "form",
        "host",
        "kept",
        "outcome",
        "queue",
        "sock",
    )
    outcome: Outcome
    queue: dict[Conversation, None]
    sock: socket.SocketType

    def __init__(self, asker: LeanAsker, form: Form, host: str, done: Done) -> None:
        """Open nothing yet."""
        self._asker = asker
        self.form = form
        self.host = host
        self.done: Done | None = done
        self.begun: Seconds = monotonic()
        self._reader = form.reader()
        self._connecting = True
        self._resumed = False  # over a kept connection, which may be dead: nothing came of it yet
        self._unsent = b""
        self.fd = -1
        self.channel: Channel | None = None
        self.kept: Kept | None = None

    def connect(self, place: Place, others: Sequence[Place] = ()) -> None:
        """Begin, at one place, and where that fails at the others."""
        family, address = place
        self._places = others
        try:
            sock = self.sock = socket.SocketType(family, STREAM)
            self.fd = sock.fileno()
            if self.form.resets:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            if self.form.speaks:  # the handshake's last word goes with the request, or with the reset
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
            number = sock.connect_ex((address, self.form.port))
            if number not in (0, errno.EINPROGRESS):
                raise OSError(number, os.strerror(number))
            self._asker.watch(self)
        except OSError as error:
            self._failed(error)

    def resume(self, kept: Kept) -> None:
        """Begin over a connection that was kept."""
        self.kept, self.sock, self.fd, self.channel = kept, kept.sock, kept.fd, kept.channel
        self._connecting = False
        self._resumed = True
        try:
            self._say(self.form.request(self.host))
        except OSError as error:
            self._failed(error)

    def on(self, events: int) -> None:
        """Go on, as far as there is something to go on with."""
        try:
            if self._connecting:
                if events & TROUBLE:
                    number = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    raise OSError(number, os.strerror(number))
                if not events & EPOLLOUT:
                    return
                self._connecting = False
                self._connected()
            elif self._unsent and events & EPOLLOUT:
                self._send(b"")
            if events & NEWS and self.fd >= 0:
                self._receive(events)
        except BlockingIOError:
            return
        except OSError as error:
            self._failed(error)
        except Refusal as refusal:
            self.end(refusal)

    def _connected(self) -> None:
        if self.form.tls:
            self.channel = self._asker.sessions.channel(self.host, self.form.port, verify=self.form.verify)
            self._shake(self.channel, b"")
            return
        self._say(self.form.request(self.host))
        if not self.form.listens:
            self._answered()

    def _shake(self, channel: Channel, received: bytes) -> None:
        """Go on with the handshake; its last word and the request are one."""
        request = self.form.request(self.host) if channel.shake(received) else b""
        self._send(channel.seal(request))

    def _say(self, request: bytes) -> None:
        self._send(self.channel.seal(request) if self.channel else request)

    def _send(self, data: bytes) -> None:
        if self._unsent:
            data = self._unsent + data
        if data:
            self._unsent = data  # if there is no room for any of it
            self._unsent = data[self.sock.send(data) :]

    def _receive(self, events: int) -> None:
        while True:
            received = self.sock.recv(SIZE)
            data = self._understood(self.channel, received) if self.channel else received
            if data:
                self._resumed = False
                if self._reader.take(data):
                    self._answered()
                    return
            elif data is not None:
                self._closed()
                return
            if len(received) < SIZE and not events & ENDING:  # nothing is left, and more will be an event
                return

    def _understood(self, channel: Channel, received: bytes) -> bytes | None:
        """Return what that says: None for nothing yet, b"" for the end."""
        if not received:
            return b""
        if channel.open:
            return channel.unseal(received)
        self._shake(channel, received)
        return channel.unseal() if channel.open else None

    def _closed(self) -> None:
        """Take note that the other side closed."""
        if self._resumed:
            self._afresh()
            return
        self._reader.end()
        self._answered()

    def _answered(self) -> None:
        answer = self._reader.answer(monotonic() - self.begun if self.form.timed else None)
        if self.channel is not None:
            self._asker.sessions.keep(self.channel)
        if self.form.keep and self._reader.reusable and not self._unsent and self._asker.keep(self):
            self.fd = -1  # no longer ours
        self.end(answer)

    def _failed(self, error: OSError) -> None:
        if self._resumed:
            self._afresh()
        elif self._connecting and self._places and error.errno not in OURS:
            self._leave()
            self.connect(self._places[0], self._places[1:])
        else:
            self.end(meaning(error))

    def _afresh(self) -> None:
        """Ask once more over a new connection: the kept one was closed meanwhile, which is nobody's fault."""
        self._leave()
        self._connecting = True
        self._resumed = False
        self._unsent = b""
        self.channel = self.kept = None
        self._asker.begin(self)

    def end(self, outcome: Outcome) -> None:
        """End with this."""
        if isinstance(outcome, BaseException):
            outcome.__traceback__ = None  # it would hold us, and we hold it
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
            self.sock.close()
            self.fd = -1
