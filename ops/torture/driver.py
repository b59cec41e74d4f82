"""The store's own SQLite statements over a disk that can fail: what the module `sqlite3` offers SQLAlchemy, on apsw.

SQLite lets a program put its own file layer (a VFS) below a connection, but `sqlite3` gives no way to do so; `apsw`
does. While `sqlite_on` is open, every SQLite engine of this process gets its connections from here. What opens a
database, which PRAGMAs it sets and what it writes stays the business of `server.store`: if it promises less there, a
campaign goes red.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import apsw
from sqlalchemy import Dialect, Engine, event

_CHANGES: Final = ("INSERT", "UPDATE", "DELETE", "REPLACE")


@contextlib.contextmanager
def sqlite_on(vfs: str) -> Iterator[None]:
    """For as long as the block lasts, SQLite databases are opened through the VFS of that name."""

    def connect(dialect: Dialect, record: Any, arguments: Sequence[Any], options: dict[str, Any]) -> Any:
        del record, options
        return _Connection(arguments[0], vfs) if dialect.name == "sqlite" else None

    event.listen(Engine, "do_connect", connect)
    try:
        yield
    finally:
        event.remove(Engine, "do_connect", connect)


class _Connection:
    """As much of `sqlite3.Connection` as SQLAlchemy asks for; transactions are said in SQL, as the store does."""

    def __init__(self, path: str, vfs: str) -> None:
        with _translated():
            self._apsw = apsw.Connection(path, vfs=vfs)
        self.isolation_level: str | None = None

    def cursor(self) -> _Cursor:
        return _Cursor(self._apsw)

    def create_function(self, name: str, count: int, function: Callable[..., Any], *, deterministic: bool) -> None:
        self._apsw.create_scalar_function(name, function, count, deterministic=deterministic)

    def commit(self) -> None:
        self._end("COMMIT")

    def rollback(self) -> None:
        self._end("ROLLBACK")

    def _end(self, sql: str) -> None:
        if self._apsw.in_transaction:
            with _translated():
                self._apsw.execute(sql)

    def close(self) -> None:
        with _translated():
            self._apsw.close()


class _Cursor:
    """As much of `sqlite3.Cursor` as SQLAlchemy asks for. Rows are fetched at once, so that no read stays open."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Sequence[Any] | None = None
        self.rowcount = -1
        self.arraysize = 1

    @property
    def lastrowid(self) -> int:
        return self._connection.last_insert_rowid()

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> _Cursor:
        found: Sequence[Any] = ()

        def note(cursor: apsw.Cursor, text: str, bindings: Any) -> bool:
            del text, bindings
            nonlocal found
            found = cursor.get_description()
            return True

        cursor = self._connection.cursor()
        cursor.exec_trace = note
        with _translated():
            self._rows = list(cursor.execute(sql, tuple(parameters)))
        self.description = [(column[0], None, None, None, None, None, None) for column in found] or None
        self.rowcount = self._connection.changes() if sql.lstrip()[:7].strip().upper() in _CHANGES else -1
        return self

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> _Cursor:
        changed = 0
        for parameters in rows:
            changed += max(self.execute(sql, parameters).rowcount, 0)
        self.rowcount = changed
        return self

    def fetchone(self) -> Any:
        return self._rows.pop(0) if self._rows else None

    def fetchmany(self, size: int | None = None) -> list[Any]:
        count = size or self.arraysize
        taken, self._rows = self._rows[:count], self._rows[count:]
        return taken

    def fetchall(self) -> list[Any]:
        taken, self._rows = self._rows, []
        return taken

    def close(self) -> None:
        self._rows = []


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """What apsw raises, as what `sqlite3` raises: SQLAlchemy and the store know only that."""
    try:
        yield
    except apsw.ConstraintError as error:
        raise sqlite3.IntegrityError(str(error)) from error
    except apsw.Error as error:
        raise sqlite3.OperationalError(str(error)) from error
