"""The one writer of this process: group commit that clocks itself.

Whatever gathered while the last commit ran is the next batch; there is no linger, so an idle service commits at once
and a busy one commits many units together. Each unit has its own answer. A unit that failed unexpectedly is run
once more, alone; it never fails its batch.

On SQLite the writer is a thread with the only writing connection of the database (a second one doubled the p99 of a
commit). On PostgreSQL it is a task with one connection of its own. Both run the same function (`batch.run_batch`).
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from server import killpoints
from server.errors import ServiceError, Unavailable
from server.feeds import FeedEvent
from server.store.batch import AuditChain, KnownHeads, Outcome, run_batch
from server.store.clock import DbNow
from server.store.hot import HotRunner
from server.store.unit import Unit

T = TypeVar("T")
log = structlog.get_logger()

Tell = Callable[[Sequence[FeedEvent]], None]
CarryOut = Callable[["Session", Sequence[Unit[Any]]], list[Outcome]]
Waiting = tuple[Unit[Any], "asyncio.Future[Any]"]
# The first unit of a batch waits for the last one; beyond a few hundred the cost of a commit is spread thinly enough.
MAX_BATCH = 500


class Writer(ABC):
    """Queues units and answers each after the commit that holds it.

    A writer that ends for whatever reason answers all who wait, and refuses all who come later: nobody ever waits for a
    writer that is not there (`ended`, which `main.serve_edges` watches). `sign` seals the rows of the audit.
    """

    def __init__(self, now: DbNow, sign: Callable[[bytes], bytes]) -> None:
        self._now = now
        self._sign = sign
        self._queue: list[Waiting] = []
        self._busy = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self._running: list[Waiting] = []
        self.ended = asyncio.Event()
        self._chain = AuditChain(sign)
        self._loop = asyncio.get_running_loop()
        self.tell: Tell = lambda events: None
        # Carries out each batch; whoever puts something round it does so before the first.
        self.carry_out: CarryOut = self._carry_out
        self.commits = 0
        self.units = 0

    async def write(self, unit: Unit[T]) -> T:
        """Run `unit`, commit it, and return what it returned.

        Raises:
            ServiceError: raised by the unit; nothing of it was stored.
            Unavailable: the database could not carry it out; nothing was stored, the same command may be sent again.
        """
        if self._closed or self.ended.is_set():
            raise _stopping()
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.append((unit, future))
        if not self._busy:
            self._busy = True
            self._idle.clear()
            # Not at once: what else arrived in this turn of the loop shall share the commit.
            self._loop.call_soon(self._next)
        return await future

    async def close(self) -> None:
        """Finish what is queued, then stop."""
        self._closed = True
        await self._idle.wait()
        await self._stop()

    @abstractmethod
    def _start(self, batch: list[Waiting]) -> None:
        """Begin to carry out `batch`; called in the loop, one batch at a time."""

    @abstractmethod
    async def _stop(self) -> None: ...

    def _next(self) -> None:
        if self.ended.is_set():
            return
        batch, self._queue = self._queue[:MAX_BATCH], self._queue[MAX_BATCH:]
        self._running = batch
        self._start(batch)

    def _end(self, error: BaseException | None) -> None:
        """In the loop: the thread or task of this writer is over. Whoever waits is answered."""
        if self.ended.is_set():
            return
        if error is not None or not self._closed:
            log.critical("writer_ended", error=type(error).__name__)
        self.ended.set()
        waiting, self._running, self._queue = [*self._running, *self._queue], [], []
        for _, future in waiting:
            if not future.done():
                future.set_exception(_stopping())
        self._busy = False
        self._idle.set()

    def _settle(self, batch: Sequence[Waiting], outcomes: Sequence[Outcome]) -> None:
        """In the loop, after the commit; a fault here ends the writer, since it would never begin another batch."""
        try:
            self._committed(batch, outcomes)
        except Exception as error:
            self._end(error)

    def _committed(self, batch: Sequence[Waiting], outcomes: Sequence[Outcome]) -> None:
        """In the loop, after the commit: answer each unit, then tell the followers."""
        killpoints.reach(killpoints.COMMIT_TO_ACK)
        self.commits += 1
        self.units += len(batch)
        events: list[FeedEvent] = []
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            events += outcome.events
            if future.done():
                continue  # whoever asked has gone; what was committed stays
            if outcome.error is None:
                future.set_result(outcome.result)
            elif isinstance(outcome.error, ServiceError):
                future.set_exception(outcome.error)
            else:
                log.error("unit_failed", error=type(outcome.error).__name__)
                answer = Unavailable("This could not be stored just now. Send it again.", code="storage")
                answer.__cause__ = outcome.error
                future.set_exception(answer)
        if events:
            # After the answers: those were queued by set_result and run first.
            self._loop.call_soon(self._tell_all, events)
        self._running = []
        if self._queue:
            self._next()
        else:
            self._busy = False
            self._idle.set()

    def _tell_all(self, events: Sequence[FeedEvent]) -> None:
        killpoints.reach(killpoints.ACK_TO_FAN_OUT)
        self.tell(events)

    def _carry_out(self, session: Session, units: Sequence[Unit[Any]]) -> list[Outcome]:
        """Run a batch; what failed in it, or all of it if the commit failed, is run again one by one."""
        try:
            outcomes = session.commit(units)
        except Exception as error:
            session.abandon(error)
            self._chain = AuditChain(self._sign)
            if len(units) == 1 or session.broken:
                return [Outcome(error=error) for _ in units]
            outcomes = [Outcome(error=error, again=True) for _ in units]
        for place, outcome in enumerate(outcomes):
            if not outcome.again or session.broken:
                continue
            try:
                outcomes[place] = session.commit(units[place : place + 1])[0]
            except Exception as error:
                session.abandon(error)
                self._chain = AuditChain(self._sign)
                outcomes[place] = Outcome(error=error)
        return outcomes

    def _session(self, conn: Connection, by_hand: bool) -> Session:
        return Session(self, conn, by_hand)


def _stopping() -> Unavailable:
    return Unavailable("The service is stopping. Send this again in a moment.", code="stopping")


class Session:
    """A writing connection in use.

    Attributes:
        broken: the connection does not answer; more statements would each wait in vain.
    """

    def __init__(self, writer: Writer, conn: Connection, by_hand: bool) -> None:
        self._writer = writer
        self._conn = conn
        self._hot = HotRunner(conn)
        self._heads = KnownHeads()
        self.broken = False
        self._by_hand = by_hand  # SQLite: the driver's own transactions can not say IMMEDIATE

    def commit(self, units: Sequence[Unit[Any]]) -> list[Outcome]:
        """Run and commit a batch, first without savepoints, since units rarely raise.

        Measured: 277-286 us a message became 236-261 us (decision 0002).

        Where one does, the batch is rolled back and run again, each unit in a savepoint of its own.
        """
        try:
            outcomes = self._run(units, guarded=False)
        except Exception as error:
            self.abandon(error)
            if len(units) == 1 and isinstance(error, ServiceError):
                return [Outcome(error=error)]
            if self.broken:
                raise
            outcomes = self._run(units, guarded=True)
        if self._by_hand:
            self._hot.plain("COMMIT")
        else:
            self._conn.commit()
        self._heads.keep()
        return outcomes

    def _run(self, units: Sequence[Unit[Any]], *, guarded: bool) -> list[Outcome]:
        if self._by_hand:
            self._hot.plain("BEGIN IMMEDIATE")
        writer = self._writer
        return run_batch(self._conn, self._hot, units, writer._chain, writer._now, self._heads, guarded=guarded)

    def abandon(self, error: Exception) -> None:
        """Roll back whatever is open after `error`; what fails here says nothing new.

        The server ends a statement before the client's own time is up (`engine`): a time-out here means that nobody
        answers on this connection, and no rollback is tried.
        """
        self._heads.forget()
        if isinstance(error, TimeoutError):
            self.broken = True
            return
        try:
            if self._by_hand:
                self._hot.plain("ROLLBACK")
            else:
                self._conn.rollback()
        except Exception as failed:
            self.broken = not self._by_hand
            log.warning("rollback_failed", error=type(failed).__name__)


class ThreadWriter(Writer):
    """The writer of a SQLite database: one thread, one connection."""

    def __init__(self, engine: Engine, now: DbNow, sign: Callable[[bytes], bytes]) -> None:
        super().__init__(now, sign)
        self._engine = engine
        self._batches: queue.SimpleQueue[list[Waiting] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="evenkeel-writer", daemon=True)
        self._thread.start()

    def _start(self, batch: list[Waiting]) -> None:
        self._batches.put(batch)

    def _work(self) -> None:
        error: BaseException | None = None
        try:
            self._serve()
        except BaseException as raised:  # whatever it was, nobody may be left waiting
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits in it
            self._loop.call_soon_threadsafe(self._end, error)

    def _serve(self) -> None:
        with self._engine.connect() as conn:
            session = self._session(conn, by_hand=True)
            while (batch := self._batches.get()) is not None:
                outcomes = self.carry_out(session, [unit for unit, _ in batch])
                self._loop.call_soon_threadsafe(self._settle, batch, outcomes)

    async def _stop(self) -> None:
        self._batches.put(None)
        await asyncio.to_thread(self._thread.join)


class TaskWriter(Writer):
    """The writer of this process on a PostgreSQL database: one task, one connection, made anew when it breaks."""

    def __init__(self, engine: AsyncEngine, now: DbNow, sign: Callable[[bytes], bytes]) -> None:
        super().__init__(now, sign)
        self._engine = engine
        self._batches: asyncio.Queue[list[Waiting]] = asyncio.Queue(1)
        self._conn: AsyncConnection | None = None
        self._task = self._loop.create_task(self._work(), name="evenkeel-writer")
        self._task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._end(None if task.cancelled() else task.exception())

    def _start(self, batch: list[Waiting]) -> None:
        self._batches.put_nowait(batch)

    async def _work(self) -> None:
        while True:
            batch = await self._batches.get()
            units = [unit for unit, _ in batch]
            self._settle(batch, await self._attempt(units))

    async def _attempt(self, units: Sequence[Unit[Any]]) -> list[Outcome]:
        try:
            if self._conn is None or self._conn.invalidated:
                await self._disconnect()
                self._conn = await self._engine.connect()
            outcomes, broken = await self._conn.run_sync(self._on_connection, units)
        except Exception as error:  # the driver raises errors of its own while it connects
            log.warning("writer_disconnected", error=type(error).__name__)
            await self._disconnect()
            return [Outcome(error=error) for _ in units]
        if broken:
            log.warning("writer_disconnected", error="no_answer")
            await self._disconnect()
        return outcomes

    def _on_connection(self, conn: Connection, units: Sequence[Unit[Any]]) -> tuple[list[Outcome], bool]:
        session = self._session(conn, by_hand=False)
        return self.carry_out(session, units), session.broken

    async def _disconnect(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            try:
                await conn.invalidate()
                await conn.close()
            except Exception as error:
                log.warning("disconnect_failed", error=type(error).__name__)

    async def _stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._conn is not None:
            await self._conn.close()
