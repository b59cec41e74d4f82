"""The few HTTP calls that a program needs before it has a connection, with the standard library only.

Decided here: addresses of the HTTP API and how a refusal is read. Each call runs in a thread and takes at most 15 s.
"""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.parse
import urllib.request
from typing import TypeVar

import msgspec

from clients.sdk.errors import ClientError, HttpRefused
from server.protocol.frames import SOCKET_PATH, Person

TIMEOUT_S = 15.0
T = TypeVar("T")


class SignedIn(msgspec.Struct, frozen=True):
    """The answer to signing in or registering. The token is a secret: keep it out of logs and addresses."""

    token: str
    account: Person

    def __repr__(self) -> str:
        return f"SignedIn(account={self.account.id})"


class Listed(msgspec.Struct, frozen=True):
    """A room that this account may join; `feed` is the name to join it by."""

    feed: str
    name: str
    kind: str
    purpose: str = ""
    open: bool = True


class _Rooms(msgspec.Struct, frozen=True):
    rooms: tuple[Listed, ...]


class _Refusal(msgspec.Struct, frozen=True):
    code: str
    message: str


class _Empty(msgspec.Struct, frozen=True):
    pass


def socket_address(url: str) -> str:
    """The WebSocket address of the server at `url` (http, https, ws or wss; a path in front is kept)."""
    parts = urllib.parse.urlsplit(url)
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
    if scheme is None or not parts.netloc:
        raise ClientError("Give the server's address as http://HOST:PORT or https://HOST.")
    return urllib.parse.urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + SOCKET_PATH, "", ""))


async def sign_in(url: str, pseudonym: str, password: str) -> SignedIn:
    """A new session for an account that exists."""
    return await _call(SignedIn, url, "/api/sign-in", {"pseudonym": pseudonym, "password": password})


async def register(url: str, pseudonym: str, password: str, *, rules_version: str, client_id: str) -> SignedIn:
    """A new account, whose owner accepts the house rules of `rules_version`."""
    body = {"pseudonym": pseudonym, "password": password, "rules_version": rules_version, "client_id": client_id}
    return await _call(SignedIn, url, "/api/register", body)


async def sign_out(url: str, token: str) -> None:
    """End the session of `token`; its sockets are closed."""
    await _call(_Empty, url, "/api/sign-out", {}, token=token)


async def list_rooms(url: str, token: str) -> tuple[Listed, ...]:
    """The rooms that the account of `token` may join."""
    return (await _call(_Rooms, url, "/api/rooms", None, token=token)).rooms


async def _call(kind: type[T], url: str, path: str, body: dict[str, str] | None, *, token: str | None = None) -> T:
    socket_address(url)
    request = urllib.request.Request(  # noqa: S310 - socket_address has refused every scheme but these two
        url.rstrip("/") + path,
        data=None if body is None else msgspec.json.encode(body),
        headers={"Content-Type": "application/json", "Accept": "application/json"},
        method="GET" if body is None else "POST",
    )
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    answer = await asyncio.to_thread(_ask, request)
    try:
        return msgspec.json.decode(answer, type=kind)
    except msgspec.DecodeError:
        raise ClientError(f"The answer of {path} is not what the protocol says.") from None


def _ask(request: urllib.request.Request) -> bytes:
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - as above
            read: bytes = answer.read()
            return read
    except urllib.error.HTTPError as exc:
        with exc:
            try:
                refusal = msgspec.json.decode(exc.read(), type=_Refusal)
            except msgspec.DecodeError:
                refusal = _Refusal(code="internal", message="The server's answer can not be read.")
        raise HttpRefused(exc.code, refusal.code, refusal.message) from None
    except OSError as exc:
        raise ClientError("The server can not be reached.") from exc
