"""Queries about many things at once, whose SQL is the same however many there are.

An IN list or a row of ORs is another statement for each length: SQLAlchemy builds and the database plans it anew. Here
the list is one parameter, an array in PostgreSQL and a JSON text in SQLite, and the statement is compiled once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, FromClause, Select, String, bindparam, cast, func, literal_column, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine

from server.store.hot import Hot, rows_of

_GIVEN: Final = "given"


class Listed:
    """A query over a list of rows.

    Args:
        columns: the names of the list's columns, and of which kind each is: `str` or `int`.
        build: makes the query, given the list as something to select from, with these columns.
        postgres: makes it for PostgreSQL, where it must be written otherwise.
    """

    def __init__(
        self,
        columns: Mapping[str, type],
        build: Callable[[FromClause], Select[Any]],
        postgres: Callable[[FromClause], Select[Any]] | None = None,
    ) -> None:
        kinds: dict[str, TypeEngine[Any]] = {
            name: BigInteger() if kind is int else String() for name, kind in columns.items()
        }
        self._sqlite = Hot(build(_from_json(kinds)), (_GIVEN,))
        self._postgres = Hot((postgres or build)(_from_arrays(kinds)), tuple(kinds))

    def rows(self, connection: Connection, given: Sequence[Sequence[str | int]]) -> list[Any]:
        """All rows of the query for these rows of the list, each a sequence of plain values."""
        if not given:
            return []
        if connection.dialect.name == "postgresql":
            return rows_of(connection, self._postgres, tuple(list(column) for column in zip(*given, strict=True)))
        return rows_of(connection, self._sqlite, (json.dumps(given),))


def _from_json(kinds: Mapping[str, TypeEngine[Any]]) -> FromClause:
    given = func.json_each(bindparam(_GIVEN, type_=String())).table_valued("value")
    parts = [
        cast(func.json_extract(given.c.value, literal_column(f"'$[{n}]'")), kind).label(name)
        for n, (name, kind) in enumerate(kinds.items())
    ]
    return select(*parts).subquery(_GIVEN)


def _from_arrays(kinds: Mapping[str, TypeEngine[Any]]) -> FromClause:
    given = func.unnest(*(bindparam(name, type_=ARRAY(kind)) for name, kind in kinds.items()))
    return given.table_valued(*kinds, name=_GIVEN).render_derived()
