"""The database's clock: the only place where SQL is asked for the time.

Every due time is compared with this clock and no other, so that processes on several machines agree on what is due. It
passes through the mapping of `server.clock`, which only a demonstration or a test database may hold.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, text

from server.clock import SERVER_CLOCK, Clock
from server.store.hot import Hot, rows_of

_SERVER_CLOCK = Hot(text(SERVER_CLOCK), ())

DbNow = Callable[[Connection], int]


def db_now(clock: Clock) -> DbNow:
    """A function that asks the database for the time, mapped by `clock`, in microseconds since 1970.

    SQLite has no clock of its own: there it is this machine's.
    """

    def now_us(conn: Connection) -> int:
        if conn.dialect.name == "sqlite":
            return clock.now_us()
        return clock.mapping.apply(int(rows_of(conn, _SERVER_CLOCK, ())[0][0]))

    return now_us
