"""Buttons over a real WebSocket: who may press what, what is told of it, and what a late, double or foreign press does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from supervisor.core.model import AuditEntry, Incident, Instance, Record
from supervisor.core.settings import Settings
from supervisor.core.signals import Acknowledge, OperatorAsked, Reply
from supervisor.core.terms import Mode
from supervisor.runtime import outbox
from supervisor.surfaces.slack import Buttons, SlackChat
from supervisor.surfaces.slack import buttons as module
from tests.standins.slack import APP_TOKEN, TOKEN, Message, Slack
from tests.surfaces.office import RATE, SETTINGS, Office, bot, journal

pytestmark = pytest.mark.acceptance

APPROVING = replace(SETTINGS, mode=Mode.APPROVE)
RECORDS = journal(Mode.APPROVE)
ADA, EVE = "U0ADA", "U0EVE"
HELD = next(r for r in RECORDS if isinstance(r, Incident) and r.instance)


class Newsroom(Office):
    """An office that hears as well: what is pressed is asked of its engine."""

    def __init__(self, slack: Slack, *, settings: Settings = APPROVING, operators: tuple[str, ...] = (ADA,)) -> None:
        """Open for one workspace."""
        self.buttons = Buttons(TOKEN, APP_TOKEN, operators, api_url=slack.api_url, look=0.02, first_pause=0.02)
        self.chat: SlackChat = bot(slack, buttons=self.buttons)
        super().__init__(list(RECORDS), self.chat, settings)
        self.slack = slack
        self.asked: list[OperatorAsked] = []
        self.audit: list[AuditEntry] = []
        self.committing = asyncio.Event()
        self.committing.set()

    async def ask(self, asked: OperatorAsked) -> Reply:
        """Ask the engine, as the loop does."""
        self.asked.append(asked)
        await self.committing.wait()
        turn = self.engine.step([asked], self.now())
        self.engine.settle()
        self.audit += [record for record in turn.changes if isinstance(record, AuditEntry)]
        self.outbox.poke()
        return turn.replies[0]

    @property
    def root(self) -> Message:
        """The incident's own message."""
        return next(m for m in self.slack.roots if HELD.instance in m.shown.splitlines()[0])

    @property
    def story(self) -> list[str]:
        """The lines of its thread."""
        return [line.split("  ", 2)[2] for m in self.slack.replies(self.root) for line in m.shown.splitlines()]

    @property
    def offers(self) -> list[str]:
        """What its buttons say."""
        return list(self.slack.buttons(self.root))

    def pressed(self, label: str, user: str = ADA) -> dict[str, Any]:
        """Return what Slack sends when somebody presses a button now."""
        return self.slack.press(self.root, self.slack.buttons(self.root)[label], user)

    async def press(self, label: str, user: str = ADA) -> None:
        """Press a button; Slack shows no warning."""
        assert await self.slack.send(self.pressed(label, user))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Tell and hear."""
        tasks = [asyncio.create_task(self.outbox.run()), asyncio.create_task(self.chat.hear(self.ask))]
        try:
            await until(lambda: bool(self.slack.sockets) and not self.messages)
            yield
            await until(lambda: not self.messages)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def until(done: Callable[[], bool], limit: float = 10.0) -> None:
    """Wait for something that a real server brings about."""
    async with asyncio.timeout(limit):
        while not done():
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def slack(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Slack]:
    """A Slack workspace."""
    monkeypatch.setattr(outbox, "FIRST_PAUSE", 0.02)
    there = Slack(RATE)
    await there.start()
    yield there
    await there.stop()


async def test_an_approval_is_carried_out_told_and_audited(slack: Slack) -> None:
    """Who did what stands in the thread and in the audit log; the buttons are those that make sense afterwards."""
    there = Newsroom(slack)
    async with there.open():
        assert ["I'm looking", "Approve", "Reject", "Hold machine 2 h", "Pause all 30 min"] == there.offers
        await there.press("Approve")
        await until(lambda: any("approves" in line for line in there.story))
        await until(lambda: "Approve" not in there.offers)

    assert "ada (U0ADA) approves" in there.story
    [entry] = [e for e in there.audit if e.action == "operator.approve"]
    assert ("ada (U0ADA)", "slack", str(HELD.id)) == (entry.actor, entry.via, entry.target)
    assert [] == slack.whispers


async def test_a_hold_can_be_ended_again_and_both_stand_in_the_thread(slack: Slack) -> None:
    """For two hours nobody touches the machine; its button is then the way back."""
    there = Newsroom(slack)
    async with there.open():
        await there.press("Hold machine 2 h")
        await until(lambda: "End hold" in there.offers)
        held = there.engine.ctx.world.need(Instance, HELD.instance)
        assert held.held_until is not None
        assert 7199 < (held.held_until - there.now().wall).total_seconds() <= 7200
        await there.press("End hold")
        await until(lambda: "Hold machine 2 h" in there.offers)

    assert any(f"{HELD.instance} is held by ada (U0ADA) until" in line for line in there.story)
    assert any(f"ada (U0ADA) ended the hold of {HELD.instance}" in line for line in there.story)
    assert ["operator.hold", "operator.unhold"] == [e.action for e in there.audit]


async def test_a_pause_stops_all_acting_for_half_an_hour(slack: Slack) -> None:
    """It is told to the channel, for it concerns everybody, and in the thread where it was asked for."""
    there = Newsroom(slack)
    async with there.open():
        await there.press("Pause all 30 min")
        await until(lambda: "Pause all 30 min" not in there.offers)
        await until(lambda: any("slack pauses all acting until" in m.shown for m in slack.roots))

    assert ("slack",) == there.engine.ctx.holders
    assert "ada (U0ADA) paused all acting" in there.story


async def test_a_rejection_and_an_acknowledgement_are_shown_on_the_message(slack: Slack) -> None:
    """Whoever comes next sees that somebody is looking, and who has said no."""
    there = Newsroom(slack)
    async with there.open():
        await there.press("I'm looking")
        await until(lambda: "I'm looking" not in there.offers)
        assert "by ada (U0ADA)" in there.root.shown
        await there.press("Reject")
        await until(lambda: "Reject" not in there.offers)

    assert "Approve" in there.offers
    assert "ada (U0ADA) is looking into it" in there.story
    assert "ada (U0ADA) rejects" in there.story


async def test_what_takes_something_away_is_asked_twice(slack: Slack) -> None:
    """A thumb that slips stops no healing and takes no machine away."""
    there = Newsroom(slack)
    async with there.open():
        shown = slack.buttons(there.root)
        assert {"Approve", "Pause all 30 min"} == {label for label, button in shown.items() if "confirm" in button}


@pytest.mark.parametrize("who", ["a stranger", "a stranger beside a group", "a group that can't be read"])
async def test_who_is_no_operator_is_told_so_alone_and_moves_nothing(slack: Slack, who: str) -> None:
    """An ephemeral sentence; no entry, no line, no change."""
    slack.groups = {"S0OPS": [ADA]}
    operators = {"a stranger": (ADA,), "a stranger beside a group": ("S0OPS",)}.get(who, ("S0GONE",))
    there = Newsroom(slack, operators=operators)
    async with there.open():
        await there.press("Approve", EVE)
        await until(lambda: bool(slack.whispers))

    [(user, sentence)] = slack.whispers
    assert user == EVE
    assert sentence.startswith("nothing was done: ")
    assert [] == there.asked


async def test_a_member_of_an_operators_group_may_press(slack: Slack) -> None:
    """A rota in Slack needs no change here."""
    slack.groups = {"S0OPS": [ADA]}
    there = Newsroom(slack, operators=("S0OPS",))
    async with there.open():
        await there.press("I'm looking")
        await until(lambda: "I'm looking" not in there.offers)


async def test_a_double_click_and_a_second_delivery_count_once(slack: Slack) -> None:
    """Slack may send the same press again; a second press of the same button finds it done."""
    there = Newsroom(slack)
    async with there.open():
        first, second = there.pressed("Approve"), there.pressed("Approve")
        assert await slack.send(first)
        assert await slack.send(first)
        assert await slack.send(second)
        await until(lambda: bool(slack.whispers))

    assert 2 == len(there.asked)
    assert 1 == sum("approves" in line for line in there.story)
    assert 1 == len(there.audit)
    assert [(ADA, f"nothing was done: incident {HELD.id} is already approved by ada (U0ADA)")] == slack.whispers


LATE: dict[str, tuple[str, str]] = {
    "I'm looking": ("I'm looking", f"incident {HELD.id} is already acknowledged by"),
    "Hold machine 2 h": ("Hold machine 2 h", f"{HELD.instance} is already held by ada"),
    "Pause all 30 min": ("Pause all 30 min", "all acting is already paused by slack"),
    "Reject": ("Reject", f"incident {HELD.id} is already rejected by ada"),
    "Reject after an approval": ("Approve", f"incident {HELD.id} is already approved by ada"),
}


@pytest.mark.parametrize("name", LATE)
async def test_a_message_that_the_incident_has_left_behind_does_nothing(slack: Slack, name: str) -> None:
    """Between a look and a thumb there may be minutes: whoever is late is told what happened meanwhile."""
    first, sentence = LATE[name]
    there = Newsroom(slack)
    async with there.open():
        late = there.pressed(name.removesuffix(" after an approval"), ADA)
        await there.press(first)
        await until(lambda: bool(there.audit))
        if name.endswith("approval"):  # the engine goes ahead: no word is waited for any more
            incident = there.engine.ctx.world.need(Incident, HELD.id)
            there.engine.ctx.world.put(replace(incident, held=(), held_why=()))
        assert await slack.send(late)
        await until(lambda: bool(slack.whispers))

    assert slack.whispers[0][1].startswith(f"nothing was done: {sentence}")
    assert 1 == len(there.audit)


async def test_a_message_of_another_state_file_does_nothing(slack: Slack) -> None:
    """After a new beginning incident 1 is another one: an old message in the channel must not approve it."""
    there = Newsroom(slack)
    async with there.open():
        payload = there.pressed("Approve")
        action = payload["actions"][0]
        action["value"] = action["value"].replace(there.engine.ctx.world.identity.uid, "of-another-life")
        assert await slack.send(payload)
        await until(lambda: bool(slack.whispers))

    assert "of another state file" in slack.whispers[0][1]
    assert [] == there.audit


async def test_a_strange_payload_is_acknowledged_and_stops_nobody(slack: Slack) -> None:
    """A link, another app's button, nonsense: the next press is heard."""
    there = Newsroom(slack)
    async with there.open():
        strange: list[dict[str, Any]] = [{"actions": []}, {"type": "view_submission"}, {"user": {}}]
        for change in strange:
            assert await slack.send(there.pressed("Approve") | change)
        broken = there.pressed("Approve")
        broken["actions"][0]["value"] = "{"
        assert await slack.send(broken)
        await there.press("I'm looking")
        await until(lambda: "I'm looking" not in there.offers)

    assert ["operator.acknowledge"] == [e.action for e in there.audit]


@pytest.mark.parametrize("way", ["slack asks for it", "the connection breaks", "slack is down for a while"])
async def test_it_connects_again(slack: Slack, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Slack renews connections several times a day; none of it needs a restart, and no secret is in a log."""
    caplog.set_level(logging.DEBUG)
    there = Newsroom(slack)
    async with there.open():
        before = slack.sockets_opened
        if way == "slack asks for it":
            await slack.sockets[-1].send_json({"type": "disconnect", "reason": "refresh_requested"})
        elif way == "the connection breaks":
            await slack.sockets[-1].close()
        else:
            port = slack.port
            await slack.stop()
            await until(lambda: "does not answer" in there.chat.deaf)
            await slack.start(port)
        await until(lambda: slack.sockets_opened > before and bool(slack.sockets))
        await until(lambda: not there.chat.deaf)
        for _ in range(50):  # a connection that Slack still closes takes no press
            if await slack.send(there.pressed("I'm looking")):
                break
        await until(lambda: "I'm looking" not in there.offers)

    assert "CANARY" not in caplog.text


async def test_a_wrong_app_token_is_said_in_a_sentence(slack: Slack) -> None:
    """`sickbay status` shows it; incidents are told all the same."""
    there = Newsroom(slack)
    there.buttons._app_token = "xapp-wrong"
    tasks = [asyncio.create_task(there.outbox.run()), asyncio.create_task(there.chat.hear(there.ask))]
    await until(lambda: "invalid_auth" in there.chat.deaf and not there.messages)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert "[chat.slack] app_token" in there.chat.deaf


async def test_while_the_journal_takes_nothing_the_press_waits_and_is_said_to(
    slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slack gets its acknowledgement in time, whoever pressed an honest answer, and the press counts later."""
    monkeypatch.setattr(module, "ACK_WITHIN", 0.05)
    monkeypatch.setattr(module, "ANSWER_LIMIT", 0.1)
    there = Newsroom(slack)
    there.committing.clear()
    async with there.open():
        await there.press("Approve")
        await until(lambda: bool(slack.whispers))

    assert "no answer yet" in slack.whispers[0][1]
    assert [] == there.audit


async def test_without_buttons_a_message_shows_none(slack: Slack) -> None:
    """A bot token alone offers nothing that nobody would hear."""
    office = Office(list(RECORDS), bot(slack), APPROVING)
    await office.work()

    assert all({} == slack.buttons(message) for message in slack.roots)


def test_the_command_line_may_acknowledge_too() -> None:
    """The same verb as the button's."""
    engine = Office(list[Record](RECORDS), bot(Slack()), APPROVING)
    turn = engine.engine.step([OperatorAsked("1", Acknowledge(HELD.id), "ada", "test")], engine.now())

    assert turn.replies[0].ok
    assert "acknowledged" in turn.replies[0].text
