"""Checking the audit: any row edited, removed, put in or moved is found, by whoever has the public key.

Each writer (a process, from its start to its end) has a chain of its own, so that no process waits for another. Each
row's hash covers the row and the hash before it, and a seal covers the hash: hashes that were worked out anew after a
change have no seal. What a chain alone can not show is that its end was cut off; signed heads (`store.heads`), kept
elsewhere too, bind the ends of all chains. Behind the newest of them a cut end does not show; `Report.uncovered` says
how many rows that are.

Works on rows from anywhere: a database, or a file (`ops.audit`). Rows are taken as they lie there, whatever somebody
has put into a column; nothing here raises because of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Connection, Table, column, select, table

from server.clock import from_us, to_us
from server.store.batch import audit_hash
from server.store.columns import Instant
from server.store.schema import audit, audit_head
from server.store.seals import SealCheck, Sealed
from server.store.unit import AuditEntry

HEADS: Final = "signed heads"
PUBLISHED: Final = "published heads"
_HEAD_ACT: Final = "audit_head"
_AT_ONCE: Final = 2_000


class AuditRow(NamedTuple):
    """A row as it lies there. `at` in microseconds since 1970; any field may hold what does not belong there."""

    writer: Any
    n: Any
    at: Any
    actor: Any
    act: Any
    subject_kind: Any
    subject: Any
    detail: Any
    request_id: Any
    prev: Any
    hash: Any
    seal: Any


class HeadRow(NamedTuple):
    """A signed head as it lies there."""

    n: Any
    at: Any
    content: Any
    seal: Any


@dataclass(frozen=True, slots=True)
class Break:
    """The first place of a chain that does not hold.

    Attributes:
        writer: the chain; HEADS or PUBLISHED for those.
        n: its row.
        what: missing, link, hash, seal, unreadable, cut off, not in force (a head and its row do not agree), unknown
            (a published head that the database does not have).
        sound_until: the time of the last row of that chain that holds; None if the first one does not.
    """

    writer: str
    n: int
    what: str
    sound_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What was checked and what was found, the earliest break first.

    Attributes:
        signed_until: when the newest head that holds was signed.
        uncovered: rows behind what that head binds: that they were cut off would not show.
        excused: published heads that a restore from an older backup explains.
    """

    breaks: tuple[Break, ...]
    rows: int
    chains: int
    heads: int
    signed_until: datetime | None
    uncovered: int
    excused: tuple[int, ...] = ()


@dataclass(slots=True)
class _Heads:
    """What the heads that hold say: `anchors` by writer and n the hash that must be there."""

    anchors: dict[str, dict[int, str]] = field(default_factory=dict)
    digests: dict[int, str] = field(default_factory=dict)
    contents: dict[int, str] = field(default_factory=dict)
    newest: datetime | None = None
    last: int = 0


@dataclass(slots=True)
class _Chain:
    """A chain as far as it was read."""

    n: int = 0
    hash: bytes = bytes(32)
    at: datetime | None = None


def rows_of(conn: Connection) -> Iterator[AuditRow]:
    """Every row, chain by chain; times as the integers that they are stored as."""
    plain = _plain(audit)
    query = select(*[plain.c[name] for name in AuditRow._fields]).order_by(plain.c.writer, plain.c.n)
    for row in conn.execute(query.execution_options(yield_per=_AT_ONCE)):
        yield AuditRow(*row)


def heads_of(conn: Connection) -> list[HeadRow]:
    """Every signed head, in order."""
    plain = _plain(audit_head)
    query = select(*[plain.c[name] for name in HeadRow._fields]).order_by(plain.c.n)
    return [HeadRow(*row) for row in conn.execute(query)]


def _plain(of: Table) -> Any:
    """The table with times as integers: a time that is none must not end the check."""
    return table(
        of.name, *[column(c.name, BigInteger() if isinstance(c.type, Instant) else c.type) for c in of.columns]
    )


def verify(conn: Connection, public: bytes, published: Mapping[str, HeadRow] | None = None) -> Report:
    """Check every chain and head of a database; see `check`."""
    return check(rows_of(conn), heads_of(conn), public, published)


def check(
    rows: Iterable[AuditRow], heads: Sequence[HeadRow], public: bytes, published: Mapping[str, HeadRow] | None = None
) -> Report:
    """Check rows, chain by chain in order, against each other, their seals and the heads.

    Args:
        heads: in order.
        public: the key by which rows and heads must be sealed.
        published: heads that were kept outside the database, by the name of their file.
    """
    seals = SealCheck(public)
    breaks: dict[str, Break] = {}
    known = _read_heads(heads, seals, breaks)
    outside = _read_published(published or {}, seals, breaks)
    chains: dict[str, _Chain] = {}
    restores: list[tuple[int, int]] = []
    count = uncovered = 0
    bound: dict[int, str] = {}
    for row in rows:
        count += 1
        writer = str(row.writer)
        if writer in breaks:
            continue
        chain = chains.setdefault(writer, _Chain())
        what = _fault(row, chain, seals) or _against(row, known.anchors.get(writer, {}))
        if what is not None:
            at = row.n if what not in ("missing", "unreadable") else chain.n + 1
            breaks[writer] = Break(writer, at, what, chain.at)
            continue
        chain.n, chain.hash, chain.at = row.n, bytes(row.hash), from_us(row.at)
        uncovered += row.n > max(known.anchors.get(writer, {}), default=0)
        if row.act == _HEAD_ACT:
            bound[int(row.subject)] = row.detail
        elif row.act == "restore" and row.detail:
            restores.append((to_us(datetime.fromisoformat(row.detail)), row.at))
    for writer, places in known.anchors.items():
        end = chains.get(writer, _Chain())
        if writer not in breaks and end.n < max(places):
            breaks[writer] = Break(writer, end.n + 1, "cut off", end.at)
    if HEADS not in breaks:
        _agree(known, bound, breaks)
    excused = _unknown(outside, known, restores, breaks)
    found = sorted(breaks.values(), key=lambda b: (b.sound_until is not None, b.sound_until, b.writer, b.n))
    return Report(tuple(found), count, len(chains), known.last, known.newest, uncovered, excused)


def _fault(row: AuditRow, chain: _Chain, seals: SealCheck) -> str | None:
    """What is wrong with a row behind the end of its chain; None if nothing is."""
    if type(row.n) is not int or type(row.at) is not int:
        return "unreadable"
    if row.n != chain.n + 1:
        return "missing"
    try:
        if bytes(row.prev) != chain.hash:
            return "link"
        entry = AuditEntry(row.act, row.subject_kind, row.subject, row.request_id, row.actor, row.detail)
        digest = audit_hash(chain.hash, row.writer, row.n, row.at, entry)
        if bytes(row.hash) != digest:
            return "hash"
        from_us(row.at)
    except (TypeError, ValueError, OverflowError):
        return "unreadable"
    return None if seals.holds(Sealed.ROW, digest, row.seal) else "seal"


def _against(row: AuditRow, places: Mapping[int, str]) -> str | None:
    return None if places.get(row.n, row.hash.hex()) == row.hash.hex() else "not in force"


# --- heads ------------------------------------------------------------------------------------------------------------


def digest_of(content: str) -> str:
    """How a head is named by the next one and by its row of the audit."""
    return hashlib.sha256(content.encode()).hexdigest()


def _read_heads(heads: Sequence[HeadRow], seals: SealCheck, breaks: dict[str, Break]) -> _Heads:
    """The heads of the database as far as they hold; the first that does not ends them."""
    known = _Heads()
    prev = ""
    for head in heads:
        what = _head_fault(head, known.last, prev, seals)
        if what is not None:
            breaks[HEADS] = Break(HEADS, known.last + 1, what, known.newest)
            break
        prev = digest_of(head.content)
        known.last, known.newest = head.n, from_us(head.at)
        known.digests[head.n], known.contents[head.n] = prev, head.content
        _bind(known.anchors, _chains(json.loads(head.content)))
    return known


def _head_fault(head: HeadRow, last: int, prev: str, seals: SealCheck) -> str | None:
    content = _parsed(head, seals)
    if isinstance(content, str):
        return content
    if head.n != last + 1:
        return "missing"
    return None if content["prev"] == prev else "link"


def _parsed(head: HeadRow, seals: SealCheck) -> dict[str, Any] | str:
    """What a head says, or what is wrong with it."""
    if not isinstance(head.content, str):
        return "unreadable"
    if not seals.holds(Sealed.HEAD, head.content.encode(), head.seal):
        return "seal"
    said: dict[str, Any] = json.loads(head.content)  # sealed: as this program wrote it
    return said if (said["n"], said["at"]) == (head.n, head.at) else "not in force"


def _chains(said: Mapping[str, Any]) -> Mapping[str, Sequence[Any]]:
    chains: Mapping[str, Sequence[Any]] = said["chains"]
    return chains


def _bind(anchors: dict[str, dict[int, str]], chains: Mapping[str, Sequence[Any]]) -> None:
    for writer, (n, row_hash) in chains.items():
        anchors.setdefault(writer, {})[n] = row_hash


def _agree(known: _Heads, bound: Mapping[int, str], breaks: dict[str, Break]) -> None:
    """Each head has its row in the audit, and each such row its head."""
    for n in sorted({*known.digests, *bound}):
        if known.digests.get(n, "")[:40] != bound.get(n):
            breaks[HEADS] = Break(HEADS, n, "missing" if n not in known.digests else "not in force", known.newest)
            return


def _read_published(
    published: Mapping[str, HeadRow], seals: SealCheck, breaks: dict[str, Break]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for head in published.values():
        said = _parsed(head, seals)
        if isinstance(said, str):
            n = head.n if isinstance(head.n, int) else 0
            breaks.setdefault(PUBLISHED, Break(PUBLISHED, n, said))
        else:
            found.append(said | {"content": head.content})
    return sorted(found, key=lambda said: (said["n"], said["at"]))


def _unknown(
    outside: Sequence[Mapping[str, Any]],
    known: _Heads,
    restores: Sequence[tuple[int, int]],
    breaks: dict[str, Break],
) -> tuple[int, ...]:
    """Published heads that the database does not have; those that a restore explains are given back."""
    excused: list[int] = []
    for said in outside:
        if known.contents.get(said["n"]) == said["content"]:
            continue
        if any(taken <= said["at"] <= restored for taken, restored in restores):
            excused.append(said["n"])
        elif PUBLISHED not in breaks:
            breaks[PUBLISHED] = Break(PUBLISHED, said["n"], "unknown", known.newest)
    return tuple(excused)
