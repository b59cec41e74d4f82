"""Every difference between SQLite and PostgreSQL that is not SQLAlchemy's business: how to open, read and write.

SQLite: WAL and `synchronous=FULL`. With NORMAL a power loss takes acknowledged rows (300 of 300 in a power-loss trial);
a killed process can not show that, because the page cache survives it. Checkpoints run on a thread of their own: inside
a commit one acknowledgement in a while would wait for them.

Reads are functions of a connection, like units: on SQLite they run in a few reader threads (one hop for a whole read
instead of one for each statement), on PostgreSQL on the async engine. Each sees one snapshot.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

import asyncpg
import structlog
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool, QueuePool

from server.errors import Misconfigured, Unavailable
from server.store.clock import DbNow
from server.store.unit import Unit
from server.store.writer import TaskWriter, ThreadWriter, Writer

# Asked for everything, the library would write out every row that it reads: never, whatever the level of the rest.
logging.getLogger("sqlalchemy").setLevel(logging.WARNING)

log = structlog.get_logger()
T = TypeVar("T")
READERS = 4
CHECKPOINT_EVERY_S = 0.5
_TROUBLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
    }
)
STATEMENT_TIMEOUT_MS = 10_000
# The server ends a statement first; only where it does not answer at all does the client.
COMMAND_TIMEOUT_S = 15
CONNECT_TIMEOUT_S = 10
# A process that stands still within a transaction holds locks that others wait for: the server lets go of them.
IDLE_IN_TRANSACTION_MS = 5_000


class Database(Protocol):
    """An open database: a writer, and reads that see one snapshot each.

    Attributes:
        is_shared: other processes may write to it at the same time.
    """

    writer: Writer
    is_shared: bool

    async def read(self, fn: Callable[[Connection], T], *, snapshot: bool = True) -> T:
        """Run `fn` on a reading connection; it must not write.

        Without `snapshot` each of its statements may see what was committed meanwhile; on PostgreSQL that saves two of
        three round trips of a read that makes one statement.
        """

    async def apart(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` beside the writer's batches; on a shared database each of its statements is committed by itself."""

    async def close(self) -> None: ...


def sqlite_path(url: URL) -> Path:
    """The file of a SQLite URL. Raises Misconfigured for a database in memory: it could not survive anything."""
    if not url.database or url.database == ":memory:":
        raise Misconfigured(
            "DATABASE_URL must name a file, for instance sqlite:///var/evenkeel.db", field="database_url"
        )
    return Path(url.database)


def sync_url(database_url: str) -> URL:
    """The URL with a driver for one-off synchronous work on SQLite; PostgreSQL keeps asyncpg."""
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite":
        return url.set(drivername="sqlite")
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+asyncpg")
    raise Misconfigured("DATABASE_URL must begin with sqlite:/// or postgresql+asyncpg://", field="database_url")


def sqlite_engine(path: Path, *, read_only: bool) -> Engine:
    def connect_args() -> dict[str, Any]:
        return {"check_same_thread": False, "timeout": 10, "cached_statements": 256}

    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        hide_parameters=True,
        poolclass=QueuePool if read_only else NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args=connect_args(),
        **({"pool_size": READERS, "max_overflow": 2} if read_only else {}),
    )

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, record: Any) -> None:
        del record
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA busy_timeout=10000")
        if read_only:
            cursor.execute("PRAGMA query_only=ON")
        else:
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")
            cursor.execute("PRAGMA wal_autocheckpoint=0")
            # KiB, a bound and not a reservation. With the default of 2 MiB each message read a page back (1.0 pread).
            cursor.execute("PRAGMA cache_size=-32768")
        cursor.close()

    return engine


class SqliteDatabase:
    """One file, one writing process: a second one is refused by a lock beside the file."""

    is_shared = False

    def __init__(self, url: URL, now: DbNow, sign: Callable[[bytes], bytes]) -> None:
        path = sqlite_path(url)
        self._lock = only_writer(path)
        self._write_engine = sqlite_engine(path, read_only=False)
        self.writer: Writer = ThreadWriter(self._write_engine, now, sign)
        self._read_engine = sqlite_engine(path, read_only=True)
        self._open_readers()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="evenkeel-reader")
        self._stop_checkpoints = threading.Event()
        self._checkpoints = threading.Thread(target=self._checkpoint, name="evenkeel-checkpoint", daemon=True)
        self._checkpoints.start()

    def _open_readers(self) -> None:
        """Take the descriptors that reading needs now: later there may be none left."""
        with contextlib.ExitStack() as stack:
            for _ in range(READERS):
                conn = stack.enter_context(self._read_engine.connect())
                conn.exec_driver_sql("SELECT count(*) FROM sqlite_master").fetchall()

    async def read(self, fn: Callable[[Connection], T], *, snapshot: bool = True) -> T:
        """As `Database.read`. Raises Unavailable where the file can not be read just now."""
        del snapshot  # a transaction costs no round trip here
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, fn)
        except (DBAPIError, sqlite3.Error) as error:
            if not _is_trouble(error):
                raise
            log.error("read_failed", error=type(error).__name__)
            raise unreadable() from error

    def _read(self, fn: Callable[[Connection], T]) -> T:
        with self._read_engine.connect() as conn:
            conn.exec_driver_sql("BEGIN")
            try:
                return fn(conn)
            finally:
                conn.exec_driver_sql("ROLLBACK")

    async def apart(self, fn: Callable[[Connection], T]) -> T:
        return await self.writer.write(Unit(lambda tx: fn(tx.conn)))

    def _checkpoint(self) -> None:
        with self._write_engine.connect() as conn:
            while not self._stop_checkpoints.wait(CHECKPOINT_EVERY_S):
                try:
                    conn.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                except DBAPIError as error:
                    # The log keeps what could not be moved; this thread has to be there when the disk works again.
                    log.warning("checkpoint_failed", error=type(error).__name__)

    async def close(self) -> None:
        await self.writer.close()
        self._stop_checkpoints.set()
        await asyncio.to_thread(self._checkpoints.join)
        self._readers.shutdown()
        self._read_engine.dispose()
        self._write_engine.dispose()
        self._lock.close()


class PostgresDatabase:
    """A PostgreSQL 15+ server; any number of processes may write, each through its own writer."""

    is_shared = True

    def __init__(self, url: URL, now: DbNow, sign: Callable[[bytes], bytes]) -> None:
        waits = {"timeout": CONNECT_TIMEOUT_S, "command_timeout": COMMAND_TIMEOUT_S}
        server = {"statement_timeout": str(STATEMENT_TIMEOUT_MS), "application_name": "evenkeel"}
        writing = {**server, "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS)}
        self._write_engine = create_async_engine(
            url,
            hide_parameters=True,  # they are names and ids of people: in no error and in no log
            poolclass=NullPool,
            connect_args={"server_settings": writing, **waits},
        )
        self._apart_engine = create_async_engine(
            url,
            hide_parameters=True,
            isolation_level="AUTOCOMMIT",
            pool_size=1,
            max_overflow=0,
            pool_pre_ping=True,
            connect_args={"server_settings": server, **waits},
        )
        self._read_engine = create_async_engine(
            url,
            hide_parameters=True,
            isolation_level="REPEATABLE READ",
            # No ping before each read, which would be one of four round trips: a read whose connection was cut is
            # repeated on a new one.
            pool_size=READERS,
            pool_use_lifo=True,  # few that are used much keep their plans and pages at hand
            max_overflow=2,
            connect_args={"server_settings": {**server, "default_transaction_read_only": "on"}, **waits},
        )
        self.writer: Writer = TaskWriter(self._write_engine, now, sign)

    async def read(self, fn: Callable[[Connection], T], *, snapshot: bool = True) -> T:
        """As `Database.read`; where the connection is lost, once more on another one.

        Raises:
            Unavailable: the server can not be reached, or does not answer in time.
        """
        try:
            return await self._read_once(fn, snapshot)
        except Exception as error:
            if not _is_cut(error):
                raise
            log.warning("read_cut", error=type(error).__name__)
        try:
            return await self._read_once(fn, snapshot)
        except Exception as error:
            if not _is_cut(error):
                raise
            raise unreadable() from error

    async def _read_once(self, fn: Callable[[Connection], T], snapshot: bool) -> T:
        async with self._read_engine.connect() as conn:
            if not snapshot:
                _ = await conn.execution_options(isolation_level="AUTOCOMMIT")
            return await conn.run_sync(fn)

    async def apart(self, fn: Callable[[Connection], T]) -> T:
        async with self._apart_engine.connect() as conn:
            return await conn.run_sync(fn)

    async def close(self) -> None:
        await self.writer.close()
        await self._apart_engine.dispose()
        await self._read_engine.dispose()
        await self._write_engine.dispose()


def _is_trouble(error: DBAPIError | sqlite3.Error) -> bool:
    """Whether SQLite's error says something of the disk or the process, and nothing of what was asked."""
    code = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _TROUBLE


def unreadable() -> Unavailable:
    """For whoever asked for something that can not be read just now."""
    return Unavailable("This can not be looked up just now. Try again.", code="storage")


def _is_cut(error: Exception) -> bool:
    """Whether an error says something of the connection or the server, and nothing of what was asked."""
    if isinstance(error, DBAPIError):
        if isinstance(error, DataError | IntegrityError | NotSupportedError | ProgrammingError):
            return False
        # asyncpg's own data errors (a value that can not be read, or not be written) come without a class of theirs.
        return not (getattr(error.orig, "sqlstate", None) or "").startswith("22")
    # While it connects, the driver raises errors of its own.
    return isinstance(error, OSError | TimeoutError | PoolTimeout | asyncpg.PostgresError | asyncpg.InterfaceError)


def open_database(database_url: str, now: DbNow, sign: Callable[[bytes], bytes]) -> Database:
    """Open the database of `database_url`; its schema must exist already (`store.migrate`).

    `sign` seals what the writer adds to the audit.
    """
    url = sync_url(database_url)
    if url.get_backend_name() == "sqlite":
        return SqliteDatabase(url, now, sign)
    return PostgresDatabase(url, now, sign)


def only_writer(path: Path) -> IO[str]:
    """Hold the writer's lock of a SQLite file. Raises Misconfigured when another process has it."""
    lock = Path(f"{path}.lock").open("w", encoding="ascii")  # noqa: SIM115 - held as long as the database is open
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise Misconfigured(
            "Another evenkeel process is writing to this database. Stop it first.",
            code="database_in_use",
        ) from None
    with contextlib.suppress(OSError):
        lock.write(str(os.getpid()))
        lock.flush()
    return lock
