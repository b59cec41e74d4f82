"""One batch of units in one transaction: lock, run each, write the logs.

Decided here: the order of locks (feed rows by id first, then whatever the units touch in the order case, job, audit)
and what happens when something fails. Not decided here: where the batch runs (`writer`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, bindparam, insert, select, update

from server import killpoints
from server.errors import ServiceError
from server.feeds import FeedEvent
from server.ids import new_id
from server.store.clock import DbNow
from server.store.feeds import HEAD
from server.store.hot import Hot, HotRunner
from server.store.lists import Listed
from server.store.schema import audit, event, feed
from server.store.unit import AuditEntry, Head, Tx, Unit

HEADS_KNOWN: Final = 50_000

_LOG: Final = Hot(insert(event), ("feed", "seq", "kind", "ref", "at"))
_LOCK: Final = Listed(
    {"id": str},
    lambda given: (
        select(feed.c.id, feed.c.epoch, feed.c.seq, feed.c.version)
        .select_from(given.join(feed, feed.c.id == given.c.id))
        .order_by(feed.c.id)
        .with_for_update(of=feed)
    ),
)
_HEADS: Final = Hot(
    update(feed)
    .where(feed.c.id == bindparam("feed_id"))
    .values(epoch=bindparam("e"), seq=bindparam("s"), version=bindparam("v")),
    ("e", "s", "v", "feed_id"),
)
_AUDIT: Final = Hot(
    insert(audit),
    ("writer", "n", "at", "actor", "act", "subject_kind", "subject", "detail", "request_id", "prev", "hash", "seal"),
)


@dataclass(slots=True)
class Outcome:
    """What became of one unit: a result, or the error that undid it (`again`: worth one more try, alone)."""

    result: Any = None
    error: BaseException | None = None
    again: bool = False
    events: Sequence[FeedEvent] = ()


@dataclass(slots=True)
class AuditChain:
    """The end of this writer's chain. Each row's hash covers the row and the hash before it; `sign` seals the hash."""

    sign: Callable[[bytes], bytes]
    writer: str = field(default_factory=new_id)
    n: int = 0
    hash: bytes = bytes(32)

    def link(self, entries: Sequence[AuditEntry], now_us: int) -> tuple[list[tuple[Any, ...]], int, bytes]:
        """Rows for `entries`, and where the chain ends once they are committed."""
        rows: list[tuple[Any, ...]] = []
        n, prev = self.n, self.hash
        for entry in entries:
            n += 1
            digest = audit_hash(prev, self.writer, n, now_us, entry)
            rows.append(
                (
                    self.writer,
                    n,
                    now_us,
                    entry.actor,
                    entry.act,
                    entry.subject_kind,
                    entry.subject,
                    entry.detail,
                    entry.request_id,
                    prev,
                    digest,
                    self.sign(digest),
                )
            )
            prev = digest
        return rows, n, prev


@dataclass(slots=True)
class KnownHeads:
    """Heads as the only writer of a SQLite file left them; forgotten with every batch that failed.

    One that were wrong could do no harm: the log's primary key refuses a second event at a place, the batch fails, and
    what is run again reads the heads anew.
    """

    committed: dict[str, Head] = field(default_factory=dict)
    changed: dict[str, Head] = field(default_factory=dict)

    def keep(self) -> None:
        """The batch that changed them is committed."""
        if len(self.committed) > HEADS_KNOWN:
            self.committed.clear()
        self.committed.update(self.changed)
        self.changed = {}

    def forget(self) -> None:
        self.committed.clear()
        self.changed = {}


def audit_hash(prev: bytes, writer: str, n: int, at_us: int, entry: AuditEntry) -> bytes:
    """SHA-256 over the hash before and every field of the row, in a form with one spelling only."""
    fields = [
        writer,
        n,
        at_us,
        entry.actor,
        entry.act,
        entry.subject_kind,
        entry.subject,
        entry.detail,
        entry.request_id,
    ]
    return hashlib.sha256(prev + json.dumps(fields, separators=(",", ":"), ensure_ascii=True).encode()).digest()


def _lock(conn: Connection, hot: HotRunner, feeds: set[str], heads: KnownHeads) -> dict[str, Head]:
    """Lock all feeds of the batch in one statement, in the order of their ids.

    Unordered updates deadlock, and ordered arrays of updates still do now and then; this does not. SQLite has one
    writer and nothing to lock: there a head is what this writer last committed, or is read (3 us; the one statement
    through Core cost 485 us for a batch of 10: decision 0002).
    """
    if not feeds:
        return {}
    if conn.dialect.name == "sqlite":
        locked: dict[str, Head] = {}
        for name in feeds:
            head = heads.committed.get(name)
            if head is None:
                found = hot.rows(HEAD, (name,))
                head = Head(*found[0]) if found else None
            if head is not None:
                locked[name] = head
        return locked
    rows = _LOCK.rows(conn, [(name,) for name in sorted(feeds)])
    return {name: Head(epoch, seq, version) for name, epoch, seq, version in rows}


def run_batch(
    conn: Connection,
    hot: HotRunner,
    units: Sequence[Unit[Any]],
    chain: AuditChain,
    now: DbNow,
    known: KnownHeads,
    *,
    guarded: bool,
) -> list[Outcome]:
    """Run `units` in the open transaction of `conn` and write their logs. The caller commits.

    Guarded, each unit runs in a savepoint: one that raises a ServiceError has its answer, one that raises anything else
    is marked `again`, and neither touches the others. Unguarded, whatever a unit raises is raised here, and the caller
    rolls everything back.
    """
    heads = _lock(conn, hot, {name for unit in units for name in unit.feeds}, known)
    now_us = now(conn)
    changed: dict[str, Head] = {}
    outcomes: list[Outcome] = []
    log: list[tuple[Any, ...]] = []
    audits: list[AuditEntry] = []
    for unit in units:
        tx = Tx(conn, hot, heads, now_us)
        if guarded:
            hot.plain("SAVEPOINT unit")
            try:
                result = unit.run(tx)
            except Exception as error:
                hot.plain("ROLLBACK TO SAVEPOINT unit")
                hot.plain("RELEASE SAVEPOINT unit")
                outcomes.append(Outcome(error=error, again=not isinstance(error, ServiceError)))
                continue
            hot.plain("RELEASE SAVEPOINT unit")
        else:
            result = unit.run(tx)
        heads.update(tx.bumped())
        changed.update(tx.bumped())
        log += [(row.feed, row.seq, row.kind, row.ref, row.at_us) for row in tx.log]
        audits += tx.audits
        outcomes.append(Outcome(result=result, events=tx.events))
    hot.run_many(_HEADS, [(head.epoch, head.seq, head.version, name) for name, head in sorted(changed.items())])
    hot.run_many(_LOG, log)
    if audits:
        rows, _, _ = chain.link(audits, now_us)
        hot.run_many(_AUDIT, rows)
        # The chain's end moves only here; a commit that fails is followed by a new chain (`writer`), so that no two
        # rows ever claim one place.
        chain.n, chain.hash = rows[-1][1], rows[-1][10]
    known.changed = changed
    killpoints.reach(killpoints.BEFORE_COMMIT)
    return outcomes
