"""What came on feeds behind a position, each entry with the message that it is about: one query for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, FromClause, Select, and_, literal_column, select, true

from server.rooms import MessageRecord
from server.store.keys import Keyring
from server.store.lists import Listed
from server.store.messages import COLUMNS, open_rows
from server.store.schema import account, event, feed, message

GAP_LIMIT: Final = 500


class Entry(NamedTuple):
    """A row of the log, with the epoch in which its feed is now; `ref` names what it is about."""

    feed: str
    epoch: int
    seq: int
    kind: str
    ref: str


def _behind(given: FromClause) -> Select[Any]:
    return _with_messages(
        event,
        given.join(feed, feed.c.id == given.c.feed).join(
            event,
            and_(
                event.c.feed == given.c.feed,
                event.c.seq > given.c.after,
                event.c.seq <= given.c.after + literal_column(str(GAP_LIMIT)),
            ),
        ),
    )


def _behind_in_postgres(given: FromClause) -> Select[Any]:
    """Its planner takes a range of seq for much of the feed, and reads all of it (7 to 18 ms of 20,000 entries); the
    first few behind a place it looks for in the index (0.2 ms)."""
    first = (
        select(event)
        .where(event.c.feed == given.c.feed, event.c.seq > given.c.after)
        .order_by(event.c.seq)
        .limit(literal_column(str(GAP_LIMIT)))
        .lateral("entry")
    )
    return _with_messages(first, given.join(feed, feed.c.id == given.c.feed).join(first, true()))


def _with_messages(entry: FromClause, entries: FromClause) -> Select[Any]:
    return (
        select(entry.c.feed, feed.c.epoch, entry.c.seq, entry.c.kind, entry.c.ref, *COLUMNS)
        .select_from(
            # One after the other: SQLite would first make a list of all messages with their authors.
            entries.outerjoin(message, message.c.id == entry.c.ref).outerjoin(account, account.c.id == message.c.author)
        )
        .order_by(entry.c.feed, entry.c.seq)
    )


_BEHIND: Final = Listed({"feed": str, "after": int}, _behind, _behind_in_postgres)
_WIDTH: Final = len(Entry._fields)


def behind(conn: Connection, keys: Keyring, positions: Mapping[str, int]) -> list[tuple[Entry, MessageRecord | None]]:
    """What stands behind each feed's seq, at most GAP_LIMIT a feed, in the order of feed and seq.

    None beside an entry that is about no message, or about one that is not there.
    """
    rows = _BEHIND.rows(conn, list(positions.items()))
    found = open_rows(conn, keys, [row[_WIDTH:] for row in rows if row[_WIDTH] is not None])
    return [(Entry(*row[:_WIDTH]), found.get(row[_WIDTH])) for row in rows]
