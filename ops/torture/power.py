"""`evenkeel torture power`: cut the power again and again while people send; what was acknowledged is there afterwards.

The store, its writer and the whole message path are those of the service, on SQLite, over a disk that keeps only what
it was told to keep (`ops.torture.disk`). Each round opens what the last cut left, checks it, and goes on from there.
Sockets are left out: what a client is told comes from the same call, and the kill campaign has them.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ops.doctor import look
from ops.torture.clients import CLEAN, URGENT, Log, words
from ops.torture.disk import Disk, Unkept, copy_database
from ops.torture.driver import sqlite_on
from ops.torture.history import Violation, judge_sending, judge_stored, outcome, read_stored
from ops.trial import Trial, make_trial
from server.actions.post_message import post_message
from server.actions.services import Services
from server.actions.sessions import authenticate
from server.auth.requester import Requester
from server.feeds import FeedEvent
from server.main import open_services
from server.protocol.frames import Ack, Held, MessageItem, Send, Shown
from server.settings import Settings, load_settings

DATABASE_NAME: Final = "torture.db"
ROOMS: Final = 2
PER_ROOM: Final = 4
URGENT_SHARE: Final = 0.15
# A commit of a few messages is some fifty writes and one sync. Most cuts fall anywhere in the first half second; some
# within the checkpoint that comes then, which writes to the database itself and keeps it.
OPERATIONS: Final = (1, 1_000)
CHECKPOINT_OPERATIONS: Final = (1, 250)
CHECKPOINT_SHARE: Final = 0.3
ROUND_S: Final = 20.0


@dataclass
class PowerCampaign:
    """What was done and what came of it.

    Attributes:
        cuts: by what became of that which was written and not kept.
        commits, checkpoints: how often the disk was asked to keep the log, and the database, before a cut.
        in_checkpoints: how many cuts came in the middle of a checkpoint.
    """

    seed: int
    cuts: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    acknowledged: int = 0
    delivered: int = 0
    flagged: int = 0
    commits: int = 0
    checkpoints: int = 0
    in_checkpoints: int = 0
    duration_s: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """The campaign as plain values."""
        return {
            "seed": self.seed,
            "cuts": sum(self.cuts.values()),
            "unkept": dict(self.cuts),
            "sent": self.sent,
            "acknowledged": self.acknowledged,
            "delivered": self.delivered,
            "flagged": self.flagged,
            "commits": self.commits,
            "checkpoints": self.checkpoints,
            "cuts_in_checkpoints": self.in_checkpoints,
            "duration_s": round(self.duration_s, 1),
            **outcome(self.violations),
        }


async def run_power(
    folder: Path, *, cuts: int, seed: int, progress: Callable[[int, str], None] = lambda done, what: None
) -> PowerCampaign:
    """Cut the power `cuts` times over a database in `folder`, judging after each; ends at the first broken promise."""
    rng = random.Random(seed)  # noqa: S311 - chosen at random, to be repeated, not to be kept secret
    campaign = PowerCampaign(seed)
    began = time.monotonic()
    here = folder / "0"
    here.mkdir()
    trial = await make_trial(here, url_at(here), rooms=ROOMS, per_room=PER_ROOM)
    people = make_senders(trial, rng)
    told: dict[tuple[str, int], str] = {}
    for done in range(cuts):
        after = folder / str(done + 1)
        after.mkdir()
        unkept = rng.choice(list(Unkept))
        disk = Disk()
        if rng.random() < CHECKPOINT_SHARE:
            disk.cut_after(rng.randint(*CHECKPOINT_OPERATIONS), after, unkept, rng, only=DATABASE_NAME)
        else:
            disk.cut_after(rng.randint(*OPERATIONS), after, unkept, rng)
        await _round(disk, settings_at(trial, here), people, told)
        campaign.cuts[unkept.value] += 1
        campaign.commits += disk.syncs[f"{DATABASE_NAME}-wal"]
        campaign.checkpoints += disk.syncs[DATABASE_NAME]
        campaign.in_checkpoints += DATABASE_NAME in disk.torn
        disk.remove()
        campaign.violations = await _judge(trial, after, people, told, finished=False)
        progress(done + 1, unkept.value)
        here = after
        if campaign.violations:
            break
    else:
        # The machine comes back for good: everybody is answered.
        async with open_services(settings_at(trial, here)) as services:
            await asyncio.gather(*(person.answer_for(services) for person in people))
        campaign.violations = await _judge(trial, here, people, told, finished=True)
    stored = await look(settings_at(trial, here), read_stored)
    campaign.sent = sum(len(person.log.sent) for person in people)
    campaign.acknowledged = sum(len(person.log.acks) for person in people)
    campaign.delivered = len(told)
    campaign.flagged = sum(row.flagged for row in stored.messages.values())
    campaign.duration_s = time.monotonic() - began
    return campaign


async def _round(disk: Disk, settings: Settings, people: Sequence[Sender], told: dict[tuple[str, int], str]) -> None:
    """People send until the power is cut."""

    def hear(events: Sequence[FeedEvent]) -> None:
        for event in events:
            item = event.staff or event.member
            if not disk.dark and isinstance(item, MessageItem) and isinstance(item.view, Shown | Held):
                told[event.feed, event.seq] = item.view.id

    with sqlite_on(disk.name):
        async with open_services(settings) as services:
            services.bus.listen(hear, lambda feed, epoch, seq: None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ROUND_S):
                    await asyncio.gather(*(person.talk(services, disk) for person in people))
            disk.cut_now()


@dataclass
class Sender:
    """A member who sends one message after the other; whatever was not answered is sent again after a restart."""

    log: Log
    name: str
    token: str = field(repr=False)
    rng: random.Random = field(repr=False)
    open: str = ""

    async def talk(self, services: Services, disk: Disk) -> None:
        """Send until the power is cut. An answer that comes afterwards was never received."""
        requester = await authenticate(services, self.token)
        while not disk.dark:
            ack = await self.send(services, requester)
            if not disk.dark:
                self.received(ack)

    async def answer_for(self, services: Services) -> None:
        """See the message through that was not answered, if there is one."""
        if self.open:
            self.received(await self.send(services, await authenticate(services, self.token)))

    async def send(self, services: Services, requester: Requester) -> Ack:
        """Send something new, or once more what was not answered."""
        if not self.open:
            self.open = str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
            text = URGENT if self.rng.random() < URGENT_SHARE else self.rng.choice(CLEAN)
            self.log.sent[self.open] = words(self.name, len(self.log.sent), text)
        command = Send(client_id=self.open, feed=self.log.feed, body=self.log.sent[self.open])
        return await post_message(services, requester, command)

    def received(self, ack: Ack) -> None:
        """The answer to what was sent last has come."""
        self.log.acks.setdefault(self.open, []).append(ack)
        self.open = ""


def make_senders(trial: Trial, rng: random.Random) -> list[Sender]:
    """One for each member of the trial, in their room."""
    return [
        Sender(Log(person.account, room), person.name, person.token, random.Random(rng.getrandbits(64)))  # noqa: S311
        for room, belonging in zip(trial.rooms, trial.members, strict=True)
        for person in belonging
    ]


async def _judge(
    trial: Trial, here: Path, people: Sequence[Sender], told: dict[tuple[str, int], str], *, finished: bool
) -> list[Violation]:
    """What a cut has left, opened by the ordinary SQLite; a copy, so that looking changes nothing."""
    copy = here / "judged"
    copy.mkdir(exist_ok=True)
    copy_database(here / DATABASE_NAME, copy)
    with contextlib.closing(sqlite3.connect(copy / DATABASE_NAME)) as connection:
        try:
            sound = connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            connection.execute("SELECT count(*) FROM message")
        except sqlite3.DatabaseError:
            sound = False
    if not sound:
        return [Violation("corrupt", str(here.name))]
    stored = await look(settings_at(trial, copy), read_stored)
    found = judge_stored(stored)
    for person in people:
        found += judge_sending(person.log, stored, finished=finished)
    places = {(row.feed, row.seq): row.id for row in stored.messages.values()}
    found += [Violation("lost", f"told {message}") for place, message in told.items() if places.get(place) != message]
    return found


def url_at(here: Path) -> str:
    """The campaign's database in a folder."""
    return f"sqlite:///{here / DATABASE_NAME}"


def settings_at(trial: Trial, here: Path) -> Settings:
    """What the service of a trial is opened with, on the database in a folder."""
    return load_settings(
        database_url=url_at(here),
        key_file=Path(trial.environ["EVENKEEL_KEY_FILE"]),
        kind=trial.environ["EVENKEEL_KIND"],
        argon2_memory_kib=8,
        argon2_passes=1,
        screening_deadline_ms=1000,
    )
