"""`evenkeel torture hops`: readers are cut off again and again and come back at any of three servers.

Half way a backup is restored into another database, from which the servers serve afterwards: history is another one
from there on, and positions of the old one look as if they fitted. Promised: each time they come back they are given
exactly what they missed, or told expressly that they must read up, and that only where it is due.

A reader is away for 0.1 to 300 s, small absences as likely as great ones. The seconds are those of the room and not of
a clock: in one of them the room moves on by two places, however fast the machine is. What an absence means to the
server is how far the log has gone on, and whether what is kept in memory still reaches back to it; that time passes is
nothing to it, but for a connection that was left open (deadlines of connections: `oneway`).
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from clients.sdk import http_api
from ops.backup import back_up, restore
from ops.doctor import look
from ops.setup.postgres import running_postgres
from ops.setup.redis import running_redis
from ops.torture.clients import Chatter
from ops.torture.cluster import Cluster
from ops.torture.conditions import Conditions
from ops.torture.history import Stored, Violation, judge, outcome, read_stored
from ops.torture.hopper import Hopper, Hops
from ops.torture.scaled import SERVERS, share
from ops.trial import PASSWORD, Trial, TrialPerson, make_trial
from server.settings import Settings, load_settings

READERS: Final = 24
TALKERS: Final = 6
AWAY_S: Final = (0.1, 300.0)
PLACES_PER_S: Final = 2.0
STAY_S: Final = (0.0, 0.3)
REST_S: Final = 0.05
# A room that does not move lets nobody come back: then they do all the same.
AWAY_MOST_S: Final = 120.0
SETTLE_S: Final = 30.0


@dataclass
class HopCampaign:
    """What was done and what came of it.

    Attributes:
        away_s: for how long readers were away, in seconds of the room.
        lost_s: how much the restore has taken back, in seconds of the clock.
    """

    seed: int
    disconnects: int = 0
    hops: Hops = field(default_factory=Hops)
    away_s: list[float] = field(default_factory=list)
    sent: int = 0
    told: int = 0
    lost_s: float = 0.0
    duration_s: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """The campaign as plain values."""
        hops = self.hops
        return {
            "campaign": "hops",
            "seed": self.seed,
            "disconnects": self.disconnects,
            "how": dict(hops.hows),
            "came_back_at_another_server": hops.at_another,
            "resumed_exactly": hops.exact,
            "told_to_read_up": dict(hops.resyncs),
            "away_s_p50": share(self.away_s, 0.5),
            "away_s_max": share(self.away_s, 1.0),
            "missed_p50": share(hops.missed, 0.5),
            "missed_max": share(hops.missed, 1.0),
            "resumed_ms_p50": share(hops.resumed_ms, 0.5),
            "resumed_ms_p99": share(hops.resumed_ms, 0.99),
            "sent": self.sent,
            "told": self.told,
            "taken_back_by_the_restore_s": round(self.lost_s, 1),
            "duration_s": round(self.duration_s, 1),
            **outcome(self.violations),
        }


class _Act:
    """One database, its servers, and those who talk there, for readers to come and go."""

    def __init__(
        self,
        cluster: Cluster,
        talkers: Sequence[Chatter],
        rng: random.Random,
        campaign: HopCampaign,
        away_s: tuple[float, float],
    ) -> None:
        self._cluster, self._talkers, self._rng, self._campaign = cluster, talkers, rng, campaign
        self._away_s = away_s
        self.done = 0

    def head(self) -> int:
        """How far the room has come, as those who talk there were told."""
        return max((acks[0].seq for talker in self._talkers for acks in talker.log.acks.values()), default=0)

    async def hop(self, hopper: Hopper, times: int, done: Callable[[], None]) -> None:
        """Lose the connection so many times."""
        for _ in range(times):
            counted_s = math.exp(self._rng.uniform(*(math.log(bound) for bound in self._away_s)))
            await hopper.hop(self._cluster.urls, self._rng.uniform(*STAY_S), self._away(counted_s))
            self._campaign.away_s.append(counted_s)
            self.done += 1
            done()

    def _away(self, counted_s: float) -> Callable[[], Awaitable[None]]:
        async def away() -> None:
            back_at, until = self.head() + counted_s * PLACES_PER_S, time.monotonic() + AWAY_MOST_S
            while self.head() < back_at and time.monotonic() < until:  # noqa: ASYNC110 - their logs
                await asyncio.sleep(0.02)

        return away

    async def settle(self, settings: Settings, hoppers: Sequence[Hopper]) -> Stored:
        """Nothing new is sent; everybody reads to the end. Returns what the database holds then."""
        logs = [talker.log for talker in self._talkers]
        for talker in self._talkers:
            talker.stop()
        until = time.monotonic() + SETTLE_S
        while time.monotonic() < until and any(len(log.acks) < len(log.sent) for log in logs):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        stored = await look(settings, read_stored)
        for hopper in hoppers:
            await hopper.read_to(self._cluster.urls, stored.heads[hopper.log.feed])
        while time.monotonic() < until and any(  # noqa: ASYNC110
            not log.told or log.told[-1].of < stored.heads[log.feed] for log in logs
        ):
            await asyncio.sleep(0.05)
        return stored


async def run_hops(
    folder: Path,
    *,
    disconnects: int,
    seed: int,
    readers: int = READERS,
    away_s: tuple[float, float] = AWAY_S,
    progress: Callable[[int, str], None] = lambda done, what: None,
) -> HopCampaign:
    """Cut readers off `disconnects` times, half of them before and half after a restore."""
    rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be kept secret
    campaign = HopCampaign(seed)
    began = time.monotonic()
    with running_postgres() as postgres, running_redis() as redis:
        before, after = postgres.create_database(), postgres.create_database()
        trial = await make_trial(folder, before, rooms=1, per_room=readers + TALKERS)
        room, people = trial.rooms[0], trial.members[0]
        hoppers = [
            Hopper(person.account, person.token, room, random.Random(rng.getrandbits(64)), campaign.hops)  # noqa: S311
            for person in people[TALKERS:]
        ]
        stage = _Stage(folder, trial, redis.url, hoppers, campaign, rng, away_s, progress)
        backup = folder / "hops.backup"
        first = await stage.act(before, people[:TALKERS], disconnects // 2, backup=backup)
        restored = await asyncio.to_thread(restore, stage.settings(after), backup, nothing_erased=True)
        campaign.lost_s = restored.lost_s
        kept = await look(stage.settings(after), read_stored)
        await stage.act(after, people[:TALKERS], disconnects - disconnects // 2, earlier=(first, kept))
    campaign.violations += campaign.hops.violations
    if campaign.hops.resyncs["epoch"] != len(hoppers):
        campaign.violations.append(Violation("resync", "not everybody was told that history was replaced"))
    campaign.duration_s = time.monotonic() - began
    return campaign


@dataclass
class _Stage:
    """What both acts have in common."""

    folder: Path
    trial: Trial
    redis_url: str
    hoppers: Sequence[Hopper]
    campaign: HopCampaign
    rng: random.Random
    away_s: tuple[float, float]
    progress: Callable[[int, str], None]

    def settings(self, url: str) -> Settings:
        environ = self.trial.environ
        return load_settings(
            database_url=url, key_file=Path(environ["EVENKEEL_KEY_FILE"]), kind=environ["EVENKEEL_KIND"]
        )

    async def act(
        self,
        url: str,
        talkers: Sequence[TrialPerson],
        times: int,
        *,
        backup: Path | None = None,
        earlier: tuple[Sequence[Chatter], Stored] | None = None,
    ) -> Sequence[Chatter]:
        """Everything that happens on one database, and the judgement of it.

        Args:
            backup: is made half way through.
            earlier: those who talked in the act before, and what of it is in this database.
        """
        environ = {**self.trial.environ, "DATABASE_URL": url, "REDIS_URL": self.redis_url}
        cluster = Cluster(SERVERS, environ, self.folder, conditions=Conditions(unpaced=True))
        over = asyncio.Event()
        async with cluster, asyncio.TaskGroup() as talking:
            if earlier is not None:
                talkers = [await _signed_in(cluster, person) for person in talkers]
                for hopper, person in zip(self.hoppers, self.trial.members[0][len(talkers) :], strict=True):
                    hopper.begin_again((await _signed_in(cluster, person)).token)
            chatters = [
                Chatter(cluster.urls[n % SERVERS], person, self.hoppers[0].log.feed, self._dice(), 0.0, rest_s=REST_S)
                for n, person in enumerate(talkers)
            ]
            if earlier is not None:
                _remember(chatters, *earlier)
            act = _Act(cluster, chatters, self.rng, self.campaign, self.away_s)
            for chatter in chatters:
                talking.create_task(chatter.run(over))
            async with asyncio.TaskGroup() as hopping:
                for n, hopper in enumerate(self.hoppers):
                    count = times // len(self.hoppers) + (n < times % len(self.hoppers))
                    hopping.create_task(act.hop(hopper, count, self._done))
                if backup is not None:
                    while act.done < times // 2:  # noqa: ASYNC110 - counted by many
                        await asyncio.sleep(0.05)
                    await asyncio.to_thread(back_up, self.settings(url), backup)
            stored = await act.settle(self.settings(url), self.hoppers)
            over.set()
        logs = [*(hopper.log for hopper in self.hoppers), *(chatter.log for chatter in chatters)]
        self.campaign.sent += sum(len(chatter.log.sent) for chatter in chatters)
        self.campaign.told += sum(len(log.told) for log in logs)
        self.campaign.violations += judge(logs, [], stored)
        return chatters

    def _done(self) -> None:
        self.campaign.disconnects += 1
        if self.campaign.disconnects % 50 == 0:
            hops = self.campaign.hops
            self.progress(
                self.campaign.disconnects, f"{hops.exact} exact, {sum(hops.resyncs.values())} told to read up"
            )

    def _dice(self) -> random.Random:
        return random.Random(self.rng.getrandbits(64))  # noqa: S311


async def _signed_in(cluster: Cluster, person: TrialPerson) -> TrialPerson:
    """The same person with a session of the restored service."""
    signed_in = await http_api.sign_in(cluster.urls[0], person.name, PASSWORD)
    return TrialPerson(person.account, person.name, signed_in.token)


def _remember(chatters: Sequence[Chatter], before: Sequence[Chatter], kept: Stored) -> None:
    """What somebody sent before is still theirs, as far as it was in the backup."""
    for chatter, earlier in zip(chatters, before, strict=True):
        for named, body in earlier.log.sent.items():
            if (earlier.log.account, named) in kept.messages:
                chatter.log.sent[named] = body
                chatter.log.acks[named] = list(earlier.log.acks[named])
