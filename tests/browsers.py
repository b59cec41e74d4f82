"""A real Chromium for tests, with the arguments that keep it quiet: no request that a page did not make.

Decided here: where a browser comes from (installed, else the system's package, else Playwright's own) and how it is
started. There is no silent skip: a machine without any browser gets an error that says so.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

BROWSER_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_INSTALL_TIMEOUT_S = 600
_VERSION_TIMEOUT_S = 30
# In TEST_BROWSER: do not look again.
NONE = "none"
# Nothing that somebody could use: empty lines, and where in a program it happened.
_INSIDE = re.compile(r"\s*(at\s.*|[{}]*)$")


class NoBrowserError(Exception):
    """No browser is installed and none could be had; the text says what was tried."""


def find_browser() -> Path | None:
    """The program of an installed Chromium that runs here, or None. `TEST_BROWSER` names one directly.

    A program of that name is not enough: some systems put one there that only says where a browser could be had.

    Raises:
        NoBrowserError: what `TEST_BROWSER` names does not run, or it says "none": one was looked for before, in vain.
    """
    given = os.environ.get("TEST_BROWSER")
    if given == NONE:
        raise NoBrowserError("There is no browser on this machine and none could be had, so no browser test can run.")
    if given:
        if not _runs(Path(given)):
            raise NoBrowserError("TEST_BROWSER names something that does not run as a browser does.")
        return Path(given)
    found = [Path(place) for name in _NAMES if (place := shutil.which(name)) is not None]
    return next(filter(_runs, [*found, *_playwright_browsers()]), None)


def obtain_browser() -> Path:
    """The program of a Chromium, installed first if it must be. Takes minutes then, no time otherwise.

    Raises:
        NoBrowserError: there is none, and neither the system's packages nor Playwright could bring one.
    """
    found = find_browser()
    if found is not None:
        return found
    tried = ["no Chromium or Chrome that runs, on the PATH or of Playwright's"]
    for name, commands in _ways_to_install():
        tried.append(f"{name}: {_failure_of(commands) or 'ended well but left no browser'}")
        found = find_browser()
        if found is not None:
            return found
    raise NoBrowserError("No browser could be had, so no browser test can run. Tried: " + "; ".join(tried) + ".")


def _ways_to_install() -> list[tuple[str, list[list[str]]]]:
    ways = []
    apt = shutil.which("apt-get")
    playwright = [sys.executable, "-m", "playwright", "install"]
    if apt is not None and os.geteuid() == 0:
        install = [apt, "install", "-y", "--no-install-recommends", "chromium"]
        ways.append(("the system's package", [[apt, "update"], install]))
        # Its Chromium needs libraries of the system, which it can bring where it may.
        ways.append(("Playwright's own with its libraries", [[*playwright, "--with-deps", "chromium"]]))
    ways.append(("Playwright's own", [[*playwright, "chromium"]]))
    return ways


def _runs(program: Path) -> bool:
    try:
        done = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=_VERSION_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _failure_of(commands: list[list[str]]) -> str | None:
    """Run the commands in turn; None when the last ended well, else the last line that it printed."""
    failure = None
    for command in commands:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=_INSTALL_TIMEOUT_S,
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            failure = type(error).__name__
            continue
        lines = [line.strip() for line in done.stdout.splitlines() if not _INSIDE.match(line)] or ["no output"]
        failure = None if done.returncode == 0 else f"status {done.returncode}, {lines[-1]}"
    return failure


def _playwright_browsers() -> list[Path]:
    """Chromium as Playwright downloads it, if it has been downloaded before; the newest first."""
    given = os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
    folder = Path(given) if given else Path.home() / ".cache" / "ms-playwright"
    found = folder.glob("chromium-*/chrome-linux*/chrome")
    return sorted(found, key=lambda path: int(re.sub(r"\D", "", path.parent.parent.name) or 0), reverse=True)


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{obtain_browser()}\n")
    except NoBrowserError as error:
        sys.exit(str(error))
