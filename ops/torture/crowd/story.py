"""Where each of a crowd is to sit, and what became of them, as it is handed from one process to the other."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field

from ops.torture.clients import Log, Told


@dataclass(frozen=True, slots=True)
class Place:
    """One socket to be: on which port, whose, in which room."""

    port: int
    account: str
    token: str
    feed: str


@dataclass
class Story:
    """What one socket of a crowd went through.

    Attributes:
        joined_at: place of the room when it joined first.
        seqs, moments: each place that it was told of, in the order of telling, and when.
        skipped: places (first, last) that an express resync replaced.
        live: when it was live, and when it was not any more, in turn.
        ends: how its connections ended: close code ("1006": none came), HTTP status, or "late": no welcome
            came in time.
        pongs: how long the server took to answer its pings, in seconds, and (`pong_moments`) when it did.
    """

    joined_at: int = 0
    seqs: array[int] = field(default_factory=lambda: array("q"))
    moments: array[float] = field(default_factory=lambda: array("d"))
    skipped: list[tuple[int, int]] = field(default_factory=list)
    live: list[float] = field(default_factory=list)
    attempts: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    pongs: array[float] = field(default_factory=lambda: array("d"))
    pong_moments: array[float] = field(default_factory=lambda: array("d"))

    def was_live(self, since: float, until: float) -> bool:
        """Whether it was live from one moment to another, all the time."""
        began = bisect_right(self.live, since)
        return began % 2 == 1 and bisect_right(self.live, until) == began

    def log(self, place: Place) -> Log:
        """As the judge reads it, without texts."""
        told = [Told(of, "shown", None, at) for of, at in zip(self.seqs, self.moments, strict=True)]
        return Log(place.account, place.feed, joined_at=self.joined_at, told=told, skipped=self.skipped)
