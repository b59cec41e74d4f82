"""A read whose connection is cut: made once more by itself; where that fails too, something to be sent again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Connection, Integer, cast, literal, select, text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from server.errors import Unavailable
from server.store.store import Store
from tests import harness
from tests.servers import PostgresServer


@pytest.fixture
async def store(postgres_server: PostgresServer) -> AsyncIterator[Store]:
    url = postgres_server.create_database(harness.postgres_template(postgres_server))
    async with harness.open_services(url) as services:
        yield services.store
    postgres_server.drop_database(url)


class Cutting:
    """A read in which the server ends its own connection the first `times` times."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self, conn: Connection) -> int:
        if self.left:
            self.left -= 1
            conn.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return int(conn.execute(text("SELECT 7")).scalar_one())


async def test_a_read_that_is_cut_is_made_again(store: Store) -> None:
    """Whoever asked does not notice that the connection was lost."""
    assert await store.read(Cutting(1)) == 7
    assert await store.read(Cutting(0)) == 7


async def test_a_read_that_can_not_be_made_may_be_sent_again(store: Store) -> None:
    """When the database goes on cutting, the answer is "not now", never "something failed"."""
    with pytest.raises(Unavailable) as refused:
        await store.read(Cutting(2))
    assert refused.value.retry == "same"
    assert await store.read(Cutting(0)) == 7


async def test_a_read_that_is_wrong_is_not_made_again(store: Store) -> None:
    """A mistake of our own is raised as what it is, at once."""
    asked = []

    def wrong(conn: Connection) -> None:
        asked.append(1)
        conn.execute(text("SELECT nothing FROM nowhere"))

    with pytest.raises(ProgrammingError):
        await store.read(wrong)
    assert asked == [1]


@pytest.mark.parametrize("value", ["a\0b", "\ud800", "many"])
async def test_a_value_that_does_not_fit_is_not_a_lost_connection(store: Store, value: str) -> None:
    """Text that PostgreSQL can not hold, or a number that is none, is refused once and not called "not now"."""
    asked = []

    def wrong(conn: Connection) -> None:
        asked.append(1)
        conn.execute(select(cast(literal(value), Integer)))

    with pytest.raises(DBAPIError) as refused:
        await store.read(wrong)
    assert refused.value.orig is not None
    assert len(asked) == 1
