"""The supervisor's own look into PostgreSQL: a session that can not write, made for one look."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg


def read_postgres(dsn: str, queries: Sequence[str], timeout_s: float) -> list[Sequence[Sequence[Any]]]:
    """The answers to the queries. Raises whatever goes wrong, after `timeout_s` at the latest."""
    return asyncio.run(_read(dsn, queries, timeout_s))


async def _read(dsn: str, queries: Sequence[str], timeout_s: float) -> list[Sequence[Sequence[Any]]]:
    session = {"default_transaction_read_only": "on", "application_name": "evenkeel-supervisor"}
    async with asyncio.timeout(timeout_s):
        connection = await asyncpg.connect(dsn, server_settings=session)
        try:
            return [[tuple(row) for row in await connection.fetch(query)] for query in queries]
        finally:
            await connection.close()
