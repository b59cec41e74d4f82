"""The bytes of replies and events, as one connection or one group of alike connections is sent them."""

from __future__ import annotations

import msgspec
import structlog

from server.feeds import FeedEvent
from server.live.followers import Feed, GroupKey
from server.live.shape import Features, shape_event, shape_reply, unreadable
from server.live.socket import frame
from server.protocol.codec import Codec
from server.protocol.codes import ProtocolError
from server.protocol.frames import AnyReply, Event

_log = structlog.get_logger(__name__)


def encode_reply(reply: AnyReply, codec: Codec, features: Features) -> bytes:
    """The bytes of a reply, as a connection with `features` is sent it."""
    return frame(codec.encode(shape_reply(reply, features)), codec.is_text)


def encode_event(feed: Feed, event: FeedEvent, key: GroupKey, account: str) -> bytes:
    """The bytes of `event` for a group; for `account` of it where the author's own view may differ."""
    audience, codec, features = key
    item = shape_event(event, audience, account, features)
    try:
        data = codec.encode(Event(feed=feed.wire, epoch=event.epoch, seq=event.seq, item=item))
    except (ProtocolError, TypeError, ValueError, msgspec.MsgspecError) as exc:
        _log.error("event_unreadable", feed=feed.name, seq=event.seq, error=type(exc).__name__)
        data = codec.encode(Event(feed=feed.wire, epoch=event.epoch, seq=event.seq, item=unreadable(item)))
    return frame(data, codec.is_text)
