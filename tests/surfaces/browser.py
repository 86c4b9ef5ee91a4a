"""A real Chromium, Debian's, without a network of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Page, async_playwright

CHROMIUM = "/usr/bin/chromium"
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Visit:
    """One page, and everything that went wrong on it."""

    def __init__(self, page: Page) -> None:
        """Listen to the page's complaints."""
        self.page = page
        self.complaints: list[str] = []
        self.loads = 0
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: self.complaints.append(str(e)))
        page.on("domcontentloaded", self._loaded)

    def _loaded(self, _: Page) -> None:
        self.loads += 1


@asynccontextmanager
async def visit(url: str, **options: Any) -> AsyncIterator[Visit]:  # Any: playwright's own options
    """Open a page in a fresh profile."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = await browser.new_page(**options)
        made = Visit(page)
        try:
            await page.goto(url, wait_until="load")
            yield made
        finally:
            await browser.close()
