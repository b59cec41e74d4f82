"""Messages in the store: the statements of the message path, and reading them back opened.

Reading is total: whatever lies in a row, it renders or keeps its place as unreadable; one damaged row never takes a
room's history with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from msgspec import Struct
from sqlalchemy import Connection, Row, bindparam, insert, select, update

from moderation.types import Disposition, Finding, Level, Verdict
from server.protocol.frames import Person
from server.rooms import MessageRecord, MessageState
from server.store.cases import ASIDE
from server.store.hot import Hot
from server.store.keys import DataKey, Keyring, message_place
from server.store.lists import Listed
from server.store.schema import account, case_message, finding, message, message_version
from server.store.unit import Tx

_INSERT: Final = Hot(
    insert(message),
    (
        "id",
        "feed",
        "seq",
        "author",
        "client_id",
        "state",
        "first_state",
        "version",
        "body",
        "key_id",
        "level",
        "verdict",
        "reply_to",
        "at",
    ),
    " ON CONFLICT (client_id, author) DO NOTHING",
)
_REPEATED: Final = Hot(
    select(message.c.id, message.c.feed, message.c.seq, message.c.first_state, message.c.verdict, message.c.at).where(
        message.c.client_id == bindparam("client_id"), message.c.author == bindparam("author")
    ),
    ("client_id", "author"),
)
_FEED_OF: Final = Hot(select(message.c.feed).where(message.c.id == bindparam("message_id")), ("message_id",))
# The check that adds its findings after a message was stored.
SECOND_STAGE: Final = "second_stage"

_FINDING: Final = Hot(
    insert(finding),
    ("message", "version", "n", "check", "category", "level", "entry_id", "start", "end", "reason"),
)


@dataclass(frozen=True, slots=True)
class Posted:
    """A message as it was first acknowledged. `at_us` in microseconds since 1970."""

    id: str
    feed: str
    seq: int
    first_state: MessageState
    verdict: Verdict
    at_us: int


class NewMessage(Struct, frozen=True):
    """Everything of a message that is known before its seq, but for its sealed body."""

    id: str
    feed: str
    author: str
    client_id: str
    state: MessageState
    key_id: str
    verdict: Verdict
    verdict_json: str
    reply_to: str | None


def repeated(tx: Tx, author: str, client_id: str) -> Posted:
    """The message that this author sent under this client id before, as `insert_message` has found."""
    ((id_, feed, seq, first_state, verdict, at_us),) = tx.hot.rows(_REPEATED, (client_id, author))
    return Posted(id_, feed, seq, MessageState(first_state), Verdict.from_json(verdict), at_us)


def feed_of(tx: Tx, message_id: str) -> str | None:
    """The feed on which a message is, or None if there is no such message."""
    rows = tx.hot.rows(_FEED_OF, (message_id,))
    return str(rows[0][0]) if rows else None


def insert_message(tx: Tx, new: NewMessage, sealed: bytes, seq: int) -> bool:
    """Store a message at `seq` of its feed, with all its findings.

    False, and nothing is stored, if its author has sent one under its client id before. That this is one statement and
    not a look and an insert is 5 us of each message.
    """
    is_new = tx.hot.run(
        _INSERT,
        (
            new.id,
            new.feed,
            seq,
            new.author,
            new.client_id,
            new.state.value,
            new.state.value,
            1,
            sealed,
            new.key_id,
            int(new.verdict.level),
            new.verdict_json,
            new.reply_to,
            tx.now_us,
        ),
    )
    if is_new:
        insert_findings(tx, new.id, 1, new.verdict)
    return bool(is_new)


def insert_findings(tx: Tx, message_id: str, version: int, verdict: Verdict) -> None:
    """Store every finding of one version of a message."""
    tx.hot.run_many(
        _FINDING,
        [
            (message_id, version, n, f.check, f.category or "", int(f.level), f.entry_id, f.start, f.end, f.reason)
            for n, f in enumerate(verdict.findings, 1)
        ],
    )


def add_finding(tx: Tx, message_id: str, version: int, found: Finding) -> bool:
    """Add a finding of a check that came later; False, and nothing is stored, if that check had one already."""
    here = (finding.c.message == message_id) & (finding.c.version == version)
    rows = tx.conn.execute(select(finding.c.n, finding.c.check).where(here)).all()
    if any(row.check == found.check for row in rows):
        return False
    n = 1 + max((row.n for row in rows), default=0)
    tx.conn.execute(
        insert(finding).values(
            message=message_id,
            version=version,
            n=n,
            check=found.check,
            category=found.category or "",
            level=int(found.level),
            entry_id=found.entry_id,
            start=found.start,
            end=found.end,
            reason=found.reason,
        )
    )
    return True


def added_findings(conn: Connection, case: str) -> dict[str, list[Row[Any]]]:
    """What the second stage found in the messages of a case as they read now, by message."""
    query = (
        select(finding)
        .join(case_message, case_message.c.message == finding.c.message)
        .join(message, (message.c.id == finding.c.message) & (message.c.version == finding.c.version))
        .where(case_message.c.case == case, finding.c.check == SECOND_STAGE)
    )
    found: dict[str, list[Row[Any]]] = {}
    for row in conn.execute(query):
        found.setdefault(row.message, []).append(row)
    return found


def set_state(tx: Tx, message_id: str, state: MessageState, removed_by: str | None = None) -> None:
    """Publish, hold or remove a message."""
    tx.conn.execute(update(message).where(message.c.id == message_id).values(state=state, removed_by=removed_by))


def reseal(tx: Tx, message_id: str, version: int, key: DataKey, body: str) -> None:
    """Seal a message under another key: what a case keeps no longer hangs on its author's key."""
    sealed = key.seal(message_place(message_id, version), body)
    tx.conn.execute(update(message).where(message.c.id == message_id).values(body=sealed, key_id=key.id))


def reseal_versions(tx: Tx, keys: Keyring, message_id: str, key: DataKey) -> None:
    """Seal the earlier versions of a message under another key, as `reseal` does the present one."""
    for row in tx.conn.execute(select(message_version).where(message_version.c.message == message_id)).all():
        old = keys.by_id(tx.conn, row.key_id)
        place = message_place(message_id, row.version)
        body = None if old is None else old.open(place, row.body)
        if body is not None:
            here = (message_version.c.message == message_id) & (message_version.c.version == row.version)
            tx.conn.execute(update(message_version).where(here).values(body=key.seal(place, body), key_id=key.id))


def feeds_with_held(conn: Connection, author: str) -> list[str]:
    """The rooms in which a message of this author is held."""
    query = select(message.c.feed).where(message.c.author == author, message.c.state == MessageState.HELD).distinct()
    return list(conn.execute(query).scalars())


def replace_body(tx: Tx, row: Any, new_version: int, sealed: bytes, key_id: str, verdict: Verdict) -> None:
    """Put a new version in place of `row` (a row of `message`), keeping the old one for governance."""
    tx.conn.execute(
        insert(message_version).values(
            message=row.id, version=row.version, body=row.body, key_id=row.key_id, verdict=row.verdict, at=tx.now
        )
    )
    tx.conn.execute(
        update(message)
        .where(message.c.id == row.id)
        .values(
            version=new_version,
            body=sealed,
            key_id=key_id,
            level=int(verdict.level),
            verdict=verdict.to_json(),
            edited_at=tx.now,
        )
    )
    insert_findings(tx, row.id, new_version, verdict)


def row_of(conn: Connection, message_id: str, feed: str) -> Any | None:
    """The stored row of a message of that feed, or None."""
    return conn.execute(select(message).where(message.c.id == message_id, message.c.feed == feed)).one_or_none()


class _Stored(NamedTuple):
    """A row of COLUMNS, times in microseconds."""

    id: str
    feed: str
    seq: int
    author: str
    client_id: str
    state: str
    version: int
    body: bytes
    key_id: str
    level: int
    verdict: str
    reply_to: str | None
    removed_by: str | None
    at: int
    edited_at: int | None
    name: str | None
    role: str | None


# What a record is made of, for a query that finds messages its own way and joins their authors.
COLUMNS: Final = (
    *(message.c[name] for name in _Stored._fields if name not in ("name", "role")),
    account.c.name,
    account.c.role,
)
_BY_ID: Final = Listed(
    {"id": str},
    lambda given: select(*COLUMNS).select_from(
        given.join(message, message.c.id == given.c.id).outerjoin(account, account.c.id == message.c.author)
    ),
)


def records(conn: Connection, keys: Keyring, ids: Collection[str]) -> dict[str, MessageRecord]:
    """The messages of `ids`, opened; an id that is not there is left out."""
    return open_rows(conn, keys, _BY_ID.rows(conn, [(wanted,) for wanted in ids]))


def open_rows(conn: Connection, keys: Keyring, rows: Iterable[Iterable[Any]]) -> dict[str, MessageRecord]:
    """The messages of rows of COLUMNS, opened, by their ids."""
    stored = [_Stored(*row) for row in rows]
    cases = _cases(conn, {row.id for row in stored if row.level or row.state != MessageState.PUBLISHED})
    return {row.id: _record(conn, keys, row, cases) for row in stored}


@dataclass(frozen=True, slots=True)
class Version:
    """An earlier version of a message, opened; `until` is when its author edited it."""

    message: str
    version: int
    until: datetime
    body: str | None


def earlier_versions(
    conn: Connection, keys: Keyring, case: str, feed: str | None = None
) -> list[tuple[Version, list[Row[Any]]]]:
    """What the messages of a case said before their authors edited them, oldest first, each with its findings.

    With `feed`, only messages of that room.
    """
    query = (
        select(message_version)
        .join(case_message, case_message.c.message == message_version.c.message)
        .where(case_message.c.case == case)
        .order_by(message_version.c.at, message_version.c.message, message_version.c.version)
    )
    if feed is not None:
        query = query.join(message, message.c.id == message_version.c.message).where(message.c.feed == feed)
    rows = conn.execute(query).all()
    found: dict[tuple[str, int], list[Row[Any]]] = {(row.message, row.version): [] for row in rows}
    if found:
        wanted = finding.c.message.in_({row.message for row in rows})
        for line in conn.execute(select(finding).where(wanted).order_by(finding.c.n)):
            found.get((line.message, line.version), []).append(line)
    versions = []
    for row in rows:
        key = keys.by_id(conn, row.key_id)
        body = None if key is None else key.open(message_place(row.message, row.version), row.body)
        versions.append((Version(row.message, row.version, row.at, body), found[row.message, row.version]))
    return versions


def _cases(conn: Connection, ids: Iterable[str]) -> Mapping[str, str]:
    wanted = list(ids)
    if not wanted:
        return {}
    pairs = conn.execute(
        select(case_message.c.message, case_message.c.case)
        .where(case_message.c.message.in_(wanted), case_message.c.origin.not_in(ASIDE))
        .order_by(case_message.c.at)
    ).all()
    return {row.message: row.case for row in pairs}


def _record(conn: Connection, keys: Keyring, row: _Stored, cases: Mapping[str, str]) -> MessageRecord:
    key = keys.by_id(conn, row.key_id)
    body = None if key is None else key.open(message_place(row.id, row.version), row.body)
    try:
        verdict = Verdict.from_json(row.verdict)
        state = MessageState(row.state)
    except ValueError:
        # Written by a newer program, or damaged: it keeps its place, and nobody is shown what was not understood.
        verdict, state, body = _UNKNOWN, MessageState.PUBLISHED, None
    return MessageRecord(
        id=row.id,
        feed=row.feed,
        seq=row.seq,
        author=Person(row.author, row.name or "", row.role or "member"),
        client_id=row.client_id,
        body=body,
        state=state,
        version=row.version,
        at=row.at // 1000,
        verdict=verdict,
        edited_at=None if row.edited_at is None else row.edited_at // 1000,
        reply_to=row.reply_to,
        removed_by=row.removed_by,
        case=cases.get(row.id),
    )


_UNKNOWN: Final = Verdict(Level.NONE, (), (), Disposition.HOLD, "", "", complete=False)
