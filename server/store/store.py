"""The store as the actions see it: write a unit, read with a function, ask what time it is.

Everything that is kept goes through here. `write` answers after the commit; `read` sees one snapshot. The database's
clock (`db_now`) passes through a mapping that only a demonstration or a test may hold.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from sqlalchemy import Connection, delete, insert, select

from server.clock import REAL_TIME, Clock, ClockMapping
from server.errors import Misconfigured
from server.store import migrate
from server.store.clock import DbNow, db_now
from server.store.engine import Database, open_database
from server.store.keys import Keyring
from server.store.migrate import PRODUCTION
from server.store.schema import clock_map, instance
from server.store.seals import AuditKey
from server.store.unit import Tx, Unit
from server.store.writer import Tell

T = TypeVar("T")


@dataclass(slots=True)
class Store:
    """An open store. `clock` gives the same time as `db_now`, within the drift of two machines."""

    database: Database
    keys: Keyring
    clock: Clock
    kind: str
    db_now: DbNow
    audit_key: AuditKey

    async def write(self, run: Callable[[Tx], T], feeds: Collection[str] = ()) -> T:
        """Run a unit of work that may append to `feeds`, commit it and return its result (see `Writer.write`)."""
        return await self.database.writer.write(Unit(run, feeds))

    async def read(self, fn: Callable[[Connection], T], *, snapshot: bool = True) -> T:
        """Run a read; it must not write. It sees one snapshot, unless it does without (see `Database`)."""
        return await self.database.read(fn, snapshot=snapshot)

    @property
    def is_shared(self) -> bool:
        """Whether other processes may write to this database too."""
        return self.database.is_shared

    async def apart(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` beside the writer, for what must neither wait for a batch nor hold one up (`store.leases`)."""
        return await self.database.apart(fn)

    async def follow_clock(self) -> None:
        """Take over the mapping that another process of a demonstration or a test has put into the database."""
        if self.kind != PRODUCTION:
            self.clock.mapping = await self.read(read_mapping)

    def on_commit(self, tell: Tell) -> None:
        """Hand the events of each committed batch to `tell`, in the order of commit."""
        self.database.writer.tell = tell

    async def writer_ended(self) -> None:
        """Return when nothing can be written any more by this process, because its writer ended."""
        await self.database.writer.ended.wait()

    async def set_clock(self, mapping: ClockMapping) -> None:
        """Map the clock of a demonstration or test database; refused for any other."""
        if self.kind == PRODUCTION:
            raise Misconfigured("The clock of a real service can not be mapped.")

        def run(tx: Tx) -> None:
            tx.conn.execute(delete(clock_map))
            tx.conn.execute(
                insert(clock_map).values(
                    id=1, origin_us=mapping.origin_us, offset_us=mapping.offset_us, speed=mapping.speed
                )
            )

        await self.write(run)
        self.clock.mapping = mapping

    async def fast_forward(self, step: timedelta) -> None:
        """Step the clock of a demonstration or test database forward."""
        old = self.clock.mapping
        offset = old.offset_us + step // timedelta(microseconds=1)
        await self.set_clock(ClockMapping(old.origin_us, offset, old.speed))

    async def close(self) -> None:
        await self.database.close()


def read_mapping(conn: Connection) -> ClockMapping:
    """The mapping that the database holds; real time if none."""
    row = conn.execute(select(clock_map)).one_or_none()
    return REAL_TIME if row is None else ClockMapping(row.origin_us, row.offset_us, row.speed)


def read_kind(conn: Connection) -> str:
    """What the database is for: production, demo or test. Raises Misconfigured if it does not say."""
    kind: str | None = conn.execute(select(instance.c.value).where(instance.c.key == "kind")).scalar_one_or_none()
    if kind is None:
        raise Misconfigured("This database has not been set up. Run `evenkeel init` first.", code="not_initialised")
    return kind


async def open_store(database_url: str, wrapping_key: bytes, *, kind: str) -> Store:
    """Open the store of a migrated database that was initialised as `kind`.

    Raises:
        Misconfigured: not migrated, another kind, a mapped clock in production, or another process writes to it.
    """
    clock = Clock()
    now = db_now(clock)
    audit_key = AuditKey(wrapping_key)
    database = open_database(database_url, now, audit_key.seal_row)
    try:
        found, mapping = await database.read(_inspect)
        if found != kind:
            raise Misconfigured(
                f"This is a {found} database; it can not be opened as {kind}. Check DATABASE_URL.", code="wrong_kind"
            )
        if kind == PRODUCTION and mapping != REAL_TIME:
            raise Misconfigured("This database holds a mapped clock, which only a demonstration may have.")
    except BaseException:
        await database.close()
        raise
    clock.mapping = mapping
    return Store(database, Keyring(wrapping_key), clock, kind, now, audit_key)


def _inspect(conn: Connection) -> tuple[str, ClockMapping]:
    migrate.check(conn)
    return read_kind(conn), read_mapping(conn)
