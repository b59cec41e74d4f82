"""Checking the audit chains: any row edited, removed, put in or moved is found.

Each writer (a process, from its start to its end) has a chain of its own, so that no process waits for another. What a
chain alone can not show is that its end was cut off; the signed daily head that binds all heads does.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from server.clock import to_us
from server.store.batch import audit_hash
from server.store.schema import audit
from server.store.unit import AuditEntry


@dataclass(frozen=True, slots=True)
class Break:
    """The first row of a chain that does not hold: row `n` is missing, or its hash or link is not what it should be."""

    writer: str
    n: int
    what: str


def verify(conn: Connection, heads: dict[str, tuple[int, bytes]] | None = None) -> list[Break]:
    """Every chain's first break; an empty list if all hold.

    Args:
        heads: (n, hash) of the last row of each writer as it was signed outside the database; a chain that ends before
            it was cut off.
    """
    breaks: dict[str, Break] = {}
    ends: dict[str, tuple[int, bytes]] = {}
    for row in conn.execute(select(audit).order_by(audit.c.writer, audit.c.n)):
        if row.writer in breaks:
            continue
        n, prev = ends.get(row.writer, (0, bytes(32)))
        entry = AuditEntry(row.act, row.subject_kind, row.subject, row.request_id, row.actor, row.detail)
        if row.n != n + 1:
            breaks[row.writer] = Break(row.writer, n + 1, "missing")
        elif bytes(row.prev) != prev:
            breaks[row.writer] = Break(row.writer, row.n, "link")
        elif bytes(row.hash) != audit_hash(prev, row.writer, row.n, to_us(row.at), entry):
            breaks[row.writer] = Break(row.writer, row.n, "hash")
        ends[row.writer] = (row.n, bytes(row.hash))
    for writer, head in (heads or {}).items():
        if writer not in breaks and ends.get(writer) != head:
            breaks[writer] = Break(writer, ends.get(writer, (0, b""))[0] + 1, "cut off")
    return list(breaks.values())
