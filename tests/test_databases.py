"""The databases that tests are given are real, empty, their own and as durable as in production."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

if TYPE_CHECKING:
    from tests.servers import PostgresServer

T = TypeVar("T")


async def connected(database_url: str, fn: Callable[[Connection], T]) -> T:
    """Run `fn` on a connection of its own, and commit."""
    if make_url(database_url).drivername == "sqlite":
        engine = create_engine(database_url, poolclass=NullPool)
        with engine.begin() as connection:
            return fn(connection)
    async_engine = create_async_engine(database_url, poolclass=NullPool)
    async with async_engine.begin() as async_connection:
        return await async_connection.run_sync(fn)


def table_names(connection: Connection) -> list[str]:
    return inspect(connection).get_table_names()


def make_one(connection: Connection) -> None:
    connection.execute(text("CREATE TABLE kept (id integer PRIMARY KEY)"))
    connection.execute(text("INSERT INTO kept VALUES (7)"))


async def test_a_database_keeps_what_was_committed(database_url: str) -> None:
    """A row committed on one connection is read on the next, on either kind of database."""
    await connected(database_url, make_one)
    kept = await connected(database_url, lambda conn: conn.execute(text("SELECT id FROM kept")).scalars().all())
    assert kept == [7]


async def test_a_database_is_given_empty(database_url: str) -> None:
    """No test sees a table that another made."""
    assert await connected(database_url, table_names) == []
    await connected(database_url, make_one)


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
    names = ("fsync", "synchronous_commit", "full_page_writes")

    def settings(connection: Connection) -> list[str]:
        return [connection.execute(text(f"SHOW {name}")).scalar_one() for name in names]

    assert await connected(url, settings) == ["on", "on", "on"]
