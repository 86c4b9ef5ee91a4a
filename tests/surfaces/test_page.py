"""The page in a real Chromium: live, readable on a phone, without a script, and deaf to what sick machines say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import expect

from supervisor.core.model import Incident
from supervisor.core.settings import Guards
from supervisor.core.signals import Noticed, OperatorAsked, Pause, Resume, SettingsLoaded
from supervisor.core.terms import Mode
from supervisor.runtime.service import Service
from supervisor.sim.world import World
from tests import stages
from tests.surfaces.browser import visit
from tests.surfaces.front import HOSTILE, Front, journal, serving

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

SETTINGS = stages.settings()
ATTACKED = journal(SETTINGS, says=HOSTILE, mode=Mode.OBSERVE)
PHONE = {"width": 360, "height": 740}
WALL = {"width": 2560, "height": 1440}


@pytest_asyncio.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    """A server whose sick machine is hostile."""
    async with serving(Front(ATTACKED, SETTINGS), tmp_path) as made:
        yield made


async def starts(_: Service, __: World) -> None:
    """Launch what is missing."""
    await asyncio.sleep(30)


def paths(front: Front) -> list[str]:
    """Return every kind of page."""
    sick = next(i for i in front.engine.ctx.world.all(Incident) if i.held)
    healed = next(i for i in front.engine.ctx.world.all(Incident) if i.replacement)
    return ["/", f"/incidents/{sick.id}", f"/incidents/{healed.id}", f"/instances/{sick.instance}", "/fleets/web"]


async def test_the_page_follows_what_happens_without_a_reload(front: Front) -> None:
    """A pause appears within moments and goes again; nothing is loaded anew, nothing complains."""
    async with visit(f"http://127.0.0.1:{front.port}/") as there:
        await expect(there.page.locator("#live")).to_contain_text("live")
        front.step(OperatorAsked("1", Pause("ada"), "ada", "test", "the database moves"))
        await expect(there.page.locator(".banner.warn").first).to_contain_text("Paused by ada: the database moves")
        front.step(OperatorAsked("2", Resume("ada"), "ada", "test"))
        await expect(there.page.get_by_text("Paused")).to_have_count(0)

    assert 1 == there.loads
    assert [] == there.complaints


async def test_a_change_of_mode_shows_without_a_reload(front: Front) -> None:
    """What stands above the page is as live as the page."""
    async with visit(f"http://127.0.0.1:{front.port}/") as there:
        await expect(there.page.locator("#live.on")).to_contain_text("live")
        front.step(SettingsLoaded(replace(SETTINGS, mode=Mode.OBSERVE)), Noticed("config.loaded", "read anew"))
        await expect(there.page.locator("#mode")).to_have_text("mode observe")


async def test_a_lost_connection_is_said_and_mended(tmp_path: Path) -> None:
    """A page that is no longer live says so; when the daemon is back, it is live again."""
    async with serving(Front(ATTACKED, SETTINGS), tmp_path) as first:
        port = first.port
        async with visit(f"http://127.0.0.1:{port}/") as there:
            await expect(there.page.locator("#live.on")).to_contain_text("live")
            await first.close()
            await expect(there.page.locator("#live.off")).to_contain_text("connection lost")
            async with serving(Front(ATTACKED, SETTINGS), tmp_path, port):
                await expect(there.page.locator("#live.on")).to_contain_text("live", timeout=20_000)


async def test_what_a_reader_opened_stays_open(front: Front) -> None:
    """An update moves no focus and closes nothing."""
    async with visit(f"http://127.0.0.1:{front.port}{paths(front)[3]}") as there:
        page = there.page
        await expect(page.locator("#live")).to_contain_text("live")
        await page.locator("#details-launch summary").click()
        link = page.locator("main .card h3 a").first
        await link.focus()
        front.step(OperatorAsked("1", Pause("ada"), "ada", "test", "why not"))
        await expect(page.locator(".banner.warn").first).to_contain_text("Paused by ada")

        assert await page.locator("#details-launch").get_attribute("open") is not None
        assert await page.evaluate("document.activeElement.getAttribute('href')") == await link.get_attribute("href")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, WALL], ids=["phone", "wall"])
async def test_every_page_fits_and_nothing_complains(front: Front, scheme: str, size: dict[str, int]) -> None:
    """No sideways scrolling, no script or policy error, and the hostile title is not ours."""
    start = f"http://127.0.0.1:{front.port}"
    async with visit(start, viewport=size, color_scheme=scheme) as there:
        for path in paths(front):
            await there.page.goto(start + path)
            await expect(there.page.locator("#live")).to_contain_text("live")
            wide = await there.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, path
            assert await there.page.title() != "owned"
        assert [] == there.complaints


async def test_it_can_be_read_without_a_script(front: Front) -> None:
    """State, cause and guard are in the HTML itself."""
    async with visit(f"http://127.0.0.1:{front.port}/", java_script_enabled=False) as there:
        text = await there.page.inner_text("main")

    assert "of 6 serve" in text
    assert "mode: observe (needs auto)" in text
    assert "<script>document.title" in text  # what the machine said, as text


async def test_it_can_be_used_with_the_keyboard(front: Front) -> None:
    """The first stop skips to the fleets; every tile and incident is a link with a name."""
    async with visit(f"http://127.0.0.1:{front.port}/") as there:
        page = there.page
        await page.keyboard.press("Tab")
        assert "#main" == await page.evaluate("document.activeElement.getAttribute('href')")
        names = await page.locator("a.tile").all_inner_texts()
        assert names
        assert all(name.strip() for name in names)
        await page.locator("a.tile").first.press("Enter")
        await page.wait_for_url("**/instances/*")


def test_a_thousand_machines_are_shown_and_stay_live(tmp_path: Path) -> None:
    """A large fleet is a large rack, not a frozen page."""
    settings = stages.settings(stages.fleet(1000), guards=Guards(launch_burst=1000))
    there = stages.stage(settings)
    there.live(starts)

    async def look() -> None:
        async with (
            serving(Front(list(there.records()), settings), tmp_path) as front,
            visit(f"http://127.0.0.1:{front.port}/") as seen,
        ):
            await expect(seen.page.locator("a.tile")).to_have_count(1000)
            front.step(OperatorAsked("1", Pause("ada"), "ada", "test", "many"))
            await expect(seen.page.locator(".banner.warn").first).to_contain_text("Paused by ada: many")
            assert [] == seen.complaints

    asyncio.run(look())


async def test_an_incident_shows_what_was_looked_up_and_keeps_it_open(front: Front) -> None:
    """Why we think so stands first; the facts are folded, and stay unfolded while the page goes on."""
    sick = next(i for i in front.engine.ctx.world.all(Incident) if i.held)
    async with visit(f"http://127.0.0.1:{front.port}/incidents/{sick.id}") as there:
        found = there.page.locator("section.dossier").first
        await expect(found.locator("h2")).to_have_text("Why we think so")
        await expect(found.locator("p").first).to_contain_text("the first failure was at")
        await expect(found.locator("code")).to_have_text("error: cart is on fire")
        await expect(found.locator("pre")).to_be_hidden()
        await found.locator("summary").click()
        await expect(found.locator("pre")).to_contain_text("listens on 80")
        front.step(OperatorAsked("1", Pause("ada"), "ada", "test", "the database moves"))
        await expect(there.page.locator(".banner.warn").first).to_contain_text("Paused by ada")
        await expect(there.page.locator("section.dossier pre").first).to_be_visible()

    assert [] == there.complaints
