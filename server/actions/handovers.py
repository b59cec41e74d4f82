"""Hand-over: what somebody holds as their shift ends is accepted by name by somebody on duty, or called out.

Before the end each open case of the leaver is offered, with facts that the machine knows (which case, how urgent, how
old, the last act; nothing that a member wrote) and words of the leaver's own. Whoever accepts it takes the case, and
has written what they understood where the leaver wrote nothing. At the end nothing stays with somebody who has gone:
the sweep takes it from them and its ladder calls at once, from the first rung.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog
from sqlalchemy import Connection, Row

from moderation.cases import Act, CaseState
from moderation.duty import Held, ending, facts
from moderation.ladders import Side
from moderation.rota import Shift
from moderation.types import Level, Role
from server.actions.case_page import may_see
from server.actions.cases import NO_CASE, act_on_case
from server.actions.raising import case_feeds, realm_of, tell_case
from server.actions.reach import is_on_duty
from server.actions.services import Services
from server.auth.permissions import require
from server.auth.requester import Requester
from server.clock import from_us
from server.errors import BadRequest, Conflict, NotFound, Refused, TooLong
from server.ids import new_id
from server.protocol import frames
from server.store import cases, duty
from server.store.keys import Retention
from server.store.rota import BACK, names_of, rota_of
from server.store.unit import AuditEntry, Tx

log = structlog.get_logger()
WORDS_MOST: Final = 2_000
# What is no act of somebody's upon a case, though their name stands beside it.
_NO_ACT: Final = frozenset({"looked", "ran_out", "not_handed_over", "to_hand_over"})


@dataclass(frozen=True, slots=True)
class Offered:
    """Something to be handed over, as one person sees it. `called`: nobody took it in time, and its ladder calls.

    `facts` are the machine's, `words` the leaver's ("" for none). `mine`: this person is the leaver.
    """

    id: str
    case: str
    leaver: str
    ends_at: datetime
    facts: str
    words: str
    called: bool
    mine: bool


async def look_after(services: Services) -> int:
    """Offer what is to be handed over, settle what was, and call out what nobody took. Returns how many cases moved."""
    moved = 0
    for case, side, subject_role, subject, shift in await services.store.read(lambda conn: _to_offer(conn, services)):
        moved += await services.store.write(
            lambda tx, case=case, shift=shift: _offer(tx, case, shift),  # type: ignore[misc]
            case_feeds(subject, subject_role, side),
        )
    if await services.store.read(duty.open_handovers):
        await services.store.write(_settle)
    moved += await sweep(services)
    return moved


async def sweep(services: Services) -> int:
    """Take every case from holders whose shift has ended, and let its ladder call at once. Returns how many."""
    left = await services.store.read(lambda conn: _left(conn, services))
    for row, shift in left:
        subject_role = Role(row.subject_role or Role.MEMBER)

        def unit(tx: Tx, case: str = row.id, shift: Shift = shift, role: Role = subject_role) -> None:
            _call_out(tx, services, case, shift, role)

        await services.store.write(unit, case_feeds(row.subject, subject_role, Side(row.side)))
        log.error("not_handed_over", case=row.id, leaver=shift.account)
    if left:
        services.wake_ladders()
    return len(left)


def _to_offer(conn: Connection, services: Services) -> list[tuple[str, Side, Role, str, Shift]]:
    now = from_us(services.store.db_now(conn))
    shifts = ending(duty.on_duty_at(conn, now), services.rota, now)
    known = {(row.case, row.leaver, row.ends_at) for row in duty.open_handovers(conn)}
    return [
        (row.id, Side(row.side), Role(row.subject_role or Role.MEMBER), row.subject, shift)
        for shift in shifts
        for row in duty.held_by(conn, shift.account)
        if (row.id, shift.account, shift.ends_at) not in known
    ]


def _offer(tx: Tx, case: str, shift: Shift) -> int:
    row = cases.case_by_id(tx.conn, case, lock=True)
    if row is None or row.claimed_by != shift.account or row.state == CaseState.CLOSED:
        return 0
    if duty.offer(tx, case, shift) is None:
        return 0
    cases.add_history(tx, case, "to_hand_over", actor=shift.account)
    return 1


def _settle(tx: Tx) -> None:
    """Note who has what was offered: whoever claimed or closed it since did so by name."""
    on_duty = {shift.account for shift in duty.on_duty_at(tx.conn, tx.now)}
    for row in duty.open_handovers(tx.conn):
        taker = row.closed_by if row.case_state == CaseState.CLOSED else row.claimed_by
        # The leaver has it still: until the end of the shift, or of one that the rota has made longer.
        keeps = taker == row.leaver and row.case_state != CaseState.CLOSED
        if taker is None or (keeps and (taker not in on_duty or tx.now < row.ends_at)):
            continue
        duty.change_handover(tx, row.id, state=duty.ACCEPTED, accepted_by=taker, accepted_at=tx.now)


def _left(conn: Connection, services: Services) -> list[tuple[Row[Any], Shift]]:
    """Every open case whose holder has gone since they took it, with the shift of theirs that ended."""
    now = from_us(services.store.db_now(conn))
    on_duty = {shift.account for shift in duty.on_duty_at(conn, now)}
    absent = [who for who in duty.holders(conn) if who not in on_duty]
    gone = [(row, who) for who in absent for row in duty.held_by(conn, who)]
    if not gone:
        return []
    rota = rota_of(conn, now - BACK)
    here = {shift.account for shift in duty.running(conn, now)[0]}
    since = min(row.claimed_at or now for row, _ in gone)
    stints = rota.stints(since, now, now)
    found: list[tuple[Row[Any], Shift]] = []
    for row, who in gone:
        ended = [
            stint
            for stint in stints
            if stint.account == who
            and stint.ends_at > (row.claimed_at or now)
            and (stint.ends_at < now or who not in here)
        ]
        if ended:
            found.append((row, ended[-1]))
    return found


def _call_out(tx: Tx, services: Services, case: str, shift: Shift, role: Role) -> None:
    """From the leaver to nobody, with a ladder that begins now: it calls whoever is on duty."""
    row = cases.case_by_id(tx.conn, case, lock=True)
    if row is None or row.claimed_by != shift.account or row.state == CaseState.CLOSED:
        return
    held = cases.obligation_of(tx.conn, case, lock=True)
    level = Level(row.level if held is None else held.level)
    first = services.ladders.ladder_for(Side(row.side), level).rungs[0].after
    duty.offer(tx, case, shift)
    for open_ in duty.open_handovers(tx.conn):
        if (open_.case, open_.leaver) == (case, shift.account):
            duty.change_handover(tx, open_.id, state=duty.CALLED)
    cases.add_history(tx, case, "not_handed_over", actor=shift.account)
    cases.update_case(tx, row, state=CaseState.OPEN, claimed_by=None, claimed_at=None)
    if held is None:
        cases.insert_obligation(tx, case, Side(row.side), int(level), tx.now)
    else:
        cases.update_obligation(
            tx,
            held,
            state=cases.RUNNING,
            opened_at=tx.now - first,
            next_rung=0,
            due_at=tx.now,
            acknowledged_by=None,
            acknowledged_at=None,
        )
    tx.audit(AuditEntry("not_handed_over", "case", case, new_id(), None, "swept"))
    tell_case(tx, case, role)


# --- what people do ---------------------------------------------------------------------------------------------------


async def offers(services: Services, requester: Requester, request_id: str) -> list[Offered]:
    """What this person is to hand over, and what they may take, the most pressing first: each a row of the audit."""
    require(requester, "route.rota")

    def read(conn: Connection) -> list[Offered]:
        now = from_us(services.store.db_now(conn))
        rows = duty.open_handovers(conn)
        names = names_of(conn, [row.leaver for row in rows])
        found: list[Offered] = []
        for row in rows:
            case = cases.case_by_id(conn, row.case)
            mine = row.leaver == requester.account
            if case is None or not (mine or may_see(conn, requester, case)):
                continue
            found.append(
                Offered(
                    row.id,
                    row.case,
                    names.get(row.leaver, ""),
                    row.ends_at,
                    facts(_held(conn, case, row.leaver), now),
                    _words(conn, services, row),
                    row.state == duty.CALLED,
                    mine,
                )
            )
        return sorted(found, key=lambda one: (not one.called, one.ends_at))

    found = await services.store.read(read)
    if found:
        rows = [AuditEntry("handover_read", "case", one.case, request_id, requester.account) for one in found]

        def unit(tx: Tx) -> None:
            for row in rows:
                tx.audit(row)

        await services.store.write(unit)
    return found


async def write_words(services: Services, requester: Requester, handover: str, words: str, request_id: str) -> None:
    """The leaver's own words to whoever takes the case; newer ones take the place of earlier ones.

    Raises:
        BadRequest: no words, or too many.
        NotFound: nothing of theirs is to be handed over by that id.
    """
    require(requester, "route.rota_own")
    text = _checked(words)

    def unit(tx: Tx) -> None:
        row = duty.handover_by_id(tx.conn, handover, lock=True)
        case = None if row is None else cases.case_by_id(tx.conn, row.case)
        if row is None or case is None or row.leaver != requester.account or row.state == duty.ACCEPTED:
            raise NotFound("There is nothing of yours to hand over by that name.", field="handover")
        key = services.store.keys.create(tx, row.case, realm_of(case.side), Retention.GOVERNANCE)
        duty.change_handover(tx, handover, words=key.seal(_place(handover, "words"), text), words_key=key.id)
        tx.audit(AuditEntry("handover_words", "case", row.case, request_id, requester.account))

    await services.store.write(unit)


async def accept(
    services: Services, requester: Requester, client_id: str, handover: str, words: str, request_id: str
) -> frames.Done:
    """Take a case from whoever leaves, by name.

    Args:
        words: what this person has understood; needed where the leaver wrote nothing.

    Raises:
        BadRequest: nobody has written a word, or too many.
        NotFound: no such offer on this person's side of the wall.
        Refused: they are not on duty, or it is their own.
        Conflict: somebody else has taken it.
    """
    require(requester, "route.rota_own")

    def prepare(tx: Tx) -> Row[Any]:
        row = duty.handover_by_id(tx.conn, handover, lock=True)
        case = None if row is None else cases.case_by_id(tx.conn, row.case)
        if row is None or case is None or not may_see(tx.conn, requester, case):
            raise NotFound(NO_CASE, field="handover")
        if row.leaver == requester.account:
            raise Refused("Somebody else has to accept what you hand over.", code="own_handover")
        if not is_on_duty(tx.conn, requester, tx.now):
            raise Refused("Only somebody whose shift has begun can accept this.", code="not_on_duty")
        if row.state == duty.ACCEPTED:
            if row.accepted_by == requester.account:
                return case
            raise Conflict("Somebody has accepted this already.", code="handover_taken")
        if words.strip() or row.words is None:
            key = services.store.keys.create(tx, row.case, realm_of(case.side), Retention.GOVERNANCE)
            sealed = key.seal(_place(handover, "reply"), _checked(words))
            duty.change_handover(tx, handover, reply=sealed, reply_key=key.id)
        return case

    case = await services.store.write(prepare)
    done = frames.Done(re=client_id, version=case.version)
    if case.claimed_by != requester.account:
        claim = frames.Act(client_id=client_id, case=case.id, version=case.version, act=Act.CLAIM.value)
        done = await act_on_case(services, requester, claim, request_id)

    def conclude(tx: Tx) -> None:
        row = duty.handover_by_id(tx.conn, handover, lock=True)
        if row is None or row.state == duty.ACCEPTED:
            return
        duty.change_handover(tx, handover, state=duty.ACCEPTED, accepted_by=requester.account, accepted_at=tx.now)
        cases.add_history(tx, row.case, "handed_over", actor=requester.account)
        tx.audit(AuditEntry("handed_over", "case", row.case, request_id, requester.account))

    await services.store.write(conclude, [f"inbox:{case.subject}"])
    return done


def _checked(words: str) -> str:
    text = words.strip()
    if not text:
        raise BadRequest("Write in a sentence what this is and what comes next.", field="words")
    if len(text) > WORDS_MOST:
        raise TooLong(f"At most {WORDS_MOST} characters fit.", field="words")
    return text


def _held(conn: Connection, case: Row[Any], leaver: str) -> Held:
    acts: Sequence[Row[Any]] = [
        line for line in cases.history(conn, case.id) if line.actor == leaver and line.act not in _NO_ACT
    ]
    last = acts[-1] if acts else None
    return Held(
        case.id,
        Level(case.level),
        case.opened_at,
        None if last is None else last.at,
        "" if last is None else last.act.replace("_", " "),
    )


def _words(conn: Connection, services: Services, row: Row[Any]) -> str:
    key = None if row.words_key is None else services.store.keys.by_id(conn, row.words_key)
    opened = None if key is None else key.open(_place(row.id, "words"), row.words)
    return opened or ""


def _place(handover: str, column: str) -> str:
    """What binds words to their row."""
    return f"handover:{handover}:1:{column}"
