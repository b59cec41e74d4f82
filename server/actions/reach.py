"""The question before a shift: can its person be reached? The shift begins with their answer and never without it.

The question is a row before anybody is called, and the answer is theirs alone, by a press on their page. What is not
answered in time is a case about them, for whoever leads, on a ladder like any other: it calls until somebody named has
taken it. A ladder meanwhile finds their rung without them and goes on at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy import Connection, Row

from moderation.duty import Check, is_open, to_ask, to_tell
from moderation.ladders import Side
from moderation.rota import Shift
from moderation.types import Level
from server.actions.escalation import SEND_WITHIN_S, tell_page
from server.actions.raising import Concern, case_feeds, raise_case
from server.actions.rendering import REACHABILITY
from server.actions.services import Services
from server.auth.permissions import require
from server.auth.requester import Requester
from server.clock import from_us
from server.errors import NotFound, Refused
from server.ids import inbox_feed, new_id
from server.notify import Delivery, Notice
from server.store import cases, duty
from server.store.commands import first_answer, keep_answer
from server.store.rota import BACK, rota_of
from server.store.unit import AuditEntry, Tx

log = structlog.get_logger()
# How a case about somebody who did not answer came about.
UNANSWERED: Final = "unanswered"


class Answered(msgspec.Struct, frozen=True):
    """The question was answered: its shift has begun, or will at its time."""

    check: str


async def look_ahead(services: Services) -> int:
    """Ask whoever is to be asked now, and tell of those who did not answer. Returns how many rows that changed."""
    asks, tells, gone = await services.store.read(lambda conn: _due(conn, services))
    for check_id, account in gone:
        await _put_away(services, check_id, account)
    for shift in asks:
        await _ask(services, shift)
    for check in tells:
        await _tell(services, check)
    if tells:
        services.wake_ladders()
    return len(gone) + len(asks) + len(tells)


def _due(conn: Connection, services: Services) -> tuple[Sequence[Shift], Sequence[Check], Sequence[tuple[str, str]]]:
    """Whom to ask, of which questions to tell, and (id, account) of those whose shift is over or is not any more."""
    now = from_us(services.store.db_now(conn))
    shifts, checks = duty.shifts_near(conn, rota_of(conn, now - BACK), now, services.rota.ask_before)
    gone = [
        (check_id, check.account) for check_id, check in duty.unanswered(conn) if not is_open(check, shifts, checks)
    ]
    return to_ask(shifts, checks, services.rota, now), to_tell(shifts, checks, services.rota, now), gone


async def _ask(services: Services, shift: Shift) -> None:
    inbox = inbox_feed(shift.account)

    def unit(tx: Tx) -> None:
        check = duty.insert_check(tx, shift, channels=tuple(services.notifiers))
        if check is not None:
            tell_page(tx, check, inbox)
            tx.audit(AuditEntry("duty_asked", "account", shift.account, new_id(), None, shift.role))

    await services.store.write(unit, [inbox])


async def _put_away(services: Services, check: str, account: str) -> None:
    """Let a question ring no more: nobody is to begin that shift."""
    inbox = inbox_feed(account)

    def unit(tx: Tx) -> None:
        if duty.put_away(tx, check):
            tell_page(tx, check, inbox)

    await services.store.write(unit, [inbox])


async def _tell(services: Services, check: Check) -> None:
    """Open a case about somebody who did not answer, unless they have meanwhile."""
    concern = Concern(
        subject=check.account,
        subject_role=check.role,
        side=Side.COMMUNITY,
        origin=UNANSWERED,
        level=Level.HIGH_NEED,
        categories=(),
        feed=None,
        message=None,
        care="none",
        pressing=True,
    )

    def unit(tx: Tx) -> None:
        if not duty.mark_told(tx, check):
            return
        case = raise_case(tx, services, concern)
        held = cases.obligation_of(tx.conn, case, lock=True)
        if held is not None and held.state == cases.RUNNING:
            cases.update_obligation(tx, held, due_at=tx.now)
        tx.audit(AuditEntry("duty_unanswered", "account", check.account, new_id(), None, check.role))

    await services.store.write(unit, case_feeds(check.account, check.role, Side.COMMUNITY))
    log.error("duty_unanswered", account=check.account, role=check.role)


async def put_questions(services: Services) -> int:
    """Make the calls of every question that is due, all at once, and record them. Returns how many were made."""
    now, calls = await services.store.read(lambda conn: _calls(conn, services))
    await asyncio.gather(*(_put(services, row, now) for row in calls))
    return len(calls)


def _calls(conn: Connection, services: Services) -> tuple[datetime, Sequence[Row[Any]]]:
    now = from_us(services.store.db_now(conn))
    return now, duty.calls_due(conn, now, services.rota.ask_again)


async def _put(services: Services, row: Row[Any], now: datetime) -> None:
    notifier = services.notifiers.get(row.channel)
    delivery = Delivery.FAILED
    if notifier is not None:
        call = Notice(
            id=row.check,
            case="",
            obligation=row.check,
            recipient=row.account,
            level=0,
            rung=REACHABILITY,
            due_at=row.starts_at,
            attempt=row.attempts + 1,
            late=now > row.starts_at,
        )
        try:
            async with asyncio.timeout(SEND_WITHIN_S):
                delivery = await notifier.send(call)
        except TimeoutError:
            delivery = Delivery.UNKNOWN
        except Exception as error:
            log.error("channel_failed", check=row.check, channel=row.channel, error=type(error).__name__)
    wait: timedelta = services.rota.ask_again if delivery is Delivery.SENT else cases.RETRY_AFTER
    await services.store.write(lambda tx: duty.record_call(tx, row.check, row.channel, delivery.value, tx.now + wait))


async def answer(services: Services, requester: Requester, client_id: str, check: str, request_id: str) -> Answered:
    """ "I am here": the person who is asked answers; their shift begins, or will at its time.

    Raises:
        NotFound: they were not asked that.
        Refused: the shift is over.
    """
    require(requester, "route.rota_own")

    def unit(tx: Tx) -> Answered:
        earlier = first_answer(tx, requester.account, client_id, "duty_answer", Answered)
        if earlier is not None:
            return earlier
        row = duty.check_by_id(tx.conn, check, lock=True)
        if row is None or row.account != requester.account:
            raise NotFound("There is no such question, or it is not yours.", field="check")
        goes_on = any(shift.account == row.account for shift in duty.running(tx.conn, tx.now)[0])
        if row.over_at is not None or (row.ends_at <= tx.now and not goes_on):
            raise Refused("That shift is over.", code="shift_over", field="check")
        if row.answered_at is None:
            duty.answer_check(tx, check, requester.account)
            tell_page(tx, check, inbox_feed(requester.account))
            tx.audit(AuditEntry("duty_answered", "account", row.account, request_id, requester.account, row.role))
        done = Answered(check)
        keep_answer(tx, requester.account, client_id, "duty_answer", done)
        return done

    answered = await services.store.write(unit, [inbox_feed(requester.account)])
    services.wake_ladders()
    return answered


def is_on_duty(conn: Connection, requester: Requester, now: datetime) -> bool:
    """Whether this person's shift runs and has begun."""
    return any(shift.account == requester.account for shift in duty.on_duty_at(conn, now))
