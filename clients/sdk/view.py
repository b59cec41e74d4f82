"""What a client holds of the feeds it follows, and of its own unanswered commands. Pure: no socket, no clock.

Decided here: the reducer of section 4 of clients/PROTOCOL.md, when a gap has to be repaired, what is new to a reader,
and which commands are sent again after a cut. Not decided here: when anything is sent (`client`, `connection`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from server.protocol.codec import UnknownEvent
from server.protocol.frames import (
    AccessItem,
    AnyCommand,
    AnyItem,
    AnyView,
    CaseItem,
    Event,
    HandlingItem,
    Joined,
    MessageItem,
    Page,
    PageItem,
    Position,
    Shown,
)

# Places of a room that a view keeps; older ones are forgotten and can be asked for again.
KEPT_PLACES: Final = 2_000

Key = tuple[str, str]


def key_of(item: AnyItem) -> Key:
    """What an item replaces: its kind and its place, account or id."""
    kind = str(item.__struct_config__.tag)
    if isinstance(item, MessageItem):
        return kind, str(item.of)
    return kind, item.account if isinstance(item, AccessItem) else item.id


def is_over(item: AnyItem) -> bool:
    """Whether the item takes out what it names: a case closed, for staff or author, or a call that rings no more."""
    if isinstance(item, HandlingItem):
        return bool(item.states) and item.states[-1].state == "closed"
    if isinstance(item, PageItem):
        return item.state != "ringing"
    return isinstance(item, CaseItem) and item.state == "closed"


class Outcome(Enum):
    """What became of an event."""

    APPLIED = "applied"
    KNOWN = "known"
    GAP = "gap"


@dataclass(frozen=True, slots=True)
class Change:
    """Something that was not so before, for whoever watches the feed.

    Attributes:
        item: as it stands now.
        is_new_text: a message that this reader sees for the first time: just posted, or just released.
    """

    item: AnyItem
    is_new_text: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """The outcome of an event and, where it was applied, the change; None for an item that this build does not know."""

    outcome: Outcome
    change: Change | None = None


class FeedView:
    """One feed as this client may see it: the same as a fresh snapshot, whatever the way it got there.

    Attributes:
        feed: the full name.
        epoch, last: the position; None and 0 before the first `joined`.
        has_more: whether older places can be asked for.
    """

    def __init__(self, feed: str, *, kept_places: int = KEPT_PLACES) -> None:
        self.feed = feed
        self.epoch: int | None = None
        self.last = 0
        self.has_more = False
        self._kept_places = kept_places
        self._places: dict[int, MessageItem] = {}
        self._others: dict[Key, AnyItem] = {}
        self._told: dict[str, None] = {}

    @property
    def position(self) -> Position | None:
        """Where to resume from; None before the first `joined`."""
        return None if self.epoch is None else Position(epoch=self.epoch, seq=self.last)

    @property
    def places(self) -> dict[int, AnyView]:
        """Every place of the room that is held, in order, with what this reader may see of it."""
        return {of: self._places[of].view for of in sorted(self._places)}

    @property
    def messages(self) -> list[Shown]:
        """The messages that are shown, in order."""
        return [view for view in self.places.values() if isinstance(view, Shown)]

    @property
    def others(self) -> dict[Key, AnyItem]:
        """Everything that is not a message and not over, by kind and id: rooms, cases, handling, pages."""
        return dict(self._others)

    def joined(self, joined: Joined) -> list[Change]:
        """Apply the answer to a `join`; a snapshot replaces what was held. Returns what is new, in order."""
        if joined.recovered and joined.epoch == self.epoch:
            return []
        is_first, before, others = self.epoch is None, self._places, self._others
        # Of a place that is neither newer than the position nor held, it is not known whether it was news before.
        newer_than = self.last if joined.epoch == self.epoch else 0
        self._places, self._others = {}, {}
        self.epoch, self.last, self.has_more = joined.epoch, joined.seq, joined.more
        changes = []
        for placed in joined.items:
            item = placed.item
            self._put(item)
            if isinstance(item, MessageItem):
                held = before.get(item.of)
                is_new = self._tell(item.view) and (held is not None or item.of > newer_than)
                if held is None or held.view != item.view:
                    changes.append(Change(item, is_new_text=is_new))
            elif others.get(key_of(item)) != item:
                changes.append(Change(item))
        return [] if is_first else changes

    def event(self, event: Event | UnknownEvent) -> Step:
        """Apply an event that is the next one; drop one that is known; after a GAP, join again with `position`."""
        if event.epoch == self.epoch and event.seq <= self.last:
            return Step(Outcome.KNOWN)
        if event.epoch != self.epoch or event.seq != self.last + 1:
            return Step(Outcome.GAP)
        self.last = event.seq
        if isinstance(event, UnknownEvent):
            return Step(Outcome.APPLIED)
        item = event.item
        is_new = False
        if isinstance(item, MessageItem):
            # An edit of a message that is not held (any more) is not the message's first appearance.
            may_be_new = item.of in self._places or item.change != "edit"
            is_new = self._tell(item.view) and may_be_new
        self._put(item)
        return Step(Outcome.APPLIED, Change(item, is_new_text=is_new))

    def page(self, page: Page) -> None:
        """Fill in older places. What is held already is at least as new, and stays."""
        for placed in page.items:
            if isinstance(placed.item, MessageItem):
                self._places.setdefault(placed.item.of, placed.item)
        self.has_more = page.more

    def forget(self) -> None:
        """Hold nothing any more: what follows a lost right to read."""
        self._places, self._others = {}, {}

    def _tell(self, view: AnyView) -> bool:
        """Whether this is a text that was not shown before: also one held and released again is news only once."""
        if not isinstance(view, Shown) or view.id in self._told:
            return False
        self._told[view.id] = None
        if len(self._told) > self._kept_places:
            del self._told[next(iter(self._told))]
        return True

    def _put(self, item: AnyItem) -> None:
        if isinstance(item, MessageItem):
            self._places[item.of] = item
            if len(self._places) > self._kept_places:
                del self._places[min(self._places)]
                self.has_more = True
        elif is_over(item):
            self._others.pop(key_of(item), None)
        else:
            self._others[key_of(item)] = item


class Outbox:
    """The commands that were not answered yet, oldest first: what is sent again after a cut."""

    def __init__(self, *, bound: int = 1_000) -> None:
        self._bound = bound
        self._waiting: dict[str, AnyCommand] = {}

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= self._bound

    @property
    def waiting(self) -> tuple[AnyCommand, ...]:
        """In the order in which they were first added."""
        return tuple(self._waiting.values())

    def add(self, client_id: str, command: AnyCommand) -> None:
        self._waiting.setdefault(client_id, command)

    def answered(self, re: str | None) -> bool:
        """Forget the command `re`; False where nothing by that name was waiting (an answer that came twice)."""
        return re is not None and self._waiting.pop(re, None) is not None
