"""The browser that tests are given is a real one, and a machine without one says so."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import browsers

if TYPE_CHECKING:
    from playwright.async_api import Browser

ROOT = Path(__file__).resolve().parents[1]


async def test_browser_runs_a_page_and_its_scripts(browser: Browser) -> None:
    """A page is laid out and its script runs in each person's own context."""
    for name in ("Bluebell", "Sam"):
        context = await browser.new_context()
        page = await context.new_page()
        await page.set_content("<p id=who></p>")
        await page.evaluate("name => { document.getElementById('who').textContent = name }", name)
        assert await page.inner_text("#who") == name
        await context.close()


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that is all of the PATH and all of Playwright's, on a machine where nothing is installed."""
    monkeypatch.delenv("TEST_BROWSER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    return tmp_path


def put(program: Path, *lines: str) -> Path:
    """A small program at that place."""
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    program.chmod(0o755)
    return program


def test_a_machine_without_a_browser_says_what_was_tried(bare: Path) -> None:
    """Where nothing is installed and nothing can be installed, the error is in plain words."""
    with pytest.raises(browsers.NoBrowserError, match=r"^No browser could be had.*Playwright's own: FileNotFoundError"):
        browsers.obtain_browser()


def test_a_program_that_only_bears_the_name_is_passed_over(bare: Path) -> None:
    """A stand-in that can not run is no browser; the next one that runs is taken, of Playwright's the newest."""
    put(bare / "chromium-browser", "echo 'install it first' >&2", "exit 1")
    assert browsers.find_browser() is None
    older = put(bare / "chromium-998" / "chrome-linux" / "chrome", "echo Chromium 1")
    assert browsers.find_browser() == older
    newer = put(bare / "chromium-1001" / "chrome-linux64" / "chrome", "echo Chromium 2")
    assert browsers.find_browser() == newer
    installed = put(bare / "google-chrome", "echo Chrome 3")
    assert browsers.find_browser() == installed


@pytest.mark.parametrize("fetched_by", ["apt-get", "playwright"])
def test_a_browser_is_fetched_where_there_is_none(bare: Path, fetched_by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's package comes first, where this is root's machine; else, or if that fails, Playwright's."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    log, chromium = bare / "log", bare / "chromium"
    here = f"printf '#!/bin/sh\\n' > {chromium}; /bin/chmod +x {chromium}"
    put(bare / "apt-get", f'echo "apt-get $1" >> {log}', here if fetched_by == "apt-get" else "exit 100")
    put(bare / "python", f'echo "$2 $4" >> {log}', here)
    assert browsers.obtain_browser() == chromium
    asked = ["apt-get update", "apt-get install", *(["playwright --with-deps"] if fetched_by == "playwright" else [])]
    assert log.read_text().splitlines() == asked


@pytest.mark.parametrize("given", ["none", "nowhere/chromium"])
def test_a_given_browser_is_not_looked_past(bare: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    """TEST_BROWSER decides alone: where it says none, or names what does not run, nothing else is tried."""
    put(bare / "chromium", "exit 0")
    monkeypatch.setenv("TEST_BROWSER", given)
    with pytest.raises(browsers.NoBrowserError):
        browsers.obtain_browser()


def test_the_tests_run_without_a_browser_and_say_so(bare: Path) -> None:
    """`make test` on a machine where no browser can be had still runs pytest, tells it so, and keeps its status."""
    log = bare / "log"
    put(
        bare / "venv" / "bin" / "python",
        f'echo "$2 ${{TEST_BROWSER:-unset}}" >> {log}',
        '[ "$2" = pytest ] && exit 3',
        "exit 1",
    )
    done = subprocess.run(
        ["make", "test", f"VENV={bare / 'venv'}", "-o", "setup", "-o", "check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PATH": os.defpath, "MAKEFLAGS": ""},
    )
    assert done.returncode == 2
    assert "no browser" in done.stderr
    assert log.read_text().splitlines() == ["tests.browsers unset", "pytest none"]
