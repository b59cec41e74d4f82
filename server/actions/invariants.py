"""What must hold at every moment, looked at when the service starts and every minute: nothing waits for nobody.

Every open case has a timer that falls due, and every held message is in an open case. What is found otherwise is
reported as loudly as the log can, and is made due now: the people on duty look first, the engineers afterwards.
"""

from __future__ import annotations

from typing import Any

import structlog
from sqlalchemy import Row

from moderation.ladders import Side
from moderation.types import Category, Level, Role, Verdict
from server.actions.raising import Concern, case_feeds, concern_level, raise_case
from server.actions.services import Services
from server.ids import inbox_feed
from server.protocol.frames import Care
from server.rooms import care_for, side_of
from server.store import cases, rooms
from server.store.unit import Tx

log = structlog.get_logger()


async def check_obligations(services: Services) -> int:
    """Make due now what nobody would ever have looked at. Returns how many cases and messages that was."""
    orphans = await services.store.read(cases.cases_without_obligation)
    for orphan in orphans:
        log.critical("case_without_obligation", case=orphan.id)

        def arm(tx: Tx, case: str = orphan.id) -> None:
            row = cases.case_by_id(tx.conn, case, lock=True)
            if row is None:
                return
            duty = cases.obligation_of(tx.conn, case, lock=True)
            if duty is None:
                cases.insert_obligation(tx, case, Side(row.side), row.level, tx.now)
            elif duty.due_at is None:
                cases.update_obligation(tx, duty, due_at=tx.now)
            else:
                return
            cases.add_history(tx, case, "rearmed")

        await services.store.write(arm, [inbox_feed(orphan.subject)])
    held = await services.store.read(cases.held_without_case)
    for row in held:
        log.critical("held_without_case", message=row.id)
        await _raise_held(services, row)
    if orphans or held:
        services.wake_ladders()
    return len(orphans) + len(held)


async def _raise_held(services: Services, row: Row[Any]) -> None:
    """Open a case for a held message, or put it into its author's, and make that due now."""
    room = await services.store.read(lambda conn: rooms.room_by_id(conn, row.feed.partition(":")[2]))
    # A room that is gone tells nothing of the side of the wall: then nobody but clinicians looks.
    side = side_of(room.kind) if room is not None else Side.CARE
    role = Role(row.role or Role.MEMBER)
    level: Level = Level.HIGH_NEED
    categories: tuple[Category, ...] = ()
    care: Care = "none"
    try:
        verdict = Verdict.from_json(row.verdict)
        level, categories, care = max(concern_level(verdict), Level.GREY), verdict.categories, care_for(verdict)
    except ValueError:
        log.error("verdict_unreadable", message=row.id)
    concern = Concern(
        subject=row.author,
        subject_role=role,
        side=side,
        origin="message",
        level=level,
        categories=categories,
        feed=row.feed,
        message=row.id,
        care=care if role is Role.MEMBER else "none",
        pressing=True,
    )

    def unit(tx: Tx) -> None:
        if row.id not in {found.id for found in cases.held_without_case(tx.conn)}:
            return
        case = raise_case(tx, services, concern)
        duty = cases.obligation_of(tx.conn, case, lock=True)
        if duty is not None and duty.state == cases.RUNNING:
            cases.update_obligation(tx, duty, due_at=tx.now)

    await services.store.write(unit, case_feeds(row.author, role, side))
