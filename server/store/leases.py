"""Leases: what only one process at a time may do, as rows with a holder and a time at which they run out.

Time is the database's clock alone, so that processes with different clocks agree on who holds what. Each statement is
committed by itself (`Store.apart`): a process that stops in the middle of anything never holds a lock here.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, or_, update
from sqlalchemy.dialects import postgresql, sqlite

from server.clock import EPOCH, from_us
from server.store.schema import lease
from server.store.store import Store


async def take(store: Store, name: str, holder: str, lasts: timedelta) -> bool:
    """Take or renew the lease `name` for `holder`, for `lasts` of real time; False if somebody else holds it."""
    mapped = lasts * store.clock.mapping.speed

    def claim(conn: Connection) -> bool:
        now = from_us(store.db_now(conn))
        row = {"holder": holder, "until": now + mapped}
        free = or_(lease.c.holder == holder, lease.c.until <= now)
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
