"""The whole service on one database: what is checked here lies above the store, which has its own tests on both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests import harness


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """A prepared SQLite database of this test's own."""
    path = tmp_path / "evenkeel.db"
    harness.copy_sqlite_template(path)
    return f"sqlite:///{path}"


@pytest.fixture
async def edge(database_url: str) -> AsyncIterator[harness.Edge]:
    """The whole service with its edges on a loopback port."""
    async with harness.serving(database_url) as running:
        yield running
