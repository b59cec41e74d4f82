"""What a workload forecast rests on: how many texts of which levels each hour had, and how far ladders climbed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, delete, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from moderation.ladders import Audience, Side
from moderation.types import Level
from moderation.workload import Climbed, HourCount
from server.store.cases import RUNNING
from server.store.schema import notice, obligation, word_hour
from server.store.unit import Tx

# (hour, side, level now, level then) to how many texts.
Hours = Mapping[tuple[datetime, Side, Level, Level], int]


def add_hours(tx: Tx, trial: str, hours: Hours) -> None:
    """Count more texts of a trial."""
    make = sqlite.insert if tx.conn.dialect.name == "sqlite" else postgresql.insert
    rows = [
        {"trial": trial, "hour": hour, "side": side, "before": int(before), "after": int(after), "texts": texts}
        for (hour, side, before, after), texts in hours.items()
    ]
    if rows:
        new = make(word_hour)
        key = ["trial", "hour", "side", "before", "after"]
        added = {"texts": word_hour.c.texts + new.excluded.texts}
        tx.conn.execute(new.on_conflict_do_update(index_elements=key, set_=added), rows)


def forget_hours(tx: Tx, trial: str) -> None:
    """A trial begins anew: what an earlier start of it counted is no more."""
    tx.conn.execute(delete(word_hour).where(word_hour.c.trial == trial))


def hours_of(conn: Connection, trial: str) -> list[HourCount]:
    """Every hour that a trial has counted."""
    rows = conn.execute(select(word_hour).where(word_hour.c.trial == trial))
    return [HourCount(row.hour, Side(row.side), Level(row.before), Level(row.after), row.texts) for row in rows]


def climbed(conn: Connection, since: datetime, audiences: Sequence[Audience]) -> list[Climbed]:
    """How many ladders that began since then called each of these audiences, by side and level.

    One that runs and has not called them may do so yet: it counts for neither.
    """
    found: list[Climbed] = []
    for audience in audiences:
        calls = (
            select(notice.c.obligation, notice.c.level)
            .where(notice.c.audience == audience)
            .group_by(notice.c.obligation, notice.c.level)
            .subquery()
        )
        mine = and_(calls.c.obligation == obligation.c.id, calls.c.level == obligation.c.level)
        query = (
            select(obligation.c.side, obligation.c.level, func.count(), func.count(calls.c.obligation))
            .outerjoin(calls, mine)
            .where(
                obligation.c.opened_at >= since,
                or_(obligation.c.state != RUNNING, calls.c.obligation.is_not(None)),
            )
            .group_by(obligation.c.side, obligation.c.level)
        )
        found += [
            Climbed(Side(side), Level(level), audience, ladders, called)
            for side, level, ladders, called in conn.execute(query)
        ]
    return found
