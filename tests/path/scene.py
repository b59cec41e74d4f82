"""A room with people in it, and short ways to say what they do; for tests of the message path."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import timedelta

from moderation.types import Role, RoomKind
from server.actions.cases import act_on_case, open_case
from server.actions.feeds import follow
from server.actions.post_message import post_message
from server.actions.rooms import make_room
from server.actions.services import Services
from server.auth.requester import Requester
from server.feeds import FeedEvent
from server.ids import new_id
from server.protocol.frames import Ack, Act, AnyItem, CaseItem, CasePage, Done, Joined, OpenCase, Send
from server.rooms import Member
from server.store import rooms
from server.store.duty import insert_shift
from server.store.unit import Tx
from tests.harness import member, staff

CLEAN = "I baked bread today and it went quite well"
URGENT = "I am going to kill myself tonight, I have said goodbye"
_ids = itertools.count(1)


def client_id() -> str:
    return f"test-{next(_ids):08d}"


@dataclass
class Scene:
    """Two members and a moderator; `heard` is every event that this process told, in the order of commit."""

    services: Services
    feed: str
    robin: Requester
    wren: Requester
    sam: Requester
    heard: list[FeedEvent]

    async def say(self, who: Requester, body: str, re: str | None = None, feed: str | None = None) -> Ack:
        command = Send(client_id=re or client_id(), feed=feed or self.feed, body=body)
        return await post_message(self.services, who, command)

    async def join(self, who: Requester, feed: str | None = None) -> Joined:
        return (await follow(self.services, who, feed or self.feed, None)).joined

    async def queue(self, who: Requester | None = None, feed: str = "staff:moderation") -> list[CaseItem]:
        joined = await self.join(who or self.sam, feed)
        return [placed.item for placed in joined.items if isinstance(placed.item, CaseItem)]

    async def act(self, who: Requester, case: CaseItem | str, act: str, **more: object) -> Done:
        """Act on the newest version of a case."""
        name = case if isinstance(case, str) else case.id
        page = await self.look(who, name)
        command = Act(client_id=client_id(), case=name, version=page.case.version, act=act, **more)  # type: ignore[arg-type]
        return await act_on_case(self.services, who, command, new_id())

    async def look(self, who: Requester, case: str) -> CasePage:
        return await open_case(self.services, who, OpenCase(client_id=client_id(), case=case), new_id())

    async def items(self, who: Requester, feed: str | None = None) -> list[AnyItem]:
        return [placed.item for placed in (await self.join(who, feed)).items]


async def make_scene(services: Services, kind: RoomKind = RoomKind.COMMUNITY) -> Scene:
    """A room of that kind; Robin and Wren belong to it, Sam moderates."""
    heard: list[FeedEvent] = []
    services.bus.listen(heard.extend, lambda feed, epoch, seq: None)
    robin, wren = await member(services, "Robin"), await member(services, "Wren")
    sam = await staff(services, "Sam", Role.MODERATOR)
    subject = robin.account if kind in (RoomKind.THERAPY, RoomKind.SUPPORT) else None
    feed = await make_room(services, kind, "The kitchen table", "Everyday talk", subject)
    for who in (robin, wren):
        await belong(services, feed, who)
    return Scene(services, feed, robin, wren, sam, heard)


async def belong(services: Services, feed: str, who: Requester) -> None:
    def unit(tx: Tx) -> None:
        rooms.set_standing(tx, feed.partition(":")[2], who.account, Member.ACTIVE)

    await services.store.write(unit, [feed])


async def on_shift(services: Services, who: Requester, hours: int = 8) -> None:
    """Put somebody on duty from now on."""
    lasts = timedelta(hours=hours)
    await services.store.write(lambda tx: insert_shift(tx, who.account, who.role, tx.now, tx.now + lasts))
