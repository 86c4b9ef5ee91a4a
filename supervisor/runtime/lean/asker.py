"""All questions in flight: one epoll for their sockets, and one sweep for their time limits."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable, Iterable
from itertools import takewhile
from select import EPOLLET, EPOLLIN, EPOLLOUT, EPOLLRDHUP
from time import monotonic

from supervisor.api import Question
from supervisor.core.terms import Seconds
from supervisor.runtime.asking import Done, Prepared, TimedOut
from supervisor.runtime.lean.conversation import Conversation
from supervisor.runtime.lean.form import Form, form_of
from supervisor.runtime.lean.kept import Kept, Pool
from supervisor.runtime.lean.names import place_of, places_of
from supervisor.runtime.lean.tls import Key, Sessions

WATCHED = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET
AT_ONCE = 32
"""Events in one turn of the loop: others have their turn, too, even when each of these is a step of a TLS handshake."""
SWEEP: Seconds = 0.02


class LeanAsker:
    """Asks on the running event loop, which calls it when a socket has news. See `Asker`."""

    def __init__(self) -> None:
        """Open the epoll."""
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._loop.add_reader(self._epoll.fileno(), self._turn)
        self._sweeping: asyncio.TimerHandle | None = None
        self._open: dict[int, Conversation | Kept] = {}  # by descriptor
        self._kept = Pool(self.unwatch)
        self.sessions = Sessions()
        self._queues: dict[Seconds, dict[Conversation, None]] = {}  # by limit: whoever began first is over first
        self._ended: list[Conversation] = []  # and not told yet
        self._telling = False
        self._lookups: dict[Conversation, asyncio.Task[None]] = {}

    def prepare(self, question: Question) -> Form:
        """Make it ready; the first of TLS reads the system's certificates."""
        form = form_of(question)
        if form.tls:
            self.sessions.context(verify=form.verify)
        return form

    def ask(self, prepared: Prepared, host: str, limit: Seconds, done: Done) -> Callable[[], None]:
        """Ask. An answer is never told before this returns."""
        if not isinstance(prepared, Form):
            raise TypeError("a question that another asker has prepared")
        conversation = Conversation(self, prepared, host, done)
        queue = self._queues.get(limit)
        if queue is None:
            queue = self._queues[limit] = {}
            self._sweep_later()
        conversation.queue = queue
        queue[conversation] = None
        if prepared.keep and (kept := self._kept.take(_key(host, prepared))) is not None:
            self._open[kept.fd] = conversation
            conversation.resume(kept)
        else:
            self.begin(conversation)
        return conversation.cancel

    def begin(self, conversation: Conversation) -> None:
        """Begin over a new connection."""
        try:
            place = place_of(conversation.host)
        except PermissionError as error:
            conversation.end(error)
            return
        if place is not None:
            conversation.connect(place)
        else:
            self._lookups[conversation] = self._loop.create_task(self._look_up(conversation))

    async def _look_up(self, conversation: Conversation) -> None:
        try:
            first, *others = await places_of(conversation.host)
        except OSError as error:
            conversation.end(error)
        else:
            conversation.connect(first, others)
        finally:
            self._lookups.pop(conversation, None)

    @property
    def in_flight(self) -> int:
        """How many wait for their answer."""
        return sum(len(queue) for queue in self._queues.values())

    async def close(self) -> None:
        """Give everything up."""
        for conversation in [one for queue in self._queues.values() for one in queue]:
            conversation.cancel()
        self._ended.clear()
        self._kept.close()
        if self._sweeping is not None:
            self._sweeping.cancel()
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    # -- what conversations call

    def watch(self, conversation: Conversation) -> None:
        """Tell it of events on its socket, from now on."""
        self._open[conversation.fd] = conversation
        self._epoll.register(conversation.fd, WATCHED)

    def unwatch(self, fd: int) -> None:
        """Tell nobody of a socket any more, which is about to be closed: the epoll lets go of it by itself."""
        self._open.pop(fd, None)

    def keep(self, conversation: Conversation) -> bool:
        """Keep its connection for the next question, if there is room."""
        kept = conversation.kept
        if kept is None:
            key = _key(conversation.host, conversation.form)
            kept = Kept(key, conversation.sock, conversation.fd, conversation.channel, self._kept.drop)
        if not self._kept.put(kept):
            return False
        self._open[kept.fd] = kept
        self._sweep_later()
        return True

    def forget(self, conversation: Conversation) -> None:
        """Let go of one that was given up."""
        conversation.queue.pop(conversation, None)
        if conversation in self._lookups:
            self._lookups.pop(conversation).cancel()

    def ended(self, conversation: Conversation) -> None:
        """Take one that has its outcome; it is told when nobody is in the middle of anything."""
        del conversation.queue[conversation]
        self._ended.append(conversation)
        if not self._telling:
            self._telling = True
            self._loop.call_soon(self._tell)

    # -- turns

    def _turn(self) -> None:
        self._telling = True
        try:
            for fd, events in self._epoll.poll(0, AT_ONCE):
                conversation = self._open.get(fd)
                if conversation is not None:
                    conversation.on(events)
        finally:
            self._tell()

    def _tell(self) -> None:
        self._telling = False
        ended, self._ended = self._ended, []
        for conversation in ended:
            done, conversation.done = conversation.done, None
            if done is None:  # given up meanwhile
                continue
            try:
                done(conversation.outcome)
            except Exception as error:  # noqa: BLE001  # the others' answers are not to be lost
                self._loop.call_exception_handler({"message": "an answer could not be told", "exception": error})

    def _sweep_later(self) -> None:
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(SWEEP, self._sweep)

    def _sweep(self) -> None:
        """End whose time is over, while there is anybody."""
        self._sweeping = None
        now = monotonic()
        for limit, queue in list(self._queues.items()):
            for conversation in _over(queue, now - limit):
                conversation.end(TimedOut("timed out"))
            if not queue:
                del self._queues[limit]
        self._kept.sweep(now)
        if self._queues or self._kept:
            self._sweep_later()


def _key(host: str, form: Form) -> Key:
    return host, form.port, form.verify if form.tls else None


def _over(queue: Iterable[Conversation], before: Seconds) -> list[Conversation]:
    """Return those that began before that: the first ones."""
    return list(takewhile(lambda conversation: conversation.begun <= before, queue))
