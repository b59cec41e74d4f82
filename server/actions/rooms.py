"""The one gate to a room: nobody gets at a room but through `access_room_for_*`.

A room that one may not see and a room that does not exist are answered alike.
"""

from __future__ import annotations

from sqlalchemy import Connection

from moderation.types import Role, RoomKind
from server.actions.rendering import ACCESS, room_item
from server.actions.room_cache import Access
from server.actions.services import Services
from server.auth.requester import Requester
from server.errors import NotFound, Refused
from server.feeds import FeedEvent
from server.ids import inbox_feed, new_id, room_feed
from server.protocol.frames import AccessItem, RoomItem
from server.rooms import Member, Room, RoomState, is_staff_of, may_post, may_read
from server.store import rooms
from server.store.keys import Realm, Retention
from server.store.unit import Head, Tx

NO_ROOM = "There is no such room, or it is not open to you."


def access_room_for_reading(conn: Connection, requester: Requester, feed: str) -> Access:
    """The room of `feed` if the requester may read it. Raises NotFound otherwise."""
    return reach_room(conn, requester, feed)[0]


def reach_room(conn: Connection, requester: Requester, feed: str) -> tuple[Access, Head]:
    """As `access_room_for_reading`, with where the feed stands."""
    prefix, _, room_id = feed.partition(":")
    found = rooms.reach(conn, room_id, requester.account) if prefix == "room" else None
    if found is None or not may_read(found[0], requester.role, found[1]):
        raise NotFound(NO_ROOM, field="feed")
    room, member, head = found
    return Access(room, head.version, member), head


def access_room_for_posting(conn: Connection, requester: Requester, feed: str) -> Access:
    """The room of `feed` if the requester may write in it now.

    Raises:
        NotFound: there is no such room for them.
        Refused: they may read it and not write there (read-only, closed, not joined).
    """
    access = access_room_for_reading(conn, requester, feed)
    if not may_post(access.room, requester.role, access.member):
        code = "room_closed" if access.member is Member.ACTIVE else "not_joined"
        raise Refused("You can read here, but not write just now. If you need help, press the help button.", code=code)
    return access


def must_enter(requester: Requester, access: Access) -> bool:
    """Whether somebody who reads a room is a member who never belonged to it, and may."""
    return access.member is None and requester.role is Role.MEMBER and access.room.kind is RoomKind.COMMUNITY


async def belong(services: Services, requester: Requester, feed: str) -> None:
    """Let somebody belong to a room to whom that is open, unless they do or were removed."""
    room_id = feed.partition(":")[2]

    def join(tx: Tx) -> None:
        if rooms.standing(tx.conn, room_id, requester.account) is None:
            rooms.set_standing(tx, room_id, requester.account, Member.ACTIVE)

    await services.store.write(join, [feed])


async def make_room(services: Services, kind: RoomKind, name: str, purpose: str, subject: str | None = None) -> str:
    """Open a room and return its feed. A therapy or support room belongs to its `subject`, who is a member of it."""
    room = Room(new_id(), kind, name, purpose, RoomState.OPEN, subject)

    def unit(tx: Tx) -> None:
        rooms.create_room(tx, room)
        if subject is not None:
            rooms.set_standing(tx, room.id, subject, Member.ACTIVE)
        if kind is RoomKind.THERAPY and subject is not None:
            services.store.keys.create(tx, subject, Realm.CARE, Retention.CARE_RECORD)

    await services.store.write(unit, [inbox_feed(subject)] if subject is not None else ())
    return room_feed(room.id)


async def list_rooms(services: Services, requester: Requester) -> tuple[RoomItem, ...]:
    """The rooms that the requester may enter now, community rooms first."""

    def read(conn: Connection) -> tuple[RoomItem, ...]:
        found = rooms.rooms_of_kind(conn, RoomKind.COMMUNITY)
        mine = rooms.rooms_of_member(conn, requester.account)
        listed = {room.id: room for room in (*found, *mine)}
        if requester.is_staff and is_staff_of(RoomKind.GROUP, requester.role):
            listed |= {room.id: room for room in rooms.rooms_of_kind(conn, RoomKind.GROUP)}
        return tuple(
            room_item(room)
            for room in listed.values()
            if may_read(room, requester.role, rooms.standing(conn, room.id, requester.account))
        )

    return await services.store.read(read)


async def remove_from_room(services: Services, account: str, feed: str) -> None:
    """Take somebody out of a room: the removal has its own seq, and they are given nothing behind it."""
    room_id = feed.partition(":")[2]

    def unit(tx: Tx) -> None:
        rooms.set_standing(tx, room_id, account, Member.REMOVED)
        tx.bump_version(feed)
        head = tx.append(feed, ACCESS, account)
        tx.tell(FeedEvent(feed, head.epoch, head.seq, AccessItem(account=account), drops=account))

    await services.store.write(unit, [feed])
    services.room_cache.drop(feed, account)
