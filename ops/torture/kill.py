"""`evenkeel torture kill`: kill the server again and again while people talk, and see what became of the promises.

Named places (`server.killpoints`) take turns with moments chosen by chance; everything chosen comes from one seed. All
servers of a campaign use one database and one listening socket, as workers under a supervisor do.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Final

from ops.doctor import look
from ops.torture.clients import Chatter, Moderator
from ops.torture.history import Stored, Violation, judge, outcome, read_stored
from ops.torture.people import settings_of
from ops.torture.process import ServerFactory
from ops.trial import Trial, make_trial
from server import killpoints
from server.settings import Settings
from server.supervisor.listener import bind

ROOMS: Final = 2
PER_ROOM: Final = 4
URGENT_SHARE: Final = 0.25
# A named place that is not reached in time is given up, and the server is killed where it is.
REACH_S: Final = 8.0
START_S: Final = 30.0
SETTLE_S: Final = 30.0
RANDOM: Final = "random"
# Reached once for each ladder that comes due, not for each message: the first time has to do.
_SELDOM: Final = frozenset({killpoints.DUE_TO_ATTEMPT, killpoints.ATTEMPT_TO_RECORD})


@dataclass
class Campaign:
    """What was done and what came of it.

    Attributes:
        hits: how often each place was where the server died; "random": killed by chance, or where a place was not
            reached.
        recovered_ms: from each death until a client was connected again.
    """

    seed: int
    database: str
    hits: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    acknowledged: int = 0
    flagged: int = 0
    calls: int = 0
    duration_s: float = 0.0
    recovered_ms: list[float] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """The campaign as plain values."""
        recovered = sorted(self.recovered_ms)
        return {
            "seed": self.seed,
            "database": self.database,
            "kills": sum(self.hits.values()),
            "hits": dict(self.hits),
            "sent": self.sent,
            "acknowledged": self.acknowledged,
            "flagged": self.flagged,
            "calls": self.calls,
            "duration_s": round(self.duration_s, 1),
            "recovered_ms_p50": round(recovered[len(recovered) // 2]) if recovered else None,
            **outcome(self.violations),
        }


def plan(kills: int, rng: random.Random, places: tuple[str, ...] = killpoints.ALL) -> list[str]:
    """The orders of a campaign, as `killpoints.arm` takes them, with "" for chance.

    The places of the ladder come three times as often: a server is asked to die there and mostly does not get so far.
    """
    seldom = [name for name in places if name in _SELDOM]
    turns = [*places, *seldom, *seldom, ""]
    orders = [turns[n % len(turns)] for n in range(kills)]
    rng.shuffle(orders)
    return [_order(name, rng) for name in orders]


def _order(name: str, rng: random.Random) -> str:
    return f"{name}:{1 if name in _SELDOM else rng.randint(1, 6)}" if name else ""


async def run_campaign(
    folder: Path,
    database_url: str,
    *,
    kills: int,
    seed: int,
    places: tuple[str, ...] = killpoints.ALL,
    until_hit: Collection[str] = (),
    seconds: float | None = None,
    progress: Callable[[int, str], None] = lambda done, where: None,
) -> Campaign:
    """Kill `kills` servers (or as many as `seconds` allow) over an empty database and judge what is left.

    With `until_hit` the servers are ordered to die at those places in turn, each until one did; then it is over.
    """
    rng = random.Random(seed)  # noqa: S311 - chosen at random, to be repeated, not to be kept secret
    campaign = Campaign(seed, database_url.partition(":")[0])
    began = time.monotonic()
    trial = await make_trial(folder, database_url, rooms=ROOMS, per_room=PER_ROOM, moderators=1)
    listener = bind("127.0.0.1", 0)
    try:
        stage = _Stage(trial, listener.getsockname()[1], rng)
        factory = ServerFactory(trial.environ, folder / "server.log")
        async with stage:
            orders = plan(kills, rng, places)
            for done in range(kills):
                order = orders[done]
                if until_hit:
                    left = [place for place in until_hit if not campaign.hits[place]]
                    if not left:
                        break
                    order = _order(left[done % len(left)], rng)
                if seconds is not None and time.monotonic() - began > seconds:
                    break
                server = factory.start(listener, order)
                await stage.until_connected(campaign, server)
                where = await _until_dead(server, order, rng)
                campaign.hits[where] += 1
                stage.cut_at = time.monotonic()
                progress(done + 1, where)
            server = factory.start(listener)
            try:
                await stage.until_connected(campaign, server)
                settled = await stage.settle(settings_of(trial))
                await _stop(server)
            finally:
                server.kill()
    finally:
        listener.close()
    await _judge(campaign, stage, trial, settled)
    campaign.duration_s = time.monotonic() - began
    return campaign


class _Stage:
    """The people of a campaign, from the first server to the last."""

    def __init__(self, trial: Trial, port: int, rng: random.Random) -> None:
        url = f"http://127.0.0.1:{port}"
        self.chatters = [
            Chatter(url, person, room, random.Random(rng.getrandbits(64)), URGENT_SHARE)  # noqa: S311
            for room, people in zip(trial.rooms, trial.members, strict=True)
            for person in people
        ]
        self.moderators = [Moderator(url, person, random.Random(rng.getrandbits(64))) for person in trial.moderators]  # noqa: S311
        self.cut_at: float | None = None
        self._over = asyncio.Event()
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> _Stage:
        await self._tasks.__aenter__()
        for chatter in self.chatters:
            self._tasks.create_task(chatter.run(self._over))
        for moderator in self.moderators:
            self._tasks.create_task(moderator.run(self._over))
        return self

    async def __aexit__(self, *raised: Any) -> None:
        self._over.set()
        await self._tasks.__aexit__(*raised)

    async def until_connected(self, campaign: Campaign, server: ForkServerProcess) -> None:
        """Wait until somebody is connected to the new server, or it has died before that."""
        for chatter in self.chatters:
            chatter.connected.clear()
        loop = asyncio.get_running_loop()
        died = asyncio.Event()
        loop.add_reader(server.sentinel, died.set)
        events = [died, *(chatter.connected for chatter in self.chatters)]
        waiting = [asyncio.ensure_future(event.wait()) for event in events]
        try:
            async with asyncio.timeout(START_S):
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            loop.remove_reader(server.sentinel)
            for task in waiting:
                task.cancel()
        if self.cut_at is not None and not died.is_set():
            campaign.recovered_ms.append((time.monotonic() - self.cut_at) * 1000)

    async def settle(self, settings: Settings) -> Stored:
        """Nothing new is sent; wait until everything sent is answered, read by everybody, and every call was made.

        Returns what the database held at the last look, settled or not: the judge decides.
        """
        for chatter in self.chatters:
            chatter.stop()
        deadline = time.monotonic() + SETTLE_S
        while True:
            stored = await look(settings, read_stored)
            answered = all(len(c.log.acks) == len(c.log.sent) for c in self.chatters)
            read = all(c.log.told and c.log.told[-1].of >= stored.heads[c.log.feed] for c in self.chatters)
            called = all(stored.pages.get(m.log.account, frozenset()) <= m.log.pages for m in self.moderators)
            done = answered and read and called and not stored.unmade and not stored.uncalled
            if done or time.monotonic() > deadline:
                return stored
            await asyncio.sleep(0.1)


async def _until_dead(server: ForkServerProcess, order: str, rng: random.Random) -> str:
    """Let the server run into its order, or kill it by chance; returns where it died."""
    wait_s = REACH_S if order else rng.uniform(0.02, 1.0)
    await asyncio.to_thread(server.join, wait_s)
    if server.is_alive():
        server.kill()
        order = ""
        await asyncio.to_thread(server.join)
    if server.exitcode != -signal.SIGKILL:
        raise RuntimeError(f"the server ended by itself, with status {server.exitcode}; see server.log")
    return order.partition(":")[0] or RANDOM


async def _stop(server: ForkServerProcess) -> None:
    server.terminate()
    await asyncio.to_thread(server.join, START_S)
    if server.exitcode != 0:
        raise RuntimeError(f"the last server did not stop in order (status {server.exitcode}); see server.log")


async def _judge(campaign: Campaign, stage: _Stage, trial: Trial, settled: Stored) -> None:
    # Ladders climb on while the last server stops: whose page was reached is asked of the moment before.
    stored = dataclasses.replace(await look(settings_of(trial), read_stored), pages=settled.pages)
    members = [chatter.log for chatter in stage.chatters]
    campaign.sent = sum(len(log.sent) for log in members)
    campaign.acknowledged = sum(len(log.acks) for log in members)
    campaign.flagged = sum(row.flagged for row in stored.messages.values())
    campaign.calls = sum(len(calls) for calls in stored.pages.values())
    campaign.violations = judge(members, [moderator.log for moderator in stage.moderators], stored)
