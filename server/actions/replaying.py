"""Replay: what was known of a case at each instant, for the leads, from rows alone.

What happened is read by `store.replaying` and folded by `moderation.replay`. Decided here: who may see it (a lead, on
their own side of the wall, as with the live page), that opening it is a row of the audit, and which words go with it.
An operator on the machine is given ids alone: no word and no name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, select

from moderation.replay import Event, Said, Told
from server.actions.case_page import may_see, note_place
from server.actions.reports import report_place
from server.actions.services import Services
from server.auth.permissions import require
from server.auth.requester import Requester
from server.clock import from_us
from server.errors import NotFound
from server.store import cases, messages
from server.store.keys import Keyring
from server.store.replaying import events_of
from server.store.schema import account, case_report, review_case
from server.store.unit import AuditEntry, Tx

NO_CASE = "There is no such case, or it is not yours to see."


@dataclass(frozen=True, slots=True)
class Replay:
    """Everything that happened to a case, and the words that its reader may read.

    Attributes:
        made_at: by the database's clock.
        names: of everybody in it, by account.
        bodies: of each version of each message, by (message, version); None: it can not be opened any more.
        words: of reports and calls for help by their id, and of private messages by theirs.
        note: of how the case was closed last; "" if there is none.
    """

    case: str
    side: str
    subject: str
    made_at: datetime
    events: tuple[Event, ...]
    names: Mapping[str, str] = field(repr=False, default_factory=dict)
    bodies: Mapping[tuple[str, int], str | None] = field(repr=False, default_factory=dict)
    words: Mapping[str, str | None] = field(repr=False, default_factory=dict)
    note: str = field(repr=False, default="")


@dataclass(frozen=True, slots=True)
class RecordedReplay:
    """That somebody replays a case is in the audit, since `at`."""

    case: str
    at: datetime


async def replay_case(services: Services, requester: Requester, case: str, request_id: str) -> Replay:
    """A case as it was at every instant, for a lead; that it was opened is recorded first.

    Raises:
        NotFound: no such case on this person's side of the wall.
        Unavailable: it could not be recorded.
    """
    require(requester, "route.replay")

    def unit(tx: Tx) -> None:
        row = cases.case_by_id(tx.conn, case)
        if row is None or not may_see(tx.conn, requester, row):
            raise NotFound(NO_CASE, field="case")
        tx.audit(AuditEntry("case_replayed", "case", case, request_id, requester.account))

    await services.store.write(unit)
    keys = services.store.keys
    return await services.store.read(
        lambda conn: _whole(conn, keys, requester, case, from_us(services.store.db_now(conn)))
    )


async def record_replay(services: Services, operator: str, case: str, how: str, request_id: str) -> RecordedReplay:
    """Record that an operator replays a case: `how` is "command" or "export".

    Raises:
        NotFound: no such case.
    """

    def unit(tx: Tx) -> RecordedReplay:
        if cases.case_by_id(tx.conn, case) is None:
            raise NotFound("There is no such case.", field="case")
        tx.audit(AuditEntry("case_replayed", "case", case, request_id, operator, how))
        return RecordedReplay(case, tx.now)

    return await services.store.write(unit)


def without_words(conn: Connection, case: str, made_at: datetime) -> Replay:
    """A case as an operator may have it: ids alone.

    Raises:
        NotFound: no such case.
    """
    row = cases.case_by_id(conn, case)
    if row is None:
        raise NotFound("There is no such case.", field="case")
    return Replay(case, row.side, row.subject, made_at, tuple(events_of(conn, row)))


def _whole(conn: Connection, keys: Keyring, requester: Requester, case: str, made_at: datetime) -> Replay:
    row = cases.case_by_id(conn, case)
    if row is None or not may_see(conn, requester, row):
        raise NotFound(NO_CASE, field="case")
    events = tuple(events_of(conn, row))
    said = [event.message for event in events if isinstance(event, Said)]
    opened = messages.records(conn, keys, [*cases.message_levels(conn, case), *said])
    bodies: dict[tuple[str, int], str | None] = {(m.id, m.version): m.body for m in opened.values()}
    for old, _ in messages.earlier_versions(conn, keys, case):
        bodies[old.message, old.version] = old.body
    words = {id_: opened[id_].body if id_ in opened else None for id_ in said}
    words |= _reported(conn, keys, [event.report for event in events if isinstance(event, Told)])
    return Replay(
        case,
        row.side,
        row.subject,
        made_at,
        events,
        _names(conn, events, row.subject),
        bodies,
        words,
        _note(conn, keys, case),
    )


def _names(conn: Connection, events: Iterable[Event], subject: str) -> dict[str, str]:
    people = {subject}
    for event in events:
        people |= {who for name in ("actor", "recipient", "author") if (who := getattr(event, name, None))}
    rows = conn.execute(select(account.c.id, account.c.name).where(account.c.id.in_(sorted(people))))
    return {row.id: row.name for row in rows}


def _reported(conn: Connection, keys: Keyring, reports: list[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for row in conn.execute(select(case_report).where(case_report.c.id.in_(reports))):
        key = keys.by_id(conn, row.key_id)
        found[row.id] = None if key is None else key.open(report_place(row.id), row.body)
    return found


def _note(conn: Connection, keys: Keyring, case: str) -> str:
    row = conn.execute(select(review_case.c.note, review_case.c.note_key).where(review_case.c.id == case)).one()
    key = None if row.note_key is None else keys.by_id(conn, row.note_key)
    return "" if key is None else key.open(note_place(case), row.note) or ""
