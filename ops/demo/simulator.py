"""The invented people at work: each is a program on the SDK, over a socket of its own, through the real filter.

Members say what `script` gives them, greet whom they do not know, and answer in private whoever of the team writes to
them. One moderator (`people.STAND_IN`) leaves every case to the visitor for a while; one that is still nobody's then,
it claims, answers and closes. What a visitor has claimed it never touches.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from clients.sdk.client import Client
from clients.sdk.errors import CommandRefused
from ops.demo import people
from ops.demo.ready import Ready
from ops.demo.script import Said, script
from ops.demo.texts import Stories, load_stories, load_talk
from server.protocol.frames import Ack, AnyItem, CaseItem, CasePage, Held, RoomItem, Send

# How long a case is left to the visitor, by level, in seconds: the clinician's page rings at 30 and nobody else is
# called before 90.
PATIENCE_S: Final[Mapping[int, float]] = {3: 75.0, 2: 60.0, 1: 60.0}
READS_FOR_S: Final = 6.0
STAYS_FOR_S: Final = 25.0
GREETS_AFTER_S: Final = 4.0
ANSWERS_AFTER_S: Final = 8.0
# A case that somebody else keeps changing is left to them.
TRIES: Final = 3
BUILD: Final = "evenkeel-demo/0.1"


@dataclass(slots=True)
class Pace:
    """How fast the demonstration's clock runs; people are as much faster."""

    speed: float

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds / self.speed))


async def simulate(ready: Ready, *, seed: int, speed: float) -> None:
    """Keep everybody busy until cancelled. The clock of the story begins with this call."""
    began = asyncio.get_running_loop().time()
    pace, stories = Pace(speed), load_stories()
    async with contextlib.AsyncExitStack() as stack:
        bots = {
            name: await stack.enter_async_context(Client(ready.url, token=token, client=BUILD))
            for name, token in ready.tokens.items()
        }
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        known = {bot.you.id for bot in bots.values()}
        tasks.create_task(StandIn(bots[people.STAND_IN], stories, pace).work())
        for host, feed in zip(people.CHATTERS, ready.feeds.values(), strict=False):
            tasks.create_task(_greet(bots[host], feed, stories.greetings.lines, known, pace))
        for name in people.TROUBLED:
            tasks.create_task(_confide(bots[name], stories.answers.lines, pace))
        await _talk(ready.feeds, bots, script(load_talk(), stories, seed), pace, began)


async def _talk(
    feeds: Mapping[str, str], bots: Mapping[str, Client], lines: Iterable[Said], pace: Pace, began: float
) -> None:
    """Say every line at its time."""
    loop = asyncio.get_running_loop()
    posted: dict[int, str] = {}
    for said in lines:
        await asyncio.sleep(max(0.0, began + said.at_s / pace.speed - loop.time()))
        client = bots[said.who]
        reply_to = None if said.reply_to is None else posted.get(said.reply_to)
        send = Send(client_id=client.new_client_id(), feed=feeds[said.room], body=said.text, reply_to=reply_to)
        # Refused: the visitor has closed the room, or to this person. The others go on.
        with contextlib.suppress(CommandRefused):
            ack = await client.ask(send, Ack)
            posted[said.n] = ack.message
        posted.pop(said.n - 200, None)


async def _greet(host: Client, feed: str, greetings: tuple[str, ...], known: set[str], pace: Pace) -> None:
    """Welcome whoever speaks in a room for the first time and is nobody of ours."""
    room = await host.join(feed)
    turns = itertools.cycle(greetings)
    greeted = set(known)
    async for message in room.messages():
        if message.author.id in greeted or message.author.role != "member":
            continue
        greeted.add(message.author.id)
        await pace.wait(GREETS_AFTER_S)
        with contextlib.suppress(CommandRefused):
            await room.send(next(turns).format(name=message.author.name))


async def _confide(bot: Client, answers: tuple[str, ...], pace: Pace) -> None:
    """Answer in private whoever of the team writes, in the rooms that there are and in those that are opened."""
    inbox = await bot.join("inbox")
    heard: set[str] = set()
    async with asyncio.TaskGroup() as rooms:

        def hear(item: AnyItem) -> None:
            if isinstance(item, RoomItem) and item.room_kind == "support" and item.id not in heard:
                heard.add(item.id)
                rooms.create_task(_answer(bot, f"room:{item.id}", answers, pace))

        for item in inbox.view.others.values():
            hear(item)
        async for item in inbox.events():
            hear(item)


async def _answer(bot: Client, feed: str, answers: tuple[str, ...], pace: Pace) -> None:
    """Answer each message of the team with the next of `answers`, and begin anew after the last."""
    room = await bot.join(feed)
    me = bot.you.id
    turns = itertools.cycle(answers)

    async def answer() -> None:
        await pace.wait(ANSWERS_AFTER_S)
        with contextlib.suppress(CommandRefused):
            await room.send(next(turns))

    # What was written before this joined: the first words of the team, for which the room was opened.
    if room.view.messages and room.view.messages[-1].author.id != me:
        await answer()
    async for message in room.messages():
        if message.author.id != me:
            await answer()


class StandIn:
    """The moderator who is a program."""

    def __init__(self, client: Client, stories: Stories, pace: Pace) -> None:
        self._client = client
        self._stories = stories
        self._pace = pace
        self._waiting: dict[str, asyncio.Task[None]] = {}

    async def work(self) -> None:
        """Watch the queue: a case in nobody's hands is waited for, and left alone once it is in somebody's."""
        queue = await self._client.join("staff:moderation")
        async with asyncio.TaskGroup() as tasks:
            for item in queue.view.others.values():
                self._look(tasks, item)
            async for item in queue.events():
                self._look(tasks, item)

    def _look(self, tasks: asyncio.TaskGroup, item: AnyItem) -> None:
        if not isinstance(item, CaseItem):
            return
        waiting = self._waiting.get(item.id)
        if item.state == "open" and item.owner is None:
            if waiting is None or waiting.done():
                self._waiting[item.id] = tasks.create_task(self._take(item))
        elif waiting is not None and (item.state == "closed" or not self._is_me(item)):
            waiting.cancel()
            del self._waiting[item.id]

    async def _take(self, case: CaseItem) -> None:
        """Wait for the visitor; then do what a moderator does, for as long as the case is ours."""
        level = case.level
        await self._pace.wait(PATIENCE_S.get(level, PATIENCE_S[1]))
        if not await self._act(case.id, "claim"):
            return
        await self._pace.wait(READS_FOR_S)
        if not await self._act(case.id, "reply", body=self._stories.replies.of(level)):
            return
        await self._pace.wait(STAYS_FOR_S)
        page = await self._open(case.id)
        for message in held_of(page):
            await self._act(case.id, "remove_message", message=message)
        await self._act(case.id, "close", outcome="supported", body=self._stories.notes.of(level))

    async def _act(
        self, case: str, act: str, *, message: str | None = None, outcome: str | None = None, body: str = ""
    ) -> bool:
        """Do `act` to the case as it is now; False if it is not ours to do (any more)."""
        for _ in range(TRIES):
            page = await self._open(case)
            if act not in page.allowed or not (self._is_me(page.case) or (act == "claim" and page.case.owner is None)):
                return False
            try:
                await self._client.act(case, page.case.version, act, message=message, outcome=outcome, body=body)
            except CommandRefused:
                continue  # it was changed meanwhile: look again
            return True
        return False

    async def _open(self, case: str) -> CasePage:
        return await self._client.open_case(case)

    def _is_me(self, case: CaseItem) -> bool:
        return case.owner is not None and case.owner.id == self._client.you.id


def held_of(page: CasePage) -> list[str]:
    """The messages of the case's subject that members do not see yet."""
    views = [getattr(placed.item, "view", None) for placed in page.items]
    return [view.id for view in views if isinstance(view, Held) and view.author.id == page.case.subject.id]
