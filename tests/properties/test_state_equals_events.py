"""Law of the live feeds: whatever was done, an old snapshot and the events behind it make the snapshot of now.

Held for the service's own actions on a real database, with the reducer that the SDK uses: for the author, another
member, a moderator and a clinician who are on duty, on the room and on everybody's other feeds, from every position
that there ever was, by the replay of the log and by the events as this process told them.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from clients.sdk.view import FeedView, Outcome
from moderation.types import Role
from server.actions.escalation import climb
from server.actions.feeds import follow
from server.actions.messages import edit_message, remove_message
from server.actions.reports import ask_for_help, report_message
from server.actions.services import Services
from server.auth.requester import Requester
from server.errors import ServiceError
from server.feeds import Audience, FeedEvent
from server.ids import STAFF_CLINICAL, STAFF_MODERATION, inbox_feed, new_id
from server.protocol.frames import (
    Edit,
    Event,
    Help,
    Joined,
    Position,
    Remove,
    Report,
)
from tests import harness
from tests.path.scene import CLEAN, URGENT, Scene, client_id, make_scene, on_shift

CASE_ACTS = (
    "claim", "release_claim", "release_message", "remove_message", "hold_message", "acknowledge", "escalate", "reply",
    "close", "reopen",
)  # fmt: skip
DOINGS = ("post", "urgent", "edit", "edit_urgent", "remove", "report", "help", "ladder", *CASE_ACTS)
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

    def __init__(self, scene: Scene, osei: Requester) -> None:
        self.scene = scene
        self.osei = osei
        self.posted: list[tuple[Requester, str]] = []
        people = (scene.robin, scene.wren, scene.sam, osei)
        self.readers = [Reader(who, scene.feed) for who in people]
        self.readers += [Reader(who, inbox_feed(who.account)) for who in people]
        self.readers += [Reader(scene.sam, STAFF_MODERATION), Reader(osei, STAFF_CLINICAL)]

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
            await self._do(*step)

    async def _do(self, doing: str, pick: int) -> None:
        scene, services = self.scene, self.scene.services
        who = (scene.robin, scene.wren)[pick % 2]
        if doing in ("post", "urgent"):
            ack = await scene.say(who, CLEAN if doing == "post" else URGENT)
            self.posted.append((who, ack.message))
        elif doing == "help":
            await ask_for_help(services, who, Help(client_id=client_id(), feed=scene.feed, body="please"), new_id())
        elif doing == "ladder":
            await harness.fast_forward(services, timedelta(seconds=20))
            await climb(services)
        elif doing in CASE_ACTS:
            await self._act(doing, pick)
        elif self.posted:
            author, message = self.posted[pick % len(self.posted)]
            name: dict[str, Any] = {"client_id": client_id(), "feed": scene.feed, "message": message}
            if doing == "remove":
                await remove_message(services, author, Remove(**name), new_id())
            elif doing == "report":
                other = scene.wren if author is scene.robin else scene.robin
                await report_message(services, other, Report(**name, reason="worried"), new_id())
            else:
                body = f"{CLEAN}, as I said" if doing == "edit" else URGENT
                await edit_message(services, author, Edit(**name, body=body))

    async def _act(self, act: str, pick: int) -> None:
        who, feed = ((self.scene.sam, STAFF_MODERATION), (self.osei, STAFF_CLINICAL))[pick // 2 % 2]
        queue = await self.scene.queue(who, feed)
        if not queue:
            return
        more: dict[str, object] = {}
        if act.endswith("_message") and self.posted:
            more["message"] = self.posted[pick % len(self.posted)][1]
        if act == "reply":
            more["body"] = "Hello, this is Sam."
        if act == "close":
            more |= {"outcome": "supported", "body": "Talked."}
        await self.scene.act(who, queue[pick % len(queue)], act, **more)

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


async def begin(services: Services) -> Play:
    """A scene with a moderator and a clinician on duty, before anything was done."""
    scene = await make_scene(services)
    osei = await harness.staff(services, "Osei", Role.CLINICIAN)
    for who in (scene.sam, osei):
        await on_shift(services, who)
    return Play(scene, osei)


@contextlib.asynccontextmanager
async def played(program: Sequence[Step]) -> AsyncIterator[Play]:
    """The program, carried out on a database of its own."""
    with tempfile.TemporaryDirectory(prefix="ek-law-") as folder:
        path = Path(folder) / "evenkeel.db"
        harness.copy_sqlite_template(path)
        async with harness.open_services(f"sqlite:///{path}") as services:
            course = await begin(services)
            await course.note()
            for step in program:
                await course.do(step)
                await course.note()
            yield course


async def play(program: Sequence[Step]) -> None:
    async with played(program) as course:
        await course.check()


WHOLE: list[Step] = [
    ("urgent", 0), ("claim", 0), ("release_message", 0), ("hold_message", 0), ("reply", 0), ("post", 1), ("report", 1),
    ("edit", 1), ("edit_urgent", 1), ("ladder", 0), ("remove", 1), ("remove_message", 0), ("close", 0), ("help", 0),
    ("claim", 1), ("release_claim", 0), ("escalate", 0), ("acknowledge", 0), ("urgent", 1), ("ladder", 0),
]  # fmt: skip
# While calls ring for the moderator and the clinician, the case moves on; it is closed, and opened again.
RUNG: list[Step] = [
    ("urgent", 0), ("ladder", 0), ("ladder", 0), ("urgent", 0), ("claim", 0), ("release_message", 0), ("escalate", 0),
    ("ladder", 0), ("report", 1), ("acknowledge", 2), ("release_message", 1), ("close", 2), ("reopen", 2), ("close", 0),
]  # fmt: skip


@pytest.mark.timeout(120)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(DOINGS), st.integers(0, 5)), max_size=14))
@example(WHOLE)
@example(RUNG)
@example([*RUNG[:-1]])
def test_a_snapshot_and_the_events_behind_it_make_the_snapshot_of_now(program: list[Step]) -> None:
    """Law: for every program of actions, every reader and every earlier position, snapshot + events == snapshot."""
    asyncio.run(play(program))
