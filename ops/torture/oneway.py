"""`evenkeel torture oneway`: the way to somebody is open in one direction only, and nobody is told.

In half of the cases what the server says does not arrive, in the other half what the client says; a message is sent in
the same moment. Nothing is reset and nothing ends: silence is all there is to see. Promised: within 25 s both sides
know that the connection is dead; the message is sent again, stored once, and shown to all soon after the way is open.

That a side knows is seen on the line: it is the first to say an end of the connection that it can not use any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from clients.sdk.client import LinkChange, LinkState
from clients.sdk.connection import Timing
from ops.doctor import look
from ops.torture.clients import CLEAN, Chatter, words
from ops.torture.cluster import Cluster
from ops.torture.conditions import Conditions
from ops.torture.history import Violation, judge, outcome, read_stored
from ops.torture.people import settings_of
from ops.torture.proxy import FaultProxy, Way
from ops.torture.scaled import share
from ops.trial import TrialPerson, make_trial

DETECT_S: Final = 25.0
HELD_S: Final = 40.0
SHOWN_S: Final = 5.0
TOGETHER: Final = 10
RETURN_S: Final = 0.5
REST_S: Final = 2.0
SETTLE_S: Final = 60.0
# Deadlines that come sooner are still looked at once a second, and rounded up to one.
ROUNDED_S: Final = 2.0


@dataclass
class OneWayCampaign:
    """What was done and what came of it.

    Attributes:
        client_s, server_s: until the client, and the server, gave the dead connection up, by direction that was shut.
        shown_s: from the way being open until everything was answered and shown.
    """

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    client_s: dict[str, list[float]] = field(default_factory=lambda: {way.value: [] for way in Way})
    server_s: dict[str, list[float]] = field(default_factory=lambda: {way.value: [] for way in Way})
    shown_s: list[float] = field(default_factory=list)
    sent: int = 0
    acknowledged: int = 0
    duration_s: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """The campaign as plain values."""
        return {
            "campaign": "oneway",
            "seed": self.seed,
            "shut": dict(self.faults),
            **{
                f"{side}_knew_s_max_{way.value}_shut": _most(seen[way.value])
                for side, seen in (("client", self.client_s), ("server", self.server_s))
                for way in Way
            },
            "shown_after_s_p50": _most(sorted(self.shown_s)[: len(self.shown_s) // 2 + 1]),
            "shown_after_s_max": _most(self.shown_s),
            "sent": self.sent,
            "acknowledged": self.acknowledged,
            "client_knew_ms_p50": share([spent * 1000 for seen in self.client_s.values() for spent in seen], 0.5),
            "server_knew_ms_p50": share([spent * 1000 for seen in self.server_s.values() for spent in seen], 0.5),
            "duration_s": round(self.duration_s, 1),
            **outcome(self.violations),
        }


def _most(values: list[float]) -> float | None:
    return round(max(values), 1) if values else None


class _Victim:
    """Somebody whose way is shut, and their line."""

    def __init__(self, person: TrialPerson, feed: str, proxy: FaultProxy, rng: random.Random, hurry: float) -> None:
        async def sleep(seconds: float) -> None:
            await asyncio.sleep(seconds / hurry)

        self.proxy = proxy
        self._down_at: list[float] = []
        self.chatter = Chatter(
            proxy.url,
            person,
            feed,
            rng,
            0.0,
            talks=False,
            timing=Timing(uniform=lambda low, high: RETURN_S * hurry, sleep=sleep),
            on_link=self._link,
        )
        self._name, self._rng, self._hurry = person.name, rng, hurry

    def _link(self, change: LinkChange) -> None:
        if change.state is LinkState.DOWN:
            self._down_at.append(time.monotonic())

    async def suffer(self, way: Way, campaign: OneWayCampaign) -> None:
        """Shut the way, send, wait until both sides must know, open the way, and wait until all is well."""
        chatter, proxy = self.chatter, self.proxy
        await chatter.connected.wait()
        while chatter.feed is None:  # noqa: ASYNC110 - set by a task of its own
            await asyncio.sleep(0.01)
        await asyncio.sleep(self._rng.uniform(0.0, 15.0 / self._hurry))
        self._down_at.clear()
        proxy.ends.clear()
        shut_at = time.monotonic()
        proxy.hold(way)
        named = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        body = words(self._name, len(chatter.log.sent), self._rng.choice(CLEAN))
        chatter.log.sent[named], chatter.log.asked[named] = body, shut_at
        sending = asyncio.create_task(chatter.feed.send(body, client_id=named))
        await asyncio.sleep(HELD_S / self._hurry)
        first = {said: at - shut_at for said, at in reversed(proxy.ends)}
        client_s, server_s = self._down_at[0] - shut_at if self._down_at else None, first.get(Way.DOWN)
        limit_s = DETECT_S / self._hurry + (ROUNDED_S if self._hurry != 1 else 0.0)
        for side, spent_s, seen in (("client", client_s, campaign.client_s), ("server", server_s, campaign.server_s)):
            if spent_s is None or spent_s > limit_s:
                said = "never" if spent_s is None else f"after {spent_s:.1f} s"
                campaign.violations.append(Violation("unnoticed", f"by the {side}, {way.value} shut: {said}"))
            if spent_s is not None:
                seen[way.value].append(spent_s)
        proxy.heal()
        opened_at = time.monotonic()
        ack = await sending
        chatter.log.acks[named] = [ack]
        chatter.log.answered[named] = time.monotonic()
        while not any(told.of == ack.seq for told in reversed(chatter.log.told)):  # noqa: ASYNC110 - its log
            await asyncio.sleep(0.02)
        campaign.shown_s.append(time.monotonic() - opened_at)


async def run_oneway(
    folder: Path,
    *,
    faults: int,
    seed: int,
    hurry: float = 1.0,
    progress: Callable[[int, str], None] = lambda done, what: None,
) -> OneWayCampaign:
    """Shut one direction `faults` times, each of another person, under one server.

    Args:
        hurry: every deadline comes so many times sooner.
    """
    rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be kept secret
    campaign = OneWayCampaign(seed)
    began = time.monotonic()
    ways = [list(Way)[n % 2] for n in range(faults)]
    trial = await make_trial(folder, f"sqlite:///{folder / 'e.db'}", rooms=1, per_room=faults + 1)
    settings = settings_of(trial)
    room, (talker, *people) = trial.rooms[0], trial.members[0]
    proxies = [FaultProxy() for _ in people]
    origins = [proxy.url for proxy in proxies]
    over = asyncio.Event()
    victims: list[_Victim] = []
    cluster = Cluster(1, trial.environ, folder, origins, Conditions(unpaced=True, hurry=hurry))
    async with contextlib.AsyncExitStack() as lines, cluster, asyncio.TaskGroup() as tasks:
        chatter = Chatter(cluster.urls[0], talker, room, rng, 0.0, rest_s=REST_S)
        tasks.create_task(chatter.run(over))
        for start in range(0, faults, TOGETHER):
            batch = range(start, min(start + TOGETHER, faults))
            for n in batch:
                proxies[n].aim(cluster.ports[0])
                await lines.enter_async_context(proxies[n])
                dice = random.Random(rng.getrandbits(64))  # noqa: S311
                victims.append(_Victim(people[n], room, proxies[n], dice, hurry))
                tasks.create_task(victims[n].chatter.run(over))
            try:
                async with asyncio.timeout(HELD_S / hurry + SETTLE_S):
                    await asyncio.gather(*(victims[n].suffer(ways[n], campaign) for n in batch))
            except TimeoutError:
                campaign.violations.append(Violation("stuck", f"not well within {SETTLE_S} s of an open way"))
            progress(len(victims), f"{len(campaign.violations)} promises broken")
        chatter.stop()
        logs = [chatter.log, *(victim.chatter.log for victim in victims)]
        heads = (await look(settings, read_stored)).heads
        until = time.monotonic() + SETTLE_S
        while time.monotonic() < until and any(
            len(log.acks) < len(log.sent) or not log.told or log.told[-1].of < heads[room] for log in logs
        ):
            await asyncio.sleep(0.05)
            heads = (await look(settings, read_stored)).heads
        over.set()
    campaign.faults = Counter(way.value for way in ways)
    campaign.sent = sum(len(log.sent) for log in logs)
    campaign.acknowledged = sum(len(log.acks) for log in logs)
    campaign.violations += judge(logs, [], await look(settings, read_stored))
    slow_s = max(campaign.shown_s, default=0.0)
    if slow_s > SHOWN_S:
        campaign.violations.append(Violation("late", f"shown {slow_s:.1f} s after the way was open"))
    campaign.duration_s = time.monotonic() - began
    return campaign
