"""Statements that every message or every join needs: written with Core, compiled once per dialect, run without Core's
per-call work.

SQLAlchemy's execute costs 30-60 us a statement; the same SQL on the driver's own connection costs 3-8 us (two-core
machine, November 2026). Only statements of the message path, and those that a crowd runs when it comes, are worth
that; everything else uses Core.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.dml import Insert

Row = tuple[Any, ...]


class Hot:
    """A statement with positional parameters, in the order of `keys`. Times are integers: microseconds.

    `ending` is SQL that both dialects spell alike and Core does not know of both.
    """

    def __init__(self, statement: Executable, keys: Sequence[str], ending: str = "") -> None:
        self.statement = statement
        self.keys = tuple(keys)
        self._ending = ending
        self._sql: dict[str, str] = {}

    def sql(self, dialect: Dialect) -> str:
        """The SQL text for `dialect`, compiled at the first call. Raises ValueError if `keys` are out of order."""
        text = self._sql.get(dialect.name)
        if text is None:
            columns = list(self.keys) if isinstance(self.statement, Insert) else None
            compiled = self.statement.compile(dialect=dialect, column_keys=columns)  # type: ignore[attr-defined]
            order = tuple(compiled.positiontup or ())
            if order != self.keys:
                raise ValueError(f"parameters must be given as {order}, not {self.keys}")
            text = self._sql[dialect.name] = f"{compiled}{self._ending}"
        return text


class HotRunner:
    """Runs hot statements on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._dialect = connection.dialect
        driver = connection.connection.driver_connection
        self._raw = driver if isinstance(driver, sqlite3.Connection) else None

    def rows(self, hot: Hot, parameters: Row) -> list[Any]:
        """All rows of a query, each a sequence of plain values."""
        sql = hot.sql(self._dialect)
        if self._raw is not None:
            return self._raw.execute(sql, parameters).fetchall()
        return list(self._connection.exec_driver_sql(sql, parameters).fetchall())

    def run(self, hot: Hot, parameters: Row) -> int:
        """Carry out one statement that returns no rows; how many it changed."""
        sql = hot.sql(self._dialect)
        if self._raw is not None:
            return self._raw.execute(sql, parameters).rowcount
        return self._connection.exec_driver_sql(sql, parameters).rowcount

    def run_many(self, hot: Hot, parameters: Sequence[Row]) -> None:
        """Carry out one statement for each row of parameters."""
        if not parameters:
            return
        sql = hot.sql(self._dialect)
        if self._raw is not None:
            self._raw.executemany(sql, parameters)
        else:
            self._connection.exec_driver_sql(sql, list(parameters))

    def plain(self, sql: str) -> None:
        """A bare command such as SAVEPOINT."""
        if self._raw is not None:
            self._raw.execute(sql)
        else:
            self._connection.exec_driver_sql(sql)


def rows_of(connection: Connection, hot: Hot, parameters: Row) -> list[Any]:
    """All rows of a query, for a reader that runs few."""
    return HotRunner(connection).rows(hot, parameters)
