"""The Python client: a bot or an app in a few lines. Start with `Client`; the wire itself is in clients/PROTOCOL.md."""

from clients.sdk.client import Client, LinkChange, LinkState
from clients.sdk.errors import ClientError, CommandRefused, ConnectionEnded, HttpRefused
from clients.sdk.feed import Feed

__all__ = [
    "Client",
    "ClientError",
    "CommandRefused",
    "ConnectionEnded",
    "Feed",
    "HttpRefused",
    "LinkChange",
    "LinkState",
]
