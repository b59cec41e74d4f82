"""The bus between processes, over Redis pub/sub: every process says what it committed, and hears what others did.

Redis is believed in nothing. Its client loses messages without a word when a connection is cut (329 of 2,000 in a
trial, no exception), so each process proves that it hears: it publishes a canary every CANARY_S and has to get it, or
anything else of its own, back within DEAF_S; otherwise it is not ready and says so loudly. What is lost is healed by
the looks of those who listen; each new subscription asks them for one at once.

Publishing never blocks anybody and never fails a command. What waits for Redis is one position for each feed, the
highest; beyond WAITING_MOST feeds all of it becomes one nudge to look at everything. One channel for the whole service,
one publish for each batch, written as (sender, [(feed, epoch, seq)], {nudge: [ids]}, {allowance: times}) in msgpack: no
body, no name. What was spent of allowances goes with the next batch or canary, and is forgotten where that fails.
Redis 6 or later; production should run 7.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter as Counted
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, NoReturn

import msgspec
import structlog
from prometheus_client import Counter
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from server.bus.port import Nudge
from server.feeds import FeedEvent
from server.ids import new_id

log = structlog.get_logger()

CANARY_S: Final = 2.0
DEAF_S: Final = 10.0
# Nothing at all in so long, not even a canary: this subscription is dead, whatever its socket says.
SILENT_S: Final = 5.0
ANSWER_S: Final = 2.0
WAITING_MOST: Final = 20_000
AGAIN_FIRST_S: Final = 0.05
AGAIN_MOST_S: Final = 2.0

PUBLISHED: Final = Counter("evenkeel_bus_published", "Messages to the other processes.", ["outcome"])
HEARD: Final = Counter("evenkeel_bus_heard", "Messages of other processes.")


class Message(msgspec.Struct, array_like=True, frozen=True):
    """What crosses Redis."""

    sender: str
    moved: list[tuple[str, int, int]] = []
    nudges: dict[Nudge, list[str]] = {}
    spent: dict[str, int] = {}


_decoder: Final = msgspec.msgpack.Decoder(Message)
_encode: Final = msgspec.msgpack.Encoder().encode


class RedisBus:
    """One process on the bus. `start` it in the loop, `close` it at the end.

    Args:
        channel: the same for all processes of one service, and for nobody else's.
    """

    def __init__(self, url: str, channel: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url, self._channel, self._clock = url, channel, clock
        self._me = new_id()
        self._events: list[Callable[[Sequence[FeedEvent]], None]] = []
        self._moved: list[Callable[[str, int, int], None]] = []
        self._looks: dict[Nudge, list[Callable[[Sequence[str]], None]]] = {}
        self._waiting: dict[str, tuple[int, int]] = {}
        self._nudges: dict[Nudge, dict[str, None]] = {}
        self._spent: Counted[str] = Counted()
        self._counts: list[Callable[[str, int], None]] = []
        self._canary_due = True
        self._wake = asyncio.Event()
        self._said = asyncio.Event()
        self._heard_at: float | None = None
        self._alarmed = False
        self._tasks: list[asyncio.Task[NoReturn]] = []

    # --- the port ---

    def announce(self, events: Sequence[FeedEvent]) -> None:
        for listener in self._events:
            listener(events)
        for event in events:
            at = (event.epoch, event.seq)
            self._waiting[event.feed] = max(at, self._waiting.get(event.feed, at))
        self._bound()
        self._wake.set()

    def listen(self, events: Callable[[Sequence[FeedEvent]], None], moved: Callable[[str, int, int], None]) -> None:
        self._events.append(events)
        self._moved.append(moved)

    def nudge(self, what: Nudge, ids: Sequence[str] = ()) -> None:
        self._nudges.setdefault(what, {}).update(dict.fromkeys(ids))
        self._bound()
        self._wake.set()

    def heed(self, what: Nudge, look: Callable[[Sequence[str]], None]) -> None:
        self._looks.setdefault(what, []).append(look)

    def spend(self, allowance: str) -> None:
        if len(self._spent) < WAITING_MOST:
            self._spent[allowance] += 1

    def heed_spent(self, count: Callable[[str, int], None]) -> None:
        self._counts.append(count)

    def hears(self) -> bool:
        return self._heard_at is not None and self._clock() - self._heard_at <= DEAF_S

    # --- life ---

    def start(self) -> None:
        """Begin to publish, to hear, and to watch whether it does."""
        self._heard_at = None
        began = self._clock()
        works: list[Coroutine[Any, Any, NoReturn]] = [self._publish(), self._hear(), self._watch(began)]
        self._tasks = [asyncio.get_running_loop().create_task(work, name="bus") for work in works]

    async def close(self) -> None:
        """Stop; what waits is given a moment to go out."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                while self._waiting or self._nudges:
                    self._said.clear()
                    await self._said.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _bound(self) -> None:
        if len(self._waiting) + sum(len(ids) for ids in self._nudges.values()) > WAITING_MOST:
            self._waiting.clear()
            self._nudges = {Nudge.EVERYTHING: {}, Nudge.LADDERS: {}}

    def _client(self) -> Redis:
        # No retries and no pings of its own: what fails shall be seen here, since something may have been lost.
        return Redis.from_url(
            self._url,
            protocol=2,
            socket_connect_timeout=ANSWER_S,
            socket_timeout=ANSWER_S,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
        )

    # --- saying ---

    async def _publish(self) -> NoReturn:
        again_s, failing = AGAIN_FIRST_S, False
        while True:
            client = self._client()
            try:
                while True:
                    await self._wake.wait()
                    await self._say(client)
                    if failing:
                        log.info("bus_says_again")
                    again_s, failing = AGAIN_FIRST_S, False
            except Exception as error:  # whatever it was, the next attempt comes
                PUBLISHED.labels("failed").inc()
                if not failing:
                    log.warning("bus_can_not_say", error=type(error).__name__)
                failing = True
            finally:
                # A connection on which something failed may still hold an answer to it: never used again.
                await _close(client)
            await asyncio.sleep(again_s)
            again_s = min(again_s * 2, AGAIN_MOST_S)

    async def _say(self, client: Redis) -> None:
        """Publish all that waits; what could not be published waits on."""
        self._wake.clear()
        moved, nudges = self._waiting, self._nudges
        if not moved and not nudges and not self._canary_due:
            return
        self._waiting, self._nudges = {}, {}
        spent, self._spent = dict(self._spent), Counted()
        message = Message(
            self._me,
            [(feed, epoch, seq) for feed, (epoch, seq) in moved.items()],
            {what: list(ids) for what, ids in nudges.items()},
            spent,
        )
        try:
            async with asyncio.timeout(ANSWER_S):
                await client.publish(self._channel, _encode(message))
        except BaseException:
            for feed, at in moved.items():
                self._waiting[feed] = max(at, self._waiting.get(feed, at))
            for what, ids in nudges.items():
                self._nudges[what] = {**ids, **self._nudges.get(what, {})}
            self._bound()
            self._wake.set()
            raise
        self._canary_due = False
        self._said.set()
        PUBLISHED.labels("said").inc()

    # --- hearing ---

    async def _hear(self) -> NoReturn:
        again_s, failing = AGAIN_FIRST_S, False
        while True:
            client = self._client()
            pubsub = client.pubsub()
            try:
                async with asyncio.timeout(ANSWER_S):
                    await pubsub.subscribe(self._channel)
                while (found := await pubsub.get_message(timeout=SILENT_S)) is not None:
                    if found["type"] == "message":
                        again_s, failing = AGAIN_FIRST_S, False
                        self._take(found["data"])
                    else:
                        # Subscribed, now or again: whatever was said before has passed unheard.
                        self._look(Nudge.EVERYTHING, ())
                log.warning("bus_silent", seconds=SILENT_S)
            except Exception as error:  # whatever it was, the next attempt comes
                if not failing:
                    log.warning("bus_cut", error=type(error).__name__)
                failing = True
            finally:
                await _close(pubsub)
                await _close(client)
            await asyncio.sleep(again_s)
            again_s = min(again_s * 2, AGAIN_MOST_S)

    def _take(self, data: bytes) -> None:
        try:
            message = _decoder.decode(data)
        except msgspec.MsgspecError:
            log.warning("bus_unreadable", size_bytes=len(data))
            return
        if message.sender == self._me:
            self._heard_at = self._clock()
            return
        HEARD.inc()
        for feed, epoch, seq in message.moved:
            for moved in self._moved:
                moved(feed, epoch, seq)
        for what, ids in message.nudges.items():
            self._look(what, ids)
        for allowance, times in message.spent.items():
            for count in self._counts:
                count(allowance, times)

    def _look(self, what: Nudge, ids: Sequence[str]) -> None:
        for look in self._looks.get(what, ()):
            look(ids)

    async def _watch(self, began: float) -> NoReturn:
        """Send the canaries, and raise the alarm while none comes back."""
        while True:
            self._canary_due = True
            self._wake.set()
            await asyncio.sleep(CANARY_S)
            hears, silent_s = self.hears(), self._clock() - (self._heard_at or began)
            if not hears and silent_s > DEAF_S and not self._alarmed:
                self._alarmed = True
                log.critical("bus_deaf", seconds=round(silent_s, 1))
            elif hears and self._alarmed:
                self._alarmed = False
                log.info("bus_hears_again")


async def _close(thing: Any) -> None:
    """Close a client or a subscription; that it can not be closed in order says nothing new."""
    try:
        async with asyncio.timeout(ANSWER_S):
            await thing.aclose()
    except (RedisError, OSError, TimeoutError) as error:
        log.debug("bus_close_failed", error=type(error).__name__)
