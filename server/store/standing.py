"""Which processes could do the jobs now: a lease row each, under a name of its own, held for its service.

A service here is one supervisor with its workers, which stop together. Whoever is about to stop one asks whether
another could go on calling people.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, delete, select, update

from server.clock import from_us
from server.store import leases
from server.store.schema import lease
from server.store.store import Store
from server.store.unit import Tx

_PREFIX = "stands:"
_ASIDE = ""


async def stand(store: Store, process: str, service: str, lasts: timedelta) -> None:
    """Say that `process` of `service` can do the jobs for `lasts` of real time, and forget those that no longer can."""
    await leases.take(store, _PREFIX + process, service, lasts)

    def forget(conn: Connection) -> None:
        over = lease.c.name.startswith(_PREFIX) & (lease.c.until <= from_us(store.db_now(conn)))
        conn.execute(delete(lease).where(over))

    await store.apart(forget)


async def stand_down(store: Store, process: str) -> None:
    """Take back what `stand` said."""

    def withdraw(conn: Connection) -> None:
        conn.execute(delete(lease).where(lease.c.name == _PREFIX + process))

    await store.apart(withdraw)


def stand_aside(tx: Tx, service: str) -> bool:
    """Whether a process of any other service can do the jobs; from now on those of this one no longer count.

    Of two services that stand aside at the same time, the second sees that the first has.
    """
    rows = tx.conn.execute(
        select(lease.c.name, lease.c.holder, lease.c.until)
        .where(lease.c.name.startswith(_PREFIX))
        .order_by(lease.c.name)
        .with_for_update()
    ).all()
    ours = [row.name for row in rows if row.holder == service]
    # Nobody can renew a row in this state: it runs out, long after the process has been told to stop.
    tx.conn.execute(update(lease).where(lease.c.name.in_(ours)).values(holder=_ASIDE))
    return any(row.holder not in (service, _ASIDE) and row.until > tx.now for row in rows)
