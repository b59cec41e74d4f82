"""`evenkeel torture slow`: some read nothing at all, in a room where hundreds read along.

Rounds with them and rounds without take turns. Those who do not read join, and then leave everything that comes in the
system's buffers, which are small here, as in a small network. Promised: the others are told as fast as without them
(p99 at most a fifth slower); what the server holds for them is bounded; it closes them within 15 s of their way, and
what the loop lets wait, being full; and once they read again and come back, they are given exactly what they missed.

When the way is full, and when the server has let go of it, is asked of the system: a client that reads nothing is told
nothing, not even the end.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from clients.sdk.client import Client
from clients.sdk.connection import Timing
from ops.doctor import look
from ops.torture.clients import CLEAN, RETURN_S, Log
from ops.torture.cluster import Cluster
from ops.torture.conditions import Conditions, raise_open_files
from ops.torture.crowd.crowd import Crowd
from ops.torture.crowd.story import Place, Story
from ops.torture.history import Violation, judge, outcome, read_stored
from ops.torture.people import settings_of
from ops.torture.process import memory_mb
from ops.torture.scaled import share
from ops.trial import Trial, TrialPerson, make_trial
from server.live.hub import Timings
from server.protocol.frames import Ack, Send
from server.settings import Settings

READERS: Final = 500
SLEEPERS: Final = 100
SOCKETS_EACH: Final = 5
ROUNDS: Final = 5
QUIET_S: Final = 15.0
PER_S: Final = 20.0
BODY_CHARS: Final = 3_900
SEND_BUFFER: Final = 16 * 1024
# What the loop takes for a connection before it says that this one is full.
HIGH_WATER: Final = 64 * 1024
RECEIVE_BUFFER: Final = 4 * 1024
CLOSED_S: Final = 15.0
# Deadlines that come sooner are still looked at once a second, and the closing handshake is given its two.
ROUNDED_S: Final = 4.0
SLOWER: Final = 1.2
LOOK_S: Final = 0.25
LIVE_S: Final = 60.0
READ_UP_S: Final = 60.0


@dataclass
class SlowCampaign:
    """What was done and what came of it.

    Attributes:
        with_ms, without_ms: p99 from sending to a reader, of each round with sleepers and of each without.
        closed_s: from a way being full until the server let go of it.
        grown_mb: by how much the server's memory grew, each time.
    """

    seed: int
    readers: int = 0
    sleepers: int = 0
    with_ms: list[int] = field(default_factory=list)
    without_ms: list[int] = field(default_factory=list)
    medians_ms: list[int] = field(default_factory=list)
    closed_s: list[float] = field(default_factory=list)
    open_still: int = 0
    grown_mb: list[float] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    resyncs: int = 0
    sent: int = 0
    told: int = 0
    duration_s: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """The campaign as plain values."""
        return {
            "campaign": "slow",
            "seed": self.seed,
            "readers": self.readers,
            "sleepers": self.sleepers,
            "rounds": len(self.grown_mb),
            "delivery_ms_p50": round(statistics.median(self.medians_ms)) if self.medians_ms else None,
            "delivery_ms_p99_without": self.without_ms,
            "delivery_ms_p99_with": self.with_ms,
            "p99_with_to_without": self.slower,
            "closed_s_p50": _of(self.closed_s, 0.5),
            "closed_s_max": _of(self.closed_s, 1.0),
            "never_closed": self.open_still,
            "ends": dict(self.ends),
            "memory_grown_mb_max": round(max(self.grown_mb), 1) if self.grown_mb else None,
            "told_to_read_up": self.resyncs,
            "sent": self.sent,
            "told": self.told,
            "duration_s": round(self.duration_s, 1),
            **outcome(self.violations),
        }

    @property
    def slower(self) -> float | None:
        """The median p99 with sleepers against the median without."""
        if not self.with_ms or not self.without_ms:
            return None
        return round(statistics.median(self.with_ms) / max(1.0, statistics.median(self.without_ms)), 2)


def _of(values: Sequence[float], part: float) -> float | None:
    spent_ms = share([value * 1000 for value in values], part)
    return None if spent_ms is None else spent_ms / 1000


async def run_slow(
    folder: Path,
    *,
    rounds: int,
    seed: int,
    readers: int = READERS,
    sleepers: int = SLEEPERS,
    quiet_s: float = QUIET_S,
    hurry: float = 1.0,
    measured: bool = True,
    progress: Callable[[int, str], None] = lambda done, what: None,
) -> SlowCampaign:
    """Let `sleepers` read nothing for a while, `rounds` times, and judge what everybody else noticed.

    Args:
        quiet_s: how long a round without them is.
        hurry: every deadline comes so many times sooner.
        measured: there are enough readers and rounds to say who is slower.
    """
    raise_open_files()
    campaign = SlowCampaign(seed, readers=readers, sleepers=sleepers)
    began = time.monotonic()
    people = 1 + -(-readers // SOCKETS_EACH) + -(-sleepers // SOCKETS_EACH)
    trial = await make_trial(folder, f"sqlite:///{folder / 'e.db'}", rooms=1, per_room=people)
    settings, talker = settings_of(trial), trial.members[0][0]
    log = Log(talker.account, trial.rooms[0])
    conditions = Conditions(unpaced=True, hurry=hurry, send_buffer=SEND_BUFFER)
    async with Cluster(1, trial.environ, folder, conditions=conditions) as cluster:
        awake, asleep = _seats(cluster.ports[0], trial, readers, sleepers)
        async with Crowd(awake, seed) as reading, Crowd(asleep, seed, None, RECEIVE_BUFFER) as sleeping:
            reading.come(over_s=2.0)
            sleeping.come(over_s=2.0)
            await asyncio.gather(reading.until_live(readers, LIVE_S), sleeping.until_live(sleepers, LIVE_S))
            night = _Night(campaign, cluster, sleeping, log, CLOSED_S / hurry + ROUNDED_S * (hurry != 1))
            over = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_talk(cluster.urls[0], talker, log, seed, over))
                spans = await _take_turns(night, rounds, quiet_s, progress)
                over.set()
            campaign.violations += await _read_up(settings, log.feed, reading, sleeping)
            stories, dreams = await reading.tell(), await sleeping.tell()
    logs = [story.log(place) for place, story in zip((*awake, *asleep), (*stories, *dreams), strict=True) if story.live]
    campaign.violations += judge(logs, [], await look(settings, read_stored), senders=[log])
    _measure(campaign, log, stories, spans)
    campaign.ends = sum((story.ends for story in dreams), Counter())
    campaign.resyncs = sum(len(story.skipped) for story in dreams)
    campaign.sent, campaign.told = len(log.sent), sum(len(each.told) for each in logs)
    _hold_against(campaign, measured=measured)
    campaign.duration_s = time.monotonic() - began
    return campaign


def _seats(port: int, trial: Trial, readers: int, sleepers: int) -> tuple[list[Place], list[Place]]:
    """Where those sit who read along, and those who will not; several sockets each, and no person on both sides."""
    _, *people = trial.members[0]
    first_asleep = -(-readers // SOCKETS_EACH)
    awake, asleep = people[:first_asleep], people[first_asleep:]

    def seated(who: Sequence[TrialPerson], count: int) -> list[Place]:
        taken = (who[n % len(who)] for n in range(count))
        return [Place(port, person.account, person.token, trial.rooms[0]) for person in taken]

    return seated(awake, readers), seated(asleep, sleepers)


async def _take_turns(
    night: _Night, rounds: int, quiet_s: float, progress: Callable[[int, str], None]
) -> list[tuple[float, float, bool]]:
    """A round in which all read, then one in which some sleep, `rounds` times.

    Returns when each began and ended, and whether anybody slept. What those who slept read up lies between the rounds.
    """
    spans = []
    for done in range(1, rounds + 1):
        start = time.monotonic()
        usual_mb = await night.stay_awake(quiet_s)
        spans.append((start, time.monotonic(), False))
        start = time.monotonic()
        await night.pass_by(usual_mb)
        spans.append((start, time.monotonic(), True))
        await night.wake()
        progress(done, f"{len(night.campaign.closed_s)} closed")
    return spans


async def _talk(url: str, person: TrialPerson, log: Log, seed: int, over: asyncio.Event) -> None:
    """Send long messages at an even pace until `over`."""
    rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be kept secret
    async with Client(url, token=person.token, timing=Timing(uniform=lambda low, high: RETURN_S)) as client:
        due = time.monotonic()
        while not over.is_set():
            named, body = client.new_client_id(), f"{len(log.sent)}."
            while len(body) < BODY_CHARS - 100:
                body += f" {rng.choice(CLEAN)}."
            log.sent[named], log.asked[named] = body, time.monotonic()
            log.acks[named] = [await client.ask(Send(client_id=named, feed=log.feed, body=body), Ack)]
            log.answered[named] = time.monotonic()
            due = max(due + 1 / PER_S, time.monotonic() - 1.0)
            await asyncio.sleep(max(0.0, due - time.monotonic()))


async def _read_up(settings: Settings, room: str, *crowds: Crowd) -> list[Violation]:
    """Wait until everybody stands at the head of the room, as the database has it; whoever does not in time missed it.

    Those who slept come back when their wait is over, and first read what came meanwhile: that has no fixed time.
    """
    head = (await look(settings, read_stored)).heads[room]
    behind = sum(await asyncio.gather(*(crowd.until_at(head, READ_UP_S) for crowd in crowds)))
    return [Violation("behind", f"{behind} were not at place {head} after {READ_UP_S:.0f} s")] if behind else []


@dataclass
class _Night:
    """Nobody of a crowd reads, until the server has let go of all of them or had its time."""

    campaign: SlowCampaign
    cluster: Cluster
    crowd: Crowd
    log: Log
    limit_s: float

    async def stay_awake(self, quiet_s: float) -> float:
        """Let everybody read for so long; returns the most memory that the server had, in MB."""
        usual_mb, start = 0.0, time.monotonic()
        while time.monotonic() < start + quiet_s:
            usual_mb = max(usual_mb, memory_mb(self.cluster.pid(0)) or 0.0)
            await asyncio.sleep(LOOK_S)
        return usual_mb

    async def wake(self) -> None:
        """Let the crowd read again, and give it time until it has read what was sent up to now."""
        self.crowd.wake()
        await self.crowd.until_at(max((acks[0].seq for acks in self.log.acks.values()), default=0), READ_UP_S)

    async def pass_by(self, usual_mb: float) -> None:
        """Let the crowd sleep, and note when the server let go of each, and what it held for them meanwhile."""
        ports = set(await self.crowd.sleep())
        server = self.cluster.ports[0]
        held: dict[int, int] = dict.fromkeys(ports, -1)
        full_at: dict[int, float] = dict.fromkeys(ports, time.monotonic())
        grown_mb, late = 0.0, 0
        while ports:
            await asyncio.sleep(LOOK_S)
            now = time.monotonic()
            waiting, owned = _look_at_ways(server)
            grown_mb = max(grown_mb, (memory_mb(self.cluster.pid(0)) or 0.0) - usual_mb)
            for port in list(ports):
                if port not in owned:
                    self.campaign.closed_s.append(now - self._too_much_since(full_at[port]))
                    ports.remove(port)
                elif waiting.get(port, 0) > held[port]:
                    held[port], full_at[port] = waiting[port], now
                elif now - self._too_much_since(full_at[port], now) > self.limit_s + 5.0:
                    late += 1
                    ports.remove(port)
        self.campaign.grown_mb.append(grown_mb)
        self.campaign.open_still += late
        over = sum(spent > self.limit_s for spent in self.campaign.closed_s)
        if late or over:
            self.campaign.violations.append(Violation("open", f"{late} not closed, {over} too late"))

    def _too_much_since(self, full_at: float, otherwise: float | None = None) -> float:
        """When the server had been given more than it lets wait, behind a way that was full at `full_at`."""
        behind = 0
        for named, asked_at in self.log.asked.items():
            if asked_at >= full_at:
                behind += len(self.log.sent[named])
                if behind > HIGH_WATER:
                    return asked_at
        return full_at if otherwise is None else otherwise


def _look_at_ways(server: int) -> tuple[dict[int, int], set[int]]:
    """By a client's port: how many bytes wait on the way to it, and whether the server still holds its end."""
    waiting: Counter[int] = Counter()
    owned: set[int] = set()
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        columns = line.split()
        here, there = (int(columns[n].partition(":")[2], 16) for n in (1, 2))
        unsent, unread = (int(part, 16) for part in columns[4].split(":"))
        if here == server:
            waiting[there] += unsent
            if columns[9] != "0":
                owned.add(there)
        elif there == server:
            waiting[here] += unread
    return dict(waiting), owned


def _measure(
    campaign: SlowCampaign, log: Log, stories: Sequence[Story], spans: Sequence[tuple[float, float, bool]]
) -> None:
    asked = {acks[0].seq: log.asked[named] for named, acks in log.acks.items()}
    spent: list[list[float]] = [[] for _ in spans]
    for story in stories:
        for of, at in zip(story.seqs, story.moments, strict=True):
            sent_at = asked.get(of)
            if sent_at is not None:
                for n, (start, end, _) in enumerate(spans):
                    if start <= sent_at < end:
                        spent[n].append((at - sent_at) * 1000)
    for (_, _, is_night), values in zip(spans, spent, strict=True):
        p50, p99 = share(values, 0.5), share(values, 0.99)
        if p50 is not None and p99 is not None:
            campaign.medians_ms.append(p50)
            (campaign.with_ms if is_night else campaign.without_ms).append(p99)


def _hold_against(campaign: SlowCampaign, *, measured: bool) -> None:
    bound_mb = campaign.sleepers * Timings().unsent_bytes / 1e6
    if max(campaign.grown_mb, default=0.0) > bound_mb:
        campaign.violations.append(Violation("memory", f"grew by {max(campaign.grown_mb):.0f} MB of {bound_mb:.0f}"))
    if measured and (campaign.slower is None or campaign.slower > SLOWER):
        campaign.violations.append(Violation("slower", f"p99 {campaign.slower} times that without"))
