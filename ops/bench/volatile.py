"""The writer of a bench that asks what everything but durability costs: it gives every answer and keeps nothing.

A unit of work that names a room is run in the loop, in the turn after it was asked for, together with what else came
until then: the same function, handed the same kind of transaction. The transaction's heads are real: read from the
database when a feed is first written to, counted on in memory, gapless. What is left out is this and nothing else: its
statements are not run, and nothing is committed. So a client id that comes twice is not found out, whoever joins
later or falls behind finds nothing in the log, and a unit that needs more than the statements of the message path fails
loudly. Everything from the socket to the unit, and from its
answer to the sockets, is the worker's own.

All other work (sessions, audit rows, cases) is given to the real writer, which this one stands before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar, cast

from sqlalchemy import Connection

from server.feeds import FeedEvent
from server.store import feeds
from server.store.hot import Hot, HotRunner, Row
from server.store.store import Store
from server.store.unit import Head, Tx, Unit
from server.store.writer import Tell, Writer

T = TypeVar("T")


class _NoStatements:
    """Stands for a `HotRunner`: each statement succeeds and changes one row, and no query finds any."""

    def rows(self, hot: Hot, parameters: Row) -> list[Any]:
        del hot, parameters
        return []

    def run(self, hot: Hot, parameters: Row) -> int:
        del hot, parameters
        return 1

    def run_many(self, hot: Hot, parameters: Sequence[Row]) -> None: ...


class _NoConnection:
    """Stands for a `Connection` and has nothing of it: a unit that reaches for one ends with an AttributeError."""


class VolatileWriter:
    """As `Writer`, for the message path of a bench."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._durable = store.database.writer
        self._heads: dict[str, Head] = {}
        self._queue: list[tuple[Unit[Any], asyncio.Future[Any]]] = []
        self._loop = asyncio.get_running_loop()
        self._hot = cast(HotRunner, _NoStatements())
        self._conn = cast(Connection, _NoConnection())
        self.ended = self._durable.ended

    @property
    def tell(self) -> Tell:
        return self._durable.tell

    @tell.setter
    def tell(self, tell: Tell) -> None:
        self._durable.tell = tell

    async def write(self, unit: Unit[T]) -> T:
        """Run `unit` and return what it returned, or raise what it raised."""
        if not unit.feeds or not all(name.startswith("room:") for name in unit.feeds):
            return await self._durable.write(unit)
        unknown = [name for name in unit.feeds if name not in self._heads]
        if unknown:
            # Asked for twice at once, the first answer stays: it may have been counted on since.
            self._heads = {**await self._store.read(lambda conn: feeds.heads(conn, unknown)), **self._heads}
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.append((unit, future))
        if len(self._queue) == 1:
            self._loop.call_soon(self._run)
        return await future

    def _run(self) -> None:
        batch, self._queue = self._queue, []
        now_us = self._store.clock.now_us()
        events: list[FeedEvent] = []
        for unit, future in batch:
            tx = Tx(self._conn, self._hot, self._heads, now_us)
            if future.done():
                continue  # whoever asked has gone
            try:
                future.set_result(unit.run(tx))
            except Exception as error:
                future.set_exception(error)
                continue
            self._heads.update(tx.bumped())
            events += tx.events
        # As `Writer._committed` does: those who asked go first.
        self._loop.call_soon(self.tell, events)

    async def close(self) -> None:
        await self._durable.close()


def without_durability(store: Store) -> Store:
    """`store`, with a writer that keeps nothing of the messages."""
    store.database.writer = cast(Writer, VolatileWriter(store))
    return store
