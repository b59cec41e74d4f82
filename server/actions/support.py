"""The private room of one member and the moderation team: where a moderator answers, and the member can answer back.

What is said there goes through the same path and the same filter as everything else.
"""

from __future__ import annotations

from moderation.types import RoomKind
from server.actions.rendering import ROOM, room_item
from server.actions.services import Services
from server.feeds import FeedEvent
from server.ids import inbox_feed, new_id, room_feed
from server.rooms import Member, Room, RoomState
from server.store import rooms
from server.store.unit import Tx

NAME = "The team and you"


async def ensure_support_room(services: Services, member: str) -> str:
    """The feed of this member's support room, made now if there is none; the member is told on their inbox."""
    inbox = inbox_feed(member)

    def unit(tx: Tx) -> str:
        found = rooms.support_room_of(tx.conn, member)
        if found is not None:
            return room_feed(found.id)
        room = Room(new_id(), RoomKind.SUPPORT, NAME, "", RoomState.OPEN, member)
        rooms.create_room(tx, room)
        rooms.set_standing(tx, room.id, member, Member.ACTIVE)
        head = tx.append(inbox, ROOM, room.id)
        tx.tell(FeedEvent(inbox, head.epoch, head.seq, room_item(room)))
        return room_feed(room.id)

    return await services.store.write(unit, [inbox])
