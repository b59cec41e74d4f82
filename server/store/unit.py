"""A unit of work: what one action changes, as a plain function of a transaction.

Promises of the transaction that a unit is handed:

- Every feed that the unit named is locked, all in one statement and in one order, before any unit of the batch runs.
  `next_seq` is therefore gapless per feed, and the order of commits is the order of seq.
- Whatever the unit raises undoes what it did and nothing else.
- What it appends to feeds, audits and tells is written, or told, only if the unit succeeded and the commit held.
- It may be run again (after a failure of its own or of another unit, or after a commit whose answer was lost): it must
  look up its client id or compare a version first, so that the second run changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from sqlalchemy import Connection

from server.clock import from_us
from server.feeds import FeedEvent
from server.store.hot import HotRunner

T = TypeVar("T")


@dataclass(slots=True)
class Head:
    """Where a locked feed stands. `version` moves when who may read or write there changes."""

    epoch: int
    seq: int
    version: int


@dataclass(frozen=True, slots=True)
class LogRow:
    """One line of the feed log."""

    feed: str
    seq: int
    kind: str
    ref: str
    at_us: int


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the audit chain; `detail` is a code, never text that somebody wrote."""

    act: str
    subject_kind: str
    subject: str
    request_id: str
    actor: str | None = None
    detail: str = ""


class Tx:
    """The transaction as one unit sees it."""

    __slots__ = ("_bumped", "_heads", "audits", "conn", "events", "hot", "log", "now_us")

    def __init__(self, conn: Connection, hot: HotRunner, heads: dict[str, Head], now_us: int) -> None:
        self.conn = conn
        self.hot = hot
        self.now_us = now_us
        self._heads = heads
        self._bumped: dict[str, Head] = {}
        self.log: list[LogRow] = []
        self.audits: list[AuditEntry] = []
        self.events: list[FeedEvent] = []

    @property
    def now(self) -> datetime:
        """The database's clock, mapped; the same for every unit of a batch."""
        return from_us(self.now_us)

    def head(self, feed: str) -> Head:
        """The head of a feed that this unit named. Raises KeyError for any other: it is not locked."""
        return self._bumped.get(feed) or self._heads[feed]

    def append(self, feed: str, kind: str, ref: str) -> Head:
        """Give out the next seq of `feed` and log (kind, ref) there. Returns the new head."""
        old = self.head(feed)
        new = Head(old.epoch, old.seq + 1, old.version)
        self._bumped[feed] = new
        self.log.append(LogRow(feed, new.seq, kind, ref, self.now_us))
        return new

    def bump_version(self, feed: str) -> None:
        """Say that who may read or write on `feed` has changed."""
        old = self.head(feed)
        self._bumped[feed] = Head(old.epoch, old.seq, old.version + 1)

    def new_feed(self, feed: str) -> None:
        """Take note of a feed whose row this unit has just inserted at seq 0."""
        self._bumped[feed] = Head(1, 0, 1)

    def audit(self, entry: AuditEntry) -> None:
        self.audits.append(entry)

    def tell(self, event: FeedEvent) -> None:
        """Hand `event` to those who follow its feed, once committed. It must bear a seq from `append`."""
        self.events.append(event)

    def bumped(self) -> dict[str, Head]:
        return self._bumped


@dataclass(slots=True, eq=False)
class Unit(Generic[T]):
    """A function to run in a transaction, and the feeds that it may append to or whose version it relies on."""

    run: Callable[[Tx], T]
    feeds: Collection[str] = field(default=())
