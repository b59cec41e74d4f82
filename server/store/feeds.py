"""The feed log: where feeds stand, what came after a position, and pages of a room before one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, case, func, insert, or_, select, update

from server.store.schema import event, feed, message, read_cursor
from server.store.unit import Head, Tx

NEW = "message.new"
GAP_LIMIT = 500


def create_feed(tx: Tx, name: str) -> None:
    """Make a feed at seq 0, epoch 1."""
    tx.conn.execute(insert(feed).values(id=name, epoch=1, seq=0, version=1))
    tx.new_feed(name)


def heads(conn: Connection, names: Collection[str]) -> dict[str, Head]:
    """Where each of the feeds stands; an unknown one is left out."""
    if not names:
        return {}
    rows = conn.execute(select(feed).where(feed.c.id.in_(list(names)))).all()
    return {row.id: Head(row.epoch, row.seq, row.version) for row in rows}


def log_after(conn: Connection, positions: Mapping[str, int], limit: int = GAP_LIMIT) -> Sequence[Row[Any]]:
    """Log rows behind each feed's seq, at most `limit` a feed, in the order of feed and seq; one query for all."""
    if not positions:
        return []
    spans = [
        and_(event.c.feed == name, event.c.seq > seq, event.c.seq <= seq + limit) for name, seq in positions.items()
    ]
    return conn.execute(select(event).where(or_(*spans)).order_by(event.c.feed, event.c.seq)).all()


def page_before(conn: Connection, name: str, before: int, limit: int) -> list[tuple[int, str]]:
    """(seq, message id) of the newest `limit` messages of a room before `before`, oldest first."""
    rows = conn.execute(
        select(event.c.seq, event.c.ref)
        .where(event.c.feed == name, event.c.seq < before, event.c.kind == NEW)
        .order_by(event.c.seq.desc())
        .limit(limit)
    ).all()
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


def read_position(conn: Connection, account: str, name: str) -> int:
    """How far somebody has read; 0 if they never said."""
    found = conn.execute(
        select(read_cursor.c.seq).where(read_cursor.c.account == account, read_cursor.c.feed == name)
    ).scalar_one_or_none()
    return int(found or 0)


def unread(conn: Connection, account: str, name: str, read_to: int) -> int:
    """How many published messages of others stand behind `read_to`; what is held or removed does not count."""
    count = conn.execute(
        select(func.count())
        .select_from(event.join(message, message.c.id == event.c.ref))
        .where(
            event.c.feed == name,
            event.c.seq > read_to,
            event.c.kind == NEW,
            message.c.state == "published",
            message.c.author != account,
        )
    ).scalar_one()
    return int(count)


def move_cursor(tx: Tx, account: str, name: str, seq: int) -> None:
    """Move a read cursor forward, never back."""
    changed = tx.conn.execute(
        update(read_cursor)
        .where(read_cursor.c.account == account, read_cursor.c.feed == name)
        .values(seq=case((read_cursor.c.seq < seq, seq), else_=read_cursor.c.seq))
    )
    if changed.rowcount == 0:
        tx.conn.execute(insert(read_cursor).values(account=account, feed=name, seq=seq))
