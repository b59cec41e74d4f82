"""Which item a connection is sent of an event. Pure.

Decided here: what an agreed feature lets through. Who may see what of a message was decided before
(`server.feeds.FeedEvent.item_for`). An event that a connection has no use for still takes its place in the order:
it goes out with an item of a kind that every client passes over, since a missing seq would look like a loss.
"""

from __future__ import annotations

from typing import Final, cast

import msgspec

from server.feeds import Audience, FeedEvent
from server.protocol.frames import (
    AnyItem,
    AnyReply,
    AnyView,
    CaseItem,
    HandlingItem,
    Held,
    Item,
    Joined,
    MessageItem,
    Page,
    PageItem,
    Placed,
    Shown,
    Unreadable,
)

Features = frozenset[str]


class PassedOver(Item, frozen=True, tag="passed"):
    """Nothing for this connection stands here. No client knows this kind, so each advances and shows nothing."""


PASSED: Final = cast(AnyItem, PassedOver())


def shape_item(item: AnyItem, features: Features) -> AnyItem:
    """`item` as a connection that agreed on `features` is sent it."""
    if isinstance(item, MessageItem):
        if "console" not in features and isinstance(item.view, Shown | Held) and item.view.attention is not None:
            view: AnyView = msgspec.structs.replace(item.view, attention=None)
            return msgspec.structs.replace(item, view=view)
        return item
    if isinstance(item, HandlingItem):
        return item if "handling" in features else PASSED
    if isinstance(item, CaseItem | PageItem):
        return item if "console" in features else PASSED
    return item


def shape_event(event: FeedEvent, audience: Audience, account: str, features: Features) -> AnyItem:
    """The item of `event` for `account` on a connection with `features`."""
    return shape_item(event.item_for(audience, account), features)


def shape_reply(reply: AnyReply, features: Features) -> AnyReply:
    """A reply with a snapshot or page in it, without what the connection has no use for."""
    if isinstance(reply, Joined | Page) and reply.items:
        shaped = tuple(
            placed if item is placed.item else Placed(seq=placed.seq, item=item)
            for placed in reply.items
            if (item := shape_item(placed.item, features)) is not PASSED
        )
        return msgspec.structs.replace(reply, items=shaped)
    return reply


def unreadable(item: AnyItem) -> AnyItem:
    """What stands in for an item that can not be encoded: its place stays, and nobody else's events stop."""
    if isinstance(item, MessageItem):
        return MessageItem(of=item.of, change=item.change, view=Unreadable())
    return PASSED
