"""Following feeds: who may, what they are given first, and what came after a position.

A room goes through the room gate. An inbox is its owner's alone. A staff feed belongs to roles; which, is in
`auth.permissions`. What staff are given of a room leaves an audit row before they see it: one a join, a resume or a
page of history. So does a look at the queue, which names members and holds no word of theirs; but where rows can not be
written, nobody is kept from the queue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from msgspec.structs import replace
from sqlalchemy import Connection, Row

from moderation.ladders import Side
from moderation.types import Role, RoomKind
from server.actions.rendering import (
    PAGE_CHANNEL,
    case_item,
    events,
    handling_item,
    message_event,
    page_item,
    placed_messages,
    room_item,
)
from server.actions.room_cache import Access
from server.actions.rooms import belong, must_enter, reach_room
from server.actions.services import Services
from server.auth.permissions import FeedKind, may_follow, require
from server.auth.requester import Requester
from server.errors import BadRequest, NotFound, Unavailable
from server.feeds import Audience, FeedEvent, Following
from server.ids import STAFF_CLINICAL, STAFF_FEEDS, STAFF_LEAD, inbox_feed, new_id, room_feed
from server.protocol.frames import (
    PAGE_SIZE,
    AnyItem,
    CaseItem,
    Done,
    History,
    Joined,
    Page,
    Placed,
    Position,
    Read,
    RoomItem,
)
from server.rooms import is_staff_of
from server.store import cases, duty, feeds, log, rooms
from server.store.unit import AuditEntry, Head, Tx

log_lines = structlog.get_logger()
# As the audit names the queue of a facilitator, which is no feed.
OWN_GROUPS = "own groups"
NO_FEED = "There is no such feed, or it is not open to you."


async def follow(
    services: Services, requester: Requester, feed: str, after: Position | None, request_id: str | None = None
) -> Following:
    """What somebody needs to follow `feed`: the missing events if `after` can be resumed, else a snapshot and why.

    "inbox" names the requester's own inbox. That staff read a room is recorded; a member's join writes nothing.

    Raises:
        NotFound: no such feed for this person.
        Unavailable: staff asked, and that they did could not be recorded.
    """
    require(requester, "frame.join")
    name = inbox_feed(requester.account) if feed == "inbox" else feed

    def read(conn: Connection) -> tuple[Following, bool]:
        audience, access, head = _reach(conn, requester, name)
        room = None if access is None else room_item(access.room)
        enters = access is not None and must_enter(requester, access)
        read_to, unread = feeds.reading(conn, requester.account, name)
        joined = Joined(
            feed=name,
            epoch=head.epoch,
            seq=head.seq,
            recovered=False,
            read=read_to,
            unread=unread if room is not None else 0,
            room=room,
        )
        missed, reason = _missed(conn, services, name, head, after)
        if missed is not None:
            return Following(replace(joined, recovered=True), audience, missed), enters
        items, more = _snapshot(conn, services, requester, name, audience)
        return Following(replace(joined, items=items, more=more, reason=reason), audience), enters

    following, enters = await services.store.read(read)
    if enters:
        await belong(services, requester, name)
    if following.joined.room is not None:
        await _record_read(services, requester, following.audience, following.joined.room, "join", request_id)
    elif name in STAFF_FEEDS:
        await _record_queue(services, requester, name, request_id)
    return following


async def _record_queue(services: Services, requester: Requester, name: str, request_id: str | None) -> None:
    """Leave the row of a look at the queue. Whoever is on duty has to see who waits, with a full disk too."""
    entry = AuditEntry("queue_read", "feed", name, request_id or new_id(), requester.account)
    try:
        await services.store.write(lambda tx: tx.audit(entry))
    except Unavailable as error:
        log_lines.error("queue_read_not_recorded", error=error.error_code)


async def _record_read(
    services: Services, requester: Requester, audience: Audience, room: RoomItem, how: str, request_id: str | None
) -> None:
    """Leave the row of a staff read before anything is handed out; whoever reads as a member reads for themselves."""
    if audience is Audience.STAFF:
        entry = AuditEntry("room_read", "room", room.id, request_id or new_id(), requester.account, how)
        await services.store.write(lambda tx: tx.audit(entry))


def _reach(conn: Connection, requester: Requester, name: str) -> tuple[Audience, Access | None, Head]:
    """As whom the requester reads the feed, their access if it is a room, and where it stands.

    Raises:
        NotFound: there is no such feed, or they may not read it.
    """
    if name.startswith("room:"):
        access, head = reach_room(conn, requester, name)
        room = access.room
        staff = is_staff_of(room.kind, requester.role) or (requester.is_staff and room.subject != requester.account)
        return (Audience.STAFF if staff else Audience.MEMBER), access, head
    stands = feeds.heads(conn, [name]).get(name)
    if stands is not None and name == inbox_feed(requester.account):
        return Audience.MEMBER, None, stands
    if stands is not None and name in STAFF_FEEDS and may_follow(requester.role, FeedKind(name)):
        return Audience.STAFF, None, stands
    raise NotFound(NO_FEED, field="feed")


def _missed(
    conn: Connection, services: Services, name: str, head: Head, after: Position | None
) -> tuple[tuple[FeedEvent, ...] | None, str | None]:
    """The events behind `after`, or None and why they are not given one by one."""
    if after is None:
        return None, None
    if after.epoch != head.epoch:
        return None, "epoch"
    if after.seq > head.seq:
        return None, "ahead"
    if head.seq - after.seq > log.GAP_LIMIT:
        return None, "too_far"
    return tuple(events(conn, log.behind(conn, services.store.keys, {name: after.seq}))), None


def _snapshot(
    conn: Connection, services: Services, requester: Requester, name: str, audience: Audience
) -> tuple[tuple[Placed, ...], bool]:
    if name.startswith("room:"):
        places = feeds.page_before(conn, name, 1 << 53, PAGE_SIZE + 1)
        more = len(places) > PAGE_SIZE
        return _placed(conn, services, requester, audience, places[-PAGE_SIZE:]), more
    if name in STAFF_FEEDS:
        return tuple(Placed(0, case_item(conn, row)) for row in _visible_cases(conn, name)), False
    items: list[AnyItem] = []
    if requester.role is Role.MEMBER:
        for side in Side:
            row = cases.current_case_of(conn, requester.account, side)
            if row is not None and row.care != "none":
                items.append(handling_item(conn, row))
        support = rooms.support_room_of(conn, requester.account)
        if support is not None:
            items.append(room_item(support))
    asked = [row.id for row in duty.open_checks(conn, requester.account)]
    for notice_id in [*cases.ringing(conn, requester.account, PAGE_CHANNEL), *asked]:
        page = page_item(conn, notice_id)
        if page is not None:
            items.append(page)
    return tuple(Placed(0, item) for item in items), False


def _visible_cases(conn: Connection, name: str) -> Sequence[Row[Any]]:
    if name == STAFF_LEAD:
        return cases.open_cases_about_staff(conn)
    if name == STAFF_CLINICAL:
        return [
            *cases.open_cases(conn, [Side.CARE], clinical_only=False),
            *cases.open_cases(conn, [Side.COMMUNITY, Side.GROUP], clinical_only=True),
        ]
    return cases.open_cases(conn, [Side.COMMUNITY, Side.GROUP], clinical_only=False)


async def cases_of_own_groups(
    services: Services, requester: Requester, request_id: str | None = None
) -> tuple[CaseItem, ...]:
    """The open cases of the groups that the requester facilitates; none for anybody else. That they looked is kept."""

    def read(conn: Connection) -> tuple[CaseItem, ...]:
        if requester.role is not Role.FACILITATOR:
            return ()
        groups = [r for r in rooms.rooms_of_member(conn, requester.account) if r.kind is RoomKind.GROUP]
        found = cases.open_cases_in(conn, Side.GROUP, {room_feed(group.id) for group in groups})
        return tuple(case_item(conn, row) for row in found)

    if requester.role is Role.FACILITATOR:
        await _record_queue(services, requester, OWN_GROUPS, request_id)
    return await services.store.read(read)


def _placed(
    conn: Connection,
    services: Services,
    requester: Requester,
    audience: Audience,
    places: Sequence[tuple[int, str]],
) -> tuple[Placed, ...]:
    return tuple(
        Placed(seq, message_event(record, "new", 1, seq).item_for(audience, requester.account))
        for seq, record in placed_messages(conn, services.store.keys, places)
        if record is not None
    )


async def history(services: Services, requester: Requester, command: History, request_id: str | None = None) -> Page:
    """The messages of a room just before a place, as this reader may see them now; that staff read is recorded."""
    require(requester, "frame.history")

    def read(conn: Connection) -> tuple[Page, Audience, RoomItem]:
        audience, access, _ = _reach(conn, requester, command.feed)
        if access is None:
            raise BadRequest("Only a room has a history.", field="feed")
        places = feeds.page_before(conn, command.feed, command.before, command.limit + 1)
        more = len(places) > command.limit
        items = _placed(conn, services, requester, audience, places[-command.limit :])
        return Page(re=command.client_id, feed=command.feed, items=items, more=more), audience, room_item(access.room)

    page, audience, room = await services.store.read(read)
    await _record_read(services, requester, audience, room, "history", request_id)
    return page


async def move_read_cursor(services: Services, requester: Requester, command: Read) -> Done:
    """Remember privately how far somebody has read; it only ever moves forward, and never past the feed's end."""
    require(requester, "frame.read")
    name = inbox_feed(requester.account) if command.feed == "inbox" else command.feed

    def check(conn: Connection) -> None:
        _ = _reach(conn, requester, name)

    await services.store.read(check)

    def unit(tx: Tx) -> Done:
        feeds.move_cursor(tx, requester.account, name, min(command.seq, tx.head(name).seq))
        return Done(re=command.client_id)

    return await services.store.write(unit, [name])


async def events_after(services: Services, positions: Mapping[str, int]) -> dict[str, list[FeedEvent]]:
    """What came behind each feed's seq (at most GAP_LIMIT a feed), rendered for every reader; one query for all."""

    def read(conn: Connection) -> dict[str, list[FeedEvent]]:
        grouped: dict[str, list[FeedEvent]] = {name: [] for name in positions}
        for event in events(conn, log.behind(conn, services.store.keys, positions)):
            grouped[event.feed].append(event)
        return grouped

    # What is rendered is what may be seen now, whatever the log row once said: a later statement may know more.
    return await services.store.read(read, snapshot=False)


async def heads(services: Services, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """(epoch, seq) of each feed that exists."""
    found = await services.store.read(lambda conn: feeds.heads(conn, names), snapshot=False)
    return {name: (head.epoch, head.seq) for name, head in found.items()}
