"""How often each entry of the lists is found: a row for each whole day, and the alarms. Ids and counts only.

`word_rate` with the entry "" holds the number of messages of that day, so that a day without a finding is a day too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from server.ids import new_id
from server.store.schema import finding, message, word_activation, word_drift, word_rate
from server.store.unit import Tx

MESSAGES: Final = ""


def count(conn: Connection, since: datetime, until: datetime, after: str = "", before: str = "") -> dict[str, int]:
    """In how many messages of [since, until) each entry was found; under MESSAGES, how many there were.

    Args:
        after: an id before any of them; "" for no bound.
        before: an id that none of them reaches; "" for no bound.
    """
    when = [message.c.at >= since, message.c.at < until, message.c.id > after]
    if before:
        when.append(message.c.id < before)
    total = select(func.count()).select_from(message).where(*when)
    found: Select[Any] = (
        select(finding.c.entry_id, func.count(message.c.id.distinct()).label("n"))
        .join(message, message.c.id == finding.c.message)
        .where(finding.c.entry_id != "", finding.c.level > 0, *when)
        .group_by(finding.c.entry_id)
    )
    return {MESSAGES: int(conn.execute(total).scalar_one())} | {row.entry_id: row.n for row in conn.execute(found)}


def counted_days(conn: Connection, since: datetime) -> set[datetime]:
    """The days from `since` on that are counted, by when they began."""
    query = select(word_rate.c.day).where(word_rate.c.day >= since, word_rate.c.entry_id == MESSAGES)
    return set(conn.execute(query).scalars())


def keep_days(tx: Tx, counts: Mapping[datetime, Mapping[str, int]]) -> None:
    """Keep the counts of one day or more; what is kept already stays as it is."""
    make = sqlite.insert if tx.conn.dialect.name == "sqlite" else postgresql.insert
    rows = [
        {"day": day, "entry_id": entry, "messages": n} for day, found in counts.items() for entry, n in found.items()
    ]
    tx.conn.execute(make(word_rate).on_conflict_do_nothing(), rows)


def rates(conn: Connection, since: datetime) -> Sequence[Row[Any]]:
    """(day, entry_id, messages) of every counted day from `since` on."""
    query: Select[Any] = select(word_rate.c.day, word_rate.c.entry_id, word_rate.c.messages).where(
        word_rate.c.day >= since
    )
    return conn.execute(query).all()


def activations_since(conn: Connection, since: datetime) -> Sequence[Row[Any]]:
    """(word_version, at): what was in force at `since`, and what has come into force from then on, oldest first."""
    before = select(func.max(word_activation.c.n)).where(word_activation.c.at < since).scalar_subquery()
    query: Select[Any] = select(word_activation.c.word_version, word_activation.c.at)
    return conn.execute(
        query.where(word_activation.c.n >= func.coalesce(before, 0)).order_by(word_activation.c.n)
    ).all()


def open_alarms(conn: Connection) -> Sequence[Row[Any]]:
    """The alarms that are not over, the oldest first."""
    query = select(word_drift).where(word_drift.c.ended_at.is_(None))
    return conn.execute(query.order_by(word_drift.c.raised_at, word_drift.c.entry_id)).all()


def raise_alarm(tx: Tx, entry: str, hits: int, messages: int, low: int, high: int) -> str:
    """Keep that an entry has left its band; returns the alarm's id."""
    alarm = new_id()
    tx.conn.execute(
        insert(word_drift).values(
            id=alarm, entry_id=entry, raised_at=tx.now, hits=hits, messages=messages, low=low, high=high
        )
    )
    return alarm


def end_alarm(tx: Tx, alarm: str) -> None:
    """Keep that an entry is within its band again."""
    tx.conn.execute(update(word_drift).where(word_drift.c.id == alarm).values(ended_at=tx.now))
