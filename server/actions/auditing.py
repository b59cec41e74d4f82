"""The signed heads of the audit: one each London midnight, and one whenever an operator asks.

A head is signed in a unit of its own, then published as a file: what could not be published is tried again by the next
look, and the one after it binds it too. A midnight at which nothing ran is made up for at the next start.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, time
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from server.actions.services import Services
from server.clock import from_us, to_us
from server.errors import Unavailable
from server.store import heads
from server.store.audit import HeadRow
from server.store.unit import AuditEntry, Tx

LONDON: Final = ZoneInfo("Europe/London")


def last_midnight(now: datetime) -> datetime:
    """The latest London midnight at or before `now`."""
    return datetime.combine(now.astimezone(LONDON).date(), time(), LONDON)


async def keep_heads(services: Services) -> int | None:
    """Sign the head of the last midnight unless there is one since, and see that the newest is published.

    Returns the number of the head that was signed, or None.

    Raises:
        OSError: it is signed, and could not be published.
    """
    store = services.store
    head = await store.read(lambda conn: _of_the_day(conn, from_us(store.db_now(conn))))
    signed = head is None
    if head is None:
        head = await store.write(lambda tx: _of_the_day(tx.conn, tx.now) or heads.sign_head(tx, store.audit_key))
    await asyncio.to_thread(heads.publish, services.settings.heads_folder, head)
    return int(head.n) if signed else None


def _of_the_day(conn: Connection, now: datetime) -> HeadRow | None:
    """The newest head, if it was signed since the last midnight."""
    found = heads.newest(conn)
    if found is None or found.at < last_midnight(now):
        return None
    return HeadRow(found.n, to_us(found.at), found.content, bytes(found.seal))


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A head that was signed and published, as `file` in the folder of heads."""

    n: int
    file: str


async def sign_head_now(services: Services, operator: str, request_id: str) -> SignedHead:
    """Sign and publish a head now, for an operator.

    Raises:
        Unavailable: it is signed, and could not be published.
    """

    def unit(tx: Tx) -> HeadRow:
        tx.audit(AuditEntry("audit_head_asked", "audit_head", "", request_id, operator))
        return heads.sign_head(tx, services.store.audit_key)

    head = await services.store.write(unit)
    try:
        await asyncio.to_thread(heads.publish, services.settings.heads_folder, head)
    except OSError as error:
        raise Unavailable(
            f"The head is signed, but its file could not be written ({error.strerror}). Check EVENKEEL_AUDIT_HEADS.",
            code="not_published",
        ) from error
    return SignedHead(int(head.n), heads.file_name(head))
