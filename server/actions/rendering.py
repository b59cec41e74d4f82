"""From rows to what each reader sees: the items of messages, cases, handling, pages and rooms.

Everything is rendered as it may be seen now, whatever the log row once said; a replay of an event therefore never shows
a body that was removed, edited away or is held.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, select

from moderation.ladders import Audience
from server.clock import to_ms
from server.feeds import FeedEvent
from server.protocol.frames import (
    AccessItem,
    AnyItem,
    CaseItem,
    Change,
    HandlingItem,
    HandlingState,
    MessageItem,
    PageItem,
    Person,
    RoomItem,
    Unreadable,
)
from server.rooms import MessageRecord, Room, RoomState, views
from server.store import cases, duty, messages, rooms
from server.store.keys import Keyring
from server.store.log import Entry
from server.store.schema import account, room

# The rung of a call that asks before a shift whether somebody can be reached.
REACHABILITY = "reachability"
CASE, HANDLING, PAGE, ROOM, ACCESS = "case", "handling", "page", "room", "access"
PAGE_CHANNEL = "page"
LATE_US = 15_000_000

_CHANGES: dict[str, Change] = {
    "message.new": "new",
    "message.edit": "edit",
    "message.release": "release",
    "message.hold": "hold",
    "message.remove": "remove",
}


def message_kind(change: Change) -> str:
    """The log's name for a change of a message."""
    return f"message.{change}"


def message_event(record: MessageRecord, change: Change, epoch: int, seq: int) -> FeedEvent:
    """The event that puts `record`, as it is now, at its place."""
    seen = views(record)
    of = record.seq

    def item(view: Any) -> MessageItem:
        return MessageItem(of=of, change=change, view=view)

    return FeedEvent(
        feed=record.feed,
        epoch=epoch,
        seq=seq,
        member=item(seen.member),
        staff=None if seen.staff is seen.member else item(seen.staff),
        author=record.author.id,
        for_author=None if seen.author is None else item(seen.author),
    )


def person(conn: Connection, account_id: str) -> Person:
    """Somebody as others see them; an account that is gone keeps its id and no name."""
    row = conn.execute(select(account.c.name, account.c.role).where(account.c.id == account_id)).one_or_none()
    return Person(account_id, "", "member") if row is None else Person(account_id, row.name, row.role)


def room_item(found: Room) -> RoomItem:
    return RoomItem(
        id=found.id,
        name=found.name,
        room_kind=found.kind,
        open=found.state is RoomState.OPEN,
        purpose=found.purpose,
    )


def case_item(conn: Connection, row: Row[Any]) -> CaseItem:
    """A case as the queue shows it: who, how urgent, whose, when the next rung is called. Never a word of theirs."""
    duty = cases.obligation_of(conn, row.id)
    room_name = None
    if row.feed is not None:
        room_name = conn.execute(
            select(room.c.name).where(room.c.id == row.feed.partition(":")[2])
        ).scalar_one_or_none()
    return CaseItem(
        id=row.id,
        version=row.version,
        state=row.state,
        level=row.level,
        side=row.side,
        subject=person(conn, row.subject),
        origin=row.origin,
        opened_at=to_ms(row.opened_at),
        raised_at=to_ms(row.raised_at),
        categories=tuple(row.categories),
        feed=row.feed,
        room_name=room_name,
        messages=row.messages,
        owner=None if row.claimed_by is None else person(conn, row.claimed_by),
        due_at=None if duty is None or duty.due_at is None else to_ms(duty.due_at),
        rung=None if duty is None else str(duty.next_rung),
    )


def handling_item(conn: Connection, row: Row[Any]) -> HandlingItem:
    """What has truly happened to what the author last wrote, from the case's history since then.

    What happened before, to an earlier message or because somebody reported them, is no answer to this one. That the
    case is closed stands last while it is so: who reads a closed case is not news, and one opened again is not over.
    """
    since = row.care_since or row.opened_at
    states: list[HandlingState] = [HandlingState("sent_to_team", to_ms(since))]
    said: set[tuple[str, str | None]] = set()
    for line in cases.history(conn, row.id):
        state = _handling_state(line.act, line.detail)
        if state is None or line.at < since or (state, line.actor) in said:
            continue
        if row.closed_at is not None and line.at > row.closed_at:
            continue
        said.add((state, line.actor))
        by = None if line.actor is None else Person(line.actor, line.name or "", line.role or "member")
        states.append(HandlingState(state, to_ms(line.at), by))
    if row.closed_at is not None:
        by = None if row.closed_by is None else person(conn, row.closed_by)
        states.append(HandlingState("closed", to_ms(row.closed_at), by))
    return HandlingItem(id=row.id, care=row.care, states=tuple(states))


def _handling_state(act: str, detail: str) -> str | None:
    if act == "rung" and detail not in (Audience.ON_CALL_MODERATOR, Audience.MODERATORS_ON_SHIFT, Audience.FACILITATOR):
        return "next_called"
    return {"looked": "opened", "reply": "answered", "nobody": "nobody_on_duty"}.get(act)


def page_item(conn: Connection, notice_id: str) -> PageItem | None:
    """A call to somebody on duty; it rings until the obligation is acknowledged, or the question before a shift is."""
    row = cases.notice_by_id(conn, notice_id)
    if row is None:
        return _question(conn, notice_id)
    owner = None if row.acknowledged_by is None else person(conn, row.acknowledged_by)
    state = {cases.RUNNING: "ringing", cases.ACKNOWLEDGED: "acknowledged"}.get(row.obligation_state, "over")
    if row.state == "answered" and state == "ringing":
        state = "acknowledged"  # it was answered, and the ladder climbs again for another reason
    late = row.attempted_at is not None and (row.attempted_at - row.due_at).total_seconds() > LATE_US / 1e6
    return PageItem(
        id=row.id,
        case=row.case,
        case_version=row.case_version,
        level=row.level,
        rung=row.audience,
        at=to_ms(row.due_at),
        late=late,
        state=state,
        owner=owner,
    )


def _question(conn: Connection, check: str) -> PageItem | None:
    """The question whether somebody can be reached: a call without a case, until they answer or its shift is over."""
    row = duty.check_by_id(conn, check)
    if row is None:
        return None
    over = "ringing" if row.over_at is None else "over"
    return PageItem(
        id=row.id,
        case="",
        case_version=0,
        level=0,
        rung=REACHABILITY,
        at=to_ms(row.asked_at),
        state=over if row.answered_at is None else "acknowledged",
        owner=None if row.answered_at is None else person(conn, row.account),
    )


def events(conn: Connection, log: Iterable[tuple[Entry, MessageRecord | None]]) -> list[FeedEvent]:
    """The log rendered for every reader, in the same order. A row that can not be understood keeps its place."""
    return [_event(conn, entry, record) for entry, record in log]


def _event(conn: Connection, entry: Entry, record: MessageRecord | None) -> FeedEvent:
    feed, epoch, seq, kind, ref = entry
    change = _CHANGES.get(kind)
    if change is not None:
        if record is not None:
            return message_event(record, change, epoch, seq)
        gone = MessageItem(of=seq, change=change, view=Unreadable())
        return FeedEvent(feed, epoch, seq, gone)
    drops = ref if kind == ACCESS else None
    item = _other_item(conn, kind, ref) or AccessItem(account="")
    return FeedEvent(feed, epoch, seq, item, drops=drops)


def _other_item(conn: Connection, kind: str, ref: str) -> AnyItem | None:
    if kind == ACCESS:
        return AccessItem(account=ref)
    if kind == PAGE:
        return page_item(conn, ref)
    if kind == ROOM:
        there = rooms.room_by_id(conn, ref)
        return None if there is None else room_item(there)
    row = cases.case_by_id(conn, ref)
    if row is None:
        return None
    return case_item(conn, row) if kind == CASE else handling_item(conn, row)


def placed_messages(
    conn: Connection, keys: Keyring, places: Iterable[tuple[int, str]]
) -> list[tuple[int, MessageRecord | None]]:
    """The messages at their places, opened; None where there is no such row."""
    wanted = list(places)
    found = messages.records(conn, keys, {ref for _, ref in wanted})
    return [(seq, found.get(ref)) for seq, ref in wanted]
