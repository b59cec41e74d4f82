"""Two processes that write to the same feeds at once: on PostgreSQL, one order of locks keeps them from a deadlock."""

from __future__ import annotations

import asyncio
import time

import asyncpg
from sqlalchemy import insert, select
from sqlalchemy.engine import make_url

from server.ids import new_id
from server.store.feeds import heads
from server.store.migrate import TEST, prepare_database
from server.store.schema import event, feed
from server.store.store import Store, open_store
from server.store.unit import Tx
from tests.servers import PostgresServer

FEEDS = 6
UNITS = 60


async def deadlocks(url: str) -> int:
    """How many deadlocks PostgreSQL has resolved in this database, once nobody else is connected to it."""
    parts = make_url(url)
    connection = await asyncpg.connect(
        dsn=parts.set(drivername="postgresql").render_as_string(hide_password=False), timeout=10
    )
    try:
        query = "SELECT numbackends, deadlocks FROM pg_stat_database WHERE datname = $1"
        deadline = time.monotonic() + 10
        while True:
            row = await connection.fetchrow(query, parts.database)
            if row["numbackends"] <= 1:
                return int(row["deadlocks"])
            assert time.monotonic() < deadline, "the writers' connections did not end"
    finally:
        await connection.close()


async def test_two_writers_never_deadlock_on_the_same_feeds(postgres_server: PostgresServer) -> None:
    """Units that name the same feeds in opposite orders, from two writers at once, all commit at the first attempt."""
    url = postgres_server.create_database()
    try:
        await prepare_database(url, TEST)
        names = [f"room:{new_id()}" for _ in range(FEEDS)]
        one = await open_store(url, bytes(range(32)), kind=TEST)
        other = await open_store(url, bytes(range(32)), kind=TEST)

        def make(tx: Tx) -> None:
            tx.conn.execute(insert(feed), [{"id": name, "epoch": 1, "seq": 0, "version": 1} for name in names])

        await one.write(make)

        async def hammer(store: Store, order: list[str]) -> None:
            def unit(tx: Tx) -> None:
                for name in order:
                    tx.append(name, "test", new_id())

            # One after the other: each is a batch of its own, and meets the other writer's.
            for _ in range(UNITS):
                await store.write(unit, order)

        await asyncio.gather(hammer(one, names), hammer(other, names[::-1]))
        found = await one.read(lambda conn: heads(conn, names))
        rows = await one.read(
            lambda conn: conn.execute(select(event.c.feed, event.c.seq).order_by(event.c.feed, event.c.seq)).all()
        )
        await one.close()
        await other.close()
        assert {name: found[name].seq for name in names} == dict.fromkeys(names, 2 * UNITS)
        assert [tuple(row) for row in rows] == [(name, n) for name in sorted(names) for n in range(1, 2 * UNITS + 1)]
        assert await deadlocks(url) == 0
    finally:
        postgres_server.drop_database(url)
