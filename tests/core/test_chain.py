"""The audit log's chain: what was changed, taken out or cut off is named by its number, and what can't be known is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from supervisor.core.chain import GENESIS, MOST_TOLD, Head, Link, digest, verify


def chain(count: int, begin: str = GENESIS, first: int = 1) -> list[Link]:
    """Return so many entries; their numbers have gaps, as those of a journal have."""
    made: list[Link] = []
    previous = begin
    for number in range(count):
        row = {"seq": (number + first) * 10, "actor": "ada", "reason": f"reason {number}"}
        made.append(Link(row, previous, digest(previous, row)))
        previous = made[-1].hash
    return made


def rewritten(links: list[Link], place: int, **changes: object) -> list[Link]:
    """Return the log with an entry changed, and the chain from there on made to fit: what somebody who can hash does."""
    made = links[:place]
    previous = made[-1].hash if made else GENESIS
    for number, link in enumerate(links[place:]):
        row = {**link.row, **(changes if number == 0 else {})}
        made.append(Link(row, previous, digest(previous, row)))
        previous = made[-1].hash
    return made


WHOLE = chain(5)
CHANGED = {**WHOLE[2].row, "actor": "eve"}
HEAD = Head(50, WHOLE[4].hash)
SLICED = [*WHOLE[:2], *WHOLE[3:]]
TABLE: dict[str, tuple[list[Link], tuple[Head, ...], list[str]]] = {
    "nothing was touched": (WHOLE, (HEAD,), []),
    "there is nothing yet": ([], (), []),
    "a word was changed": ([*WHOLE[:2], replace(WHOLE[2], row=CHANGED), *WHOLE[3:]], (), ["entry 30 was changed"]),
    "a word was changed, and its hash made to fit": (
        [*WHOLE[:2], Link(CHANGED, WHOLE[1].hash, digest(WHOLE[1].hash, CHANGED)), *WHOLE[3:]],
        (),
        ["entry 40 does not follow entry 30: what stood between them is missing, or entry 30 was written anew"],
    ),
    "one was taken out": (
        SLICED,
        (),
        ["entry 40 does not follow entry 20: what stood between them is missing, or entry 20 was written anew"],
    ),
    "the first one was taken out": (WHOLE[1:], (), ["entry 20 is not the first one: what stood before it is missing"]),
    "the end was cut off, and nobody knew it": (WHOLE[:3], (), []),  # what a chain alone can't show
    "the end was cut off, and its head is known": (
        WHOLE[:3],
        (HEAD,),
        ["the log ends with entry 30, but entry 50 was written once: the end was cut off"],
    ),
    "everything was taken out, and its head is known": (
        [],
        (HEAD,),
        ["the log ends with entry 0, but entry 50 was written once: the end was cut off"],
    ),
    "all from one on was written anew, and nobody knew it": (rewritten(WHOLE, 2, actor="eve"), (), []),
    "all from one on was written anew, and its head is known": (
        rewritten(WHOLE, 2, actor="eve"),
        (HEAD,),
        ["entry 50 is not the one that was written once: it and what follows may be written anew"],
    ),
    "the end was cut off and another one grew": (
        [*WHOLE[:4], *chain(1, WHOLE[3].hash, first=6)],
        (HEAD,),
        ["entry 50 was written once, and is missing"],
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_what_was_done_to_a_log_is_named(name: str) -> None:
    """By the number of the entry, in a sentence."""
    links, anchors, expected = TABLE[name]
    found = verify(links, anchors)

    assert expected == found["broken"]
    assert len(links) == found["entries"]


def test_a_tail_is_taken_as_it_begins() -> None:
    """Whoever looks at the end only does not miss the beginning, nor a head from before it."""
    tail = WHOLE[2:]

    assert [] == verify(tail, [Head(10, WHOLE[0].hash), HEAD], whole=False)["broken"]
    assert verify(tail[1:], [Head(30, "0" * 64)], whole=False)["broken"] == []
    assert ["entry 40 was changed"] == verify(
        [tail[0], replace(tail[1], row={**tail[1].row, "actor": "eve"}), tail[2]], whole=False
    )["broken"]


def test_an_entry_from_before_a_column_was_added_still_fits() -> None:
    """A column that an entry is older than is NULL, and no part of what was hashed."""
    older = WHOLE[0]

    assert [] == verify([replace(older, row={**older.row, "before": None})])["broken"]
    assert ["entry 10 was changed"] == verify([replace(older, row={**older.row, "before": ""})])["broken"]


def test_a_log_full_of_faults_is_told_in_short() -> None:
    """Nobody reads a thousand lines."""
    faults = verify([replace(link, hash="0" * 64) for link in chain(100)])["broken"]

    assert MOST_TOLD + 1 == len(faults)
    assert "and 80 more" == faults[-1]


@pytest.mark.parametrize("text", ["", "12", "12:abc", "x:" + "0" * 64, "1:" + "G" * 64, "9" * 19 + ":" + "0" * 64])
def test_a_head_that_is_none_is_refused(text: str) -> None:
    """What is compared is what was printed."""
    with pytest.raises(ValueError, match="expected SEQ:HASH"):
        Head.parse(text)
    assert Head.parse(str(HEAD)) == HEAD
