"""Who is truly on duty, the questions before a shift, and what is handed over as one ends.

The rota says who should be there; a question that was answered says who is (`moderation.duty`). Statements only.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from moderation.cases import CaseState
from moderation.duty import Check, begun
from moderation.rota import Shift
from moderation.rota_cover import Rota
from moderation.types import Role
from server.ids import new_id
from server.store.rota import BACK, RowKind, add_row, rota_of
from server.store.schema import account, duty_call, duty_check, handover, review_case
from server.store.unit import Tx

OFFERED, CALLED, ACCEPTED = "offered", "called", "accepted"
_LOOK_BACK = timedelta(hours=36)


def on_duty_at(conn: Connection, now: datetime) -> tuple[Shift, ...]:
    """The shifts that run and have begun, of active accounts that have the shift's role themselves."""
    shifts, checks = running(conn, now)
    return begun(shifts, checks)


def running(conn: Connection, now: datetime) -> tuple[tuple[Shift, ...], tuple[Check, ...]]:
    """The shifts that hold `now`, whether or not they have begun, and every question about them."""
    rota = rota_of(conn, now - BACK)
    here = {who for who, _ in rota.on(now, now)}
    since = _since(conn, here, now)
    shifts = [shift for shift in rota.shifts_at(now, now, since) if _fits(conn, shift)]
    return tuple(shifts), checks_of(conn, here, since)


def shifts_near(
    conn: Connection, rota: Rota, now: datetime, ahead: timedelta
) -> tuple[tuple[Shift, ...], tuple[Check, ...]]:
    """The shifts that hold `now` or begin within `ahead`, and every question about them."""
    starts = {shift.starts_at for shift in rota.stints(now, now + ahead, now) if shift.starts_at > now}
    # Whole: a window would cut off their ends.
    soon = [shift for at in sorted(starts) for shift in rota.shifts_at(at, now) if shift.starts_at == at]
    shifts, checks = running(conn, now)
    accounts = {shift.account for shift in soon}
    return (
        (*shifts, *(shift for shift in soon if _fits(conn, shift))),
        (*checks, *(one for one in checks_of(conn, accounts, now) if one not in checks)),
    )


def _since(conn: Connection, accounts: Collection[str], now: datetime) -> datetime:
    """From when on the rota is to be looked at, so that a shift that has run for weeks is not taken for a new one."""
    newest = (
        select(func.max(duty_check.c.starts_at).label("at"))
        .where(duty_check.c.account.in_(sorted(accounts)), duty_check.c.starts_at <= now)
        .group_by(duty_check.c.account, duty_check.c.role)
    )
    starts: list[datetime] = list(conn.execute(newest).scalars())
    return min([now - _LOOK_BACK, *starts])


def _fits(conn: Connection, shift: Shift) -> bool:
    query = select(account.c.id).where(
        account.c.id == shift.account, account.c.state == "active", account.c.role == shift.role
    )
    return conn.execute(query).first() is not None


def insert_shift(
    tx: Tx,
    account_id: str,
    role: Role,
    starts_at: datetime,
    ends_at: datetime,
    shift_id: str | None = None,
    by: str = "",
) -> str:
    """Put somebody on the rota for [starts_at, ends_at); returns the row's id, a new one if none is given.

    Whoever puts somebody on duty at once answers for it that they are there: that shift has begun.
    """
    row_id = shift_id or new_id()
    add_row(
        tx,
        RowKind.EXTRA,
        by,
        row_id=row_id,
        account=account_id,
        role=role.value,
        starts_at=starts_at,
        ends_at=ends_at,
    )
    if starts_at <= tx.now < ends_at and _check(tx.conn, account_id, role, tx.now) is None:
        insert_check(tx, Shift(account_id, role, tx.now, ends_at), answered_by=by)
    return row_id


# --- the question before a shift --------------------------------------------------------------------------------------


def _check(conn: Connection, person: str, role: Role, starts_at: datetime) -> Row[Any] | None:
    query = select(duty_check).where(
        duty_check.c.account == person, duty_check.c.role == role.value, duty_check.c.starts_at == starts_at
    )
    return conn.execute(query).one_or_none()


def checks_of(conn: Connection, accounts: Collection[str], since: datetime) -> tuple[Check, ...]:
    """Every question to these people about shifts that begin at `since` or later, and that was not put away."""
    query = select(duty_check).where(
        duty_check.c.account.in_(sorted(accounts)), duty_check.c.starts_at >= since, duty_check.c.over_at.is_(None)
    )
    return tuple(_asked(row) for row in conn.execute(query.order_by(duty_check.c.starts_at)))


def _asked(row: Row[Any]) -> Check:
    return Check(row.account, Role(row.role), row.starts_at, row.answered_at, row.told_at)


def unanswered(conn: Connection) -> list[tuple[str, Check]]:
    """(id, question) of everything that waits for an answer."""
    query = select(duty_check).where(duty_check.c.answered_at.is_(None), duty_check.c.over_at.is_(None))
    return [(row.id, _asked(row)) for row in conn.execute(query)]


def put_away(tx: Tx, check: str) -> bool:
    """Ask no more; False if it was answered meanwhile."""
    here = (duty_check.c.id == check) & duty_check.c.answered_at.is_(None)
    return tx.conn.execute(update(duty_check).where(here).values(over_at=tx.now)).rowcount == 1


def insert_check(tx: Tx, shift: Shift, *, channels: Collection[str] = (), answered_by: str | None = None) -> str | None:
    """Ask the shift's person by these channels, or note that somebody answers for them; None if they were asked.

    A question that was put away is asked anew: its shift is there again.
    """
    known = _check(tx.conn, shift.account, shift.role, shift.starts_at)
    if known is not None and known.over_at is None:
        return None
    if known is not None:
        again: dict[str, Any] = {"over_at": None, "told_at": None, "asked_at": tx.now, "ends_at": shift.ends_at}
        tx.conn.execute(update(duty_check).where(duty_check.c.id == known.id).values(**again))
        tx.conn.execute(update(duty_call).where(duty_call.c.check == known.id).values(retry_at=tx.now))
        return str(known.id)
    check = new_id()
    answered = {} if answered_by is None else {"answered_at": tx.now, "answered_by": answered_by}
    tx.conn.execute(
        insert(duty_check).values(
            id=check,
            account=shift.account,
            role=shift.role.value,
            starts_at=shift.starts_at,
            ends_at=shift.ends_at,
            asked_at=tx.now,
            **answered,
        )
    )
    for channel in channels:
        tx.conn.execute(
            insert(duty_call).values(check=check, channel=channel, state="pending", attempts=0, retry_at=tx.now)
        )
    return check


def check_by_id(conn: Connection, check: str, *, lock: bool = False) -> Row[Any] | None:
    query = select(duty_check).where(duty_check.c.id == check)
    return conn.execute(query.with_for_update() if lock else query).one_or_none()


def open_checks(conn: Connection, person: str) -> Sequence[Row[Any]]:
    """What this person has been asked and not answered, of shifts that are still to be."""
    query = select(duty_check).where(
        duty_check.c.account == person, duty_check.c.answered_at.is_(None), duty_check.c.over_at.is_(None)
    )
    return conn.execute(query.order_by(duty_check.c.starts_at)).all()


def answer_check(tx: Tx, check: str, by: str) -> None:
    tx.conn.execute(update(duty_check).where(duty_check.c.id == check).values(answered_at=tx.now, answered_by=by))


def mark_told(tx: Tx, check: Check) -> bool:
    """Note that somebody else was told; False if it was noted, or answered, before."""
    done = tx.conn.execute(
        update(duty_check)
        .where(
            duty_check.c.account == check.account,
            duty_check.c.role == check.role.value,
            duty_check.c.starts_at == check.starts_at,
            duty_check.c.answered_at.is_(None),
            duty_check.c.told_at.is_(None),
        )
        .values(told_at=tx.now)
    )
    return done.rowcount == 1


def calls_due(conn: Connection, now: datetime, longest: timedelta) -> Sequence[Row[Any]]:
    """The calls that put a question and are to be made now, with whom they ask; none of what is answered or over.

    One that waits longer than `longest` was put off by a clock that has been set back.
    """
    due = (duty_call.c.retry_at <= now) | (duty_call.c.retry_at > now + longest)
    query = (
        select(duty_call, duty_check.c.account, duty_check.c.role, duty_check.c.starts_at)
        .join(duty_check, duty_check.c.id == duty_call.c.check)
        .where(duty_check.c.answered_at.is_(None), duty_check.c.over_at.is_(None), due)
    )
    return conn.execute(query.order_by(duty_call.c.retry_at)).all()


def record_call(tx: Tx, check: str, channel: str, state: str, retry_at: datetime) -> None:
    here = (duty_call.c.check == check) & (duty_call.c.channel == channel)
    tx.conn.execute(
        update(duty_call)
        .where(here)
        .values(state=state, attempts=duty_call.c.attempts + 1, attempted_at=tx.now, retry_at=retry_at)
    )


# --- hand-over --------------------------------------------------------------------------------------------------------


def held_by(conn: Connection, person: str) -> Sequence[Row[Any]]:
    """The open cases that somebody holds, with their subject, whoever that is."""
    query = (
        select(review_case, account.c.role.label("subject_role"))
        .outerjoin(account, account.c.id == review_case.c.subject)
        .where(review_case.c.claimed_by == person, review_case.c.state != CaseState.CLOSED)
    )
    return conn.execute(query.order_by(review_case.c.level.desc(), review_case.c.opened_at)).all()


def holders(conn: Connection) -> list[str]:
    """Everybody who holds an open case."""
    query = select(review_case.c.claimed_by).where(
        review_case.c.claimed_by.is_not(None), review_case.c.state != CaseState.CLOSED
    )
    return sorted(set(conn.execute(query).scalars()))


def offer(tx: Tx, case: str, shift: Shift) -> str | None:
    """Offer what the leaver holds to others; None if that was done already."""
    known = select(handover.c.id).where(
        handover.c.case == case, handover.c.leaver == shift.account, handover.c.ends_at == shift.ends_at
    )
    if tx.conn.execute(known).first() is not None:
        return None
    id_ = new_id()
    tx.conn.execute(
        insert(handover).values(
            id=id_,
            case=case,
            leaver=shift.account,
            role=shift.role.value,
            ends_at=shift.ends_at,
            offered_at=tx.now,
            state=OFFERED,
        )
    )
    return id_


def handover_by_id(conn: Connection, id_: str, *, lock: bool = False) -> Row[Any] | None:
    query = select(handover).where(handover.c.id == id_)
    return conn.execute(query.with_for_update() if lock else query).one_or_none()


def open_handovers(conn: Connection) -> Sequence[Row[Any]]:
    """What nobody has accepted yet, with whose case it is, on which side, and who holds or closed it."""
    query = (
        select(
            handover,
            review_case.c.subject,
            review_case.c.side,
            review_case.c.claimed_by,
            review_case.c.claimed_at,
            review_case.c.state.label("case_state"),
            review_case.c.closed_by,
            account.c.role.label("subject_role"),
        )
        .join(review_case, review_case.c.id == handover.c.case)
        .outerjoin(account, account.c.id == review_case.c.subject)
        .where(handover.c.state != ACCEPTED)
    )
    return conn.execute(query.order_by(handover.c.offered_at)).all()


def change_handover(tx: Tx, id_: str, **values: Any) -> None:
    tx.conn.execute(update(handover).where(handover.c.id == id_).values(**values))
