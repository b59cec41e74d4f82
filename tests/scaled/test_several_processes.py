"""Several processes over PostgreSQL and Redis keep the promises of one; Redis may be cut, frozen or gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from clients.sdk import http_api
from clients.sdk.client import Client
from clients.sdk.connection import Timing
from clients.sdk.errors import ConnectionEnded
from clients.sdk.feed import Feed
from ops.torture.clients import CLEAN, URGENT
from ops.torture.cluster import Cluster
from ops.trial import TrialPerson
from server.protocol.frames import Ack, MessageItem, Shown
from tests.scaled.conftest import Stage

pytestmark = pytest.mark.timeout(120)

QUICK = Timing(uniform=lambda low, high: 0.05)
PROMPT_S = 2.0
POLLED_S = 6.0


@contextlib.asynccontextmanager
async def talking(cluster: Cluster, n: int, person: TrialPerson, room: str) -> AsyncIterator[Feed]:
    """Somebody in a room, by way of server `n`."""
    async with Client(cluster.urls[n], token=person.token, timing=QUICK) as client:
        yield await client.join(room)


async def read(feed: Feed, count: int, within_s: float) -> list[tuple[int, str]]:
    """The next `count` messages, as (place, text)."""
    found: list[tuple[int, str]] = []
    async with asyncio.timeout(within_s):
        async for item in feed.events():
            if isinstance(item, MessageItem) and isinstance(item.view, Shown):
                found.append((item.of, item.view.body))
                if len(found) == count:
                    break
    return found


def placed(acks: list[Ack], texts: list[str]) -> list[tuple[int, str]]:
    return sorted((ack.seq, text) for ack, text in zip(acks, texts, strict=True))


async def send_all(feed: Feed, texts: list[str]) -> list[Ack]:
    return [await feed.send(text) for text in texts]


async def test_what_two_processes_are_sent_a_third_delivers_in_one_order(stage: Stage) -> None:
    """Messages sent by way of two servers arrive on a third promptly, in the order of the room, each once."""
    room, (one, two, reader) = stage.trial.rooms[0], stage.trial.members[0]
    first, second = ([f"{CLEAN[0]}, {who} {n}" for n in range(15)] for who in ("one", "two"))
    async with (
        talking(stage.cluster, 0, one, room) as from_a,
        talking(stage.cluster, 1, two, room) as from_b,
        talking(stage.cluster, 2, reader, room) as on_c,
    ):
        reading = asyncio.create_task(read(on_c, 30, 10))
        sent_a, sent_b = await asyncio.gather(send_all(from_a, first), send_all(from_b, second))
        told_at = time.monotonic()
        told = await reading
    assert time.monotonic() - told_at < PROMPT_S
    assert told == placed(sent_a + sent_b, first + second)
    assert [seq for seq, _ in told] == list(range(1, 31))


async def test_what_was_acknowledged_by_one_process_is_read_from_any_other(stage: Stage) -> None:
    """The moment that a send is acknowledged, whoever joins by way of another server is shown it."""
    room, (author, reader, _) = stage.trial.rooms[1], stage.trial.members[1]
    async with talking(stage.cluster, 0, author, room) as feed:
        for n in range(3):
            ack = await feed.send(f"{CLEAN[1]} {n}")
            async with talking(stage.cluster, 1 + n % 2, reader, room) as other:
                assert other.view.last == ack.seq


async def test_nudges_that_are_lost_lose_nothing(stage: Stage) -> None:
    """While Redis cuts every subscription again and again, everything arrives, once and in order."""
    room, (author, reader, _) = stage.trial.rooms[2], stage.trial.members[2]
    texts = [f"{CLEAN[2]}, {n}" for n in range(19)]

    async def cut() -> int:
        cuts = 0
        while True:
            cuts += int(stage.redis.command("CLIENT KILL TYPE pubsub").removeprefix(b":"))
            await asyncio.sleep(0.02)
            if cuts >= 12:
                return cuts

    async with talking(stage.cluster, 0, author, room) as from_a, talking(stage.cluster, 1, reader, room) as on_b:
        reading = asyncio.create_task(read(on_b, len(texts), 10 + POLLED_S))
        cutting = asyncio.create_task(cut())
        acks = []
        for text in texts:
            acks.append(await from_a.send(text))
            await asyncio.sleep(0.05)
        assert await cutting >= 12
        assert await reading == placed(acks, texts)


async def test_a_session_ended_on_one_process_is_closed_on_another(stage: Stage) -> None:
    """Signing out by way of one server closes the socket on another within two seconds."""
    room, (person, _, _) = stage.trial.rooms[3], stage.trial.members[3]
    async with talking(stage.cluster, 1, person, room) as feed:
        ended = asyncio.create_task(read(feed, 1, 30))
        await http_api.sign_out(stage.cluster.urls[0], person.token)
        with pytest.raises(ConnectionEnded):
            await asyncio.wait_for(ended, PROMPT_S)


async def test_without_redis_everything_still_arrives(stage: Stage) -> None:
    """Redis gone: sends are answered at once, arrive within six seconds, and sessions end within six."""
    room, (author, reader, leaver) = stage.trial.rooms[4], stage.trial.members[4]
    async with (
        talking(stage.cluster, 0, author, room) as from_a,
        talking(stage.cluster, 1, reader, room) as on_b,
        talking(stage.cluster, 2, leaver, room) as on_c,
    ):
        stage.redis.stop()
        try:
            began = time.monotonic()
            ended = asyncio.create_task(read(on_c, 9, 30))
            acks = await send_all(from_a, [CLEAN[0], CLEAN[1]])
            await http_api.sign_out(stage.cluster.urls[0], leaver.token)
            assert time.monotonic() - began < PROMPT_S
            assert await read(on_b, 2, POLLED_S) == placed(acks, [CLEAN[0], CLEAN[1]])
            with pytest.raises(ConnectionEnded):
                await asyncio.wait_for(ended, POLLED_S)
        finally:
            stage.redis.start()
        for n in range(3):
            await stage.cluster.until_ready(n, within_s=10)
        ack = await from_a.send(CLEAN[2])
        assert await read(on_b, 1, PROMPT_S) == [(ack.seq, CLEAN[2])]


async def test_a_process_that_hears_nothing_is_not_ready(stage: Stage) -> None:
    """Redis that takes what it is told and says nothing: no process stays ready, and each is ready again by itself."""
    stage.redis.signal(signal.SIGSTOP)
    try:
        await asyncio.gather(*(stage.cluster.until_ready(n, ready=False, within_s=14) for n in range(3)))
    finally:
        stage.redis.signal(signal.SIGCONT)
    await asyncio.gather(*(stage.cluster.until_ready(n, within_s=10) for n in range(3)))


# --- jobs -------------------------------------------------------------------------------------------------------------


FIRST_RUNG = "on_call_moderator"


@dataclass
class Calls:
    """The calls of the first rung by the outside channel, by everybody's log; later rungs come by themselves."""

    cluster: Cluster

    def made(self) -> Counter[tuple[str, str]]:
        """(case, call) -> how often it was made."""
        found: Counter[tuple[str, str]] = Counter()
        for line in self.cluster.log.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                said = json.loads(line)
                if said.get("event") == "person_called" and said["rung"] == FIRST_RUNG:
                    found[said["case"], said["notice"]] += 1
        return found

    def cases(self) -> int:
        return len({case for case, _ in self.made()})

    async def until(self, cases: int, within_s: float) -> None:
        """Wait until somebody was called about so many cases."""
        deadline = time.monotonic() + within_s
        while self.cases() < cases:
            assert time.monotonic() < deadline, f"called about {self.cases()} of {cases} cases within {within_s} s"
            await asyncio.sleep(0.05)


async def raise_alarm(stage: Stage, n: int, place: int) -> None:
    async with talking(stage.cluster, n, stage.trial.members[place][0], stage.trial.rooms[place]) as feed:
        await feed.send(URGENT)


async def test_a_rung_fires_once_whoever_holds_the_lease(stage: Stage) -> None:
    """Three processes call each person once; when the holder is killed, or stops, another calls within ten seconds."""
    calls = Calls(stage.cluster)
    known = calls.cases()
    await raise_alarm(stage, 0, 5)
    await calls.until(known + 1, PROMPT_S)

    holder = await stage.cluster.job_holder()
    assert holder is not None
    others = [n for n in range(3) if n != holder]
    await stage.cluster.kill(holder)
    await raise_alarm(stage, others[0], 6)
    await calls.until(known + 2, 10)
    assert await stage.cluster.job_holder() in others

    stage.cluster.start(holder)
    await stage.cluster.until_ready(holder)
    second = await stage.cluster.job_holder()
    assert second is not None
    stopping = asyncio.create_task(stage.cluster.stop(second))
    await raise_alarm(stage, holder, 7)
    await calls.until(known + 3, 5)
    assert set(calls.made().values()) == {1}
    assert await stopping == 0
    stage.cluster.start(second)
    await stage.cluster.until_ready(second)


async def test_a_frozen_holder_calls_nobody_when_it_wakes(stage: Stage) -> None:
    """A process that stood still until its lease ran out finds others calling, and calls nobody a second time."""
    calls = Calls(stage.cluster)
    known = calls.cases()
    holder = await stage.cluster.job_holder()
    assert holder is not None
    stage.cluster.signal(holder, signal.SIGSTOP)
    try:
        await raise_alarm(stage, (holder + 1) % 3, 8)
        await calls.until(known + 1, 10)
    finally:
        stage.cluster.signal(holder, signal.SIGCONT)
    await raise_alarm(stage, holder, 9)
    await calls.until(known + 2, PROMPT_S)
    assert set(calls.made().values()) == {1}
    assert await stage.cluster.job_holder() != holder
