"""The databases that tests are given are real, empty, their own and as durable as in production."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncConnection

    from tests.servers import PostgresServer


@asynccontextmanager
async def connected(database_url: str) -> AsyncIterator[AsyncConnection]:
    url = make_url(database_url)
    if url.drivername == "sqlite":
        url = url.set(drivername="sqlite+aiosqlite")
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


def table_names(connection: Connection) -> list[str]:
    return inspect(connection).get_table_names()


async def test_a_database_keeps_what_was_committed(database_url: str) -> None:
    """A row committed on one connection is read on the next, on either kind of database."""
    async with connected(database_url) as first:
        await first.execute(text("CREATE TABLE kept (id integer PRIMARY KEY)"))
        await first.execute(text("INSERT INTO kept VALUES (7)"))
        await first.commit()
    async with connected(database_url) as second:
        assert (await second.execute(text("SELECT id FROM kept"))).scalars().all() == [7]


async def test_a_database_is_given_empty(database_url: str) -> None:
    """No test sees a table that another made."""
    async with connected(database_url) as connection:
        assert await connection.run_sync(table_names) == []
        await connection.execute(text("CREATE TABLE kept (id integer PRIMARY KEY)"))
        await connection.commit()


def test_sqlite_url_opens_with_the_plain_driver_too(database_url: str) -> None:
    """The SQLite URL names no driver, so a writer thread may open it with the standard library's."""
    if not database_url.startswith("sqlite"):
        assert database_url.startswith("postgresql+asyncpg://")
        return
    engine = create_engine(database_url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
    engine.dispose()


async def test_postgres_is_as_durable_as_in_production(postgres_server: PostgresServer) -> None:
    """The test server has not bought speed with durability."""
    url = postgres_server.url.render_as_string(hide_password=False)
    async with connected(url) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert (await connection.execute(text(f"SHOW {setting}"))).scalar_one() == "on", setting
