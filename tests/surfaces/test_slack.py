"""Slack over real HTTP, against a stand-in as strict as the real one: what people read, and what an outage may not do."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.cards import Card, Tone
from supervisor.core.model import Incident, Instance, OutboxMessage, Record
from supervisor.core.terms import Mode
from supervisor.ports import Chat, Telling, Told
from supervisor.runtime import outbox
from supervisor.surfaces.slack import SlackChat, WebhookChat, blocks, errors
from tests.standins import slack
from tests.standins.slack import TOKEN, Slack, active
from tests.surfaces.office import RATE, SETTINGS, Office, bot, journal

HOSTILE = "<!channel> <@U1> <!subteam^S1> <http://x|Reset password> &lt;!here&gt; @channel *b* `c` ```d``` :skull:"


class Watched:
    """A surface whose refusals are written down, with every exception behind them."""

    def __init__(self, chat: Chat) -> None:
        """Watch a chat."""
        self.chat = chat
        self.refusals: list[str] = []

    async def tell(self, telling: Telling) -> Told:
        """Pass it on."""
        try:
            return await self.chat.tell(telling)
        except Exception as error:
            self.refusals.append("".join(traceback.format_exception(error)))
            raise

    async def close(self) -> None:
        """Pass it on."""
        await self.chat.close()


@pytest_asyncio.fixture
async def workspace(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Slack]:
    """A Slack workspace, and an outbox whose pauses are short."""
    monkeypatch.setattr(outbox, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(errors, "CONFIGURATION_PAUSE", 0.05)
    there = Slack(RATE)
    await there.start()
    yield there
    await there.stop()


def expected(records: list[Record]) -> list[str]:
    """Return the texts that wait, in order."""
    found = sorted((m for m in records if isinstance(m, OutboxMessage)), key=lambda m: m.id)
    return [m.text for m in found]


def told(there: Slack) -> list[str]:
    """Return the texts that were told as lines, in threads and in the channel."""
    plain = [m for m in there.messages if m.thread or m.body["blocks"][0]["type"] != "header"]
    return [line.split("  ", 2)[2] for m in plain for line in m.shown.splitlines()]


RECORDS = journal()
OBSERVED = journal(Mode.OBSERVE)
ATTACKED = journal(says=HOSTILE)
INCIDENTS = {r.id: r for r in RECORDS if isinstance(r, Incident)}


@pytest.mark.acceptance
async def test_an_incident_is_one_message_with_its_story_in_the_thread(workspace: Slack) -> None:
    """The message shows the end, the thread how it came to it; nothing is missing, nothing is there twice."""
    await Office(RECORDS, bot(workspace)).work()

    roots = [m for m in workspace.roots if m.body["blocks"][0]["type"] == "header"]
    assert len(INCIDENTS) == len(roots)
    healed = next(m for m in roots if "was replaced by" in m.shown)
    assert "✅ web" in healed.body["blocks"][0]["text"]["text"]
    assert "HTTP 500" in healed.shown
    assert "Recovered" in healed.shown
    story = [line.split("  ", 2)[2] for m in workspace.replies(healed) for line in m.shown.splitlines()]
    sick = next(i for i in INCIDENTS.values() if i.instance)
    assert [n.text for n in sick.notes[1:]] == story
    opened = {i.notes[0].text for i in INCIDENTS.values()}  # the incident's own message tells its opening
    assert sorted(t for t in expected(RECORDS) if t not in opened) == sorted(told(workspace))


@pytest.mark.acceptance
async def test_at_its_own_pace_slack_never_has_to_slow_it_down() -> None:
    """One message a second in a channel is Slack's limit; it is kept, not found out by refusals."""
    there = Slack(rate=1.0)
    await there.start()
    records = [r for r in RECORDS if not isinstance(r, OutboxMessage) or r.incident]

    await Office(records, SlackChat(TOKEN, "#ops", api_url=there.api_url)).work(40)

    assert 0 == there.limited
    assert len(there.messages) >= 3
    await there.stop()


FAULTS = {
    "HTTP 500": "500",
    "an HTML page instead of JSON": "html",
    "a server that hangs": "hang",
    "a wish to slow down": "429:0",
    "a channel that is not found": "error:channel_not_found",
    "a token that was revoked": "error:token_revoked",
    "a fault inside Slack": "error:internal_error",
    "an answer that is lost on its way": "lost",
}


@pytest.mark.acceptance
@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("at", [0, 1, 2])
async def test_a_fault_loses_nothing_and_tells_nothing_twice(workspace: Slack, name: str, at: int) -> None:
    """Whatever happens to a call, every line arrives once and in order when Slack is back."""
    workspace.faults = [""] * at + [FAULTS[name], FAULTS[name]]

    await Office(RECORDS, bot(workspace)).work()

    opened = {i.notes[0].text for i in INCIDENTS.values()}
    assert sorted(t for t in expected(RECORDS) if t not in opened) == sorted(told(workspace))
    assert len(INCIDENTS) == len([m for m in workspace.roots if m.body["blocks"][0]["type"] == "header"])


@pytest.mark.acceptance
async def test_where_it_may_not_read_a_line_may_come_twice_but_is_never_lost(workspace: Slack) -> None:
    """Without the scope to read, at-least-once is what can be had."""
    workspace.may_read = False
    workspace.faults = ["", "lost", "", "lost"]

    await Office(RECORDS, bot(workspace)).work()

    opened = {i.notes[0].text for i in INCIDENTS.values()}
    assert {t for t in expected(RECORDS) if t not in opened} <= set(told(workspace))


@pytest.mark.acceptance
async def test_a_restart_goes_on_in_the_same_thread(workspace: Slack) -> None:
    """Where a story was begun is in the journal."""
    first = Office(RECORDS, bot(workspace))
    await first.work()
    before = len(workspace.roots)
    incident = next(i for i in INCIDENTS.values() if i.instance)
    later = OutboxMessage(9999, "slack", "x/9999", "incident.note", incident.opened_at, "web", incident.id, "one more")

    second = Office([*first.records, later], bot(workspace))
    await second.work()

    assert before == len(workspace.roots)
    root = next(m for m in workspace.roots if "was replaced by" in m.shown)
    assert workspace.replies(root)[-1].shown.endswith("one more")


@pytest.mark.acceptance
async def test_a_message_that_somebody_deleted_is_begun_anew(workspace: Slack) -> None:
    """A story never ends because its first message is gone."""
    first = Office(RECORDS, bot(workspace))
    await first.work()
    incident = next(i for i in INCIDENTS.values() if i.instance)
    root = next(m for m in workspace.roots if "was replaced by" in m.shown)
    workspace.messages.remove(root)
    later = OutboxMessage(9999, "slack", "x/9999", "incident.note", incident.opened_at, "web", incident.id, "one more")

    await Office([*first.records, later], bot(workspace)).work()

    again = next(m for m in workspace.roots if "was replaced by" in m.shown)
    assert ["one more"] == [m.shown.split("  ", 2)[2] for m in workspace.replies(again)]


@pytest.mark.acceptance
@pytest.mark.parametrize("known", [True, False])
async def test_a_story_moves_with_the_channel(workspace: Slack, known: bool) -> None:
    """Whoever mends [chat.slack] channel is heard, even where a story began in a channel that is closed since."""
    first = Office(RECORDS, bot(workspace))
    await first.work()
    incident = next(i for i in INCIDENTS.values() if i.instance)
    later = OutboxMessage(9999, "slack", "x/9999", "incident.note", incident.opened_at, "web", incident.id, "one more")
    workspace.closed.add("C0OPS")
    later = replace(later, tries=0 if known else 1)

    await Office([*first.records, later], bot(workspace, channel="C0OTHER")).work()

    again = next(m for m in workspace.roots if m.channel == "C0OTHER")
    assert "was replaced by" in again.shown
    assert ["one more"] == [m.shown.split("  ", 2)[2] for m in workspace.replies(again)]


@pytest.mark.acceptance
async def test_a_refusal_to_act_is_told_with_guard_value_and_threshold(workspace: Slack) -> None:
    """In the message itself, where a person looks first; the thread says when it began."""
    await Office(OBSERVED, bot(workspace), replace(SETTINGS, mode=Mode.OBSERVE)).work()

    held = next(m for m in workspace.roots if "🟡" in m.shown)
    assert "Not done, because of" in held.shown
    assert "mode: observe (needs auto)" in held.shown
    assert any("would replace" in line and "needs auto" in line for line in workspace.lines)


@pytest.mark.acceptance
async def test_hostile_output_of_a_check_does_nothing(workspace: Slack) -> None:
    """Mentions, links and marks of a sick machine arrive as the text they are."""
    await Office(ATTACKED, bot(workspace)).work()

    told_so = [m for m in workspace.messages if "Reset password" in m.shown]
    assert told_so
    for message in workspace.messages:  # the stand-in itself refuses an active notification text
        assert all(found.startswith("<!date^") for found in active(message))


@pytest.mark.acceptance
async def test_a_message_that_slack_will_never_take_does_not_stop_the_others(workspace: Slack) -> None:
    """It becomes a dead letter; what comes after it arrives."""
    workspace.faults = ["error:invalid_blocks"]
    there = Office(RECORDS, bot(workspace))

    await there.work()

    assert 1 == len(there.refused)
    assert "is kept until" in told(workspace)[-1] or workspace.lines


@pytest.mark.acceptance
async def test_a_long_outage_ends_in_a_few_messages(workspace: Slack) -> None:
    """Hundreds of lines about one incident are a handful of calls."""
    incident = next(i for i in INCIDENTS.values() if i.instance)
    many = [
        OutboxMessage(
            10_000 + n,
            "slack",
            f"x/{n}",
            "incident.step",
            incident.opened_at,
            "web",
            incident.id,
            f"line {n} " + "x" * 200,
        )
        for n in range(400)
    ]
    there = Office([*(r for r in RECORDS if not isinstance(r, OutboxMessage)), *many], bot(workspace))

    await there.work()

    assert [f"line {n}" for n in range(400)] == [" ".join(text.split()[:2]) for text in told(workspace)]
    assert len(workspace.calls) <= 16


@pytest.mark.acceptance
async def test_a_webhook_tells_the_same_without_edits(workspace: Slack) -> None:
    """Nothing is lost; its address, which is a secret, is in no error."""
    workspace.faults = ["500", "429:0", "html", "error:no_service"]
    chat = Watched(WebhookChat(workspace.hook_url, pace=RATE * 1.3))

    await Office(RECORDS, chat).work()

    everything = "\n".join(m.shown for m in workspace.messages)
    assert all(text in everything for text in expected(RECORDS))
    assert 4 == len(chat.refusals)
    assert not any("CANARY" in sentence for sentence in chat.refusals)


CARDS = st.builds(
    Card,
    incident=st.integers(1, 10**9),
    fleet=st.text(max_size=100),
    tone=st.sampled_from(Tone),
    headline=st.text(max_size=3000),
    cause=st.text(max_size=9000),
    impact=st.text(max_size=50),
    held=st.lists(st.text(max_size=3000), max_size=20).map(tuple),
    ask=st.text(max_size=200),
    facts=st.lists(st.tuples(st.text(max_size=50), st.text(max_size=3000)), max_size=15).map(tuple),
    opened_at=st.just(datetime(2030, 1, 1, tzinfo=UTC)),
    closed_at=st.none(),
)
MESSAGES = st.lists(
    st.builds(
        OutboxMessage,
        id=st.integers(1, 9),
        surface=st.just("slack"),
        dedup=st.just("u/1"),
        kind=st.sampled_from(["incident.note", "incident.held", "x"]),
        at=st.just(datetime(2030, 1, 1, tzinfo=UTC)),
        text=st.text(max_size=4000) | st.just("<!channel>" * 300),
    ),
    min_size=1,
    max_size=120,
)


@given(CARDS, MESSAGES)
def test_whatever_comes_in_what_goes_out_keeps_slacks_limits(card: Card, messages: list[OutboxMessage]) -> None:
    """No text, however long or hostile, makes Slack refuse a message or obey it."""
    for payload in (blocks.root(card), blocks.root(card, "https://x.example/"), blocks.story(messages)):
        slack._check({"text": payload.text, "blocks": list(payload.blocks)})
    assert 1 <= blocks.story(messages).count <= len(messages)


def test_an_instance_is_named_with_its_zone() -> None:
    """The first line says where."""
    sick = next(i for i in INCIDENTS.values() if i.instance)
    instance = next(r for r in RECORDS if isinstance(r, Instance) and r.id == sick.instance)

    assert f"{instance.id} (zone {instance.zone})" in sick.notes[0].text
