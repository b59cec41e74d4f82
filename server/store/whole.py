"""A whole database at once: copied out of one snapshot beside a running service, copied into an empty one.

The same rows on SQLite and PostgreSQL, so that a backup of the one can be restored into the other. A snapshot is a
reading transaction: on SQLite (WAL) the writer goes on and only the log is not taken back meanwhile, on PostgreSQL it
is REPEATABLE READ. Leases and tickets stay behind: they belong to processes and sockets that will be gone.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, TypeVar

from sqlalchemy import BigInteger, Connection, Table, column, delete, func, insert, inspect, select, table, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from server.clock import Clock, from_us
from server.errors import Misconfigured, Refused
from server.ids import STAFF_FEEDS
from server.store.archive import ROWS_A_PIECE, ArchiveReader, ArchiveWriter
from server.store.clock import db_now
from server.store.columns import Instant
from server.store.engine import only_writer, sqlite_engine, sqlite_path, sync_url
from server.store.migrate import prepare_database
from server.store.schema import feed, instance, lease, metadata, ticket

T = TypeVar("T")
Progress = Callable[[str, int, int], None]
LEFT_BEHIND: Final = frozenset({lease.name, ticket.name})
CONNECT_S: Final = 10
_MADE_EMPTY: Final = frozenset({instance.name, lease.name})


def copied() -> list[Table]:
    """The tables of a backup, those that others refer to first."""
    return [each for each in metadata.sorted_tables if each.name not in LEFT_BEHIND]


def columns_of(each: Table) -> list[str]:
    return [str(field.name) for field in each.columns]


def _plain(each: Table) -> Any:
    """The table with times as the integers that they are stored as."""
    return table(
        each.name,
        *[column(f.name, BigInteger() if isinstance(f.type, Instant) else f.type) for f in each.columns],
    )


def copy_out(conn: Connection, archive: ArchiveWriter, progress: Progress) -> None:
    """Write every row of the snapshot of `conn` to `archive`. `progress` is told (table, rows done, rows in all)."""
    for each in copied():
        plain = _plain(each)
        total = conn.execute(select(func.count()).select_from(plain)).scalar_one()
        rows = conn.execution_options(yield_per=ROWS_A_PIECE).execute(select(plain))
        progress(each.name, 0, total)
        for some in rows.partitions():
            archive.add(str(each.name), [tuple(row) for row in some])
            progress(each.name, archive.rows[each.name], total)


def copy_in(conn: Connection, archive: ArchiveReader, progress: Progress) -> None:
    """Load every row of a verified `archive` into the empty database of `conn`."""
    for prepared in (feed, instance):
        conn.execute(delete(prepared))
    tables = {each.name: each for each in copied()}
    done: dict[str, int] = {}
    for name, rows in archive.pieces():
        names = archive.head.tables[name]
        conn.execute(insert(_plain(tables[name])), [dict(zip(names, row, strict=True)) for row in rows])
        done[name] = done.get(name, 0) + len(rows)
        progress(name, done[name], 0)


def check_empty(conn: Connection) -> None:
    """Raise Refused where anything lies in the database that a restore would mix with."""
    there = set(inspect(conn).get_table_names())
    ours = {each.name: each for each in metadata.sorted_tables}
    strange = there - ours.keys() - {"alembic_version"}
    full = [name for name in there & ours.keys() - _MADE_EMPTY if conn.execute(_first(ours[name])).first()]
    if strange or full:
        raise Refused("This database is not empty. Restore into a new one: set DATABASE_URL.", code="not_empty")


def _first(each: Table) -> Any:
    """Any row that a database which was only prepared does not have."""
    query = select(text("1")).select_from(each).limit(1)
    return query.where(feed.c.id.not_in(STAFF_FEEDS) | (feed.c.seq > 0)) if each is feed else query


def _check_idle(conn: Connection) -> None:
    """Raise Refused where a process serves this database: its leases run."""
    now = from_us(db_now(Clock())(conn))
    if conn.execute(select(lease.c.name).where(lease.c.until > now)).first():
        raise Refused("A service is running on this database. Stop it first.", code="database_in_use")


async def read_snapshot(database_url: str, fn: Callable[[Connection], T]) -> T:
    """Run `fn` on one snapshot of the whole database, beside whoever writes to it.

    Raises:
        Misconfigured: there is no such database, or it does not answer.
    """
    url = sync_url(database_url)
    with _plainly():
        if url.get_backend_name() == "sqlite":
            if not sqlite_path(url).exists():
                raise Misconfigured("There is no database. Check DATABASE_URL.", code="not_initialised")
            engine = sqlite_engine(sqlite_path(url), read_only=True)
            try:
                with engine.connect() as conn:
                    conn.exec_driver_sql("BEGIN")
                    try:
                        return fn(conn)
                    finally:
                        conn.exec_driver_sql("ROLLBACK")
            finally:
                engine.dispose()
        async with _postgres(url, "on") as connection, connection.begin():
            found: T = await connection.run_sync(fn)
            return found


async def fill_empty(database_url: str, kind: str, fn: Callable[[Connection], T]) -> T:
    """Make the database if need be, and run `fn` on it alone in one transaction: all of it is kept, or nothing.

    Raises:
        Refused: it is not empty, or a service runs on it.
        Misconfigured: it can not be reached, or another process writes to it.
    """
    url = sync_url(database_url)
    with _plainly():
        if url.get_backend_name() == "sqlite":
            return await _fill_sqlite(url, database_url, kind, fn)
        async with _postgres(url, "off") as connection:
            await connection.run_sync(check_empty)
            await connection.rollback()
            await prepare_database(database_url, kind)
            async with connection.begin():
                # Whoever starts to serve meanwhile waits for a lease, and finds a service that is whole.
                await connection.execute(text("LOCK TABLE lease IN EXCLUSIVE MODE"))
                await connection.run_sync(_check_idle)
                await connection.run_sync(check_empty)
                done: T = await connection.run_sync(fn)
                return done


async def _fill_sqlite(url: URL, database_url: str, kind: str, fn: Callable[[Connection], T]) -> T:
    path = sqlite_path(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(only_writer(path)):
        engine = sqlite_engine(path, read_only=False)
        try:
            if path.exists():
                with engine.connect() as conn:
                    check_empty(conn)
            await prepare_database(database_url, kind)
            with engine.connect() as conn:
                conn.exec_driver_sql("BEGIN IMMEDIATE")
                try:
                    done = fn(conn)
                    conn.exec_driver_sql("COMMIT")
                except BaseException:
                    conn.exec_driver_sql("ROLLBACK")
                    raise
                conn.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                return done
        finally:
            engine.dispose()


@contextlib.asynccontextmanager
async def _postgres(url: URL, read_only: str) -> AsyncIterator[Any]:
    engine = create_async_engine(
        url,
        hide_parameters=True,
        isolation_level="REPEATABLE READ",
        poolclass=NullPool,
        connect_args={"timeout": CONNECT_S, "server_settings": {"default_transaction_read_only": read_only}},
    )
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


@contextlib.contextmanager
def _plainly() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        raise Misconfigured(
            f"The database can not be used ({type(error).__name__}). Check DATABASE_URL and that it is running.",
            code="no_database",
        ) from error
