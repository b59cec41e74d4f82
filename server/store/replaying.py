"""The rows of a case as the events that happened to it (`moderation.replay`): every time, by whom, never a body."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from moderation.ladders import Side
from moderation.replay import Called, Event, Found, Happened, Looked, Said, Screened, Told, Written
from moderation.types import Verdict
from server.ids import room_feed
from server.store import cases, rooms
from server.store.messages import SECOND_STAGE
from server.store.schema import (
    account,
    audit,
    case_history,
    case_message,
    case_report,
    event,
    finding,
    message,
    message_version,
    notice,
    notice_event,
)

# The acts of the audit by which somebody was shown something of a case.
LOOKS: Final = ("case_read", "case_words_read", "case_replayed")
_PREFIX: Final = "message."


def events_of(conn: Connection, case: Row[Any]) -> list[Event]:
    """Everything that happened to a case, each kind in the order in which it was stored."""
    found: list[Event] = [*_history(conn, case.id), *_written(conn, case.id), *_calls(conn, case.id)]
    return [*found, *_looks(conn, case.id), *_reports(conn, case.id), *_said(conn, case)]


def _history(conn: Connection, case: str) -> list[Happened]:
    lines = conn.execute(select(case_history).where(case_history.c.case == case).order_by(case_history.c.n)).all()
    added = _second_stage(conn, case)
    made = []
    for line in lines:
        by_model = line.detail == cases.SECOND and line.act in ("open", "raise")
        later = added.get(line.message or "", [])
        made.append(
            Happened(
                line.at,
                line.n,
                line.act,
                line.actor,
                line.detail,
                line.message,
                line.level,
                line.categories or "",
                line.feed,
                (later.pop(0),) if by_model and later else (),
            )
        )
    return made


def _second_stage(conn: Connection, case: str) -> dict[str, list[Found]]:
    """What the second stage added to the messages of a case, by message, in the order of their versions."""
    query = (
        select(finding)
        .join(case_message, case_message.c.message == finding.c.message)
        .where(case_message.c.case == case, finding.c.check == SECOND_STAGE)
        .order_by(finding.c.message, finding.c.version, finding.c.n)
    )
    found: dict[str, list[Found]] = {}
    for row in conn.execute(query):
        found.setdefault(row.message, []).append(_found(row))
    return found


def _found(row: Any) -> Found:
    return Found(row.check, row.category, row.level, row.entry_id, row.start, row.end, row.reason)


def _written(conn: Connection, case: str) -> list[Written]:
    query = (
        select(message).join(case_message, case_message.c.message == message.c.id).where(case_message.c.case == case)
    )
    made: list[Written] = []
    for row in conn.execute(query.order_by(message.c.feed, message.c.seq)).all():
        verdicts = _verdicts(conn, row)
        for change in _changes(conn, row):
            kind = change.kind.removeprefix(_PREFIX)
            screened = verdicts.pop(0) if kind in ("new", "edit") and verdicts else None
            state = row.first_state if kind == "new" else ""
            made.append(Written(change.at, change.seq, row.id, kind, row.feed, row.author, screened, state))
    return made


def _changes(conn: Connection, row: Row[Any]) -> Iterable[Any]:
    query = select(event.c.kind, event.c.seq, event.c.at).where(
        event.c.feed == row.feed, event.c.seq >= row.seq, event.c.ref == row.id, event.c.kind.startswith(_PREFIX)
    )
    return conn.execute(query.order_by(event.c.seq)).all()


def _verdicts(conn: Connection, row: Row[Any]) -> list[Screened | None]:
    """What the filter said of each version, the first one first."""
    earlier = conn.execute(
        select(message_version.c.verdict).where(message_version.c.message == row.id).order_by(message_version.c.version)
    )
    return [_screened(stored) for stored in (*earlier.scalars(), row.verdict)]


def _screened(stored: str) -> Screened | None:
    """None for a verdict that this program can not read."""
    try:
        said = Verdict.from_json(stored)
    except ValueError:
        return None
    return Screened(
        int(said.level),
        said.score,
        said.disposition.value,
        said.list_version,
        said.policy_version,
        said.complete,
        tuple(
            Found(f.check, f.category or "", int(f.level), f.entry_id, f.start, f.end, f.reason) for f in said.findings
        ),
    )


def _calls(conn: Connection, case: str) -> list[Called]:
    query = (
        select(notice, notice_event.c.what, notice_event.c.at, notice_event.c.n)
        .join(notice_event, notice_event.c.notice == notice.c.id)
        .where(notice.c.case == case)
        .order_by(notice.c.id, notice_event.c.n)
    )
    return [
        Called(row.at, row.n, row.id, row.what, row.recipient, row.channel, row.audience, row.rung, row.level)
        for row in conn.execute(query)
    ]


def _looks(conn: Connection, case: str) -> list[Looked]:
    query = select(audit.c.at, audit.c.actor, audit.c.act).where(audit.c.subject == case, audit.c.act.in_(LOOKS))
    rows = conn.execute(query.order_by(audit.c.at, audit.c.writer, audit.c.n)).all()
    return [Looked(row.at, n, row.actor or "", row.act) for n, row in enumerate(rows)]


def _reports(conn: Connection, case: str) -> list[Told]:
    query = select(case_report).where(case_report.c.case == case).order_by(case_report.c.at, case_report.c.id)
    rows = conn.execute(query).all()
    return [Told(row.at, n, row.id, row.reason, row.message) for n, row in enumerate(rows)]


def _said(conn: Connection, case: Row[Any]) -> list[Said]:
    """What was said privately between the case's subject and the team while it was open; never on the care side."""
    room = None if case.side == Side.CARE else rooms.support_room_of(conn, case.subject)
    if room is None:
        return []
    query = (
        select(message.c.id, message.c.at, message.c.seq, message.c.author, account.c.role)
        .outerjoin(account, account.c.id == message.c.author)
        .where(message.c.feed == room_feed(room.id), message.c.at >= case.opened_at)
    )
    if case.closed_at is not None:
        query = query.where(message.c.at <= case.closed_at)
    rows = conn.execute(query.order_by(message.c.seq)).all()
    return [Said(row.at, row.seq, row.id, row.author, row.role or "member") for row in rows]
