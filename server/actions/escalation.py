"""Climbing the ladder: each obligation whose time has come calls the next people, until a named one takes it.

Works from rows alone. One step is: read what is due; in one unit, compare the obligation's version, ask the pure rules
(`moderation.ladders.plan`), store the calls and the next due time; then make each call and record it. A crash before
the unit leaves the obligation due; a crash after it leaves calls pending; both are found again, so a call may be made
twice and is never not made. Of several processes on one database one makes each step: steps compare a version, pages
are recorded where they ring, and a call by an outside channel is taken first, for as long as it may last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection, Row, select, update

from moderation.cases import CaseState
from moderation.ladders import Audience, Plan, Side, plan
from moderation.rota import people_for
from moderation.types import Level, Role
from server import killpoints
from server.actions.raising import case_feeds, tell_case
from server.actions.rendering import PAGE, PAGE_CHANNEL, page_item
from server.actions.services import Services
from server.clock import from_us
from server.errors import ServiceError
from server.feeds import FeedEvent
from server.ids import inbox_feed
from server.notify import Delivery, Notice
from server.store import cases, duty, rooms
from server.store.feeds import heads
from server.store.schema import account, notice, obligation, review_case
from server.store.unit import Tx

log = structlog.get_logger()
BATCH = 100
SEND_WITHIN_S = 10.0
WAIT_S = 0.2
DRAIN_S = 1.0
LATE_AFTER = timedelta(seconds=15)
# The recipient of a call that could be given to nobody.
NOBODY = ("",)
# People of the case itself, not of the rota: that it has none says nothing of who is on duty.
_ASSIGNED = frozenset({Audience.TREATING_THERAPIST, Audience.FACILITATOR})
_CLINICAL = frozenset({Audience.DUTY_CLINICIAN, Audience.CLINICAL_LEAD, Audience.FALLBACK})


@dataclass(frozen=True, slots=True)
class Round:
    """What one round left: in how long something falls due (None: nothing will), and how many steps failed.

    By the clock that the rows were written by: this machine's own may be another.
    """

    wait: timedelta | None
    failures: int


class OutsideCalls:
    """The calls by outside channels that are under way, each a task of its own, at most one for each notice.

    A channel that hangs keeps nobody waiting: neither other calls nor the next round.

    Args:
        may_call: whether this process may still call anybody; asked before each call of any kind.
    """

    def __init__(self, may_call: Callable[[], bool] = lambda: True) -> None:
        self.may_call = may_call
        self._tasks: dict[str, asyncio.Task[bool]] = {}

    @property
    def under_way(self) -> list[str]:
        return list(self._tasks)

    def start(self, notice_id: str, call: Coroutine[Any, Any, bool]) -> None:
        task = asyncio.get_running_loop().create_task(call, name="call")
        self._tasks[notice_id] = task
        task.add_done_callback(lambda done: self._ended(notice_id, done))

    def _ended(self, notice_id: str, task: asyncio.Task[bool]) -> None:
        del self._tasks[notice_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("call_failed", notice=notice_id, error=type(error).__name__)

    async def wait(self, within_s: float) -> int:
        """Wait a little for what is under way. Returns how many of those that ended could not be recorded."""
        if not self._tasks:
            return 0
        done, _ = await asyncio.wait(list(self._tasks.values()), timeout=within_s)
        return sum(not task.cancelled() and (task.exception() is not None or not task.result()) for task in done)

    async def close(self) -> None:
        """Give what is under way a moment, then let go of it: its rows are pending, so it is made again."""
        await self.wait(DRAIN_S)
        left = list(self._tasks.values())
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def climb(services: Services, outside: OutsideCalls | None = None) -> Round:
    """Fire everything that is due now, make all calls that are pending, and say when to come again.

    One obligation that fails is reported and does not keep the others waiting. Pages ring first; of the calls by other
    channels, those that take long go on in `outside` and are recorded when they end. Without `outside` this waits
    for all of them.
    """
    calls_under_way = OutsideCalls() if outside is None else outside
    failures = 0
    due = await services.store.read(lambda conn: _due(conn, services, BATCH))
    if due:
        killpoints.reach(killpoints.DUE_TO_ATTEMPT)
    for obligation_id, version, subject, role, side in due:
        if not calls_under_way.may_call():
            break
        try:
            with services.tracing.span("climb rung", {"obligation": obligation_id}):
                await _advance(services, obligation_id, version, case_feeds(subject, role, side))
        except ServiceError as error:
            log.error("ladder_failed", obligation=obligation_id, error=error.error_code)
            failures += 1
    busy = calls_under_way.under_way
    now, calls = await services.store.read(lambda conn: _pending(conn, services, busy))
    if not calls_under_way.may_call():
        return Round(None, failures)
    rung = await asyncio.gather(*(_call(services, row, now) for row in calls if row.channel == PAGE_CHANNEL))
    failures += rung.count(False)
    by_others = [row for row in calls if row.channel != PAGE_CHANNEL]
    taken = await _take(services, by_others)
    if taken is None:
        failures += 1
    for row in by_others:
        if taken is not None and row.id in taken and calls_under_way.may_call():
            calls_under_way.start(row.id, _call(services, row, now))
    failures += await calls_under_way.wait(SEND_WITHIN_S + DRAIN_S if outside is None else WAIT_S)
    busy = calls_under_way.under_way
    return Round(await services.store.read(lambda conn: _wait(conn, services, busy)), failures)


def _pending(conn: Connection, services: Services, busy: Collection[str]) -> tuple[datetime, Sequence[Row[Any]]]:
    """What time it is, and the calls that are to be made then."""
    now = from_us(services.store.db_now(conn))
    return now, cases.pending_notices(conn, now, BATCH, PAGE_CHANNEL, busy)


def _wait(conn: Connection, services: Services, busy: Collection[str]) -> timedelta | None:
    due = cases.next_due(conn, busy)
    return None if due is None else due - from_us(services.store.db_now(conn))


def _due(conn: Connection, services: Services, limit: int) -> list[tuple[str, int, str, Role, Side]]:
    rows = cases.due_obligations(conn, from_us(services.store.db_now(conn)), limit, services.ladders.waits)
    found: list[tuple[str, int, str, Role, Side]] = []
    for row in rows:
        about = conn.execute(
            select(review_case.c.subject, account.c.role)
            .outerjoin(account, account.c.id == review_case.c.subject)
            .where(review_case.c.id == row.case)
        ).one()
        found.append((row.id, row.version, about.subject, Role(about.role or Role.MEMBER), Side(row.side)))
    return found


async def _advance(services: Services, obligation_id: str, version: int, feeds: list[str]) -> None:
    """Fire what is due of one obligation, unless somebody else has changed it since it was read."""

    def unit(tx: Tx) -> None:
        case_id = tx.conn.execute(select(obligation.c.case).where(obligation.c.id == obligation_id)).scalar_one()
        case = cases.case_by_id(tx.conn, case_id, lock=True)
        row = cases.obligation_of(tx.conn, case_id, lock=True)
        if case is None or row is None or row.id != obligation_id or row.version != version:
            return
        if not cases.is_due(row, tx.now, services.ladders.waits):
            return
        role = _role(tx.conn, case.subject)
        opened_at, next_rung = row.opened_at, row.next_rung
        if row.state == cases.ACKNOWLEDGED:
            # Whoever took it has not closed it in time: it is nobody's again and climbs from the beginning.
            opened_at, next_rung = tx.now, 0
            cases.add_history(tx, case.id, "ran_out", actor=row.acknowledged_by)
            cases.update_case(tx, case, state=CaseState.OPEN, claimed_by=None, claimed_at=None)
            case = cases.case_by_id(tx.conn, case_id, lock=True) or case
        opened_at = _no_later(services, row, opened_at, next_rung, tx.now)
        fired = _plan(tx, services, row, case, role, opened_at, next_rung)
        clinical = case.clinical
        reached = any(step.recipients and step.audience is not Audience.FALLBACK for step in fired.steps)
        for step in fired.steps:
            if step.empty or step.recipients == NOBODY:
                log.warning("rung_empty", case=case.id, rung=step.audience)
                if not reached and step.audience not in _ASSIGNED:
                    # The author reads this as "nobody is on duty": it is said only where it is so.
                    cases.add_history(tx, case.id, "nobody", detail=step.audience)
            else:
                cases.add_history(tx, case.id, "rung", detail=step.audience)
            clinical = 1 if step.recipients and step.audience in _CLINICAL else clinical
            for recipient in step.recipients:
                for channel in (PAGE_CHANNEL, *services.notifiers):
                    cases.insert_notice(
                        tx,
                        obligation=row.id,
                        case=case.id,
                        rung=step.rung,
                        cycle=version,
                        audience=step.audience,
                        recipient=recipient,
                        level=row.level,
                        case_version=case.version,
                        channel=channel,
                        due_at=min(max(row.due_at, opened_at), tx.now),
                    )
        cases.update_obligation(
            tx,
            row,
            state=cases.RUNNING,
            opened_at=opened_at,
            next_rung=fired.next_rung,
            due_at=fired.next_due_at,
            acknowledged_by=None,
            acknowledged_at=None,
        )
        cases.update_case(tx, case, clinical=clinical)
        tell_case(tx, case.id, role)

    await services.store.write(unit, feeds)


def _no_later(services: Services, row: Row[Any], opened_at: datetime, next_rung: int, now: datetime) -> datetime:
    """When the ladder began, moved back where it is due before its rung is: a held message has reached its ceiling.

    Reaching it escalates: the next rung is called at once, and those behind it as if its time had come. It never
    releases anything.
    """
    rungs = services.ladders.ladder_for(Side(row.side), Level(row.level)).rungs
    if next_rung < len(rungs) and opened_at + rungs[next_rung].after > now:
        return now - rungs[next_rung].after
    return opened_at


def _plan(
    tx: Tx, services: Services, row: Row[Any], case: Row[Any], role: Role, opened_at: datetime, next_rung: int
) -> Plan:
    """What the ladder says now: everybody whom it names may open the case and act on it."""
    ladder = services.ladders.ladder_for(Side(row.side), Level(row.level))
    fitting = set(cases.people_of_role(tx.conn, _roles(Side(row.side), role))) - {case.subject}
    shifts = duty.on_duty_at(tx.conn, tx.now)
    standing = [person for person in services.settings.fallback_people if person in fitting]
    fallback = tuple(standing or sorted(fitting))
    assigned: dict[Audience, tuple[str, ...]] = {}
    if row.side == Side.GROUP and case.feed is not None and role is Role.MEMBER:
        assigned[Audience.FACILITATOR] = rooms.facilitators_of(tx.conn, case.feed.partition(":")[2])
        fitting |= set(assigned[Audience.FACILITATOR])

    def people(audience: Audience) -> tuple[str, ...]:
        if audience is Audience.FALLBACK and not fallback:
            # Nobody at all may act on it: the supervisor raises it by its own channel.
            log.critical("nobody_to_call", case=case.id, obligation=row.id)
            return NOBODY
        if role is not Role.MEMBER:
            return tuple(sorted(fitting))
        return tuple(person for person in people_for(audience, shifts, fallback, tx.now, assigned) if person in fitting)

    # A ladder that was made shorter under a running obligation repeats its last rung.
    return plan(ladder, opened_at, min(next_rung, len(ladder.rungs)), people, tx.now)


def _roles(side: Side, about: Role) -> list[Role]:
    """Who may act on a case (as `case_page.may_see` has it): the wall stands on every rung, the last one too."""
    if about is not Role.MEMBER:
        return [Role.CLINICAL_LEAD]
    if side is Side.CARE:
        return [Role.CLINICIAN, Role.CLINICAL_LEAD]
    return [Role.MODERATOR, Role.MODERATOR_LEAD, Role.CLINICIAN, Role.CLINICAL_LEAD]


def _role(conn: Connection, account_id: str) -> Role:
    found = conn.execute(select(account.c.role).where(account.c.id == account_id)).scalar_one_or_none()
    return Role(found or Role.MEMBER)


async def _take(services: Services, calls: Sequence[Row[Any]]) -> set[str] | None:
    """The ids of those calls that this process is to make; None if that could not be found out."""
    if not calls:
        return set()
    ids = [row.id for row in calls]
    try:
        return await services.store.write(
            lambda tx: cases.claim_calls(tx, ids, tx.now + cases.CLAIM_FOR), {inbox_feed(row.about) for row in calls}
        )
    except ServiceError as error:
        log.error("calls_not_taken", error=error.error_code)
        return None


async def _call(services: Services, row: Row[Any], now: datetime) -> bool:
    """Make one call and record what became of it; False if that could not be recorded.

    A call that failed is tried again until its obligation is taken.
    """
    try:
        if row.channel == PAGE_CHANNEL:
            await _ring(services, row)
            return True
        notifier = services.notifiers.get(row.channel)
        delivery = Delivery.FAILED
        if notifier is not None:
            call = Notice(
                id=row.id,
                case=row.case,
                obligation=row.obligation,
                recipient=row.recipient,
                level=row.level,
                rung=row.audience,
                due_at=row.due_at,
                attempt=row.attempts + 1,
                late=now - row.due_at > LATE_AFTER,
            )
            try:
                async with asyncio.timeout(SEND_WITHIN_S):
                    delivery = await notifier.send(call)
            except TimeoutError:
                delivery = Delivery.UNKNOWN
            except Exception as error:
                # What a channel says of its own failure may hold anything: only its kind is kept.
                log.error("channel_failed", notice=row.id, channel=row.channel, error=type(error).__name__)
        killpoints.reach(killpoints.ATTEMPT_TO_RECORD)
        await services.store.write(lambda tx: _record(tx, row, delivery), [inbox_feed(row.about)])
    except ServiceError as error:
        log.error("call_failed", notice=row.id, channel=row.channel, error=error.error_code)
        return False
    return True


async def _ring(services: Services, row: Row[Any]) -> None:
    """The call by page: an event on the recipient's inbox, recorded in the same unit."""
    inbox = inbox_feed(row.recipient)
    if inbox not in await services.store.read(lambda conn: heads(conn, [inbox])):
        # A name on the fallback list that is nobody's account: the rung's other people and channels are called.
        log.critical("nobody_by_that_id", notice=row.id, recipient=row.recipient)
        await services.store.write(lambda tx: _record(tx, row, Delivery.FAILED, final=True), [inbox_feed(row.about)])
        return

    def unit(tx: Tx) -> None:
        if _record(tx, row, Delivery.SENT):
            tell_page(tx, row.id, inbox)

    killpoints.reach(killpoints.ATTEMPT_TO_RECORD)
    await services.store.write(unit, {inbox, inbox_feed(row.about)})


def tell_page(tx: Tx, notice_id: str, inbox: str) -> None:
    """Put a call, as it is now, on its recipient's inbox."""
    item = page_item(tx.conn, notice_id)
    if item is not None:
        head = tx.append(inbox, PAGE, notice_id)
        tx.tell(FeedEvent(inbox, head.epoch, head.seq, item))


def _record(tx: Tx, call: Row[Any], delivery: Delivery, *, final: bool = False) -> bool:
    """Store the outcome of an attempt; False if it was recorded before (the same call was made twice)."""
    state = select(obligation.c.state).where(obligation.c.id == call.obligation)
    running = tx.conn.execute(state.with_for_update(key_share=True)).scalar_one()
    now = select(notice.c.state, notice.c.attempts).where(notice.c.id == call.id)
    row = tx.conn.execute(now.with_for_update()).one()
    if row.state != "pending":
        if row.state == "failed" and delivery is Delivery.SENT and call.channel != PAGE_CHANNEL:
            # A newer call took its place while it was under way: it was made all the same.
            tx.conn.execute(
                update(notice)
                .where(notice.c.id == call.id)
                .values(state="sent", attempts=row.attempts + 1, attempted_at=tx.now)
            )
            cases.add_notice_event(tx, call.id, "sent")
        return False
    values: dict[str, Any] = {"attempts": row.attempts + 1, "attempted_at": tx.now}
    if delivery is Delivery.SENT:
        # Whoever took it before the call was made has answered this call, too.
        values["state"] = "sent" if running == cases.RUNNING else "answered"
    elif final or running != cases.RUNNING:
        values["state"] = delivery.value
    else:
        values["retry_at"] = tx.now + cases.RETRY_AFTER
    tx.conn.execute(update(notice).where(notice.c.id == call.id).values(**values))
    cases.add_notice_event(tx, call.id, "sent" if delivery is Delivery.SENT else "tried")
    if values.get("state") not in (None, "sent"):
        cases.add_notice_event(tx, call.id, values["state"])
    return True
