"""What counts as a sign of life, and what is refused, message by message: fed as the broker's connection feeds it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.signals import Beat
from supervisor.runtime.heartbeats import LARGEST, Heartbeats, Payload, Refused

FLEETS = {"i-1": "web", "i-2": "web", "i-9": "other"} | {f"i-{number}": "big" for number in range(100, 200)}
TOPIC = "sickbay/v1/web/heartbeat/i-1"
GOOD = {"seq": 8, "boot_id": "b"}


def ears(hints: list[str] | None = None) -> Heartbeats:
    """Return somebody who knows these machines."""
    return Heartbeats("sickbay/", FLEETS.get, (hints if hints is not None else []).append)


def told(**changes: Any) -> bytes:
    """Return a good message, changed."""
    return json.dumps({**GOOD, **changes}).encode()


SAID: dict[str, tuple[str, bytes, Refused | None]] = {
    "sequence and boot id are enough": (TOPIC, told(), None),
    "numbers and words come with it": (TOPIC, told(metrics={"load": 1, "x": 0.5}, facts={"unit:a": "active"}), None),
    "what it says of time is not read": (TOPIC, told(time="2099-01-01T00:00:00Z", at=9e18), None),
    "it may say who it is": (TOPIC, told(instance="i-1", fleet="web"), None),
    "it says that it is another": (TOPIC, told(instance="i-2"), Refused.FORGED),
    "it says that it is of another fleet": (TOPIC, told(fleet="other"), Refused.FORGED),
    "a machine that nobody knows": ("sickbay/v1/web/heartbeat/i-7", told(), Refused.STRANGER),
    "a fleet that nobody knows": ("sickbay/v1/none/heartbeat/i-1", told(), Refused.STRANGER),
    "a machine of another fleet": ("sickbay/v1/web/heartbeat/i-9", told(), Refused.STRANGER),
    "another root": ("sick/v1/web/heartbeat/i-1", told(), Refused.TOPIC),
    "another kind of topic": ("sickbay/v1/web/command/i-1", told(), Refused.TOPIC),
    "a longer topic": (f"{TOPIC}/more", told(), Refused.TOPIC),
    "a shorter topic": ("sickbay/v1/web", told(), Refused.TOPIC),
    "as large as may be": (TOPIC, told(pad="x" * (LARGEST - len(told(pad="")))), None),
    "a byte larger": (TOPIC, told(pad="x" * (LARGEST + 1 - len(told(pad="")))), Refused.OVERSIZE),
    "nothing": (TOPIC, b"", Refused.MALFORMED),
    "no JSON": (TOPIC, b"alive!", Refused.MALFORMED),
    "a list": (TOPIC, b"[1]", Refused.MALFORMED),
    "no UTF-8": (TOPIC, b'{"seq": 1, "boot_id": "\xff"}', Refused.MALFORMED),
    "deeper than anybody needs": (TOPIC, b'{"a":' * 10_000 + b"1" + b"}" * 10_000, Refused.MALFORMED),
    "NaN": (TOPIC, b'{"seq": 1, "boot_id": "b", "metrics": {"x": NaN}}', Refused.MALFORMED),
    "infinity": (TOPIC, b'{"seq": 1, "boot_id": "b", "metrics": {"x": 1e999}}', Refused.MALFORMED),
    "an integer that is no float": (TOPIC, told(metrics={"x": 10**400}), Refused.MALFORMED),
    "an integer with 60,000 digits": (TOPIC, b'{"seq": ' + b"9" * 60_000 + b', "boot_id": "b"}', Refused.MALFORMED),
    "a metric in words": (TOPIC, told(metrics={"x": "1"}), Refused.MALFORMED),
    "a metric that is a truth": (TOPIC, told(metrics={"x": True}), Refused.MALFORMED),
    "metrics in a list": (TOPIC, told(metrics=[1]), Refused.MALFORMED),
    "64 metrics": (TOPIC, told(metrics={f"m{n}": n for n in range(64)}), None),
    "65 metrics": (TOPIC, told(metrics={f"m{n}": n for n in range(65)}), Refused.MALFORMED),
    "a metric with a long name": (TOPIC, told(metrics={"m" * 65: 1}), Refused.MALFORMED),
    "65 facts": (TOPIC, told(facts={f"f{n}": "" for n in range(65)}), Refused.MALFORMED),
    "a fact that is a number": (TOPIC, told(facts={"x": 1}), Refused.MALFORMED),
    "a fact whose name can't be shown": (TOPIC, told(facts={"x\u001b[31m": ""}), Refused.MALFORMED),
    "no sequence number": (TOPIC, b'{"boot_id": "b"}', Refused.MALFORMED),
    "a sequence number in words": (TOPIC, told(seq="8"), Refused.MALFORMED),
    "a negative sequence number": (TOPIC, told(seq=-1), Refused.MALFORMED),
    "a broken sequence number": (TOPIC, told(seq=8.5), Refused.MALFORMED),
    "no boot id": (TOPIC, b'{"seq": 1}', Refused.MALFORMED),
    "an empty boot id": (TOPIC, told(boot_id=""), Refused.MALFORMED),
    "an endless boot id": (TOPIC, told(boot_id="b" * 65), Refused.MALFORMED),
}


@pytest.mark.parametrize("name", SAID)
def test_a_first_message_is_life_or_is_counted_as_what_it_is(name: str) -> None:
    """Received at the moment at which it arrived, whatever it says."""
    topic, payload, refused = SAID[name]
    heard = ears()
    heard.heard(topic, payload, retained=False, now=100.0)

    assert ([] if refused else [Beat("i-1", 100.0)]) == heard.beats(10)
    assert ({refused: 1} if refused else {}) == dict(heard.refused)
    assert int(refused is None) == heard.accepted


SPOKEN: dict[str, tuple[Sequence[tuple[str, int]], Sequence[bool]]] = {
    "a sequence that rises lives": ([("b", 1), ("b", 2), ("b", 9)], [True, True, True]),
    "the same again is a replay": ([("b", 1), ("b", 1)], [True, False]),
    "an older one is a replay": ([("b", 5), ("b", 4), ("b", 6)], [True, False, True]),
    "a new boot may begin at nothing": ([("b", 5), ("c", 0)], [True, True]),
    "an earlier boot is a replay, however far it goes on": ([("b", 5), ("c", 0), ("b", 6), ("c", 1)], [True, True, False, True]),
    "so is the one before that": ([("a", 1), ("b", 1), ("c", 1), ("a", 9), ("b", 9)], [True, True, True, False, False]),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOKEN)
def test_only_a_sequence_that_rises_within_a_boot_that_is_not_over_lives(name: str) -> None:
    """Each message a second after the other."""
    messages, lives = SPOKEN[name]
    heard = ears()
    found = []
    for number, (boot, seq) in enumerate(messages):
        heard.heard(TOPIC, told(boot_id=boot, seq=seq), retained=False, now=float(number))
        found.append(heard.beats(10) == [Beat("i-1", float(number))])

    assert list(lives) == found
    assert lives.count(False) == heard.refused[Refused.REPLAYED]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=40))
def test_nothing_that_was_once_life_is_life_again(messages: list[tuple[str, int]]) -> None:
    """However sequence numbers and boots are mixed."""
    heard, lived = ears(), []
    for number, (boot, seq) in enumerate(messages):
        heard.heard(TOPIC, told(boot_id=boot, seq=seq), retained=False, now=float(number))
        if heard.beats(1):
            lived.append((boot, seq))

    assert len(lived) == len(set(lived))
    assert all(seqs == sorted(seqs) for seqs in ([s for b, s in lived if b == boot] for boot in "abc"))


@given(st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["seq", "boot_id", "metrics", "facts", "instance"]), inner)).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_bytes_are_taken_or_counted(payload: bytes) -> None:
    """Never an error: one machine's nonsense must not silence the others."""
    heard = ears()
    heard.heard(TOPIC, payload, retained=False, now=1.0)
    heard.heard("sickbay/v1/web/heartbeat/i-2", told(), retained=False, now=1.0)

    assert Beat("i-2", 1.0) in heard.beats(10)
    assert 2 == heard.accepted + heard.refused.total()


def test_what_the_broker_kept_is_no_life() -> None:
    """A retained message comes at each subscription: nobody can say since when."""
    heard = ears()
    heard.heard(TOPIC, told(), retained=True, now=1.0)

    assert [] == heard.beats(10)
    assert {Refused.RETAINED: 1} == dict(heard.refused)


def test_a_sender_has_one_place_and_the_newest_wins() -> None:
    """A flood of one machine costs the others nothing, and itself the older ones."""
    heard = ears()
    heard.heard("sickbay/v1/web/heartbeat/i-2", told(), retained=False, now=0.5)
    for seq in range(1000):
        heard.heard(TOPIC, told(seq=seq), retained=False, now=float(seq))

    assert 2 == len(heard)
    assert [Beat("i-2", 0.5), Beat("i-1", 999.0)] == heard.beats(10)
    assert {Refused.SHED: 999} == dict(heard.refused)


def test_strangers_leave_nothing_behind() -> None:
    """Neither those that were never known, nor those that are no longer."""
    known = dict(FLEETS)
    heard = Heartbeats("sickbay/", known.get, lambda _: None)
    for number in range(1000, 2000):
        heard.heard(f"sickbay/v1/web/heartbeat/i-{number}", told(metrics={"x": 1}), retained=False, now=1.0)
        heard.heard(f"sickbay/v1/web/presence/i-{number}", b"offline", retained=False, now=1.0)
    heard.heard(TOPIC, told(metrics={"x": 1}), retained=False, now=1.0)
    heard.beats(10)
    assert (0, {"x": 1.0}) == (len(heard), heard.said("i-1").metrics)
    del known["i-1"]
    heard.forget_strangers()

    assert Payload() == heard.said("i-1")
    assert {Refused.STRANGER: 2000} == dict(heard.refused)


def test_words_are_made_fit_to_be_shown() -> None:
    """What a machine says of itself may end on a page or in a chat."""
    heard = ears()
    heard.heard(TOPIC, told(facts={"unit:a": "fai\u001b[31mled\n\u202ex", "b": "y" * 500}), retained=False, now=1.0)
    heard.beats(10)

    assert {"unit:a": "failed x", "b": "y" * 199 + "…"} == heard.said("i-1").facts


def test_a_forged_message_is_told_with_both_names() -> None:
    """Made fit to be shown, as well."""
    heard = ears()
    heard.heard(TOPIC, told(instance="i-2\n<b>"), retained=False, now=1.0)
    heard.beats(10)

    assert ("i-1", "i-2 <b>") == heard.forged


WILLS: dict[str, tuple[Sequence[tuple[str, float]], Sequence[str]]] = {
    "one will is a hint": ([("i-1", 0.0)], ["i-1"]),
    "the same machine's next one soon is none": ([("i-1", 0.0), ("i-1", 5.0), ("i-1", 10.0)], ["i-1", "i-1"]),
    "a machine that nobody knows": ([("i-7", 0.0)], []),
    "a fifth at once is the broker's doing": ([(f"i-{100 + n}", 0.1 * n) for n in range(30)], [f"i-{100 + n}" for n in range(19)]),
    "spread over time they are hints": ([(f"i-{100 + n}", 1.0 * n) for n in range(30)], [f"i-{100 + n}" for n in range(30)]),
    "a minute after such an event they are hints again": ([(f"i-{100 + n}", 0.1 * n) for n in range(25)] + [("i-150", 61.0), ("i-151", 65.0)], [f"i-{100 + n}" for n in range(19)] + ["i-151"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WILLS)
def test_a_last_will_is_a_hint_to_ask_at_once(name: str) -> None:
    """A hundred machines that beat; none of their wills is a sign of death, or of life."""
    wills, hints = WILLS[name]
    asked: list[str] = []
    heard = ears(asked)
    for number in range(100, 200):
        heard.heard(f"sickbay/v1/big/heartbeat/i-{number}", told(), retained=False, now=0.0)
    heard.beats(1000)
    for instance, at in wills:
        fleet = FLEETS.get(instance, "web")
        heard.heard(f"sickbay/v1/{fleet}/presence/{instance}", b"offline", retained=False, now=at)

    assert list(hints) == asked
    assert (0, 100) == (len(heard), heard.accepted)


@pytest.mark.parametrize("payload", [b"online", b"", b"OFFLINE", b"x" * 70_000])
def test_any_other_presence_says_nothing(payload: bytes) -> None:
    """Nor does one that the broker kept."""
    asked: list[str] = []
    heard = ears(asked)
    heard.heard("sickbay/v1/web/presence/i-1", payload, retained=False, now=1.0)
    heard.heard("sickbay/v1/web/presence/i-1", b"offline", retained=True, now=1.0)

    assert [] == asked
