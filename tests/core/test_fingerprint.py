"""Which incidents are of one kind: a table of what is alike, and of near misses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.fingerprint import Failing, fingerprint, manner, shape, signature, telling
from supervisor.core.signature import Pattern, Symptom

ALIKE = (
    (
        "2026-11-21 21:00:35,123 ERROR no route to 10.0.3.4:5432",
        "2026-11-22 03:10:01,001 ERROR no route to 10.0.3.9:5432",
    ),
    ("2026-11-21T21:00:35.1Z x", "2026-01-02T00:00:00Z x"),
    ("Nov 21 21:00:35 ip-10-0-1-2 app[812]: oops", "Dec  1 01:02:03 ip-10-9-9-9 app[3]: oops"),
    ('1.2.3.4 - - [21/Nov/2026:21:00:35 +0000] "GET /"', '4.3.2.1 - - [22/Nov/2026:01:00:00 +0000] "GET /"'),
    ("21:00:35 died", "03:00:01 died"),
    ("request 550e8400-e29b-41d4-a716-446655440000 failed", "request 123e4567-e89b-12d3-a456-426614174000 failed"),
    ("i-0abc123def4567890 lost", "i-0fff123def4567891 lost"),
    ("segfault at 0xdeadbeef ip 00007f1", "segfault at 0x1 ip 00007f2"),
    ("peer [fe80::1]:80 gone", "peer [2001:db8::42]:81 gone"),
    ("worker-3 used 512.5 MB of 1,024", "worker-12 used 2 MB of 4"),
    ("commit deadbeef1 of  main", "commit 0badcafe of main"),
)
NEAR_MISSES = (
    ("ERROR no route to 10.0.3.4", "ERROR no route to the database"),
    ("panic: index out of range [5]", "panic: index out of range [5] with length 3"),
    ("error: cannot open a.conf", "error: cannot open b.conf"),
    ("deadbeef died", "feedface died"),  # words, as far as one can tell
    ("std::vector::at failed", "std::list::at failed"),
    ("ERROR x", "error x"),
)


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_what_varies_from_case_to_case_does_not_count(one: str, other: str) -> None:
    """Times, addresses, ids and numbers."""
    assert shape(one) == shape(other)


@pytest.mark.parametrize(("one", "other"), NEAR_MISSES)
def test_two_that_say_different_things_are_two_kinds(one: str, other: str) -> None:
    """However little it is."""
    assert shape(one) != shape(other)


@given(
    st.text(max_size=80)
    | st.lists(st.sampled_from([t for pair in ALIKE for t in pair] + list("0:a.-x[ ")), max_size=5).map("".join)
)
def test_the_shape_of_a_shape_is_itself(text: str) -> None:
    """And nothing that varies is left in it."""
    assert shape(shape(text)) == shape(text)
    assert not any(c.isdecimal() for c in shape(text))


LOGS: tuple[tuple[str, list[str], str], ...] = (
    ("the gravest words", ["error: slow", "panic: boom", "error: slow", "restarting"], "panic: boom"),
    ("among equals what is said most often", ["error: b", "error: a 1", "error: a 2", "error: c"], "error: a 2"),
    ("among equals the last", ["error: a", "error: b"], "error: b"),
    ("the exception, not the traceback", ["Traceback (most recent call last):", '  File "x"', "ValueError: no 5"], "ValueError: no 5"),
    ("the kernel's killer", ["app error", "Out of memory: Killed process 12 (app)"], "Out of memory: Killed process 12 (app)"),
    ("nothing in what is ordinary", ["listens on 80", "GET / 200", "errorless and terrorful"], ""),
    ("nothing in nothing", [], ""),
)  # fmt: skip


@pytest.mark.parametrize(("lines", "said"), [log[1:] for log in LOGS], ids=[log[0] for log in LOGS])
def test_the_telling_line_of_a_log(lines: list[str], said: str) -> None:
    """One line that a person would point at."""
    assert said == telling(lines)


MANNERS = (
    ("no answer", True, "silent"),
    ("connection refused", False, "refused"),
    ("connection reset by peer", False, "broken off"),
    ("HTTP 503, expected 200", False, "HTTP 5xx"),
    ("HTTP 404, expected 200", False, "HTTP 4xx"),
    ("DISK CRITICAL - 512 MB free", False, "DISK CRITICAL - <n> MB free"),
    ("", False, "failed"),
)


@pytest.mark.parametrize(("text", "silent", "how"), MANNERS)
def test_how_a_check_fails(text: str, silent: bool, how: str) -> None:
    """Refused, silent, a class of status codes; else what it says."""
    assert how == manner(text, silent=silent)


REFUSED = [Failing("alive", "connection refused", silent=False), Failing("ready", "connection refused", silent=False)]
ERRS = [Failing("alive", "HTTP 500, expected 200", silent=False)]
SIGNATURES: tuple[tuple[Symptom, list[Failing], str, str], ...] = (
    (Symptom(Pattern.UNREACHABLE, refuses=True), REFUSED, "", "unreachable, refused"),
    (Symptom(Pattern.UNREACHABLE, refuses=True), REFUSED[:1], "", "unreachable, refused"),  # who was asked first is chance
    (Symptom(Pattern.UNREACHABLE), REFUSED, "", "unreachable, silent"),
    (Symptom(Pattern.ONE_CHECK, "alive"), ERRS, "", "alive: HTTP 5xx"),
    (Symptom(Pattern.MIXED), [REFUSED[1], *ERRS], "", "alive: HTTP 5xx; ready: refused"),
    (Symptom(Pattern.ONE_DEPENDENCY, "", "db"), ERRS, "", "dependency db fails"),
    (Symptom(Pattern.IMPAIRED), REFUSED, "exited, code 137", "the cloud says: exited, code <n>"),
    (Symptom(Pattern.SLOW), [], "", "slow"),
)  # fmt: skip


@pytest.mark.parametrize(("symptom", "failing", "cloud", "words"), SIGNATURES)
def test_how_a_machine_fails(symptom: Symptom, failing: list[Failing], cloud: str, words: str) -> None:
    """In words, without what varies."""
    assert words == signature(symptom, failing, cloud)


def test_a_fingerprint_tells_every_part_apart() -> None:
    """And where one ends and the next begins. It is the same for ever: journals hold it."""
    parts = ("web", "sick", "1.0.0", "unreachable, refused", "panic: <n>")
    changed = [fingerprint(*parts[:i], parts[i] + "x", *parts[i + 1 :]) for i in range(len(parts))]
    assert len({fingerprint(*parts), *changed}) == len(parts) + 1
    assert fingerprint("a", "bc") != fingerprint("ab", "c")
    assert fingerprint(*parts) == "23d64d6abcb7"
