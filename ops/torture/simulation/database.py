"""The database that the simulated servers share: one SQLite in memory, reached over a way that takes time and breaks.

Statements, schema, units and batches are the store's own. The dialect bears another name than "sqlite", so that the
store takes the paths of a database with several processes (heads are read under their locks, calls are claimed); what
one request does is done in one step, as if all its locks were held. Requests and answers travel apart: an answer that
is lost leaves its request carried out, as with a real server.

What a crash of the machine leaves is what was synced: everything committed, or, if the disk is `forgetful`, what was
committed up to some moment before. Only then may the judge find something.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import StaticPool

from ops.torture.simulation.loop import Crashed, Host, SimulatedLoop
from server.errors import Unavailable
from server.store.batch import AuditChain, Outcome
from server.store.clock import DbNow
from server.store.engine import COMMAND_TIMEOUT_S
from server.store.unit import Unit
from server.store.writer import Waiting, Writer

T = TypeVar("T")
SHARED: Final = "shared"
WAY_S: Final = (0.0002, 0.004)
SYNC_EVERY_S: Final = 2.0


class Lost(Exception):
    """The server did not answer; whether the request was carried out is not known."""


class Memory:
    """The one SQLite of this program, given another content for each seed; so its statements are compiled once."""

    def __init__(self) -> None:
        self.raw = sqlite3.connect(":memory:", isolation_level=None, cached_statements=512)
        engine = create_engine(
            "sqlite://",
            poolclass=StaticPool,
            creator=lambda: self.raw,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
        )
        self.connection: Connection = engine.connect()
        self._dialect = engine.dialect

    def fill(self, image: bytes) -> None:
        """Put the content of `image` (`Connection.serialize`) in the place of what was there."""
        if self.raw.in_transaction:
            self.raw.execute("ROLLBACK")
        # Not deserialised in place: SQLite 3.40 then ends the process at the next `json_each`, whose table still points
        # into the schema that is gone.
        with contextlib.closing(sqlite3.connect(":memory:")) as other:
            other.deserialize(image)
            other.backup(self.raw)
        self.raw.execute("PRAGMA foreign_keys=ON")
        self._dialect.name = SHARED


class SharedDatabase:
    """The server side.

    Args:
        rng: draws how long each way takes.
        epoch_us: what the database's clock says at second 0 of the loop, in microseconds since 1970.
        forgetful: the disk says that it keeps what it does not.

    Attributes:
        carrying_out_for: the host whose request is being carried out.
        slow_until, slow_s: until then each way takes up to so long.
    """

    def __init__(
        self, loop: SimulatedLoop, rng: random.Random, memory: Memory, epoch_us: int, *, forgetful: bool = False
    ) -> None:
        self._loop, self._rng, self.memory = loop, rng, memory
        self._epoch_us = epoch_us
        self._forgetful = forgetful
        self._synced, self._synced_at = memory.raw.serialize() if forgetful else b"", 0.0
        self._unreachable: dict[str, float] = {}
        self._cut_at_write: dict[str, tuple[float, Callable[[], None]]] = {}
        self._down_until = 0.0
        self._lives = 0
        self.slow_until, self.slow_s = 0.0, 0.0
        self.carrying_out_for: Host | None = None
        self.requests = 0
        self.note: Callable[[str, str], None] = lambda what, who: None

    @property
    def connection(self) -> Connection:
        return self.memory.connection

    def now_us(self, conn: Connection | None = None) -> int:
        """The database's clock, in microseconds since 1970."""
        del conn
        return self._epoch_us + round(self._loop.time() * 1e6)

    # --- faults ---

    def cut_off(self, host: Host, seconds: float) -> None:
        """Nothing passes between `host` and the database for so long; what waits for it may time out."""
        self._unreachable[host.name] = max(self._unreachable.get(host.name, 0.0), self._loop.time() + seconds)

    def cut_off_at_write(self, host: Host, seconds: float, begun: Callable[[], None]) -> None:
        """As `cut_off`, from the moment of its next batch, which comes over when the way is open again."""
        self._cut_at_write[host.name] = seconds, begun

    def writes(self, host: Host) -> None:
        """`host` is about to send a batch."""
        seconds, begun = self._cut_at_write.pop(host.name, (0.0, _nothing))
        if seconds:
            self.cut_off(host, seconds)
            begun()

    def crash(self, seconds: float) -> None:
        """The machine dies and is back after so long, with what its disk has kept."""
        self._lives += 1
        self._down_until = max(self._down_until, self._loop.time() + seconds)
        if self._forgetful:
            self.memory.fill(self._synced)

    # --- requests ---

    def ask(self, host: Host, request: Callable[[], T], answer: Callable[[T | Exception], None]) -> None:
        """Carry out `request` when it has come over, and call `answer` in `host` with its result, its error or Lost."""
        if host.is_dead:
            raise Lost
        self.requests += 1
        self._at(self._way(), self._arrive, host, request, answer, self._lives, self._loop.time() + COMMAND_TIMEOUT_S)

    def _at(self, delay_s: float, call: Callable[..., None], *args: Any, host: Host | None = None) -> None:
        context = self._loop.outside if host is None else host.context
        self._loop.call_later(delay_s, call, *args, context=context)

    def _way(self) -> float:
        low, high = WAY_S
        if self._loop.time() < self.slow_until:
            high = self.slow_s
        return self._rng.uniform(low, high)

    def _wait(self, host: Host, deadline: float) -> float:
        """Seconds until the way between `host` and here is open, or until the deadline."""
        return min(self._unreachable.get(host.name, 0.0), deadline) - self._loop.time()

    def _arrive(
        self,
        host: Host,
        request: Callable[[], Any],
        answer: Callable[[Any], None],
        life: int,
        deadline: float,
    ) -> None:
        now = self._loop.time()
        if host.is_dead and self._rng.random() < 0.5:
            return
        if now >= deadline or life != self._lives or now < self._down_until:
            self._at(0.0, answer, Lost(), host=host)
            return
        wait = self._wait(host, deadline)
        if wait > 0:
            self._at(wait, self._arrive, host, request, answer, life, deadline)
            return
        self.carrying_out_for = host
        try:
            found = request()
        except Crashed:
            return
        except Exception as error:
            found = error
        finally:
            self.carrying_out_for = None
            if self.memory.raw.in_transaction:
                self.memory.raw.execute("ROLLBACK")
        self.note("answer" if not isinstance(found, Exception) else type(found).__name__, host.name)
        if self._forgetful and now - self._synced_at > SYNC_EVERY_S:
            self._synced, self._synced_at = self.memory.raw.serialize(), now
        self._at(self._way(), self._return, host, found, answer, life, deadline)

    def _return(self, host: Host, found: Any, answer: Callable[[Any], None], life: int, deadline: float) -> None:
        now = self._loop.time()
        wait = self._wait(host, deadline)
        if life != self._lives or now >= deadline:
            found = Lost()
        elif wait > 0:
            self._at(wait, self._return, host, found, answer, life, deadline)
            return
        if not host.is_dead:
            self._at(0.0, answer, found, host=host)


def _nothing() -> None:
    return


class HostDatabase:
    """The database as one host sees it; what `server.store.store` asks for."""

    is_shared = True

    def __init__(self, shared: SharedDatabase, host: Host, now: DbNow, sign: Callable[[bytes], bytes]) -> None:
        self._shared, self._host = shared, host
        self.writer: Writer = SimulatedWriter(shared, host, now, sign)

    async def read(self, fn: Callable[[Connection], T], *, snapshot: bool = True) -> T:
        """As the one of PostgreSQL: where the connection is lost, once more, and then `Unavailable`."""
        del snapshot  # each read is one step here
        try:
            return await self._ask(fn)
        except Lost:
            pass
        try:
            return await self._ask(fn)
        except Lost as error:
            raise Unavailable("This can not be looked up just now. Try again.", code="storage") from error

    async def apart(self, fn: Callable[[Connection], T]) -> T:
        return await self._ask(fn)

    async def close(self) -> None:
        await self.writer.close()

    async def _ask(self, fn: Callable[[Connection], T]) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def answer(found: T | Exception) -> None:
            if future.done():
                return
            if isinstance(found, Exception):
                future.set_exception(found)
            else:
                future.set_result(found)

        self._shared.ask(self._host, lambda: fn(self._shared.connection), answer)
        return await future


class SimulatedWriter(Writer):
    """The writer of one host, over one connection that is new for each batch, as after a reconnect."""

    def __init__(self, shared: SharedDatabase, host: Host, now: DbNow, sign: Callable[[bytes], bytes]) -> None:
        super().__init__(now, sign)
        self._shared, self._host = shared, host

    def _start(self, batch: list[Waiting]) -> None:
        units = [unit for unit, _ in batch]
        self._shared.writes(self._host)
        try:
            self._shared.ask(self._host, lambda: self._on_server(units), lambda found: self._answered(batch, found))
        except Lost as error:
            self._answered(batch, error)

    def _on_server(self, units: Sequence[Unit[Any]]) -> list[Outcome]:
        return self._carry_out(self._session(self._shared.connection, by_hand=True), units)

    def _answered(self, batch: list[Waiting], found: list[Outcome] | Exception) -> None:
        if isinstance(found, Exception):
            # Whether it was committed is not known: its rows of the audit chain may stand or not.
            self._chain = AuditChain(self._sign)
            found = [Outcome(error=found) for _ in batch]
        self._settle(batch, found)

    async def _stop(self) -> None:
        self._end(None)
