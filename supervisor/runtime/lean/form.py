"""A question made ready to be put to any instance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from supervisor.api import LARGEST_BODY, HttpQuestion, Question, TcpQuestion
from supervisor.runtime.asking import Prepared
from supervisor.runtime.lean.http1 import AnswerReader, KeptReader, StatusReader, request_parts
from supervisor.runtime.lean.reading import PrefixedReader, Reader, TcpReader

REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods of which a request may be sent again when nobody knows what became of the first."""


@dataclass(frozen=True, slots=True)
class Form(Prepared):
    """With whom it goes to, and how the answer is read."""

    port: int
    reader: Callable[[], Reader]
    listens: bool = True
    """Whether there is anything to wait for once it is sent."""
    tls: bool = False
    verify: bool = False
    keep: bool = False
    speaks: bool = True
    """Whether the first word is ours, or there is none at all."""
    resets: bool = True
    """Whether closing resets the connection: what was sent may be lost by that."""
    timed: bool = True

    def request(self, host: str) -> bytes:
        """Return what is sent to a host."""
        if not self.after:
            return self.before
        return b"%b%b%b" % (self.before, (f"[{host}]" if ":" in host else host).encode(), self.after)


def form_of(question: Question) -> Form:
    """Make it ready. Raises `ValueError` for one that nobody can ask."""
    if not 0 < question.port < 65536:
        raise ValueError(f"{question.port} is no port")
    match question:
        case HttpQuestion():
            return _http(question)
        case TcpQuestion(port, send, until, prefix, timed):
            if until and prefix:
                raise ValueError("an answer ends either where `until` says or where its own length does")
            listens = bool(until or prefix)
            return Form(
                question,
                send,
                b"",
                port,
                partial(PrefixedReader, prefix) if prefix else partial(TcpReader, until),
                listens=listens,
                resets=listens or not send,
                timed=timed,
            )


def _http(question: HttpQuestion) -> Form:
    if not 0 < question.most <= LARGEST_BODY:
        raise ValueError(f"{question.most} bytes of a body can't be kept, expected 1 to {LARGEST_BODY}")
    keep = question.keep and question.method in REPEATABLE
    port = "" if question.port == (443 if question.tls else 80) else f":{question.port}"
    before, after = request_parts(question.method, question.path, port, question.headers, keep=keep)
    bodiless = question.method == "HEAD"
    reader: Callable[[], Reader] = StatusReader
    if question.whole:
        reader = partial(AnswerReader, whole=True, bodiless=bodiless, most=question.most)
    elif keep:
        reader = partial(KeptReader, bodiless=bodiless)
    return Form(
        question,
        before,
        after,
        question.port,
        reader,
        tls=question.tls,
        verify=question.verify,
        keep=keep,
        timed=question.timed,
    )
