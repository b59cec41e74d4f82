"""The browser that tests are given is a real one, and a machine without one says so."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import browsers

if TYPE_CHECKING:
    from playwright.async_api import Browser


async def test_browser_runs_a_page_and_its_scripts(browser: Browser) -> None:
    """A page is laid out and its script runs in each person's own context."""
    for name in ("Bluebell", "Sam"):
        context = await browser.new_context()
        page = await context.new_page()
        await page.set_content("<p id=who></p>")
        await page.evaluate("name => { document.getElementById('who').textContent = name }", name)
        assert await page.inner_text("#who") == name
        await context.close()


def test_a_machine_without_a_browser_says_what_was_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where nothing is installed and nothing can be installed, the error is in plain words."""
    monkeypatch.delenv("TEST_BROWSER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(browsers.NoBrowserError, match=r"^No browser could be had.*Playwright's own: FileNotFoundError"):
        browsers.obtain_browser()
