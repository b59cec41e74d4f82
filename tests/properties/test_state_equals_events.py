"""Law of the live feeds: whatever was done, an old snapshot and the events behind it make the snapshot of now.

Held for the service's own actions on a real database, with the reducer that the SDK uses: in a community room, a group
and a therapy room, for the author, another member and everybody on duty, on the room and on everybody's other feeds,
from every position that there ever was, by the replay of the log and by the events as this process told them.

A command or an act that is new fails `test_every_command_and_every_act_is_played` until a program here does it.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from clients.sdk.view import FeedView, Outcome
from moderation.cases import Act
from moderation.types import Role, RoomKind
from server.actions import dispatch
from server.actions.escalation import climb
from server.actions.feeds import cases_of_own_groups, follow, history, move_read_cursor
from server.actions.messages import edit_message, remove_message
from server.actions.reports import ask_for_help, report_message
from server.actions.services import Services
from server.auth.permissions import MODERATION
from server.auth.requester import Requester
from server.errors import ServiceError
from server.feeds import Audience, FeedEvent
from server.ids import STAFF_CLINICAL, STAFF_LEAD, STAFF_MODERATION, inbox_feed, new_id
from server.protocol.frames import (
    AnyCommand,
    CaseItem,
    Edit,
    Event,
    Help,
    History,
    Joined,
    Position,
    Read,
    Remove,
    Report,
)
from tests import harness
from tests.path.scene import CLEAN, URGENT, Scene, belong, client_id, make_scene, on_shift

CASE_ACTS = tuple(act.value for act in Act)
# What plays each command; a join is what every reader does after every step.
PLAYED_BY = {
    "Send": ("post", "urgent", "staff_post"),
    "Edit": ("edit", "edit_urgent"),
    "Remove": ("remove",),
    "Report": ("report",),
    "Help": ("help",),
    "Act": CASE_ACTS,
    "OpenCase": ("look",),
    "History": ("history",),
    "Read": ("read",),
    "Join": (),
}
# Of the connection itself: nothing is stored, so that nobody else could see it.
NOT_STORED = {"Hello", "Leave", "Beat"}
DOINGS = ("ladder", *(doing for doings in PLAYED_BY.values() for doing in doings))
KINDS = (RoomKind.COMMUNITY, RoomKind.GROUP, RoomKind.THERAPY)
Step = tuple[str, int]


@dataclass
class Reader:
    """One person on one feed, with every snapshot that they were ever given."""

    who: Requester
    feed: str
    snapshots: list[Joined] = field(default_factory=list)
    audience: Audience = Audience.MEMBER


def shown_to(event: FeedEvent, audience: Audience, who: Requester) -> Event:
    return Event(feed=event.feed, epoch=event.epoch, seq=event.seq, item=event.item_for(audience, who.account))


def held(view: FeedView) -> tuple[object, object, object]:
    """What the law is about: everything that a view holds."""
    return view.places, view.others, view.position


class Play:
    """A program of actions carried out on a scene, noting what each reader could have been given after each step."""

    def __init__(self, scene: Scene, kind: RoomKind, staff: dict[Role, Requester]) -> None:
        self.scene = scene
        self.staff = staff
        self.done: set[str] = set()
        self.posted: list[tuple[Requester, str]] = []
        self.closed: list[str] = []
        # The one of the team who writes in such a room.
        at_home = {RoomKind.GROUP: Role.FACILITATOR, RoomKind.THERAPY: Role.THERAPIST}.get(kind, Role.MODERATOR)
        self.host = staff[at_home]
        self.members = (scene.robin,) if kind is RoomKind.THERAPY else (scene.robin, scene.wren)
        inside = [*self.members, self.host]
        if kind is not RoomKind.THERAPY:
            inside += [who for role, who in staff.items() if role in MODERATION and who is not self.host]
        self.readers = [Reader(who, scene.feed) for who in inside]
        self.readers += [Reader(who, inbox_feed(who.account)) for who in (*self.members, *staff.values())]
        self.readers += [
            Reader(staff[Role.MODERATOR], STAFF_MODERATION),
            Reader(staff[Role.CLINICIAN], STAFF_CLINICAL),
            Reader(staff[Role.CLINICAL_LEAD], STAFF_LEAD),
        ]

    async def note(self) -> None:
        """Take everybody's snapshot."""
        for reader in self.readers:
            following = await follow(self.scene.services, reader.who, reader.feed, None)
            reader.snapshots.append(following.joined)
            reader.audience = following.audience

    def live(self, reader: Reader) -> FeedView:
        """The first snapshot and every event as this process told it when it was committed."""
        view = FeedView(reader.feed)
        view.joined(reader.snapshots[0])
        for event in self.scene.heard:
            if event.feed == reader.feed:
                assert view.event(shown_to(event, reader.audience, reader.who)).outcome is not Outcome.GAP
        return view

    async def do(self, step: Step) -> None:
        """Carry one step out; what the service refuses changes nothing, which is checked like everything else."""
        with contextlib.suppress(ServiceError):
            if await self._do(*step):
                self.done.add(step[0])

    async def _do(self, doing: str, pick: int) -> bool:
        """Whether there was anything to do it with."""
        scene, services = self.scene, self.scene.services
        who = self.members[pick % len(self.members)]
        if doing in ("post", "urgent", "staff_post"):
            author = self.host if doing == "staff_post" else who
            ack = await scene.say(author, URGENT if doing == "urgent" else CLEAN)
            self.posted.append((author, ack.message))
        elif doing == "help":
            await ask_for_help(services, who, Help(client_id=client_id(), feed=scene.feed, body="please"), new_id())
        elif doing == "ladder":
            await harness.fast_forward(services, timedelta(seconds=20))
            await climb(services)
        elif doing == "history":
            await history(services, self.host, History(client_id=client_id(), feed=scene.feed, before=99), new_id())
        elif doing == "read":
            await move_read_cursor(services, who, Read(client_id=client_id(), feed=scene.feed, seq=pick))
        elif doing == "look" or doing in CASE_ACTS:
            return await self._act(doing, pick)
        elif self.posted:
            await self._to_message(doing, pick)
        else:
            return False
        return True

    async def _to_message(self, doing: str, pick: int) -> None:
        services = self.scene.services
        author, message = self.posted[pick % len(self.posted)]
        name: dict[str, Any] = {"client_id": client_id(), "feed": self.scene.feed, "message": message}
        if doing == "remove":
            await remove_message(services, author, Remove(**name), new_id())
        elif doing == "report":
            other = self.members[-1] if author is self.members[0] else self.members[0]
            await report_message(services, other, Report(**name, reason="worried"), new_id())
        else:
            body = f"{CLEAN}, as I said" if doing == "edit" else URGENT
            await edit_message(services, author, Edit(**name, body=body))

    async def _act(self, act: str, pick: int) -> bool:
        desks = (
            (self.staff[Role.MODERATOR], STAFF_MODERATION),
            (self.staff[Role.CLINICIAN], STAFF_CLINICAL),
            (self.staff[Role.CLINICAL_LEAD], STAFF_LEAD),
            (self.host, ""),
        )
        who, feed = desks[pick // 2 % len(desks)]
        queue = [case.id for case in await (self.scene.queue(who, feed) if feed else self._own_cases(who))]
        if act == "reopen":
            queue = self.closed
        if not queue:
            return False
        case = queue[pick % len(queue)]
        if act == "look":
            await self.scene.look(who, case)
            return True
        more: dict[str, object] = {}
        if act.endswith("_message") and self.posted:
            more["message"] = self.posted[pick % len(self.posted)][1]
        if act == "reply":
            more["body"] = "Hello, this is Sam."
        if act == "close":
            more |= {"outcome": "supported", "body": "Talked."}
        await self.scene.act(who, case, act, **more)
        if act == "close":
            self.closed.append(case)
        return True

    async def _own_cases(self, who: Requester) -> list[CaseItem]:
        """A facilitator's own groups'; for anybody else of the team, what lies with the clinicians: seen or refused."""
        if who.role is Role.FACILITATOR:
            return list(await cases_of_own_groups(self.scene.services, who))
        return await self.scene.queue(self.staff[Role.CLINICIAN], STAFF_CLINICAL)

    async def all_told(self) -> None:
        """Return once everything that was committed is told here."""
        async with asyncio.timeout(5):
            while any(self.live(r).last < r.snapshots[-1].seq for r in self.readers):  # noqa: ASYNC110
                await asyncio.sleep(0)

    async def check(self) -> None:
        """The law, for every reader from every position."""
        await self.all_told()
        for reader in self.readers:
            end = FeedView(reader.feed)
            end.joined(reader.snapshots[-1])
            assert held(self.live(reader)) == held(end), ("live", reader.who.name, reader.feed)
            for snapshot in {joined.seq: joined for joined in reader.snapshots}.values():
                view = FeedView(reader.feed)
                view.joined(snapshot)
                after = Position(epoch=snapshot.epoch, seq=snapshot.seq)
                following = await follow(self.scene.services, reader.who, reader.feed, after)
                assert following.joined.recovered
                for event in following.events:
                    step = view.event(shown_to(event, following.audience, reader.who))
                    assert step.outcome is Outcome.APPLIED
                assert held(view) == held(end), ("replay", snapshot.seq, reader.who.name, reader.feed)


async def begin(services: Services, kind: RoomKind = RoomKind.COMMUNITY) -> Play:
    """A room of that kind with everybody who works for it on duty, before anything was done."""
    scene = await make_scene(services, kind)
    staff = {Role.MODERATOR: scene.sam}
    for role, name in ((Role.CLINICIAN, "Osei"), (Role.CLINICAL_LEAD, "Lea")):
        staff[role] = await harness.staff(services, name, role)
    for home, role, name in (
        (RoomKind.GROUP, Role.FACILITATOR, "Finn"),
        (RoomKind.THERAPY, Role.THERAPIST, "Tess"),
    ):
        if kind is home:
            staff[role] = await harness.staff(services, name, role)
            await belong(services, scene.feed, staff[role])
    for who in staff.values():
        await on_shift(services, who)
    return Play(scene, kind, staff)


@contextlib.asynccontextmanager
async def played(program: Sequence[Step], kind: RoomKind = RoomKind.COMMUNITY) -> AsyncIterator[Play]:
    """The program, carried out on a database of its own."""
    with tempfile.TemporaryDirectory(prefix="ek-law-") as folder:
        path = Path(folder) / "evenkeel.db"
        harness.copy_sqlite_template(path)
        async with harness.open_services(f"sqlite:///{path}") as services:
            course = await begin(services, kind)
            await course.note()
            for step in program:
                await course.do(step)
                await course.note()
            yield course


async def play(program: Sequence[Step], kind: RoomKind) -> set[str]:
    """Play a program and hold the law; returns what was done in it, and not refused."""
    async with played(program, kind) as course:
        await course.check()
        return course.done


WHOLE: list[Step] = [
    ("urgent", 0), ("claim", 0), ("release_message", 0), ("hold_message", 0), ("reply", 0), ("post", 1), ("report", 1),
    ("edit", 1), ("edit_urgent", 1), ("ladder", 0), ("remove", 1), ("remove_message", 0), ("close", 0), ("help", 0),
    ("claim", 1), ("release_claim", 0), ("escalate", 0), ("acknowledge", 0), ("urgent", 1), ("ladder", 0),
]  # fmt: skip
# While calls ring for the moderator and the clinician, the case moves on; it is closed, and opened again.
RUNG: list[Step] = [
    ("urgent", 0), ("ladder", 0), ("ladder", 0), ("urgent", 0), ("claim", 0), ("release_message", 0), ("escalate", 0),
    ("ladder", 0), ("report", 1), ("acknowledge", 2), ("release_message", 3), ("close", 2), ("reopen", 2), ("claim", 0),
    ("release_claim", 0), ("claim", 0), ("close", 0),
]  # fmt: skip


# The room's own person at work, and what nobody else can see of it.
HOST: list[Step] = [
    ("staff_post", 0), ("report", 0), ("look", 4), ("urgent", 0), ("ladder", 0), ("look", 6), ("claim", 6), ("read", 1),
    ("history", 0), ("reply", 6), ("release_message", 7), ("remove_message", 7), ("close", 6), ("reopen", 6),
]  # fmt: skip
WRITTEN = (
    (WHOLE, RoomKind.COMMUNITY), (RUNG, RoomKind.COMMUNITY),
    (HOST, RoomKind.COMMUNITY), (HOST, RoomKind.GROUP), (HOST, RoomKind.THERAPY),
)  # fmt: skip


@pytest.mark.timeout(120)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(DOINGS), st.integers(0, 7)), max_size=14), st.sampled_from(KINDS))
@example([*RUNG[:-1]], RoomKind.COMMUNITY)
@example([("staff_post", 0), ("edit_urgent", 0), ("report", 0)], RoomKind.COMMUNITY)  # reported: no event of the room
def test_a_snapshot_and_the_events_behind_it_make_the_snapshot_of_now(program: list[Step], kind: RoomKind) -> None:
    """Law: for every program of actions, every reader and every earlier position, snapshot + events == snapshot."""
    asyncio.run(play(program, kind))


@pytest.mark.timeout(120)
def test_every_command_and_every_act_is_played() -> None:
    """The written programs keep the law, and every command and act of the service is carried out in one of them."""
    tree = ast.parse(inspect.getsource(dispatch))
    matched = [node.pattern for node in ast.walk(tree) if isinstance(node, ast.match_case)]
    commands = {p.cls.attr for p in matched if isinstance(p, ast.MatchClass) and isinstance(p.cls, ast.Attribute)}
    assert commands == set(PLAYED_BY)
    assert {kind.__name__ for kind in get_args(AnyCommand)} == commands | NOT_STORED
    done = set().union(*(asyncio.run(play(program, kind)) for program, kind in WRITTEN))
    assert done == set(DOINGS)
