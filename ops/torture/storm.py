"""`evenkeel torture storm` and `opening`: everybody comes at once, to one server.

`storm`: thousands of sockets are cut in one moment and come back as PROTOCOL.md has it. `opening`: as many people open
the page as the clock strikes the hour, without any spread. Beside them sit witnesses in a process of their own, who are
connected all the time and ask the server for a pong some times a second; and people talk in every room. Promised: all
are live within 60 s; for whoever is connected a message takes a second at most (p99), to its author and to its readers;
the server's loop is never late by more than 100 ms (p99); its memory does not run away; and nobody misses anything.

How late the loop is, is seen from outside: a pong is written in the step of the loop in which the ping is read.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ops.doctor import look
from ops.torture.clients import Chatter, Log
from ops.torture.cluster import Cluster
from ops.torture.conditions import Conditions, raise_open_files
from ops.torture.crowd.crowd import Crowd
from ops.torture.crowd.story import Place, Story
from ops.torture.history import Violation, judge, outcome, read_stored
from ops.torture.people import settings_of
from ops.torture.process import memory_mb
from ops.torture.scaled import share
from ops.trial import Trial, make_trial

PER_ROOM: Final = 20
# Sockets of one person: an invented person is dear to make, and people have several pages open.
SOCKETS_EACH: Final = 5
WITNESSES: Final = 20
PING_S: Final = 0.25
TALKERS: Final = 20
REST_S: Final = 1.5
LIVE_S: Final = 60.0
LATE_MS: Final = 1_000
LAG_MS: Final = 100
MEMORY_MB: Final = 1_000
# For a few figures on a machine that has other things to do.
LEEWAY: Final = 20.0
BEFORE_S: Final = 5.0
AFTER_S: Final = 20.0
COMING_S: Final = 10.0
SETTLE_S: Final = 30.0
READ_S: Final = 2.0


@dataclass
class StormCampaign:
    """What was done and what came of it. Times in milliseconds unless the name says otherwise.

    Attributes:
        live_s: from the moment of the storm until each socket was live.
        ends: how connections ended: by a close code, a status of HTTP, or a deadline of the client's.
        acks, deliveries: of messages sent from that moment on, until the last was live and some seconds more.
        pongs: how long the server took for a pong in that time.
        quiet_pongs: the same before.
    """

    name: str
    seed: int
    sockets: int = 0
    live_s: list[float] = field(default_factory=list)
    attempts: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    acks: list[float] = field(default_factory=list)
    deliveries: list[float] = field(default_factory=list)
    pongs: list[float] = field(default_factory=list)
    quiet_pongs: list[float] = field(default_factory=list)
    memory_mb: float | None = None
    sent: int = 0
    told: int = 0
    resyncs: int = 0
    duration_s: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """The campaign as plain values."""
        return {
            "campaign": self.name,
            "seed": self.seed,
            "sockets": self.sockets,
            "live_s_p50": _seconds(self.live_s, 0.5),
            "live_s_p99": _seconds(self.live_s, 0.99),
            "live_s_max": _seconds(self.live_s, 1.0),
            "attempts": self.attempts,
            "ends": dict(self.ends),
            "ack_ms_p50": share(self.acks, 0.5),
            "ack_ms_p99": share(self.acks, 0.99),
            "delivery_ms_p50": share(self.deliveries, 0.5),
            "delivery_ms_p99": share(self.deliveries, 0.99),
            "pong_ms_p50": share(self.pongs, 0.5),
            "pong_ms_p99": share(self.pongs, 0.99),
            "pong_ms_max": share(self.pongs, 1.0),
            "pong_before_ms_p99": share(self.quiet_pongs, 0.99),
            "server_memory_mb_max": None if self.memory_mb is None else round(self.memory_mb),
            "sent": self.sent,
            "told": self.told,
            "told_to_read_up": self.resyncs,
            "duration_s": round(self.duration_s, 1),
            **outcome(self.violations),
        }

    def judge_times(self, leeway: float) -> None:
        """Hold the figures against what is promised, times so many."""
        slow = [spent for spent in self.live_s if spent > LIVE_S]
        if slow or len(self.live_s) < self.sockets:
            away = self.sockets - len(self.live_s) + len(slow)
            self.violations.append(Violation("away", f"{away} sockets were not live within {LIVE_S:.0f} s"))
        if self.memory_mb is not None and self.memory_mb > MEMORY_MB:
            self.violations.append(Violation("memory", f"{self.memory_mb:.0f} MB"))
        for what, values, most in (
            ("acknowledgement", self.acks, LATE_MS),
            ("delivery", self.deliveries, LATE_MS),
            ("loop", self.pongs, LAG_MS),
        ):
            p99 = share(values, 0.99)
            if p99 is None or p99 > most * leeway:
                self.violations.append(Violation("late", f"{what}: p99 {p99} ms"))


def _seconds(values: Sequence[float], part: float) -> float | None:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * part))], 2) if ordered else None


async def run_storm(
    folder: Path,
    *,
    sockets: int,
    seed: int,
    opening: bool = False,
    measured: bool = True,
    progress: Callable[[int, str], None] = lambda done, what: None,
) -> StormCampaign:
    """Have `sockets` cut at once, or come at once, and judge what everybody noticed of it.

    Args:
        measured: there is time to measure; else times may be much longer than is promised.
    """
    raise_open_files()
    rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be kept secret
    campaign = StormCampaign("opening" if opening else "storm", seed, sockets=sockets)
    began = time.monotonic()
    rooms = max(1, sockets // PER_ROOM)
    talking = min(TALKERS, rooms)
    people = -(-sockets // (rooms * SOCKETS_EACH)) + 1
    trial = await make_trial(folder, f"sqlite:///{folder / 'e.db'}", rooms=rooms, per_room=people)
    over = asyncio.Event()
    async with Cluster(1, trial.environ, folder, conditions=Conditions(unpaced=True)) as cluster:
        places = [_place(cluster.ports[0], trial, n % rooms, 1 + n // rooms // SOCKETS_EACH) for n in range(sockets)]
        watching = [_place(cluster.ports[0], trial, n % talking, 0) for n in range(WITNESSES)]
        async with (
            Crowd(places, seed) as crowd,
            Crowd(watching, seed, PING_S) as witnesses,
            asyncio.TaskGroup() as tasks,
        ):
            chatters = [
                Chatter(cluster.urls[0], trial.members[n][0], trial.rooms[n], rng, 0.0, rest_s=REST_S)
                for n in range(talking)
            ]
            running = [tasks.create_task(chatter.run(over)) for chatter in chatters]
            memory = tasks.create_task(_watch_memory(campaign, cluster))
            if not opening:
                await _all_come(crowd, sockets, COMING_S if measured else 1.0)
            await _all_come(witnesses, len(watching), 0.0)
            await asyncio.sleep(BEFORE_S if measured else 0.5)
            storm_at = time.monotonic()
            all_live = await _break_out(crowd, sockets, opening=opening)
            progress(sockets, f"{'all' if all_live else 'not all'} live after {time.monotonic() - storm_at:.1f} s")
            await asyncio.sleep(AFTER_S if measured else 0.5)
            until = time.monotonic()
            await _settle(chatters, running)
            stories, witnessed = await crowd.tell(), await witnesses.tell()
            over.set()
            memory.cancel()
        if cluster.pid(0) is None:
            campaign.violations.append(Violation("ended", "the server ended"))
    told = list(zip((*places, *watching), (*stories, *witnessed), strict=True))
    spoken = [chatter.log for chatter in chatters]
    logs = [*spoken, *(story.log(place) for place, story in told if story.live)]
    campaign.violations += judge(logs, [], await look(settings_of(trial), read_stored))
    campaign.sent, campaign.told = sum(len(log.sent) for log in spoken), sum(len(log.told) for log in logs)
    _measure(campaign, spoken, told, storm_at, until)
    _count_returns(campaign, stories, storm_at)
    campaign.judge_times(1.0 if measured else LEEWAY)
    campaign.duration_s = time.monotonic() - began
    return campaign


async def _all_come(crowd: Crowd, sockets: int, over_s: float) -> None:
    """Let a crowd come within so many seconds, and wait until all are live."""
    crowd.come(over_s)
    await crowd.until_live(sockets, LIVE_S)


async def _break_out(crowd: Crowd, sockets: int, *, opening: bool) -> bool:
    """All come in one moment, or are cut off in one and come back; returns whether all were live in time."""
    if opening:
        crowd.come()
    else:
        crowd.cut()
    await asyncio.sleep(0.5)
    return await crowd.until_live(sockets, LIVE_S + 5.0)


def _count_returns(campaign: StormCampaign, stories: Sequence[Story], storm_at: float) -> None:
    """When each socket was live again, how often it had to try, and how its connections ended."""
    back = ([at for at in story.live[::2] if at > storm_at] for story in stories)
    campaign.live_s = [moments[0] - storm_at for moments in back if moments]
    campaign.attempts = sum(story.attempts for story in stories)
    campaign.ends = sum((story.ends for story in stories), Counter())
    campaign.resyncs = sum(len(story.skipped) for story in stories)


def _place(port: int, trial: Trial, room: int, person: int) -> Place:
    who = trial.members[room][person]
    return Place(port, who.account, who.token, trial.rooms[room])


async def _watch_memory(campaign: StormCampaign, cluster: Cluster) -> None:
    while True:
        used_mb = memory_mb(cluster.pid(0))
        if used_mb is not None:
            campaign.memory_mb = max(campaign.memory_mb or 0.0, used_mb)
        await asyncio.sleep(0.5)


async def _settle(chatters: Sequence[Chatter], running: Sequence[asyncio.Task[None]]) -> None:
    """Nothing new is sent; wait until all is answered, and then until it was read, as far as a moment allows."""
    for chatter in chatters:
        chatter.stop()
    deadline = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline and any(  # noqa: ASYNC110 - their logs
        len(chatter.log.acks) < len(chatter.log.sent) and not task.done()
        for chatter, task in zip(chatters, running, strict=True)
    ):
        await asyncio.sleep(0.05)
    await asyncio.sleep(READ_S)


def _measure(
    campaign: StormCampaign, spoken: Sequence[Log], told: Sequence[tuple[Place, Story]], since: float, until: float
) -> None:
    """How long messages took that were sent between two moments, and pongs that came between them."""
    asked: dict[tuple[str, int], float] = {}
    for log in spoken:
        for named, acks in log.acks.items():
            if since <= log.asked[named] <= until:
                asked[log.feed, acks[0].seq] = log.asked[named]
                campaign.acks.append((log.answered[named] - log.asked[named]) * 1000)
    for place, story in told:
        for of, at in zip(story.seqs, story.moments, strict=True):
            sent_at = asked.get((place.feed, of))
            # Whoever was away meanwhile is given it when they come back; how long that takes is another question.
            if sent_at is not None and story.was_live(sent_at, at):
                campaign.deliveries.append((at - sent_at) * 1000)
        for at, spent in zip(story.pong_moments, story.pongs, strict=True):
            if at <= until:
                (campaign.pongs if at >= since else campaign.quiet_pongs).append(spent * 1000)
