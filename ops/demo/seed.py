"""Two days of an invented service: people, rooms, a rota, what was said, and cases that somebody closed.

Everything that has a rule goes through the actions, with the clock of the demonstration set to the moment at which it
happened: what was said went through the real filter, and what was worrying opened a real case. Only people, who belongs
where and the rota are written as rows, with one password hash for all.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo

from moderation.cases import Act
from moderation.rota import Shift
from moderation.types import Role, RoomKind
from ops.demo import people
from ops.demo.script import split
from ops.demo.texts import Conversation, PastStory, Stories
from server.actions.cases import act_on_case, open_case
from server.actions.feeds import follow, move_read_cursor
from server.actions.post_message import post_message
from server.actions.rooms import make_room
from server.actions.services import Services
from server.actions.support import ensure_support_room
from server.auth.credentials import name_key, new_token, token_hash
from server.auth.requester import Requester
from server.clock import REAL_TIME, ClockMapping, real_us, to_us
from server.ids import STAFF_MODERATION, new_id, room_feed
from server.protocol import frames
from server.rooms import Member
from server.store import accounts, rooms
from server.store.duty import insert_check, insert_shift
from server.store.unit import Tx

PAST: Final = timedelta(hours=48)
OPENED: Final = timedelta(days=60)
# The visitor finds so many messages of each room unread.
UNREAD: Final = 5
_LONDON: Final = ZoneInfo("Europe/London")
_DAY_HOURS: Final = range(7, 23)
_NIGHT_HOURS: Final = (22, 23, 0, 1, 2, 3, 4)
_SHIFT: Final = timedelta(hours=12)

_HANDLERS: Final = ("Alex", "Priya")
# Longer than a demonstration lasts, at ten times the speed too.
ON_DUTY_FOR: Final = timedelta(days=30)
# No text has this for its hash, so nobody can sign in with it.
NO_HASH: Final = "-"

Happens = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class World:
    """What the simulator has to know: the feed of each room by its key, and a session's token for each program."""

    feeds: Mapping[str, str]
    tokens: Mapping[str, str] = field(repr=False)


@dataclass(slots=True)
class _Past:
    """The past as it is being written: who there is, and what happens when."""

    services: Services
    who: dict[str, Requester]
    feeds: dict[str, str]
    events: list[tuple[datetime, Happens]] = field(default_factory=list)

    def at(self, moment: datetime, happens: Happens) -> None:
        self.events.append((moment, happens))

    async def say(self, name: str, feed: str, text: str) -> frames.Ack:
        command = frames.Send(client_id=new_id(), feed=feed, body=text)
        return await post_message(self.services, self.who[name], command)


async def seed(services: Services, talk: Mapping[str, tuple[Conversation, ...]], stories: Stories, number: int) -> None:
    """Fill an empty demonstration database; `number` decides who said what and when. The clock ends at real time."""
    dice = random.Random(number)  # noqa: S311 - a story, not a secret
    now = services.clock.now()
    _set_clock(services, now - OPENED)
    who = await _make_people(services)
    feeds = {room.key: await make_room(services, RoomKind.COMMUNITY, room.name, room.purpose) for room in people.ROOMS}
    await services.store.write(partial(_belong, who=who, feeds=feeds), list(feeds.values()))
    await services.store.write(partial(_past_rota, who=who, now=now))
    past = _Past(services, who, feeds)
    for room in people.ROOMS:
        _plan_talk(past, room, split(talk[room.key])[0], now, dice)
    for place, story in enumerate(stories.past):
        handler = next((name for name in _HANDLERS if name in story.reply), _HANDLERS[place % len(_HANDLERS)])
        _plan_story(past, story, people.OTHERS[-1 - place], handler, now)
    for moment, happens in sorted(past.events, key=lambda event: event[0]):
        _set_clock(services, moment)
        await happens()
    await services.store.set_clock(REAL_TIME)
    visitor = who[people.VISITOR]
    for feed in feeds.values():
        stands = (await follow(services, visitor, feed, None)).joined.seq
        await move_read_cursor(services, visitor, frames.Read(client_id=new_id(), feed=feed, seq=stands - UNREAD))


async def open_doors(services: Services, password: str) -> World:
    """Let life begin: everybody has this start's password, the programs a session, the team a shift that has begun."""
    hashed = await services.passwords.hash(password)
    tokens = {name: new_token() for name in people.PROGRAMS}
    lasts = services.settings.session_absolute

    def unit(tx: Tx) -> None:
        for name in (*people.MEMBERS, *(name for name, _ in people.STAFF)):
            accounts.change_account(tx, _account(tx, name).id, password_hash=hashed)
        for name, token in tokens.items():
            session = accounts.NewSession(new_id(), token_hash(token), lasts)
            accounts.start_session(tx, _account(tx, name).id, session)
        for hours, name in enumerate(reversed(people.ALWAYS_ON_DUTY)):
            found = _account(tx, name)
            # The ladder calls whoever has the longest left to serve: the first of them, before all others.
            ends_at = tx.now + ON_DUTY_FOR + timedelta(hours=hours)
            insert_shift(tx, found.id, found.role, tx.now - timedelta(hours=1), ends_at)

    await services.store.write(unit)
    found = await services.store.read(lambda conn: rooms.rooms_of_kind(conn, RoomKind.COMMUNITY))
    by_name = {room.name: room_feed(room.id) for room in found}
    return World({room.key: by_name[room.name] for room in people.ROOMS}, tokens)


def _account(tx: Tx, name: str) -> accounts.Account:
    found = accounts.account_by_key(tx.conn, name_key(name))
    if found is None:
        raise LookupError("the demonstration's database lacks one of its people: start without --keep")
    return found


def _set_clock(services: Services, moment: datetime) -> None:
    """Let it be `moment` for what follows. The row that says so comes at the end: half a past is never opened again."""
    services.clock.mapping = ClockMapping(offset_us=to_us(moment) - real_us())


# --- people -----------------------------------------------------------------------------------------------------------


async def _make_people(services: Services) -> dict[str, Requester]:
    """Everybody's account; nobody can sign in before `open_doors`."""
    everybody = (*((name, Role.MEMBER) for name in people.MEMBERS), *people.STAFF)
    ids = {name: new_id() for name, _ in everybody}
    rules = services.settings.rules_version

    def unit(tx: Tx) -> None:
        for name, role in everybody:
            new = accounts.NewAccount(ids[name], name, name_key(name), role, NO_HASH, rules)
            accounts.insert_account(tx, services.store.keys, new)

    await services.store.write(unit)
    return {name: Requester(ids[name], name, role, "") for name, role in everybody}


def _belong(tx: Tx, who: Mapping[str, Requester], feeds: Mapping[str, str]) -> None:
    """Every member belongs to every room."""
    for name in people.MEMBERS:
        for feed in feeds.values():
            rooms.set_standing(tx, feed.partition(":")[2], who[name].account, Member.ACTIVE)


def _past_rota(tx: Tx, who: Mapping[str, Requester], now: datetime) -> None:
    """Days and nights of the moderators and the clinician until now."""
    first = now.replace(hour=7, minute=0, second=0, microsecond=0) - timedelta(days=3)
    for day in range(3):
        for half, names in enumerate((("Alex", "Dr Hughes"), ("Priya", "Dr Adeyemi"))):
            starts_at = first + timedelta(days=day) + half * _SHIFT
            for name in names:
                account, role = who[name].account, who[name].role
                insert_shift(tx, account, role, starts_at, starts_at + _SHIFT)
                # In this story everybody answered before their shift.
                insert_check(tx, Shift(account, role, starts_at, starts_at + _SHIFT), answered_by=account)


# --- what was said ----------------------------------------------------------------------------------------------------


def _plan_talk(
    past: _Past, room: people.InventedRoom, talk: Sequence[Conversation], now: datetime, dice: random.Random
) -> None:
    """Put each conversation at a likely hour; the last one ends a few minutes ago."""
    starts = sorted(_likely(room, now, dice) for _ in talk)
    starts[-1] = now - timedelta(minutes=dice.randint(24, 40))
    for conversation, start in zip(dice.sample(talk, len(talk)), starts, strict=True):
        speakers = dice.sample((*people.CHATTERS, *people.TROUBLED, *people.OTHERS), 4)
        moment = start
        for line in conversation:
            past.at(moment, partial(past.say, speakers[line.part], past.feeds[room.key], line.text))
            moment += timedelta(seconds=dice.randint(25, 170))


def _likely(room: people.InventedRoom, now: datetime, dice: random.Random) -> datetime:
    hours = _NIGHT_HOURS if room.night else _DAY_HOURS
    while True:
        moment = now - dice.uniform(PAST / timedelta(hours=1), 1.0) * timedelta(hours=1)
        if moment.astimezone(_LONDON).hour in hours:
            return moment


# --- cases that are over ----------------------------------------------------------------------------------------------


def _plan_story(past: _Past, story: PastStory, author: str, handler: str, now: datetime) -> None:
    """Somebody wrote it, somebody of the team looked, answered and closed the case."""
    began = now - timedelta(hours=story.hours_ago)
    services, subject, staff = past.services, past.who[author], past.who[handler]

    async def act(what: Act, **more: str) -> None:
        command = frames.OpenCase(client_id=new_id(), case=await _case_of(services, staff, subject))
        case = (await open_case(services, staff, command, new_id())).case
        done = frames.Act(client_id=new_id(), case=case.id, version=case.version, act=what, **more)
        await act_on_case(services, staff, done, new_id())

    async def answer() -> None:
        await past.say(author, await ensure_support_room(services, subject.account), story.answer)

    past.at(began, partial(past.say, author, past.feeds[story.room], story.text))
    past.at(began + timedelta(minutes=2), partial(act, Act.CLAIM))
    if story.reply:
        past.at(began + timedelta(minutes=5), partial(act, Act.REPLY, body=story.reply))
    if story.answer:
        past.at(began + timedelta(minutes=9), answer)
    past.at(began + timedelta(minutes=16), partial(act, Act.CLOSE, outcome=story.outcome, body=story.note))


async def _case_of(services: Services, staff: Requester, subject: Requester) -> str:
    """The open case about somebody, as the console shows it."""
    queue = (await follow(services, staff, STAFF_MODERATION, None)).joined.items
    return next(
        placed.item.id
        for placed in queue
        if isinstance(placed.item, frames.CaseItem) and placed.item.subject.id == subject.account
    )
