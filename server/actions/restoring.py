"""What a restored service must be told before anybody uses it again: a backup knows nothing of what came after it.

In the same transaction as the rows themselves, so that no restored database can be served without it: every feed has a
new epoch, so that no client trusts what it holds; what was erased is erased again; every open duty is nobody's, due
now and marked as unverified; every session is over. Cases that were closed stay closed, and those that were closed
shortly before the backup are listed for a person to look at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, case, select, update

from moderation.cases import CaseState
from server.clock import Clock, from_us, real_us
from server.ids import new_id
from server.store import cases
from server.store.audit import Report, verify
from server.store.batch import AuditChain, KnownHeads, run_batch
from server.store.clock import db_now
from server.store.erasures import Erasure, destroy_keys
from server.store.hot import HotRunner
from server.store.schema import feed, obligation, review_case, session
from server.store.seals import AuditKey
from server.store.store import read_mapping
from server.store.unit import AuditEntry, Tx, Unit

CLOSED_WITHIN: Final = timedelta(hours=24)
# Seconds from here are epochs: of two restores of one backup, the later one has the higher epoch.
_EPOCHS_BEGIN_US: Final = 1_767_225_600_000_000


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was done.

    Attributes:
        epoch: at least this on every feed.
        raised: cases whose ladder begins again.
        closed_before: cases that were closed within a day before the backup, and stay closed.
        erased: data keys destroyed again.
        sessions: how many were ended.
        audit: whether the audit of the backup held.
    """

    epoch: int
    raised: tuple[str, ...]
    closed_before: tuple[str, ...]
    erased: int
    sessions: int
    audit: Report


def reconcile(
    conn: Connection, operator: str, backup: str, taken_at: datetime, erasures: Sequence[Erasure], key: AuditKey
) -> Reconciled:
    """Make the rows of a backup fit to be served, in the open transaction of `conn`; the caller commits.

    Args:
        backup: id of the backup, for the audit.
        taken_at: when the backup was made, by the database's clock; the audit keeps it, for it explains why what was
            signed between then and now is not there.
    """
    found = verify(conn, key.public)
    epoch = (real_us() - _EPOCHS_BEGIN_US) // 1_000_000
    conn.execute(update(feed).values(epoch=case((feed.c.epoch >= epoch, feed.c.epoch + 1), else_=epoch)))

    def unit(tx: Tx) -> Reconciled:
        erased = destroy_keys(tx, erasures)
        raised = _raise_again(tx)
        ended = tx.conn.execute(update(session).where(session.c.revoked_at.is_(None)).values(revoked_at=tx.now))
        tx.audit(AuditEntry("restore", "service", backup, new_id(), operator, taken_at.isoformat()))
        closed = _closed_since(tx.conn, taken_at - CLOSED_WITHIN)
        return Reconciled(epoch, raised, closed, erased, ended.rowcount, found)

    now = db_now(Clock(read_mapping(conn)))
    (outcome,) = run_batch(
        conn, HotRunner(conn), [Unit(unit)], AuditChain(key.seal_row), now, KnownHeads(), guarded=False
    )
    done: Reconciled = outcome.result
    return done


def _raise_again(tx: Tx) -> tuple[str, ...]:
    """Every duty that is not met begins its ladder now, whoever had taken it: nobody knows what they did since."""
    raised = []
    for row in tx.conn.execute(select(obligation).where(obligation.c.state != cases.MET)).all():
        held = cases.case_by_id(tx.conn, row.case)
        if held is not None and held.state != CaseState.CLOSED:
            cases.update_case(tx, held, state=CaseState.OPEN, claimed_by=None, claimed_at=None)
        cases.update_obligation(
            tx,
            row,
            state=cases.RUNNING,
            opened_at=tx.now,
            next_rung=0,
            due_at=tx.now,
            acknowledged_by=None,
            acknowledged_at=None,
        )
        cases.add_history(tx, row.case, "unverified")
        raised.append(row.case)
    return tuple(raised)


def _closed_since(conn: Connection, since: datetime) -> tuple[str, ...]:
    closed = (review_case.c.state == CaseState.CLOSED) & (review_case.c.closed_at >= since)
    return tuple(conn.execute(select(review_case.c.id).where(closed).order_by(review_case.c.closed_at)).scalars())


def mapped_moment(conn: Connection, us: int) -> datetime:
    """A moment of the database server's own clock as the rows of this database have it."""
    return from_us(read_mapping(conn).apply(us))
