"""The main job in people's hands: a real daemon, Slack over real HTTP, the page in a real Chromium, SIGKILL between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import expect

from supervisor.providers.local import faults
from tests.program import Sickbay
from tests.standins.slack import APP_TOKEN, TOKEN, Message, Slack
from tests.surfaces.browser import visit

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

CHAT = """[chat.terminal]

[chat.slack]
channel = "C0OPS"
token = {{ env = "SICKBAY_TEST_TOKEN" }}
app_token = {{ env = "SICKBAY_TEST_APP_TOKEN" }}
operators = ["U0ADA"]
api_url = "{url}"

[chat]
digest = "Mon 09:00"
time_zone = "Europe/Paris"
"""


@pytest_asyncio.fixture
async def slack() -> AsyncIterator[Slack]:
    """A workspace with Slack's real limits."""
    made = Slack()
    await made.start()
    yield made
    await made.stop()


@pytest_asyncio.fixture
async def sickbay(tmp_path: Path, slack: Slack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sickbay]:
    """A running daemon that tells this workspace, with a fleet that is well."""
    monkeypatch.setenv("SICKBAY_TEST_TOKEN", TOKEN)
    monkeypatch.setenv("SICKBAY_TEST_APP_TOKEN", APP_TOKEN)
    made = Sickbay(tmp_path)
    made.write(**{"[chat.terminal]\n": CHAT.format(url=slack.api_url), "speed = 30": "speed = 12"})
    made.start()
    await asyncio.to_thread(made.until, made.is_calm)
    yield made
    await asyncio.to_thread(made.end)


async def eventually(done: Callable[[], object], limit: float = 60.0) -> None:
    """Wait for something to become true; whoever asks the program for it leaves the workspace its turn meanwhile."""
    async with asyncio.timeout(limit):
        while not await asyncio.to_thread(done):
            await asyncio.sleep(0.05)


def root_of(slack: Slack, instance: str) -> Message | None:
    """Return the one message of an instance's incident."""
    found = [m for m in slack.roots if m.body["blocks"][0]["type"] == "header" and instance in m.shown.splitlines()[0]]
    assert len(found) <= 1, "an incident has two messages"
    return found[0] if found else None


def story_of(slack: Slack, root: Message) -> list[str]:
    """Return the lines of a thread without their times."""
    return [line.split("  ", 2)[2] for m in slack.replies(root) for line in m.shown.splitlines()]


def notes_of(sickbay: Sickbay, instance: str) -> list[str]:
    """Return an incident's story as the journal has it, without its opening."""
    [(notes,)] = sickbay.rows(f"SELECT notes FROM incident WHERE instance = '{instance}'")
    return [note["text"] for note in json.loads(notes)][1:]


def is_closed(sickbay: Sickbay, instance: str) -> bool:
    """Return whether an instance's incident is over."""
    return bool(sickbay.rows(f"SELECT 1 FROM incident WHERE instance = '{instance}' AND state = 'closed'"))


async def test_people_follow_a_healing_in_chat_and_on_the_page_even_through_sigkill(
    sickbay: Sickbay, slack: Slack
) -> None:
    """One message, edited as the state moves; the page follows without a reload; a killed daemon goes on in its thread."""
    async with visit(f"http://127.0.0.1:{sickbay.listen}/") as there:
        page = there.page
        await expect(page.locator(".fleet .state")).to_have_text("OPTIMAL")
        await eventually(lambda: not sickbay.rows("SELECT 1 FROM outbox"))
        victim = sickbay.serving()[0]
        faults.crash(sickbay.folder, "web", victim)
        await expect(page.locator(".card h3")).to_contain_text(victim)
        await eventually(lambda: root_of(slack, victim))

        root = root_of(slack, victim)
        assert root is not None
        assert await slack.send(slack.press(root, slack.buttons(root)["I'm looking"], "U0ADA"))
        pressed = (
            "SELECT 1 FROM audit WHERE action = 'operator.acknowledge' AND actor = 'ada (U0ADA)' AND via = 'slack'"
        )
        await eventually(lambda: sickbay.rows(pressed))
        running = f"SELECT 1 FROM workflow WHERE patient = '{victim}' AND state = 'running'"
        await eventually(lambda: sickbay.rows(running))  # in the middle of the healing
        sickbay.kill()
        await expect(page.locator("#live.off")).to_contain_text("connection lost")
        sickbay.start()

        await expect(page.locator("#live.on")).to_contain_text("live", timeout=30_000)
        await expect(page.locator(".fleet .state")).to_have_text("OPTIMAL", timeout=60_000)
        await eventually(lambda: is_closed(sickbay, victim))
        await expect(page.locator("section", has_text="Quarantine").locator("td").first).to_have_text(victim)
        await expect(page.locator(".recent li").first).to_contain_text(f"{victim} was replaced by", timeout=20_000)
        await eventually(lambda: "was replaced by" in root.shown)
        await eventually(lambda: story_of(slack, root) == notes_of(sickbay, victim))
        assert root.edits
        assert 1 == there.loads
    assert slack.limited <= 1  # the restarted daemon can't know when its predecessor last spoke


async def test_while_slack_is_down_healing_goes_on_and_everything_is_told_later(sickbay: Sickbay, slack: Slack) -> None:
    """Nothing waits for chat; status and page say what is wrong; nothing is lost; the token is nowhere."""
    await eventually(lambda: not sickbay.json("status")["surfaces"][0]["waiting"])
    slack.always = "error:channel_not_found"
    victim = sickbay.serving()[0]
    faults.errors(sickbay.folder, "web", victim)
    await eventually(lambda: is_closed(sickbay, victim))
    await eventually(sickbay.is_calm)

    [chat] = [s for s in sickbay.json("status")["surfaces"] if s["name"] == "slack"]
    assert "channel_not_found; invite the app into the channel" in chat["trouble"]
    assert chat["waiting"] > 3
    async with visit(f"http://127.0.0.1:{sickbay.listen}/") as there:
        await expect(there.page.locator(".banner.warn")).to_contain_text("channel_not_found")
    assert root_of(slack, victim) is None

    slack.always = ""
    sickbay.kill()  # a restart tries at once
    sickbay.start()
    await eventually(lambda: root_of(slack, victim))
    root = root_of(slack, victim)
    assert root is not None
    await eventually(lambda: story_of(slack, root) == notes_of(sickbay, victim))
    for path in (*sickbay.folder.rglob("*.log"), *sickbay.folder.rglob("state.db*")):
        assert b"CANARY" not in path.read_bytes(), path
