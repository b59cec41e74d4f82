"""What a feed is to those who follow it: positions, events, and which of a message's views each reader is given.

Pure. Decided here: who is told what of one event. Not decided here: who may follow a feed (`actions.feeds`), how an
event reaches a socket (`live.hub`), or where the log lies (`store.feeds`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from msgspec import Struct

from server.protocol.frames import AnyItem, Joined


class Audience(StrEnum):
    """As whom somebody reads a feed. An author is a MEMBER of the room whose own messages look different."""

    MEMBER = "member"
    STAFF = "staff"


class FeedEvent(Struct, frozen=True):
    """One event of one feed, rendered for every kind of reader.

    Attributes:
        member: what any member of the feed sees.
        staff: what staff see; None where it is the same.
        author: account whose own view differs, with `for_author`; None where it does not.
        drops: account that may not read this feed any more; for them this event is the last.
    """

    feed: str
    epoch: int
    seq: int
    member: AnyItem
    staff: AnyItem | None = None
    author: str | None = None
    for_author: AnyItem | None = None
    drops: str | None = None

    def item_for(self, audience: Audience, account: str) -> AnyItem:
        """The item that `account`, reading as `audience`, is given."""
        if audience is Audience.STAFF:
            return self.staff if self.staff is not None else self.member
        if self.for_author is not None and account == self.author:
            return self.for_author
        return self.member


@dataclass(frozen=True, slots=True)
class Following:
    """The answer to joining a feed.

    Attributes:
        joined: the reply to send first (`re` still to be filled in).
        audience: as whom this account reads the feed.
        events: what follows `joined` when the resume succeeded, ascending, gapless, ending at `joined.seq`.
    """

    joined: Joined
    audience: Audience
    events: tuple[FeedEvent, ...] = ()
