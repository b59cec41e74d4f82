"""A feed and its followers as the hub keeps them: where each stands. What moves them on is decided in `delivery`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

from server.auth.requester import Requester
from server.feeds import Audience, FeedEvent
from server.live.shape import Features
from server.protocol.codec import Codec

GroupKey = tuple[Audience, Codec, Features]


class Reader(Protocol):
    """A connection, as far as delivery is concerned."""

    requester: Requester
    codec: Codec
    features: Features
    follows: dict[str, Follower]
    write: Callable[[bytes], None]

    @property
    def can_take(self) -> bool:
        """Whether it is open and its transport wants more."""
        ...

    @property
    def is_open(self) -> bool: ...

    def flush_replies(self, events: Sequence[bytes] = ()) -> None:
        """Write `events` and the replies made so far, so that what is written next comes after them; end it if too
        much waits.
        """
        ...

    def caught_up(self) -> None:
        """No follower of this reader lags any more."""
        ...


class Standing(Enum):
    JOINING = "joining"  # `joined` is not written yet
    BEHIND = "behind"  # written up to `seq`, the feed is or may be further
    AHEAD = "ahead"  # written up to `seq`, the feed here is not there yet
    LEVEL = "level"  # in its group
    GONE = "gone"


class Follower:
    """One reader on one feed.

    Attributes:
        seq: last one written; kept up only while the follower is not in its group.
        granted: seq as of which access was checked; an earlier end of access is history.
    """

    __slots__ = ("audience", "feed", "granted", "reader", "seq", "standing")

    def __init__(self, reader: Reader, feed: Feed) -> None:
        self.reader = reader
        self.feed = feed
        self.audience = Audience.MEMBER
        self.seq = 0
        self.granted = 0
        self.standing = Standing.JOINING

    @property
    def key(self) -> GroupKey:
        return (self.audience, self.reader.codec, self.reader.features)


class Feed:
    """A feed that somebody on this process follows, and how far it is known and written."""

    __slots__ = (
        "apart",
        "epoch",
        "flushed",
        "followers",
        "fruitless",
        "groups",
        "head",
        "last",
        "name",
        "parked",
        "pending",
        "recent",
        "wire",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.wire = wire_name(name)
        self.epoch = 0
        self.last: int | None = None  # None: not known before the first `follow` answers
        self.flushed = 0
        self.head = 0
        self.fruitless = 0
        self.parked: dict[int, FeedEvent] = {}
        self.pending: list[FeedEvent] = []
        self.recent: list[FeedEvent] = []  # kept while somebody is not in a group
        self.apart = 0
        self.groups: dict[GroupKey, dict[Reader, Callable[[bytes], None]]] = {}
        self.followers: dict[Reader, Follower] = {}


def feed_name(wire: str, account: str) -> str:
    """The feed that a client means: "inbox" is its own."""
    return f"inbox:{account}" if wire == "inbox" else wire


def wire_name(feed: str) -> str:
    """The name that clients know a feed by; a person follows only one inbox."""
    return "inbox" if feed.startswith("inbox:") else feed
