"""Pictures of the pages for the README, taken from a running demonstration: `python -m ops.screenshots --out DIR`.

Decided here: which pages, at which widths, and at which moment of the story. Each picture is what a real browser shows
a visitor; none is touched up.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import socket
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

from playwright.async_api import Browser, Page, async_playwright

from ops.demo.people import DOORS, Door

WIDTHS: Final = {"wide": (1100, 900), "narrow": (360, 740)}
# Pages that are read from top to bottom, and not by what stands first.
WHOLE: Final = ("words-tried", "words-proposal")
WAIT_MS: Final = 60_000
NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# As in the tests: a browser that asks for nothing by itself. Each invented person has a host name of their own.
ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP *.localhost 127.0.0.1",
)

Step = Callable[[Page], Awaitable[object]]


def find_browser() -> str | None:
    """The program of an installed Chromium; None: Playwright's own is tried."""
    return next((found for name in NAMES if (found := shutil.which(name)) is not None), None)


async def take(out: Path) -> list[Path]:
    """Start a demonstration, take every picture, and return the files."""
    taken: list[Path] = []
    async with _demonstration() as url, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_browser(), args=list(ARGUMENTS))
        port = int(url.rpartition(":")[2])
        member, moderator, clinician, leader, _ = DOORS
        # The clinician first: their page rings for a minute only.
        steps: tuple[tuple[str, Door, Step], ...] = (
            ("clinician-ringing", clinician, _ringing),
            ("moderator-case", moderator, _case),
            ("member-room", member, _room),
            ("member-help", member, _help),
            ("words", leader, _words),
            ("words-tried", leader, _tried),
            ("words-proposal", leader, _proposal),
            ("words-list", leader, _list),
        )
        for name, door, step in steps:
            for width, size in WIDTHS.items():
                file = out / f"{name}-{width}.png"
                async with _entered(browser, url, door, port, size) as page:
                    await step(page)
                    await page.screenshot(path=file, full_page=name in WHOLE)
                taken.append(file)
        await browser.close()
    return taken


@contextlib.asynccontextmanager
async def _demonstration() -> AsyncIterator[str]:
    """The address of a demonstration that ends with the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="evenkeel-pictures-") as folder:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ops.demo", f"--port={port}", f"--folder={folder}"), stdout=PIPE
        )
        if process.stdout is None:
            raise RuntimeError("the demonstration was started without a pipe")
        try:
            while line := await process.stdout.readline():
                if b"Ctrl-C stops" in line:
                    break
            else:
                raise RuntimeError("the demonstration did not start")
            yield f"http://127.0.0.1:{port}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


@contextlib.asynccontextmanager
async def _entered(browser: Browser, url: str, door: Door, port: int, size: tuple[int, int]) -> AsyncIterator[Page]:
    """A window of that size in which one of the invented people has entered by their button."""
    context = await browser.new_context(viewport={"width": size[0], "height": size[1]}, locale="en-GB")
    context.set_default_timeout(WAIT_MS)
    try:
        landing = await context.new_page()
        await landing.goto(f"{url}/demo")
        async with context.expect_page() as opened:
            await landing.get_by_role("button", name=f"Enter as {door.label}").click()
        page = await opened.value
        await page.wait_for_load_state()
        await page.goto(f"{door.origin(port)}{door.start}")
        yield page
    finally:
        await context.close()


async def _ringing(page: Page) -> None:
    await page.locator(".ek-page--ringing").first.wait_for()


async def _case(page: Page) -> None:
    await page.locator(".ek-case--3 a").first.click()
    # As it opens: the page has gone by itself to where the case begins.
    await page.locator("[data-case-body] .ek-row--held").first.wait_for()


async def _room(page: Page) -> None:
    await page.get_by_role("link", name="The kitchen table").first.click()
    # Until somebody has spoken while the page was open.
    shown = page.locator("[data-rows] > li")
    await shown.last.wait_for()
    before = await shown.last.get_attribute("data-key")
    await page.locator(f'[data-rows] > li:last-child:not([data-key="{before}"])').wait_for()


async def _help(page: Page) -> None:
    await page.goto(page.url.rpartition("/")[0] + "/help")


async def _words(page: Page) -> None:
    # It is prepared while the demonstration is running already.
    proposal = page.get_by_role("link", name="Proposal:")
    async with asyncio.timeout(WAIT_MS / 1000):
        while not await proposal.count():
            await asyncio.sleep(1)
            await page.reload()


async def _tried(page: Page) -> None:
    await page.get_by_label("A text").fill("i dont want to k.i.l.l myself, but my nan is dead good at crosswords")
    await page.get_by_role("button", name="Show what is found").click()
    await page.get_by_role("heading", name="Every reading of it").wait_for()


async def _proposal(page: Page) -> None:
    await page.get_by_role("link", name="Proposal:").first.click()
    workload = page.get_by_role("region", name="Workload")
    if not await workload.count():
        await page.get_by_label("Days of stored messages").fill("2")
        await page.get_by_role("button", name="Try on stored messages").click()
        async with asyncio.timeout(WAIT_MS / 1000):
            while not await workload.count():
                await asyncio.sleep(1)
                await page.reload()


async def _list(page: Page) -> None:
    await page.goto(f"{page.url}/lists/crisis?entry=c-unsafe")


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description="Pictures of the demonstration's pages.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "screenshots")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for file in asyncio.run(take(out)):
        print(f"{file}  {file.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
