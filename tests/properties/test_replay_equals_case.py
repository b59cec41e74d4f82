"""Law of the replay: everything that happened to a case, folded, is what the live page says of it now."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select

from moderation.replay import Happened, State, fold, instants
from moderation.types import RoomKind
from server.actions.case_page import case_page, may_see
from server.clock import from_us, to_ms
from server.protocol.frames import CasePage, Held, MessageItem, Shown
from server.store.replaying import events_of
from server.store.schema import case_message, message, notice, obligation, review_case
from tests.properties.test_state_equals_events import DOINGS, KINDS, RUNG, WHOLE, WRITTEN, Play, Step, played


def rows_of(conn: Connection, case: Any, state: State) -> None:
    """The fold says what the rows of the case, its duty, its messages and its calls say."""
    now = state.case
    assert now is not None
    for name in ("state", "origin", "level", "categories", "feed", "messages", "opened_at", "raised_at"):
        assert getattr(now, name) == getattr(case, name), name
    for name, column in (("owner", "claimed_by"), ("owned_since", "claimed_at")):
        assert getattr(now, name) == getattr(case, column), name
    for name in ("outcome", "closed_by", "closed_at"):
        assert getattr(now, name) == getattr(case, name), name
    duties = conn.execute(select(obligation).where(obligation.c.case == case.id).order_by(obligation.c.id)).all()
    assert state.duty is not None
    assert (state.duty.state, state.duty.level) == (duties[-1].state, duties[-1].level)
    if duties[-1].state == "acknowledged":
        assert (state.duty.by, state.duty.since) == (duties[-1].acknowledged_by, duties[-1].acknowledged_at)
    held = conn.execute(
        select(message, case_message.c.level.label("brought"))
        .join(case_message, case_message.c.message == message.c.id)
        .where(case_message.c.case == case.id)
    ).all()
    assert {m.message: (m.state, m.version, m.brought, m.author) for m in state.messages.values()} == {
        row.id: (row.state, row.version, row.brought, row.author) for row in held
    }
    calls = conn.execute(select(notice).where(notice.c.case == case.id)).all()
    assert {c.call: (c.state, c.attempts, c.recipient, c.channel, c.audience) for c in state.calls.values()} == {
        row.id: (row.state, row.attempts, row.recipient, row.channel, row.audience) for row in calls
    }


def page_of(page: CasePage, state: State) -> None:
    """The fold says what the live page says."""
    assert state.case is not None
    item = page.case
    assert (item.state, item.level, "".join(item.categories)) == (
        state.case.state,
        state.case.level,
        state.case.categories,
    )
    assert (item.owner.id if item.owner else None) == state.case.owner
    assert (item.opened_at, item.raised_at) == (to_ms(state.case.opened_at), to_ms(state.case.raised_at))
    assert [(f.at, f.what, f.by.id if f.by else None, f.detail) for f in page.history] == [
        (to_ms(line.at), line.act, line.actor, line.detail) for line in state.history
    ]
    first = next((line for line in state.history if line.act == "looked"), None)
    assert (page.first_read is None) == (first is None)
    assert len(page.report.splitlines()) >= len({told.reason for told in state.told})
    for placed in page.items:
        view = placed.item.view if isinstance(placed.item, MessageItem) else None
        if not isinstance(view, Shown | Held) or view.id not in state.messages:
            continue
        known = state.messages[view.id]
        assert known.screened is not None
        shown = [(f.level, f.start, f.end, f.reason) for f in view.attention.findings] if view.attention else []
        told = [(f.level, f.start, f.end, f.reason) for f in (*known.added, *known.screened.findings)]
        assert shown == (told if view.attention else []), view.id


Known = dict[str, tuple[datetime, State]]


async def hold(course: Play) -> Known:
    """The law, for every case that there is now; returns what each was, and when."""
    services = course.scene.services

    def look(conn: Connection) -> Known:
        known: Known = {}
        now = from_us(services.store.db_now(conn))
        for case in conn.execute(select(review_case)).all():
            state = fold(events_of(conn, case))
            rows_of(conn, case, state)
            may = [who for who in course.staff.values() if may_see(conn, who, case)]
            for who in may[:1]:
                page_of(case_page(conn, services.store.keys, who, case, "x"), state)
            known[case.id] = now, state
        return known

    return await services.store.read(look)


async def then(course: Play, before: Sequence[Known]) -> None:
    """What each case was at every step before is what it is said to have been, now that more has happened."""

    def look(conn: Connection) -> None:
        events = {case.id: events_of(conn, case) for case in conn.execute(select(review_case)).all()}
        for known in before:
            for case, (at, state) in known.items():
                assert facts(fold(events[case], at)) == facts(state), (case, at)
        for found in events.values():
            assert facts(fold(found, instants(found)[-1])) == facts(fold(found))

    await course.scene.services.store.read(look)


def facts(state: State) -> tuple[object, ...]:
    """All but the private messages: those of a case that is closed end with it."""
    return state.case, state.duty, state.messages, state.calls, state.history, state.told


async def replay(program: Sequence[Step], kind: RoomKind) -> int:
    """Play a program and hold the law after each step; returns how many cases there were."""
    before: list[Known] = []
    async with played([], kind) as course:
        for step in program:
            await course.do(step)
            before.append(await hold(course))
        await then(course, before)
    return len(before[-1]) if before else 0


@pytest.mark.timeout(120)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(DOINGS), st.integers(0, 7)), max_size=14), st.sampled_from(KINDS))
@example([*RUNG[:-1]], RoomKind.COMMUNITY)
@example([*WHOLE[:9]], RoomKind.COMMUNITY)
def test_what_happened_folded_is_what_the_page_says(program: list[Step], kind: RoomKind) -> None:
    """Law: after each step of every program, what happened to each case, folded, equals the live page and its rows.

    And at the end, what happened up to the instant of each step still makes what the page said then.
    """
    asyncio.run(replay(program, kind))


@pytest.mark.timeout(120)
def test_the_written_programs_are_replayed() -> None:
    """The programs in which every act is carried out keep the law, and each has a case."""
    for program, kind in WRITTEN:
        assert asyncio.run(replay(program, kind)) > 0


def test_an_instant_knows_nothing_of_what_came_later() -> None:
    """Before the first event there is no case; the fold at an instant is that of the events up to it."""
    start = datetime(2026, 11, 24, 3, tzinfo=UTC)
    lines = [
        Happened(start, 1, "open", detail="message", level=3, categories="S"),
        Happened(start + timedelta(seconds=30), 2, "claim", actor="SAM"),
        Happened(start + timedelta(seconds=90), 3, "close", actor="SAM", detail="supported"),
    ]
    assert fold(lines, start - timedelta(seconds=1)).case is None
    known = fold(lines, start + timedelta(seconds=60))
    assert known == fold(lines[:2], start + timedelta(seconds=60))
    assert known.case is not None
    assert (known.case.state, known.case.owner, known.case.closed_by) == ("claimed", "SAM", None)
