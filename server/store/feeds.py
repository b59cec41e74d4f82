"""Feeds: where they stand, how far somebody has read, and pages of a room before a place."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from sqlalchemy import ColumnElement, Connection, Integer, bindparam, case, func, insert, literal_column, select, update

from server.store.hot import Hot, rows_of
from server.store.lists import Listed
from server.store.schema import event, feed, message, read_cursor
from server.store.unit import Head, Tx

NEW = "message.new"

HEAD: Final = Hot(
    select(feed.c.epoch, feed.c.seq, feed.c.version).where(feed.c.id == bindparam("feed_id")), ("feed_id",)
)
_HEADS: Final = Listed(
    {"id": str},
    lambda given: select(feed.c.id, feed.c.epoch, feed.c.seq, feed.c.version).select_from(
        given.join(feed, feed.c.id == given.c.id)
    ),
)
_PAGE: Final = (
    select(event.c.seq, event.c.ref)
    .where(event.c.feed == bindparam("feed_id"), event.c.seq < bindparam("before"), event.c.kind == NEW)
    .order_by(event.c.seq.desc())
    .limit(bindparam("most", type_=Integer))
)


def _read_to(account_key: str, feed_key: str) -> ColumnElement[int]:
    """How far somebody has read; with keys of its own, since a key stands for one place in the parameters."""
    said = select(read_cursor.c.seq).where(
        read_cursor.c.account == bindparam(account_key), read_cursor.c.feed == bindparam(feed_key)
    )
    return func.coalesce(said.scalar_subquery(), literal_column("0"))


_READING: Final = Hot(
    select(
        _read_to("reader", "feed_id"),
        select(func.count())
        .select_from(event.join(message, message.c.id == event.c.ref))
        .where(
            event.c.feed == bindparam("its_feed"),
            event.c.seq > _read_to("same_reader", "same_feed"),
            event.c.kind == bindparam("new"),
            message.c.state == bindparam("published"),
            message.c.author != bindparam("not_by"),
        )
        .scalar_subquery(),
    ),
    ("reader", "feed_id", "its_feed", "same_reader", "same_feed", "new", "published", "not_by"),
)


def create_feed(tx: Tx, name: str) -> None:
    """Make a feed at seq 0, epoch 1."""
    tx.conn.execute(insert(feed).values(id=name, epoch=1, seq=0, version=1))
    tx.new_feed(name)


def heads(conn: Connection, names: Collection[str]) -> dict[str, Head]:
    """Where each of the feeds stands; an unknown one is left out."""
    if len(names) == 1:
        (name,) = names
        found = rows_of(conn, HEAD, (name,))
        return {name: Head(*found[0])} if found else {}
    rows = _HEADS.rows(conn, [(name,) for name in names])
    return {name: Head(epoch, seq, version) for name, epoch, seq, version in rows}


def page_before(conn: Connection, name: str, before: int, limit: int) -> list[tuple[int, str]]:
    """(seq, message id) of the newest `limit` messages of a room before `before`, oldest first."""
    rows = conn.execute(_PAGE, {"feed_id": name, "before": before, "most": limit}).all()
    return [(row.seq, row.ref) for row in reversed(rows)]


def around(conn: Connection, name: str, seq: int, each_side: int) -> list[tuple[int, str]]:
    """(seq, message id) of the messages around place `seq` of a room, oldest first."""
    before = page_before(conn, name, seq + 1, each_side + 1)
    after = conn.execute(
        select(event.c.seq, event.c.ref)
        .where(event.c.feed == name, event.c.seq > seq, event.c.kind == NEW)
        .order_by(event.c.seq)
        .limit(each_side)
    ).all()
    return before + [(row.seq, row.ref) for row in after]


def reading(conn: Connection, account: str, name: str) -> tuple[int, int]:
    """How far somebody has read, 0 if they never said; and how many published messages of others stand behind that.

    What is held or removed does not count.
    """
    ((read_to, unread),) = rows_of(conn, _READING, (account, name, name, account, name, NEW, "published", account))
    return int(read_to), int(unread)


def move_cursor(tx: Tx, account: str, name: str, seq: int) -> None:
    """Move a read cursor forward, never back."""
    changed = tx.conn.execute(
        update(read_cursor)
        .where(read_cursor.c.account == account, read_cursor.c.feed == name)
        .values(seq=case((read_cursor.c.seq < seq, seq), else_=read_cursor.c.seq))
    )
    if changed.rowcount == 0:
        tx.conn.execute(insert(read_cursor).values(account=account, feed=name, seq=seq))
