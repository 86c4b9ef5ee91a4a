"""The reading of HTTP/1.1 answers: whole, in pieces, against another reader, and at the limits. No sockets."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterable
from http.client import HTTPResponse
from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.api import HttpAnswer, HttpQuestion, Refusal, TcpQuestion
from supervisor.runtime.lean.form import form_of
from supervisor.runtime.lean.http1 import AnswerReader, KeptReader, StatusReader
from supervisor.runtime.lean.reading import KEPT, PrefixedReader, Reader, TcpReader

OK = b"HTTP/1.1 200 OK\r\n"


def whole() -> AnswerReader:
    return AnswerReader(whole=True, bodiless=False)


def read(reader: Reader, pieces: Iterable[bytes]) -> str:
    """Return what it makes of an answer in pieces, after which the other side closes."""
    try:
        if not any(reader.take(piece) for piece in pieces):
            reader.end()
    except Refusal as refusal:
        return str(refusal)
    answer = reader.answer(0.0)
    if not isinstance(answer, HttpAnswer):
        return repr(answer.received)
    return f"{answer.status} {dict(answer.headers)} {answer.body[:40]!r} {len(answer.body)}"


ANSWERS = {
    "sized": (OK + b"Content-Length: 2\r\n\r\nok", "200 {'Content-Length': '2'} b'ok' 2"),
    "chunked": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n",
        "200 {'Transfer-Encoding': 'chunked'} b'abcde' 5",
    ),
    "ended by the connection": (OK + b"\r\nto the end", "200 {} b'to the end' 10"),
    "an old one": (b"HTTP/1.0 404 Not Found\r\nA: b\r\n\r\nno", "404 {'A': 'b'} b'no' 2"),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", "204 {} b'' 0"),
    "not modified, with the length that it would have": (
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
        "304 {'Content-Length': '9'} b'' 0",
    ),
    "another protocol": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h\r\n\r\n", "101 {'Upgrade': 'h'} b'' 0"),
    "after interim ones": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        + OK
        + b"Content-Length: 0\r\n\r\n",
        "200 {'Content-Length': '0'} b'' 0",
    ),
    "without a reason": (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "200 {'Content-Length': '0'} b'' 0"),
    "without carriage returns": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "200 {'Content-Length': '2'} b'ok' 2"),
    "a folded field": (
        OK + b"A: b\r\n  c\r\nContent-Length: 0\r\n\r\n",
        "200 {'A': 'b c', 'Content-Length': '0'} b'' 0",
    ),
    "a field twice": (OK + b"A: 1\r\nA: 2\r\nContent-Length: 0\r\n\r\n", "200 {'A': '1', 'Content-Length': '0'} b'' 0"),
    "one length twice": (OK + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", "200 {'Content-Length': '1'} b'x' 1"),
    "a length and chunks": (
        OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        "200 {'Content-Length': '1', 'Transfer-Encoding': 'chunked'} b'ab' 2",
    ),
    "a large one": (
        OK + b"Content-Length: 70000\r\n\r\n" + b"x" * 70000,
        f"200 {{'Content-Length': '70000'}} {b'x' * 40!r} {KEPT}",
    ),
    "a large one that never ends": (OK + b"\r\n" + b"x" * 70000, f"200 {{}} {b'x' * 40!r} {KEPT}"),
    "nothing": (b"", "broken answer (closed without one)"),
    "half a status line": (b"HTTP/1.1 20", "broken answer (cut short)"),
    "half a head": (OK + b"A: b\r\n", "broken answer (cut short)"),
    "half a body": (OK + b"Content-Length: 5\r\n\r\nab", "broken answer (cut short)"),
    "half a chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", "broken answer (cut short)"),
    "no last chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", "broken answer (cut short)"),
    "another language": (b"SSH-2.0-OpenSSH_9.2\r\n", "broken answer (not HTTP)"),
    "HTTP/2": (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", "broken answer (not HTTP)"),
    "a status of words": (b"HTTP/1.1 OK 200\r\n\r\n", "broken answer (not HTTP)"),
    "a status of four digits": (b"HTTP/1.1 2000 OK\r\n\r\n", "broken answer (not HTTP)"),
    "a line without a colon": (OK + b"garbage\r\n\r\n", "broken answer (no field)"),
    "a name with a space": (OK + b"A : b\r\n\r\n", "broken answer (no field)"),
    "a field that continues nothing": (OK + b" A: b\r\n\r\n", "broken answer (no field)"),
    "two lengths": (OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", "broken answer (no length)"),
    "a length below nothing": (OK + b"Content-Length: -1\r\n\r\n", "broken answer (no length)"),
    "a length of a hundred digits": (OK + b"Content-Length: " + b"9" * 100 + b"\r\n\r\n", "broken answer (no length)"),
    "a chunk of words": (OK + b"Transfer-Encoding: chunked\r\n\r\nfive\r\n", "broken answer (no size of a chunk)"),
    "a chunk longer than it says": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        "broken answer (too long a chunk)",
    ),
    "a thousand fields": (OK + b"A: b\r\n" * 1000 + b"\r\n", "broken answer (too many fields)"),
    "a long line": (OK + b"A: " + b"b" * 9000 + b"\r\n\r\n", "broken answer (too long a line)"),
    "a reason without end": (b"HTTP/1.1 200 " + b"x" * 9000, "broken answer (too long a line)"),
    "a head without end": (OK + b"A: b\r\n" * 12000, "broken answer (too large a head)"),
    "interim answers without end": (b"HTTP/1.1 100 Continue\r\n\r\n" * 3000, "broken answer (too large a head)"),
    "chunks of nothing but framing": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + (b"1;" + b"x" * 5000 + b"\r\na\r\n") * 100,
        "broken answer (more framing than body)",
    ),
}


@pytest.mark.parametrize(("answer", "told"), ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_is_read_as_it_is(answer: bytes, told: str) -> None:
    """One as a whole, and in pieces of any size, byte by byte as well."""
    assert told == read(whole(), [answer])
    for size in (1, 2, 7, 1000):
        if len(answer) // size < 5000:
            assert told == read(whole(), [answer[i : i + size] for i in range(0, len(answer), size)]), size


STATUSES = [name for name, (_, told) in ANSWERS.items() if told[:3].isdigit()]


@pytest.mark.parametrize("name", STATUSES)
def test_the_status_alone_is_read_wherever_the_line_is_split(name: str) -> None:
    """Of whatever follows, nothing is waited for."""
    answer, told = ANSWERS[name]
    for cut in range(min(len(answer), 200)):
        assert f"{told[:3]} {{}} b'' 0" == read(StatusReader(), [answer[:cut], answer[cut:]] if cut else [answer])


@pytest.mark.parametrize(
    "name",
    [
        "nothing",
        "half a status line",
        "another language",
        "HTTP/2",
        "a status of words",
        "a reason without end",
        "interim answers without end",
    ],
)
def test_what_has_no_status_is_no_answer(name: str) -> None:
    """In the same words, however much of an answer is wanted."""
    answer, told = ANSWERS[name]

    assert told == read(StatusReader(), [answer])
    assert told == read(StatusReader(), [answer[i : i + 1] for i in range(len(answer[:40000]))] + [answer[40000:]])


class Bytes:
    """A socket as `http.client` wants it."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def makefile(self, *_: object) -> io.BytesIO:
        return io.BytesIO(self.data)


def by_the_library(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    other = HTTPResponse(cast("socket.socket", Bytes(answer)))
    other.begin()
    return other.status, dict(other.headers.items()), other.read()


names = st.from_regex(r"X-[A-Za-z0-9]{1,8}", fullmatch=True)
values = st.from_regex(r"([!-~]([ !-~]{0,20}[!-~])?)?", fullmatch=True)
bodies = st.binary(max_size=200)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Return an answer that is well formed."""
    body = draw(bodies)
    fields = draw(st.dictionaries(names, values, max_size=5))
    way = draw(st.sampled_from(["sized", "chunked", "closed"]))
    head = {"sized": f"Content-Length: {len(body)}\r\n", "chunked": "Transfer-Encoding: chunked\r\n", "closed": ""}[way]
    head += "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    if way == "chunked":
        size = draw(st.integers(1, 50))
        pieces = [body[i : i + size] for i in range(0, len(body), size)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    status = draw(st.sampled_from([200, 201, 301, 404, 500, 503]))
    return f"HTTP/1.1 {status} {draw(values)}\r\n{head}\r\n".encode() + body


@given(answers(), st.lists(st.integers(0, 400), max_size=4))
def test_a_good_answer_is_read_as_the_library_reads_it(answer: bytes, cuts: list[int]) -> None:
    """Status, fields and body are the same, wherever the answer is cut."""
    reader = whole()
    places = sorted({0, len(answer), *(cut for cut in cuts if cut < len(answer))})
    pieces = [answer[a:b] for a, b in pairwise(places)]
    if not any(reader.take(piece) for piece in pieces):
        reader.end()
    read = reader.answer(0.0)

    assert by_the_library(answer) == (read.status, read.headers, read.body)


@given(answers(), st.integers(0, 300), st.binary(max_size=5), st.integers(1, 60))
def test_a_spoilt_answer_means_the_same_in_pieces_as_in_one(answer: bytes, at: int, spoilt: bytes, size: int) -> None:
    """And nothing but a refusal ever comes of it."""
    answer = answer[:at] + spoilt + answer[at + len(spoilt) :]
    pieces = [answer[i : i + size] for i in range(0, len(answer), size)]

    assert read(whole(), [answer] if answer else []) == read(whole(), pieces)


@pytest.mark.parametrize(
    ("answer", "reusable"),
    [
        (OK + b"Content-Length: 2\r\n\r\nok", True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (OK + b"Content-Length: 2\r\n\r\nok and more", False),
        (OK + b"Content-Length: 2\r\nConnection: close\r\n\r\nok", False),
        (OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", False),
        (OK + b"\r\nto the end", False),
        (OK + b"Content-Length: 70000\r\n\r\n" + b"x" * 70000, False),
    ],
)
def test_a_connection_is_good_for_more_only_after_an_answer_that_ended_exactly(answer: bytes, reusable: bool) -> None:
    readers: list[Reader] = [
        AnswerReader(whole=False, bodiless=False),
        KeptReader(bodiless=False),
        KeptReader(bodiless=False),
    ]
    for reader, pieces in zip(readers, ([answer], [answer], [answer[:30], answer[30:]]), strict=True):
        if not any(reader.take(piece) for piece in pieces if piece):
            reader.end()

        assert reusable == reader.reusable
        made = reader.answer(None)
        assert isinstance(made, HttpAnswer)
        assert int(answer[9:12]) == made.status


def test_answers_that_say_the_same_are_one_where_time_does_not_count() -> None:
    """So that they can be judged once."""
    for one, other in ((StatusReader(), StatusReader()), (KeptReader(bodiless=True), KeptReader(bodiless=True))):
        assert one.take(OK + b"A: b\r\n\r\n")
        assert other.take(OK + b"C: d\r\n\r\n")

        assert one.answer(None) is other.answer(None)
        assert 0.1 == one.answer(0.1).seconds
    assert TcpReader(b"").answer(None) is TcpReader(b"").answer(None)


def test_a_kept_connection_that_ends_too_early_is_no_answer() -> None:
    """Before the first byte, and in the middle."""
    for pieces, why in (([], "closed without one"), ([OK], "cut short")):
        reader = KeptReader(bodiless=False)
        assert not any(reader.take(piece) for piece in pieces)
        with pytest.raises(Refusal, match=why):
            reader.end()


def test_tcp_is_read_until_the_words_appear_or_it_is_enough() -> None:
    """Also when they come in two pieces; and what came before the end is an answer."""
    assert "b'a word!'" == repr(read_tcp(b"word", [b"a wo", b"rd!", b"never"]))
    assert "b'no'" == repr(read_tcp(b"word", [b"no"]))
    assert KEPT == len(read_tcp(b"word", [b"x" * 10_000] * 100))


def read_tcp(until: bytes, pieces: Iterable[bytes]) -> bytes:
    reader = TcpReader(until)
    if not any(reader.take(piece) for piece in pieces):
        reader.end()
    return reader.answer(0.0).received


MESSAGES: dict[str, tuple[int, list[bytes], str]] = {
    "whole": (2, [b"\0\4okay"], "b'okay'"),
    "byte by byte": (2, [bytes([byte]) for byte in b"\0\4okay"], "b'okay'"),
    "with something after it": (2, [b"\0\2okay"], "b'ok'"),
    "empty": (2, [b"\0", b"\0"], "b''"),
    "behind four bytes": (4, [b"\0\0\0\2", b"ok"], "b'ok'"),
    "cut short": (2, [b"\0\4ok"], "broken answer (cut short)"),
    "cut short within its length": (2, [b"\0"], "broken answer (cut short)"),
    "none": (2, [], "broken answer (closed without one)"),
    "more than is kept": (4, [b"\xff" * 10_000] * 10, f"{KEPT - 4} bytes"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_is_as_long_as_it_says(name: str) -> None:
    """Over TCP, DNS and others put the length before."""
    prefix, pieces, expected = MESSAGES[name]
    reader = PrefixedReader(prefix)
    try:
        if not any(reader.take(piece) for piece in pieces):
            reader.end()
        received = reader.answer(0.0).received
        told = repr(received) if len(received) < 100 else f"{len(received)} bytes"
    except Refusal as refusal:
        told = str(refusal)

    assert expected == told


@pytest.mark.parametrize(
    ("question", "sent"),
    [
        (HttpQuestion(80, "/a"), "GET /a HTTP/1.1|Host: h|User-Agent: sickbay|Connection: close||"),
        (HttpQuestion(8080, keep=True), "GET / HTTP/1.1|Host: h:8080|User-Agent: sickbay||"),
        (HttpQuestion(443, tls=True, keep=True), "GET / HTTP/1.1|Host: h|User-Agent: sickbay||"),
        (
            HttpQuestion(80, headers={"host": "x", "A": "b"}, keep=True),
            "GET / HTTP/1.1|Host: x|User-Agent: sickbay|A: b||",
        ),
        (HttpQuestion(80, headers={"user-agent": "me"}, keep=True), "GET / HTTP/1.1|Host: h|user-agent: me||"),
    ],
)
def test_a_request_is_what_it_says(question: HttpQuestion, sent: str) -> None:
    """Fields of one's own take the place of the usual ones."""
    assert sent == form_of(question).request("h").decode().replace("\r\n", "|")


def test_an_address_of_ipv6_is_a_host_in_brackets() -> None:
    assert b"Host: [::1]:8080\r\n" in form_of(HttpQuestion(8080)).request("::1")


@pytest.mark.parametrize(
    "question",
    [
        HttpQuestion(0),
        HttpQuestion(70000),
        TcpQuestion(-1),
        TcpQuestion(80, until=b"x", prefix=2),
        HttpQuestion(80, "/a b"),
        HttpQuestion(80, "/a\r\nX: y"),
        HttpQuestion(80, method="GET /"),
        HttpQuestion(80, headers={"A": "b\r\nX: y"}),
        HttpQuestion(80, headers={"A:": "b"}),
    ],
)
def test_what_would_not_be_one_request_is_never_asked(question: HttpQuestion | TcpQuestion) -> None:
    with pytest.raises(ValueError, match=r"is no (port|request|header field)|its own length"):
        form_of(question)


MOST = {"less than comes": 10, "as much as comes": 100_000, "more than comes": 200_000}


@pytest.mark.parametrize("framing", ["length", "chunked", "until the end"])
@pytest.mark.parametrize("row", MOST)
def test_as_much_of_a_body_is_kept_as_was_asked_for(row: str, framing: str) -> None:
    """And no more is waited for."""
    body, most = b"0123456789" * 10_000, MOST[row]
    heads = {
        "length": b"Content-Length: 100000\r\n\r\n" + body,
        "chunked": b"Transfer-Encoding: chunked\r\n\r\n186a0\r\n" + body + b"\r\n0\r\n\r\n",
        "until the end": b"\r\n" + body,
    }
    reader = AnswerReader(whole=True, bodiless=False, most=most)
    enough = reader.take(b"HTTP/1.1 200 OK\r\n" + heads[framing])
    if not enough:
        assert (framing, True) == ("until the end", most > len(body))
        reader.end()

    assert body[:most] == reader.answer(0.1).body


@pytest.mark.parametrize("most", [0, -1, 2**20 + 1])
def test_nobody_asks_for_more_of_a_body_than_there_is_room_for(most: int) -> None:
    """Hundreds may be asked at once."""
    with pytest.raises(ValueError, match="bytes of a body can't be kept"):
        form_of(HttpQuestion(port=80, most=most))
