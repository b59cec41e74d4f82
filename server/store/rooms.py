"""Rooms and who belongs to them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, and_, bindparam, insert, select, update

from moderation.types import Role, RoomKind
from server.ids import room_feed
from server.rooms import Member, Room, RoomState
from server.store.feeds import create_feed
from server.store.hot import Hot, rows_of
from server.store.schema import account, feed, membership, room
from server.store.unit import Head, Tx

_ROOM_COLUMNS: Final = (room.c.id, room.c.kind, room.c.name, room.c.purpose, room.c.state, room.c.subject)
_ROOM: Final = Hot(select(*_ROOM_COLUMNS).where(room.c.id == bindparam("room_id")), ("room_id",))
_STANDING: Final = Hot(
    select(membership.c.state).where(
        membership.c.room == bindparam("room_id"), membership.c.account == bindparam("account_id")
    ),
    ("room_id", "account_id"),
)
_REACHED: Final = Hot(
    select(*_ROOM_COLUMNS, membership.c.state, feed.c.epoch, feed.c.seq, feed.c.version)
    .select_from(
        room.join(feed, feed.c.id == bindparam("feed_id")).outerjoin(
            membership, and_(membership.c.room == room.c.id, membership.c.account == bindparam("account_id"))
        )
    )
    .where(room.c.id == bindparam("room_id")),
    ("feed_id", "account_id", "room_id"),
)


def _room(id_: str, kind: str, name: str, purpose: str, state: str, subject: str | None) -> Room:
    return Room(id_, RoomKind(kind), name, purpose, RoomState(state), subject)


def room_by_id(conn: Connection, room_id: str) -> Room | None:
    rows = rows_of(conn, _ROOM, (room_id,))
    if not rows:
        return None
    return _room(*rows[0])


def reach(conn: Connection, room_id: str, account: str) -> tuple[Room, Member | None, Head] | None:
    """A room, where somebody stands in it, and where its feed stands: what a join asks first, in one query."""
    rows = rows_of(conn, _REACHED, (room_feed(room_id), account, room_id))
    if not rows:
        return None
    *plain, state, epoch, seq, version = rows[0]
    return _room(*plain), None if state is None else Member(state), Head(epoch, seq, version)


def rooms_of_kind(conn: Connection, kind: RoomKind) -> list[Room]:
    """All rooms of a kind that are not closed, by name."""
    rows = conn.execute(
        select(*_ROOM_COLUMNS).where(room.c.kind == kind, room.c.state != RoomState.CLOSED).order_by(room.c.name)
    )
    return [_room(*row) for row in rows.all()]


def rooms_of_member(conn: Connection, account: str) -> list[Room]:
    """Rooms that are not closed to which somebody belongs by name, by name."""
    rows = conn.execute(
        select(*_ROOM_COLUMNS)
        .join(membership, membership.c.room == room.c.id)
        .where(membership.c.account == account, membership.c.state == Member.ACTIVE, room.c.state != RoomState.CLOSED)
        .order_by(room.c.name)
    )
    return [_room(*row) for row in rows.all()]


def support_room_of(conn: Connection, account: str) -> Room | None:
    """The private room of a member and the moderation team, if there is one."""
    row = conn.execute(
        select(*_ROOM_COLUMNS).where(room.c.subject == account, room.c.kind == RoomKind.SUPPORT).limit(1)
    ).one_or_none()
    return None if row is None else _room(*row)


def standing(conn: Connection, room_id: str, account: str) -> Member | None:
    """Where somebody stands in a room; None if they never joined."""
    rows = rows_of(conn, _STANDING, (room_id, account))
    return Member(rows[0][0]) if rows else None


def facilitators_of(conn: Connection, room_id: str) -> tuple[str, ...]:
    """The active accounts that belong to a room as its facilitators."""
    rows = conn.execute(
        select(account.c.id)
        .join(membership, membership.c.account == account.c.id)
        .where(
            membership.c.room == room_id,
            membership.c.state == Member.ACTIVE,
            account.c.role == Role.FACILITATOR,
            account.c.state == "active",
        )
        .order_by(account.c.id)
    )
    return tuple(rows.scalars())


def create_room(tx: Tx, new: Room) -> None:
    """Make a room and its feed."""
    tx.conn.execute(
        insert(room).values(
            id=new.id,
            kind=new.kind,
            name=new.name,
            purpose=new.purpose,
            state=new.state,
            subject=new.subject,
            created_at=tx.now,
        )
    )
    create_feed(tx, room_feed(new.id))


def set_standing(tx: Tx, room_id: str, account: str, state: Member) -> None:
    """Join or remove somebody. The caller bumps the feed's version where rights shrink."""
    changed = tx.conn.execute(
        update(membership).where(membership.c.room == room_id, membership.c.account == account).values(state=state)
    )
    if changed.rowcount == 0:
        tx.conn.execute(insert(membership).values(room=room_id, account=account, state=state))
