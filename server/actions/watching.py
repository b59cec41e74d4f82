"""What somebody who watches from another machine is told: numbers, and of nobody."""

from __future__ import annotations

from sqlalchemy import Connection

from server.actions.services import Services
from server.clock import from_us
from server.store import cases


async def overdue_s(services: Services) -> float:
    """By how many real seconds the duty that is due longest is late, by the database's clock; 0.0 if none is."""

    def read(conn: Connection) -> float:
        due = cases.longest_due(conn)
        if due is None:
            return 0.0
        return services.clock.real_seconds(from_us(services.store.db_now(conn)) - due)

    return await services.store.read(read)
