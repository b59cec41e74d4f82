"""What the log is asked for: the events between where a feed stands here and where it stands in the store.

Promise: a feed that is known to be further than what is at hand is read up to its head, whatever fails meanwhile; many
feeds in one query, one reading at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

import structlog

from server.feeds import FeedEvent
from server.live import metrics
from server.live.followers import Feed
from server.live.verbs import Verbs

_log = structlog.get_logger(__name__)

FEEDS_PER_READ: Final = 500
READ_TIMEOUT_S: Final = 10.0
BACKOFF_FIRST_S: Final = 0.02
BACKOFF_MOST_S: Final = 2.0
FRUITLESS_MOST: Final = 8


class Gaps:
    """Reads the log for feeds that are behind their head.

    Args:
        offer: takes each event that was read, in the loop; it moves `feed.last` on.
    """

    def __init__(
        self,
        verbs: Verbs,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        offer: Callable[[FeedEvent], None],
    ) -> None:
        self._verbs = verbs
        self._spawn = spawn
        self._offer = offer
        # In the order in which they fell behind, so that what is done depends on nothing but what was asked.
        self._gaps: dict[Feed, None] = {}
        self._healing = False

    def seek(self, feed: Feed) -> None:
        """See to it that `feed` comes to its head."""
        if feed.last is not None and feed.head > feed.last and feed.followers:
            self._gaps[feed] = None
            if not self._healing:
                self._healing = True
                self._spawn(self._heal())

    def forget(self, feed: Feed) -> None:
        """Nobody follows `feed` any more."""
        self._gaps.pop(feed, None)

    async def _heal(self) -> None:
        """Read what is missing of all feeds that are behind their head, until none is."""
        delay = BACKOFF_FIRST_S
        try:
            while self._gaps:
                feeds = [feed for feed in self._gaps if feed.last is not None and feed.head > feed.last]
                self._gaps.clear()
                before = {feed: feed.last for feed in feeds if feed.last is not None}
                for start in range(0, len(feeds), FEEDS_PER_READ):
                    part = {f.name: before[f] for f in feeds[start : start + FEEDS_PER_READ]}
                    for rows in (await self.read(part, lambda: True)).values():
                        for event in rows:
                            self._offer(event)
                moved = [self._came_on(feed, seq) for feed, seq in before.items()]
                if any(moved):
                    delay = BACKOFF_FIRST_S
                elif moved:
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, BACKOFF_MOST_S)
        finally:
            self._healing = False

    def _came_on(self, feed: Feed, before: int) -> bool:
        """Whether a read brought `feed` on from seq `before`; seeks on where it did not come to its head."""
        if feed.last != before or feed.head <= before or not feed.followers:
            self.seek(feed)
            return True
        feed.fruitless += 1
        if feed.fruitless > FRUITLESS_MOST:
            # Nothing is committed there after all; the next look at the heads knows.
            feed.fruitless, feed.head = 0, before
            feed.parked.clear()
        self.seek(feed)
        return False

    async def read(
        self, positions: Mapping[str, int], is_wanted: Callable[[], bool]
    ) -> Mapping[str, Sequence[FeedEvent]]:
        """`events_after`, again and again with longer waits until it answers; nothing once nobody wants it."""
        delay = BACKOFF_FIRST_S
        while is_wanted():
            try:
                async with asyncio.timeout(READ_TIMEOUT_S):
                    rows = await self._verbs.events_after(positions)
            except Exception as exc:
                metrics.GAP_READS.labels("failed").inc()
                _log.warning("log_read_failed", feeds=len(positions), error=type(exc).__name__)
                await asyncio.sleep(delay)
                delay = min(delay * 2, BACKOFF_MOST_S)
            else:
                metrics.GAP_READS.labels("read").inc()
                return rows
        return {}
