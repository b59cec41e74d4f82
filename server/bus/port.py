"""The bus: says that a feed moved on. It carries nothing that safety rests on.

Promise: after a commit, every process hears sooner or later that "feed F is at seq N", at most once, in order per
process, perhaps never. Whoever listens compares with what it has and reads the rest from the store. The process that
committed is handed the events themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from server.feeds import FeedEvent


class Bus(Protocol):
    """Two implementations are real: in-process, and Redis between processes."""

    def announce(self, events: Sequence[FeedEvent]) -> None:
        """Tell everybody that these events are committed; called once per batch, in the order of commit."""

    def listen(self, events: Callable[[Sequence[FeedEvent]], None], moved: Callable[[str, int, int], None]) -> None:
        """Call `events` with what this process committed and `moved(feed, epoch, seq)` for what others did."""
