"""`evenkeel torture acks`: the answer to a message is cut off after it was stored, and the message is sent again.

Each author has a line of their own that breaks when told to, and follows no feed: what comes down the line is the
acknowledgement and nothing else, so that a line that is cut at the next byte is cut after the commit and before the
ack. Their SDK comes back, on any of three servers, and sends the same again. Promised: each message is stored once, and
its author is told of one place, however often they had to ask.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from clients.sdk.client import Client, LinkChange, LinkState
from clients.sdk.connection import Timing
from ops.doctor import look
from ops.setup.postgres import running_postgres
from ops.setup.redis import running_redis
from ops.torture.clients import CLEAN, Chatter, Log, words
from ops.torture.cluster import Cluster
from ops.torture.conditions import Conditions
from ops.torture.history import Violation, judge, outcome, read_stored
from ops.torture.people import settings_of
from ops.torture.proxy import FaultProxy
from ops.torture.scaled import SERVERS, share
from ops.trial import TrialPerson, make_trial
from server.protocol.frames import Ack, Send

SENDERS: Final = 40
ROOMS: Final = 2
READERS: Final = 3
CUT_SHARE: Final = 0.3
RETRIES: Final = 3
AGAIN_SHARE: Final = 0.05
RETURN_S: Final = 0.01
READ_S: Final = 60.0


@dataclass
class AckCampaign:
    """What was done and what came of it.

    Attributes:
        cuts: lines that were cut before an ack came through.
        after_commit: those of them whose message had been stored by then, by the time in the ack that came later.
        attempts: how often a message had to be sent until it was acknowledged: times -> messages.
    """

    seed: int
    sent: int = 0
    acknowledged: int = 0
    rows: int = 0
    cuts: int = 0
    after_commit: int = 0
    attempts: Counter[int] = field(default_factory=Counter)
    hops: int = 0
    asked_again: int = 0
    answered_ms: list[float] = field(default_factory=list)
    duration_s: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """The campaign as plain values."""
        return {
            "campaign": "acks",
            "seed": self.seed,
            "sent": self.sent,
            "acknowledged": self.acknowledged,
            "rows": self.rows,
            "cuts": self.cuts,
            "cuts_after_commit": self.after_commit,
            "attempts": {str(times): count for times, count in sorted(self.attempts.items())},
            "came_back_at_another_server": self.hops,
            "asked_again_after_the_ack": self.asked_again,
            "answered_ms_p50": share(self.answered_ms, 0.5),
            "answered_ms_p99": share(self.answered_ms, 0.99),
            "duration_s": round(self.duration_s, 1),
            **outcome(self.violations),
        }


class _Author:
    """Somebody who sends over a line that breaks."""

    def __init__(self, person: TrialPerson, feed: str, rng: random.Random, campaign: AckCampaign) -> None:
        self.log = Log(person.account, feed)
        self.proxy = FaultProxy()
        self._person, self._rng, self._campaign = person, rng, campaign
        self._ports: Sequence[int] = ()
        self._at = 0
        self._open = False  # a message is under way
        self._left = 0
        self._cut_at: list[float] = []

    async def run(self, count: int, ports: Sequence[int], done: Callable[[], None]) -> None:
        """Send `count` messages, one after the other."""
        self._ports = ports
        self._move()
        async with self.proxy:
            client = Client(
                self.proxy.url,
                token=self._person.token,
                timing=Timing(uniform=lambda low, high: RETURN_S),
                on_link=self._link,
            )
            async with client:
                for n in range(count):
                    await self._one(client, n)
                    done()

    async def _one(self, client: Client, n: int) -> None:
        log, campaign = self.log, self._campaign
        named = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        log.sent[named] = words(self._person.name, n, self._rng.choice(CLEAN))
        log.asked[named] = time.monotonic()
        self._open, self._left, self._cut_at = True, RETRIES, []
        self._maybe_cut()
        ack = await client.ask(self._send(named), Ack)
        self._open = False
        log.acks[named] = [ack]
        log.answered[named] = time.monotonic()
        campaign.attempts[1 + len(self._cut_at)] += 1
        campaign.cuts += len(self._cut_at)
        # The ack says when the message was stored, to the millisecond.
        campaign.after_commit += sum(ack.at <= at * 1000 + 1 for at in self._cut_at)
        if self._rng.random() < AGAIN_SHARE:
            earlier = self._rng.choice(list(log.sent))
            log.acks[earlier].append(await client.ask(self._send(earlier), Ack))
            campaign.asked_again += 1

    def _send(self, named: str) -> Send:
        return Send(client_id=named, feed=self.log.feed, body=self.log.sent[named])

    def _maybe_cut(self) -> None:
        if self._left and self._rng.random() < CUT_SHARE:
            self._left -= 1
            self.proxy.cut_after(0)

    def _move(self) -> None:
        before, self._at = self._at, self._rng.randrange(len(self._ports))
        self._campaign.hops += before != self._at
        self.proxy.aim(self._ports[self._at])

    def _link(self, change: LinkChange) -> None:
        if change.state is LinkState.DOWN:
            if self._open:
                self._cut_at.append(time.time())
            self._move()
        elif change.state is LinkState.UP and self._open:
            # What is still open is sent after this: the next byte that comes down is its answer.
            self._maybe_cut()


async def run_acks(
    folder: Path,
    *,
    messages: int,
    seed: int,
    senders: int = SENDERS,
    progress: Callable[[int, str], None] = lambda done, what: None,
) -> AckCampaign:
    """Have `messages` sent over lines that break before the ack, and judge what was stored and told."""
    rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be kept secret
    campaign = AckCampaign(seed)
    began = time.monotonic()
    with running_postgres() as postgres, running_redis() as redis:
        url = postgres.create_database()
        trial = await make_trial(folder, url, rooms=ROOMS, per_room=-(-senders // ROOMS) + READERS)
        settings = settings_of(trial)
        authors = [
            _Author(person, room, random.Random(rng.getrandbits(64)), campaign)  # noqa: S311
            for room, people in zip(trial.rooms, trial.members, strict=True)
            for person in people[READERS:]
        ][:senders]
        each = [messages // senders + (n < messages % senders) for n in range(senders)]

        def done() -> None:
            campaign.acknowledged += 1
            if campaign.acknowledged % 500 == 0:
                progress(campaign.acknowledged, f"{campaign.cuts} lines were cut")

        cluster = Cluster(
            SERVERS,
            {**trial.environ, "REDIS_URL": redis.url},
            folder,
            origins=[author.proxy.url for author in authors],
            conditions=Conditions(unpaced=True),
        )
        over = asyncio.Event()
        async with cluster, asyncio.TaskGroup() as listening:
            readers = [
                Chatter(cluster.urls[n % SERVERS], person, room, rng, 0.0, talks=False)
                for room, people in zip(trial.rooms, trial.members, strict=True)
                for n, person in enumerate(people[:READERS])
            ]
            for reader in readers:
                listening.create_task(reader.run(over))
            await asyncio.gather(*(reader.connected.wait() for reader in readers))
            async with asyncio.TaskGroup() as sending:
                for author, count in zip(authors, each, strict=True):
                    sending.create_task(author.run(count, cluster.ports, done))
            stored = await look(settings, read_stored)
            deadline = time.monotonic() + READ_S
            while time.monotonic() < deadline and any(  # noqa: ASYNC110 - one question to many
                not reader.log.told or reader.log.told[-1].of < stored.heads[reader.log.feed] for reader in readers
            ):
                await asyncio.sleep(0.05)
            over.set()
        stored = await look(settings, read_stored)
        postgres.drop_database(url)
    logs = [author.log for author in authors]
    campaign.sent = sum(len(log.sent) for log in logs)
    campaign.rows = len(stored.messages)
    campaign.answered_ms = [spent for log in logs for spent in log.answered_ms]
    campaign.violations = judge([reader.log for reader in readers], [], stored, senders=logs)
    if campaign.rows != messages:
        campaign.violations.append(Violation("count", f"{campaign.rows} rows of {messages} messages"))
    campaign.duration_s = time.monotonic() - began
    return campaign
