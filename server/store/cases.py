"""Cases, obligations and notices in the store.

A case, its obligation and its notices are changed only by units that name its subject's inbox: that feed is their lock.
So one person has at most one open case on a side of the wall, two moderators never both act, and two processes never
wait for each other in a circle (decision 0002). Where a row is locked besides, it is in the order case, obligation,
notice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, case, func, insert, or_, select, update

from moderation.cases import CaseState
from moderation.ladders import Side, Waits
from moderation.types import Level
from server.ids import new_id
from server.rooms import MessageState
from server.store.schema import (
    account,
    case_history,
    case_message,
    finding,
    message,
    notice,
    notice_event,
    obligation,
    review_case,
)
from server.store.unit import Tx

RUNNING, ACKNOWLEDGED, MET = "running", "acknowledged", "met"
# How a message came into a case, besides by what it says: somebody reported it, or staff acted on it.
REPORT, ACT = "report", "act"
# The second stage found it, after it was stored.
SECOND = "second"
# By what its author wrote.
OWN_WORDS = ("message", "edit", SECOND)
# Somebody read it blind, and the filter had found nothing in it, or less.
REVIEW = "review"
# These are no event of the message's room, and what readers of the room hold must not tell of them.
ASIDE = (REPORT, SECOND, REVIEW)
# What failed is tried again after so long, what was taken and never recorded after somewhat more than a call may last.
RETRY_AFTER, CLAIM_FOR = timedelta(seconds=5), timedelta(seconds=12)


def _open_of(subject: str, side: Side) -> Select[Any]:
    return select(review_case).where(
        review_case.c.subject == subject, review_case.c.side == side, review_case.c.state != CaseState.CLOSED
    )


def open_case_of(conn: Connection, subject: str, side: Side) -> Row[Any] | None:
    """The case about this person on this side that nobody has closed, or None."""
    return conn.execute(_open_of(subject, side).with_for_update()).first()


def current_case_of(conn: Connection, subject: str, side: Side) -> Row[Any] | None:
    """The case about this person on this side that nobody has closed, for reading only."""
    return conn.execute(_open_of(subject, side)).first()


def open_cases_about_staff(conn: Connection) -> Sequence[Row[Any]]:
    """Open cases whose subject is staff, oldest first: for the clinical lead alone."""
    query = (
        select(review_case)
        .join(account, account.c.id == review_case.c.subject)
        .where(account.c.role != "member", review_case.c.state != CaseState.CLOSED)
    )
    return conn.execute(query.order_by(review_case.c.raised_at)).all()


def case_by_id(conn: Connection, case: str, *, lock: bool = False) -> Row[Any] | None:
    query = select(review_case).where(review_case.c.id == case)
    return conn.execute(query.with_for_update() if lock else query).one_or_none()


def open_cases(conn: Connection, sides: Collection[Side], *, clinical_only: bool) -> Sequence[Row[Any]]:
    """Cases about members that nobody has closed on these sides, the most urgent and oldest first."""
    query = (
        select(review_case)
        .join(account, account.c.id == review_case.c.subject)
        .where(
            account.c.role == "member",
            review_case.c.side.in_(list(sides)),
            review_case.c.state != CaseState.CLOSED,
        )
    )
    if clinical_only:
        query = query.where(review_case.c.clinical == 1)
    return conn.execute(query.order_by(review_case.c.level.desc(), review_case.c.raised_at)).all()


def open_cases_in(conn: Connection, side: Side, feeds: Collection[str]) -> Sequence[Row[Any]]:
    """Open cases about members that were last raised in one of these rooms, the most urgent and oldest first."""
    return [row for row in open_cases(conn, [side], clinical_only=False) if row.feed in feeds]


def insert_case(tx: Tx, **values: Any) -> str:
    """Open a case at version 1 and return its id."""
    case = new_id()
    tx.conn.execute(
        insert(review_case).values(
            id=case, state=CaseState.OPEN, version=1, clinical=0, opened_at=tx.now, raised_at=tx.now, **values
        )
    )
    return case


def update_case(tx: Tx, row: Row[Any], *, same_version: bool = False, **values: Any) -> int:
    """Change a case that this unit has read under its lock, and return its version.

    `same_version`: what changes is nothing that an act could contradict (somebody looked, a rung was called).
    """
    version = int(row.version) + (0 if same_version else 1)
    tx.conn.execute(update(review_case).where(review_case.c.id == row.id).values(version=version, **values))
    return version


def holds_message(conn: Connection, case: str, message: str) -> bool:
    """Whether a message belongs to a case."""
    here = select(case_message.c.level).where(case_message.c.case == case, case_message.c.message == message)
    return conn.execute(here).first() is not None


def message_levels(conn: Connection, case: str) -> dict[str, int]:
    """The level at which each message of a case came into it, by message."""
    rows = conn.execute(select(case_message.c.message, case_message.c.level).where(case_message.c.case == case))
    return {row.message: row.level for row in rows}


def entries_in(conn: Connection, case: str) -> list[str]:
    """The list entries that found something in a case's messages, in any version of them."""
    query = (
        select(finding.c.entry_id)
        .join(case_message, case_message.c.message == finding.c.message)
        .where(case_message.c.case == case, finding.c.entry_id != "")
    )
    return list(conn.execute(query.distinct().order_by(finding.c.entry_id)).scalars())


def add_message(tx: Tx, case: str, message: str, level: int, origin: str) -> bool:
    """Note that a message belongs to a case; False if it did already. What was only reported is then more than that."""
    if holds_message(tx.conn, case, message):
        if origin not in (REPORT, SECOND):
            here = (case_message.c.case == case) & (case_message.c.message == message)
            tx.conn.execute(update(case_message).where(here).values(origin=origin))
        return False
    tx.conn.execute(insert(case_message).values(case=case, message=message, level=level, origin=origin, at=tx.now))
    return True


def add_history(
    tx: Tx,
    case: str,
    act: str,
    actor: str | None = None,
    detail: str = "",
    message: str | None = None,
    **brought: Any,
) -> None:
    """Append a line to a case's history, about `message` where there is one.

    `brought`: level, categories and feed of what opened or raised it, so that it can be shown as it was (`replay`).
    """
    n = tx.conn.execute(select(func.max(case_history.c.n)).where(case_history.c.case == case)).scalar_one()
    tx.conn.execute(
        insert(case_history).values(
            case=case,
            n=(n or 0) + 1,
            at=tx.now,
            actor=actor,
            act=act,
            detail=detail,
            message=message,
            **brought,
        )
    )


def history(conn: Connection, case: str) -> Sequence[Row[Any]]:
    """A case's history in order, with the actor's name and role where a person acted."""
    query = (
        select(case_history, account.c.name, account.c.role)
        .outerjoin(account, account.c.id == case_history.c.actor)
        .where(case_history.c.case == case)
        .order_by(case_history.c.n)
    )
    return conn.execute(query).all()


def obligation_of(conn: Connection, case: str, *, lock: bool = False) -> Row[Any] | None:
    """The obligation of a case that is not met, or None."""
    query = select(obligation).where(obligation.c.case == case, obligation.c.state != MET)
    return conn.execute(query.with_for_update() if lock else query).first()


def notice_by_id(conn: Connection, notice_id: str) -> Row[Any] | None:
    """A notice with the state and owner of the obligation that it is about, or None."""
    query = (
        select(
            notice,
            obligation.c.state.label("obligation_state"),
            obligation.c.acknowledged_by,
        )
        .join(obligation, obligation.c.id == notice.c.obligation)
        .where(notice.c.id == notice_id)
    )
    return conn.execute(query).one_or_none()


def ringing(conn: Connection, recipient: str, channel: str) -> list[str]:
    """Ids of the calls to somebody that nobody has answered since they were made, oldest first."""
    query = (
        select(notice.c.id)
        .join(obligation, obligation.c.id == notice.c.obligation)
        .where(
            notice.c.recipient == recipient,
            notice.c.channel == channel,
            notice.c.state == "sent",
            obligation.c.state == RUNNING,
        )
        .order_by(notice.c.due_at)
    )
    return list(conn.execute(query).scalars())


def answer_calls(tx: Tx, obligation_id: str) -> None:
    """A named person has taken it: what was made to ring for it rings no more, whatever the ladder does next."""
    made = (notice.c.obligation == obligation_id) & (notice.c.state == "sent")
    for call in list(tx.conn.execute(select(notice.c.id).where(made).order_by(notice.c.id)).scalars()):
        add_notice_event(tx, call, "answered")
    tx.conn.execute(update(notice).where(made).values(state="answered"))


def add_notice_event(tx: Tx, notice_id: str, what: str) -> None:
    """Append what became of a call."""
    n = tx.conn.execute(select(func.max(notice_event.c.n)).where(notice_event.c.notice == notice_id)).scalar_one()
    tx.conn.execute(insert(notice_event).values(notice=notice_id, n=(n or 0) + 1, at=tx.now, what=what))


def calls_of(conn: Connection, obligation_id: str, channel: str) -> list[tuple[str, str]]:
    """(id, recipient) of every call that was made for an obligation by a channel."""
    query = select(notice.c.id, notice.c.recipient).where(
        notice.c.obligation == obligation_id, notice.c.channel == channel, notice.c.state == "sent"
    )
    return [(row.id, row.recipient) for row in conn.execute(query)]


def insert_obligation(tx: Tx, case: str, side: Side, level: int, due_at: datetime) -> str:
    """Start the timer of a case."""
    id_ = new_id()
    tx.conn.execute(
        insert(obligation).values(
            id=id_,
            case=case,
            side=side,
            level=level,
            state=RUNNING,
            opened_at=tx.now,
            next_rung=0,
            due_at=due_at,
            version=1,
        )
    )
    return id_


def update_obligation(tx: Tx, row: Row[Any], **values: Any) -> None:
    """Change an obligation that this unit has read under its lock."""
    tx.conn.execute(update(obligation).where(obligation.c.id == row.id).values(version=int(row.version) + 1, **values))


def is_due(row: Row[Any], now: datetime, waits: Mapping[Level, Waits]) -> bool:
    """Whether an obligation's time has come, or lies further ahead than any wait: then the clock has been set back."""
    most = waits[Level(row.level)]
    longest = most.for_owner if row.state == ACKNOWLEDGED else most.for_call
    return row.due_at is not None and not now < row.due_at <= now + longest


def due_obligations(conn: Connection, now: datetime, limit: int, waits: Mapping[Level, Waits]) -> Sequence[Row[Any]]:
    """Obligations that are due (`is_due`), the oldest first, running or with an acknowledgement that ran out."""
    too_far = [
        (obligation.c.state == state) & (obligation.c.level == int(level)) & (obligation.c.due_at > now + longest)
        for level, most in waits.items()
        for state, longest in ((RUNNING, most.for_call), (ACKNOWLEDGED, most.for_owner))
    ]
    query = (
        select(obligation)
        .where(obligation.c.state.in_([RUNNING, ACKNOWLEDGED]), or_(obligation.c.due_at <= now, *too_far))
        .order_by(obligation.c.due_at)
        .limit(limit)
    )
    return conn.execute(query).all()


def next_due(conn: Connection, under_way: Collection[str] = ()) -> datetime | None:
    """When the next obligation or notice falls due, but for the notices `under_way`; None if none ever will."""
    first = longest_due(conn)
    waiting = select(func.min(notice.c.retry_at)).where(
        notice.c.state == "pending", notice.c.id.not_in(list(under_way))
    )
    pending = conn.execute(waiting).scalar_one()
    return min((moment for moment in (first, pending) if moment is not None), default=None)


def longest_due(conn: Connection) -> datetime | None:
    """The earliest due time of any duty that is not met, whoever has it; None if there is none."""
    due: datetime | None = conn.execute(
        select(func.min(obligation.c.due_at)).where(obligation.c.state.in_([RUNNING, ACKNOWLEDGED]))
    ).scalar_one()
    return due


def cases_without_obligation(conn: Connection) -> Sequence[Row[Any]]:
    """(id, subject) of open cases without a timer that falls due. There must never be one."""
    covered = select(obligation.c.case).where(
        obligation.c.state.in_([RUNNING, ACKNOWLEDGED]), obligation.c.due_at.is_not(None)
    )
    query: Select[Any] = select(review_case.c.id, review_case.c.subject).where(
        review_case.c.state != CaseState.CLOSED, review_case.c.id.not_in(covered)
    )
    return conn.execute(query).all()


def held_without_case(conn: Connection) -> Sequence[Row[Any]]:
    """Held messages that no open case holds, with their author's role. There must never be one."""
    decided = (
        select(case_message.c.message)
        .join(review_case, review_case.c.id == case_message.c.case)
        .where(case_message.c.message == message.c.id, review_case.c.state != CaseState.CLOSED)
    )
    query: Select[Any] = (
        select(message.c.id, message.c.feed, message.c.author, message.c.verdict, account.c.role)
        .outerjoin(account, account.c.id == message.c.author)
        .where(message.c.state == MessageState.HELD, ~decided.exists())
    )
    return conn.execute(query).all()


def insert_notice(tx: Tx, **values: Any) -> str | None:
    """Plan one call; None if this person is called by this channel for this rung already."""
    known = tx.conn.execute(
        select(notice.c.id).where(
            notice.c.obligation == values["obligation"],
            notice.c.cycle == values["cycle"],
            notice.c.rung == values["rung"],
            notice.c.recipient == values["recipient"],
            notice.c.channel == values["channel"],
        )
    ).scalar_one_or_none()
    if known is not None:
        return None
    # The newer call takes the place of an older one to the same person that never got through.
    older = (
        (notice.c.obligation == values["obligation"])
        & (notice.c.recipient == values["recipient"])
        & (notice.c.channel == values["channel"])
        & (notice.c.cycle < values["cycle"])
        & (notice.c.state == "pending")
    )
    for call in list(tx.conn.execute(select(notice.c.id).where(older).order_by(notice.c.id)).scalars()):
        add_notice_event(tx, call, "failed")
    tx.conn.execute(update(notice).where(older).values(state="failed"))
    id_ = new_id()
    tx.conn.execute(insert(notice).values(id=id_, state="pending", attempts=0, retry_at=values["due_at"], **values))
    add_notice_event(tx, id_, "planned")
    return id_


def _is_to_be_tried(now: datetime) -> ColumnElement[bool]:
    """Whether a call's time has come, or lies further ahead than any: then it is of before the clock was set back."""
    return or_(notice.c.retry_at <= now, notice.c.retry_at > now + CLAIM_FOR)


def pending_notices(
    conn: Connection, now: datetime, limit: int, first: str, under_way: Collection[str] = ()
) -> Sequence[Row[Any]]:
    """Calls to be made now that are not `under_way`: never made, failed, or made and never recorded.

    Each with the state of its obligation and whom its case is `about`. Those by the channel `first` come
    before all others, then the oldest.
    """
    query = (
        select(notice, obligation.c.state.label("obligation_state"), review_case.c.subject.label("about"))
        .join(obligation, obligation.c.id == notice.c.obligation)
        .join(review_case, review_case.c.id == notice.c.case)
        .where(notice.c.state == "pending", _is_to_be_tried(now), notice.c.id.not_in(list(under_way)))
        .order_by(case((notice.c.channel == first, 0), else_=1), notice.c.due_at)
        .limit(limit)
    )
    return conn.execute(query).all()


def claim_calls(tx: Tx, notices: Collection[str], until: datetime) -> set[str]:
    """Take those of these calls that are still to be made, so that of several processes only one makes each.

    A lease: if whoever took a call dies, it is due again at `until`. A row that is locked is being taken or recorded
    elsewhere this very moment, so it is passed over. SQLite has one process: a lease would only keep the next one,
    after a crash, from calling at once.
    """
    if tx.conn.dialect.name == "sqlite":
        return set(notices)
    free = (
        select(notice.c.id)
        .where(notice.c.id.in_(sorted(notices)), notice.c.state == "pending", _is_to_be_tried(tx.now))
        .order_by(notice.c.id)
        .with_for_update(skip_locked=True)
    )
    taken = set(tx.conn.execute(free).scalars())
    tx.conn.execute(update(notice).where(notice.c.id.in_(sorted(taken))).values(retry_at=until))
    return taken


def people_of_role(conn: Connection, roles: Collection[str]) -> list[str]:
    """Active accounts with one of `roles`."""
    rows = conn.execute(
        select(account.c.id).where(account.c.role.in_(list(roles)), account.c.state == "active").order_by(account.c.id)
    )
    return list(rows.scalars())
