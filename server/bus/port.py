"""The bus: says that something moved on. It carries nothing that safety rests on.

Promise: after a commit, every process hears sooner or later that "feed F is at seq N", at most once, in order per
process, perhaps never. Whoever listens compares with what it has and reads the rest from the store. The process that
committed is handed the events themselves.

Nudges are the same for what is no event of a feed: "look at these rows, they changed". What a listener does about one
it would also do by itself, a few seconds later.

What was spent is the same for limits: how much of an allowance was used up here. Where it is lost, processes allow
together what each allows alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Protocol

from server.feeds import FeedEvent


class Nudge(StrEnum):
    """What another process may be told to look at."""

    SESSIONS = "sessions"  # the ids of sessions that were ended
    LADDERS = "ladders"  # something falls due now; no ids
    LISTS = "lists"  # the watchword lists in force, or a trial of others, changed; no ids
    EVERYTHING = "everything"  # nudges were lost, or may have been; no ids


class Bus(Protocol):
    """Two implementations are real: in-process, and Redis between processes."""

    def announce(self, events: Sequence[FeedEvent]) -> None:
        """Tell everybody that these events are committed; called once per batch, in the order of commit."""

    def listen(self, events: Callable[[Sequence[FeedEvent]], None], moved: Callable[[str, int, int], None]) -> None:
        """Call `events` with what this process committed and `moved(feed, epoch, seq)` for what others did."""

    def nudge(self, what: Nudge, ids: Sequence[str] = ()) -> None:
        """Tell the other processes to look; never waits, never raises, may be lost. Ids only, never a secret."""

    def heed(self, what: Nudge, look: Callable[[Sequence[str]], None]) -> None:
        """Call `look` with the ids of each nudge of another process; it must not wait or raise."""

    def spend(self, allowance: str) -> None:
        """Tell the other processes that one more of an allowance was used; never waits, never raises, may be lost.

        Args:
            allowance: its name, up to 120 characters: ids and digests only.
        """

    def heed_spent(self, count: Callable[[str, int], None]) -> None:
        """Call `count(allowance, times)` with what others have spent; it must not wait or raise."""

    def hears(self) -> bool:
        """Whether this process has lately been shown to hear the others."""
