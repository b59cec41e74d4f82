"""What waits, as ages: the questions behind the numbers for the operator. Times only; no id or word leaves here.

All of it is answered by indexes: obligations by (state, due_at), each room by its head and one place of its log.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, select

from moderation.types import Role, RoomKind
from server.ids import room_feed
from server.rooms import RoomState
from server.store.cases import MET, RUNNING
from server.store.feeds import NEW, heads
from server.store.schema import account, event, lease, obligation, read_cursor, room


def oldest_unowned(conn: Connection) -> dict[int, datetime]:
    """For each level: since when the oldest obligation runs that nobody has taken. A level without one is left out."""
    running = select(obligation.c.level, func.min(obligation.c.opened_at)).where(obligation.c.state == RUNNING)
    return {row[0]: row[1] for row in conn.execute(running.group_by(obligation.c.level))}


def first_due(conn: Connection) -> datetime | None:
    """When the first of the obligations that are not met is or was due; None if there is none."""
    due = select(func.min(obligation.c.due_at)).where(obligation.c.state != MET, obligation.c.due_at.is_not(None))
    at: datetime | None = conn.execute(due).scalar_one()
    return at


def lease_until(conn: Connection, name: str) -> datetime | None:
    """When the lease `name` runs out; None if nobody ever took it."""
    return conn.execute(select(lease.c.until).where(lease.c.name == name)).scalar_one_or_none()


def oldest_unread(conn: Connection) -> datetime | None:
    """When the oldest message was sent that no member of staff has read; None if all are read.

    Rooms of members among each other that are open; read is what somebody on the staff has moved their cursor to.
    """
    names = [
        room_feed(row.id)
        for row in conn.execute(
            select(room.c.id).where(room.c.kind == RoomKind.COMMUNITY.value, room.c.state == RoomState.OPEN.value)
        )
    ]
    by_staff = (
        select(read_cursor.c.feed, func.max(read_cursor.c.seq))
        .join(account, account.c.id == read_cursor.c.account)
        .where(
            account.c.role.not_in([Role.MEMBER.value, Role.ADMIN.value]),
            read_cursor.c.feed.in_(names),
        )
        .group_by(read_cursor.c.feed)
    )
    read = {row[0]: row[1] for row in conn.execute(by_staff)}
    oldest: datetime | None = None
    for name, head in heads(conn, names).items():
        upto = read.get(name, 0)
        if head.seq <= upto:
            continue
        at = conn.execute(
            select(event.c.at)
            .where(event.c.feed == name, event.c.seq > upto, event.c.kind == NEW)
            .order_by(event.c.seq)
            .limit(1)
        ).scalar_one_or_none()
        if at is not None and (oldest is None or at < oldest):
            oldest = at
    return oldest
