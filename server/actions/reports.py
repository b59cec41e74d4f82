"""Telling the team: a report about a message, and "I need help now".

Help asks nobody: no filter, no limit, no room is needed for it to open an urgent case. A report is screened like any
text, and the person reported never learns of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from moderation.ladders import Side
from moderation.types import Category, Level, Role, RoomKind, TextKind, Verdict
from server.actions.raising import Concern, case_feeds, raise_case, realm_of
from server.actions.rooms import access_room_for_reading
from server.actions.services import Services
from server.auth.permissions import require
from server.auth.requester import Requester
from server.errors import BadRequest, NotFound
from server.ids import new_id
from server.protocol.frames import Done, Help, Report
from server.rooms import Room, care_for, side_of
from server.store import cases, messages
from server.store.commands import first_answer, keep_answer
from server.store.keys import Retention
from server.store.schema import account, case_report
from server.store.unit import AuditEntry, Tx

# How urgent a report is by its reason; what the filter finds in its words may raise it.
_REPORTED = {
    "worried": Level.HIGH_NEED,
    "unkind": Level.HIGH_NEED,
    "contact": Level.GREY,
    "rules": Level.GREY,
    "other": Level.GREY,
}


async def report_message(services: Services, requester: Requester, command: Report, request_id: str) -> Done:
    """Bring a message to the moderators' attention; its author is told nothing of it.

    Raises:
        NotFound: no such message that this person may read.
    """
    require(requester, "frame.report")

    def find(conn: Connection) -> tuple[Room, Any, Role]:
        room = access_room_for_reading(conn, requester, command.feed).room
        row = messages.row_of(conn, command.message, command.feed)
        if row is None:
            raise NotFound("There is no such message.", field="message")
        role = conn.execute(select(account.c.role).where(account.c.id == row.author)).scalar_one_or_none()
        return room, row, Role(role or Role.MEMBER)

    room, row, author_role = await services.store.read(find)
    if row.author == requester.account:
        raise BadRequest("This message is your own. If you need help, press the help button.", field="message")
    verdict = services.screening.screen(command.body, TextKind.REPORT, room.kind, requester.role)
    said = Verdict.from_json(row.verdict)
    concern = Concern(
        subject=row.author,
        subject_role=author_role,
        side=side_of(room.kind),
        origin=cases.REPORT,
        level=max(_REPORTED[command.reason], said.level),
        categories=said.categories,
        feed=command.feed,
        message=row.id,
        care="none",
    )
    # What the reporter writes may be about themselves: then they are looked after too, by a case of their own.
    care = care_for(verdict)
    own = Concern(
        subject=requester.account,
        subject_role=requester.role,
        side=concern.side,
        origin="message",
        level=verdict.level,
        categories=verdict.categories,
        feed=command.feed,
        message=None,
        care=care,
    )
    distressed = care != "none" and requester.role is Role.MEMBER

    def unit(tx: Tx) -> Done:
        earlier = first_answer(tx, requester.account, command.client_id, "report", Done)
        if earlier is not None:
            return earlier
        case = raise_case(tx, services, concern)
        words = Words(requester.account, command.reason, command.body, row.id, verdict.to_json())
        tx.audit(AuditEntry("report", "case", case, request_id, requester.account, command.reason))
        _keep_words(tx, services, case, concern.side, words)
        if distressed:
            theirs = raise_case(tx, services, own)
            _keep_words(tx, services, theirs, own.side, words)
        done = Done(re=command.client_id, care=care if distressed else "none")
        keep_answer(tx, requester.account, command.client_id, "report", done)
        return done

    feeds = case_feeds(row.author, author_role, concern.side)
    if distressed:
        feeds += case_feeds(requester.account, requester.role, concern.side)
    done = await services.store.write(unit, feeds)
    services.wake_ladders()
    return done


async def ask_for_help(services: Services, requester: Requester, command: Help, request_id: str) -> Done:
    """Open an urgent case about the person who asks, at once and whatever the filter would say.

    A feed that they can not read is no reason to refuse: the call is then theirs alone.
    """
    require(requester, "frame.help")
    room = await services.store.read(lambda conn: _room_if_readable(conn, requester, command.feed))
    side = side_of(room.kind) if room is not None else Side.COMMUNITY
    kind = room.kind if room is not None else RoomKind.COMMUNITY
    verdict = services.screening.screen(command.body, TextKind.HELP, kind, requester.role)
    concern = Concern(
        subject=requester.account,
        subject_role=requester.role,
        side=side,
        origin="help",
        level=Level.URGENT,
        categories=verdict.categories or (Category.CRISIS,),
        feed=command.feed if room is not None else None,
        message=None,
        care="urgent",
    )

    def unit(tx: Tx) -> Done:
        earlier = first_answer(tx, requester.account, command.client_id, "help", Done)
        if earlier is not None:
            return earlier
        case = raise_case(tx, services, concern)
        words = Words(requester.account, "help", command.body, None, verdict.to_json())
        _keep_words(tx, services, case, side, words)
        tx.audit(AuditEntry("help", "case", case, request_id, requester.account))
        done = Done(re=command.client_id, care="urgent")
        keep_answer(tx, requester.account, command.client_id, "help", done)
        return done

    done = await services.store.write(unit, case_feeds(requester.account, requester.role, side))
    services.wake_ladders()
    return done


def _room_if_readable(conn: Connection, requester: Requester, feed: str | None) -> Room | None:
    if feed is None:
        return None
    try:
        return access_room_for_reading(conn, requester, feed).room
    except NotFound:
        return None


@dataclass(frozen=True, slots=True)
class Words:
    """What somebody told the team. `verdict` is the stored form of the filter's."""

    reporter: str
    reason: str
    body: str
    message: str | None
    verdict: str

    def __repr__(self) -> str:
        return f"Words(reason={self.reason})"


def _keep_words(tx: Tx, services: Services, case: str, side: Side, words: Words) -> None:
    """Seal what was said with a report or a call for help under the case's own key."""
    key = services.store.keys.create(tx, case, realm_of(side), Retention.GOVERNANCE)
    report = new_id()
    tx.conn.execute(
        insert(case_report).values(
            id=report,
            case=case,
            message=words.message,
            reporter=words.reporter,
            reason=words.reason,
            body=key.seal(report_place(report), words.body),
            key_id=key.id,
            verdict=words.verdict,
            at=tx.now,
        )
    )


def report_place(report: str) -> str:
    """Where the words of a report lie, for sealing."""
    return f"case_report:{report}:1:body"
