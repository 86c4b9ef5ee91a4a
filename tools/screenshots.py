"""Takes the pictures of the page: runs the demo, breaks a machine, and looks at it in Chromium.

python tools/screenshots.py docs/pictures
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Literal

from playwright.async_api import Browser, ViewportSize, async_playwright

CHROMIUM = "/usr/bin/chromium"
DESK: ViewportSize = {"width": 1180, "height": 820}
PHONE: ViewportSize = {"width": 390, "height": 844}


async def shoot(
    browser: Browser, url: str, path: Path, size: ViewportSize, scheme: Literal["light", "dark"], until: str
) -> None:
    """Open a page, wait for something on it, and take its picture."""
    page = await browser.new_page(viewport=size, color_scheme=scheme, device_scale_factor=1.25)
    await page.goto(url)
    await page.wait_for_selector("#live.on")
    await page.wait_for_selector(until, timeout=60_000)
    await page.screenshot(path=path, full_page=size is DESK)
    await page.close()


async def main(folder: Path) -> None:
    """Run the demo and look."""
    command = [sys.executable, "-m", "supervisor", "demo", "--fault", "errors", "--every", "600s"]
    demo = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    if demo.stdout is None:
        raise RuntimeError("the demo has no output")
    url = ""
    while not url:
        line = (await demo.stdout.readline()).decode()
        url = line.partition("The page: ")[2].strip()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        while ">>> breaking" not in line:
            line = (await demo.stdout.readline()).decode()
        await asyncio.gather(
            shoot(browser, url, folder / "page-healing.png", DESK, "light", ".card.tone-acting"),
            shoot(browser, url, folder / "page-phone.png", PHONE, "dark", ".card.tone-acting"),
        )
        await shoot(browser, url + "incidents/2", folder / "page-incident.png", DESK, "light", ".tone-closed")
        await browser.close()
    demo.send_signal(signal.SIGINT)
    await demo.wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
