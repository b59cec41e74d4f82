"""Leases: what only one process at a time may do, as rows with a holder and a time at which they run out.

Time is the database's clock alone, so that processes with different clocks agree on who holds what. Each statement is
committed by itself (`Store.apart`): a process that stops in the middle of anything never holds a lock here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from server.clock import EPOCH, from_us
from server.store.schema import lease
from server.store.store import Store


@dataclass(frozen=True, slots=True)
class Held:
    """A lease as its row has it."""

    holder: str
    until: datetime


async def held(store: Store, name: str) -> Held | None:
    """Who holds the lease, or held it last; None if nobody ever took it."""

    def read(conn: Connection) -> Held | None:
        row = conn.execute(select(lease.c.holder, lease.c.until).where(lease.c.name == name)).one_or_none()
        return None if row is None else Held(row.holder, row.until)

    return await store.apart(read)


async def take(store: Store, name: str, holder: str, lasts: timedelta, void: Held | None = None) -> bool:
    """Take or renew the lease `name` for `holder`, for `lasts` of real time; False if somebody else holds it.

    Args:
        void: what the row held when it was found that nobody keeps it; taken if it still holds that.
    """
    mapped = lasts * store.clock.mapping.speed

    def claim(conn: Connection) -> bool:
        now = from_us(store.db_now(conn))
        row = {"holder": holder, "until": now + mapped}
        free = or_(lease.c.holder == holder, lease.c.until <= now)
        if void is not None:
            free = or_(free, and_(lease.c.holder == void.holder, lease.c.until == void.until))
        if conn.execute(update(lease).where(lease.c.name == name, free).values(**row)).rowcount:
            return True
        insert = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
        first = insert(lease).values(name=name, **row).on_conflict_do_nothing(index_elements=[lease.c.name])
        return bool(conn.execute(first).rowcount)

    return await store.apart(claim)


async def hand_over(store: Store, name: str, holder: str) -> None:
    """Give the lease back now, so that whoever asks next has it; nothing happens if `holder` does not hold it."""

    def let_go(conn: Connection) -> None:
        conn.execute(update(lease).where(lease.c.name == name, lease.c.holder == holder).values(holder="", until=EPOCH))

    await store.apart(let_go)
