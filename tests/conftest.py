"""Fixtures that every test may ask for: a real database of each kind, and a real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright

from server.actions.services import Services
from server.actions.wordlists import proposals
from tests import harness
from tests.browsers import BROWSER_ARGUMENTS, NoBrowserError, obtain_browser
from tests.servers import PostgresServer, running_postgres

# Where single tests take up to a minute. They come first: what is left at the end is short, and shared out evenly.
SLOW = ("torture", "scaled", "serve", "ops", "bench", "demo")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow folders first, each in its order."""
    here = Path(__file__).parent
    items.sort(key=lambda item: item.path.relative_to(here).parts[0] not in SLOW)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One real PostgreSQL for the session (with xdist: one for each worker)."""
    with running_postgres(in_memory=True) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database that is this test's alone; the test runs once on SQLite and once on PostgreSQL.

    It is empty, or, where the test asks for `services` or `edge` as well, has its tables already.
    """
    prepared = not {"services", "edge"}.isdisjoint(request.fixturenames)
    if request.param == "sqlite":
        path = tmp_path / "evenkeel.db"
        if prepared:
            harness.copy_sqlite_template(path)
        yield f"sqlite:///{path}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.create_database(harness.postgres_template(server)) if prepared else server.create_database()
    yield url
    server.drop_database(url)


@pytest.fixture(autouse=True)
def lists_are_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same lists, checked against the same ones, once for all tests: each of fifty would take 3 s for it."""
    monkeypatch.setattr(proposals, "checked", harness.checked_once)


@pytest.fixture
async def services(database_url: str) -> AsyncIterator[Services]:
    """A whole service without edges, on a test database of its own; see `tests.harness` for people and time."""
    async with harness.open_services(database_url) as running:
        yield running


@pytest.fixture
async def edge(database_url: str) -> AsyncIterator[harness.Edge]:
    """The whole service with its edges on a loopback port, on a test database of its own."""
    async with harness.serving(database_url) as running:
        yield running


@pytest.fixture(scope="session")
def browser_path() -> Path:
    """The program of a Chromium; the test fails, and says why, where none can be had."""
    try:
        return obtain_browser()
    except NoBrowserError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
async def browser(browser_path: Path) -> AsyncIterator[Browser]:
    """A headless Chromium of this test's own, on this test's loop; `await browser.new_context()` for each person."""
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=browser_path, args=list(BROWSER_ARGUMENTS))
        try:
            yield started
        finally:
            await started.close()
