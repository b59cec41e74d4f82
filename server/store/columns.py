"""Column types: what may be stored, and in which form it lies in both databases."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Dialect
from sqlalchemy.types import TypeDecorator

from server.clock import from_us, to_us


class Instant(TypeDecorator[datetime]):
    """An aware UTC moment, stored as microseconds since 1970; a naive datetime is refused.

    An integer, because it means the same in SQLite and PostgreSQL, compares without a time zone in sight, and costs no
    parsing on the message path.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else to_us(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        return None if value is None else from_us(value)
