"""`evenkeel bench console`: how long an urgent message takes from a member's send to a moderator's console.

The real worker, real sockets, the SDK at both ends, nobody else about: one message after the other, each from the call
of `send` until the case with that message in it has come on the moderators' feed. In between lie screening, one commit
with its flush, and the fan-out; the flushes of the same disk in the same minute are reported beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from clients.sdk.client import Client
from clients.sdk.feed import Feed
from ops.bench.path import serving
from ops.doctor import flush_ms
from ops.trial import Trial, make_trial
from server.ids import STAFF_MODERATION
from server.protocol.frames import CaseItem

MESSAGES: Final = 200
# A person's first message opens a case, the next ones come into it: ten people in turn give both.
PEOPLE: Final = 10
URGENT: Final = "I am going to kill myself tonight, I have said goodbye"
GOAL_MS: Final = 100.0
ARRIVES_WITHIN_S: Final = 10.0
FLUSHES: Final = 100


@dataclass(frozen=True, slots=True)
class Passage:
    """One message, in milliseconds from `send`: until its author was answered, until it was on the console."""

    ack_ms: float
    console_ms: float


def bench_console(
    folder: Path | None = None,
    *,
    messages: int = MESSAGES,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Run the bench and return the figures. `folder` is on the disk to measure; None: the system's temporary one.

    Raises:
        RuntimeError: a message never came to the console.
    """
    with tempfile.TemporaryDirectory(prefix="evenkeel-bench-", dir=folder) as made:
        place = Path(made)
        url = f"sqlite:///{place / 'bench.db'}"
        trial = asyncio.run(make_trial(place, url, rooms=1, per_room=PEOPLE, moderators=1))
        flushes = flush_ms(place, FLUSHES)
        with serving(trial) as server:
            passages = asyncio.run(_send_all(f"http://127.0.0.1:{server.port}", trial, messages))
        flushes = sorted(flushes + flush_ms(place, FLUSHES))
    progress(f"{len(passages)} messages, one after the other")
    return summary(passages, flushes)


async def _send_all(url: str, trial: Trial, messages: int) -> list[Passage]:
    """One message after the other, by the members in turn."""
    (moderator,), (members,), (room,) = trial.moderators, trial.members, trial.rooms
    async with contextlib.AsyncExitStack() as stack:
        console = await stack.enter_async_context(Client(url, token=moderator.token, features=("console",)))
        queue = aiter((await console.join(STAFF_MODERATION)).events())
        feeds: list[Feed] = []
        for member in members:
            client = await stack.enter_async_context(Client(url, token=member.token))
            feeds.append(await client.join(room))
        passages = []
        for n in range(messages):
            who = n % len(members)
            passages.append(await _pass(feeds[who], queue, members[who].account, n // len(members) + 1))
        return passages


async def _pass(feed: Feed, queue: AsyncIterator[Any], author: str, count: int) -> Passage:
    """Send one message; its author's case then holds `count` of them."""
    began = time.perf_counter()
    sending = asyncio.ensure_future(_timed(feed))
    try:
        async with asyncio.timeout(ARRIVES_WITHIN_S):
            async for item in queue:
                # A ladder that climbs meanwhile tells of the same case again, with no message more.
                if isinstance(item, CaseItem) and item.subject.id == author and item.messages >= count:
                    break
            arrived = time.perf_counter()
            answered = await sending
    except TimeoutError:
        raise RuntimeError("a message did not come to the console; try `evenkeel doctor`") from None
    finally:
        sending.cancel()
    return Passage((answered - began) * 1000, (arrived - began) * 1000)


async def _timed(feed: Feed) -> float:
    await feed.send(URGENT)
    return time.perf_counter()


def summary(passages: Sequence[Passage], flushes: Sequence[float]) -> dict[str, Any]:
    """The figures. `flushes` in milliseconds, sorted."""
    console = spread([passage.console_ms for passage in passages])
    return {
        "messages": len(passages),
        "console_ms": console,
        "ack_ms": spread([passage.ack_ms for passage in passages]),
        "flush_ms": spread(flushes),
        "goals": {
            "console_p99_ms": {"value": console["p99"], "at_most": GOAL_MS, "met": console["p99"] <= GOAL_MS},
        },
        "measured_at": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """p50, p99 and maximum of some values, each one that was measured."""
    ordered = sorted(values)
    at = (("p50", len(ordered) // 2), ("p99", min(len(ordered) - 1, int(len(ordered) * 0.99))), ("max", -1))
    return {name: round(ordered[place], 3) for name, place in at}
