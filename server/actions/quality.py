"""The figures of the filter in service over a period: from what was read blind, and from how cases were closed.

Read-only, on one connection, so that the page and the command line say the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Connection, Row

from moderation.cases import Outcome
from moderation.draws import Band, Stratum
from moderation.measuring import Closed, Line, Measured, Reading, measured
from moderation.types import Category, Level, RoomKind
from server.actions.services import Services
from server.actions.wordlists.documents import unpack
from server.actions.wordlists.viewing import lines_of
from server.auth.permissions import require
from server.auth.requester import Requester
from server.store import reviews, wordlists

USUAL: Final = timedelta(days=28)


async def quality(services: Services, requester: Requester, since: datetime, until: datetime) -> Measured:
    """The figures of the shifts that began within [since, until), for those who lead."""
    require(requester, "route.quality")
    return await services.store.read(lambda conn: quality_of(conn, since, until))


def quality_of(conn: Connection, since: datetime, until: datetime) -> Measured:
    """The same, for whoever holds the database."""
    found = _findings(reviews.findings_of_items(conn, since, until))
    readings: list[Reading] = []
    pairs: list[tuple[Level, Level]] = []
    read: set[str] = set()
    for _, rows in groupby(reviews.judgements(conn, since, until), key=lambda row: row.id):
        said = [row for row in rows if row.level is not None]
        if not said:
            continue
        first = said[0]
        read.add(first.message)
        entries, categories = found.get(first.message, (frozenset(), ()))
        readings.append(
            Reading(
                _stratum(first),
                first.weight,
                Level(first.level),
                tuple(Category(letter) for letter in first.categories),
                categories,
                entries,
            )
        )
        if len(said) > 1:
            pairs.append((Level(first.level), Level(said[1].level)))
    sizes = {_stratum(row): int(row.messages) for row in reviews.sizes(conn, since, until)}
    return measured(sizes, readings, _closed(conn, since, until, read), pairs, _lists(conn))


def _stratum(row: Row[Any]) -> Stratum:
    return Stratum(RoomKind(row.room_kind), row.part, Band(row.band))


def _findings(rows: Iterable[Row[Any]]) -> dict[str, tuple[frozenset[str], tuple[Category, ...]]]:
    """By message: the entries found, and their categories, the most serious first."""
    entries: defaultdict[str, set[str]] = defaultdict(set)
    said: defaultdict[str, dict[Category, None]] = defaultdict(dict)
    for row in rows:
        if row.entry_id:
            entries[row.message].add(row.entry_id)
        if row.category:
            said[row.message][Category(row.category)] = None
    return {message: (frozenset(entries[message]), tuple(said[message])) for message in {*entries, *said}}


def _closed(conn: Connection, since: datetime, until: datetime, read: set[str]) -> list[Closed]:
    """The flagged messages whose case is closed; of several cases, one that was a concern is enough."""
    rows = reviews.closed_flags(conn, since, until)
    right: defaultdict[str, bool] = defaultdict(bool)
    for row in rows:
        right[row.message] |= row.outcome != Outcome.NO_CONCERN
    return [
        Closed(right[message], said, entries, message in read) for message, (entries, said) in _findings(rows).items()
    ]


def _lists(conn: Connection) -> dict[str, tuple[str, Category]]:
    """(list, category) of every entry in force that says anything by itself."""
    live = wordlists.live(conn)
    if live is None:
        return {}
    return {
        entry: (each.name, Category(category))
        for each in lines_of(unpack(wordlists.content(conn, live.version)))
        for entry, category, level, _ in each.entries
        if level
    }


def facts(figures: Measured, since: datetime, until: datetime) -> dict[str, Any]:
    """The figures as plain values, for JSON; times in ISO 8601."""
    return {"from": since.isoformat(), "to": until.isoformat(), **asdict(figures)}


def has_anything(line: Line) -> bool:
    """Whether a line says anything at all."""
    return bool(line.sensitivity.read or line.ppv.read or line.ppv_cases.total)
