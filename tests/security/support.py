"""Bytes on real sockets: requests with exactly the headers of the test, and the frames that come back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.actions.accounts import Registered
from server.auth.credentials import form_token
from server.protocol.codec import Codec
from server.protocol.frames import AnyCommand, Hello, Welcome
from tests.harness import Edge
from tests.live.support import Raw

Headers = Sequence[tuple[str, str]]
CRISIS = ("999", "116 123", "85258", "option 2")


@dataclass(frozen=True)
class Answer:
    """An HTTP answer as it came."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def code(self) -> str:
        found: str = json.loads(self.body)["code"]
        return found


def host(edge: Edge) -> str:
    return edge.url.partition("://")[2]


def port(edge: Edge) -> int:
    return int(edge.url.rpartition(":")[2])


def request(line: str, headers: Headers, body: bytes = b"") -> bytes:
    lines = [line, *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def upgrade(headers: Headers, path: str = "/ws", codec: Codec = Codec.MSGPACK) -> bytes:
    """A request for a socket with these headers and what every such request has."""
    own = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ("Sec-WebSocket-Protocol", codec.subprotocol),
    ]
    return request(f"GET {path} HTTP/1.1", [*headers, *own])


async def answer_to(edge: Edge, data: bytes) -> Answer:
    """Send `data`, read the head of the answer and its body, and hang up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port(edge))
    try:
        writer.write(data)
        async with asyncio.timeout(10):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(head[0].split()[1]), headers, body.decode())
    finally:
        writer.transport.abort()


async def post_ticket(edge: Edge, headers: Headers, session: str) -> Answer:
    """A change by HTTP with these headers, and the form token of the session."""
    own = [
        ("Content-Type", "application/json"),
        ("Content-Length", "2"),
        ("X-Evenkeel-CSRF", form_token(edge.services.secret, session)),
    ]
    return await answer_to(edge, request("POST /api/ticket HTTP/1.1", [*headers, *own], b"{}"))


def as_program(edge: Edge, token: str) -> Headers:
    return [("Host", host(edge)), ("Authorization", f"Bearer {token}")]


def as_browser(edge: Edge, token: str) -> Headers:
    return [("Host", host(edge)), ("Origin", edge.url), ("Cookie", f"evenkeel={token}")]


@contextlib.asynccontextmanager
async def raw_socket(
    edge: Edge, who: Registered, codec: Codec = Codec.MSGPACK, *, hello: bool = True, headers: Headers = ()
) -> AsyncIterator[Raw]:
    """A program's socket on which the test writes bytes; answered with 101, and greeted unless `hello` is False."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port(edge))
    raw = Raw(reader, writer)
    try:
        writer.write(upgrade([*as_program(edge, who.token), *headers], codec=codec))
        raw.head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert raw.head.startswith(b"HTTP/1.1 101"), raw.head
        if hello:
            raw.say(Hello(client_id="hello-0001", client="raw"), codec)
            assert isinstance(await raw.hear(codec), Welcome)
        yield raw
    finally:
        writer.transport.abort()


async def hear_until(raw: Raw, kind: type[Any], codec: Codec = Codec.MSGPACK) -> Any:
    """The next frame of `kind`; others are passed over."""
    while True:
        frame = await raw.hear(codec)
        if isinstance(frame, kind):
            return frame


async def ask(raw: Raw, command: AnyCommand, kind: type[Any], codec: Codec = Codec.MSGPACK) -> Any:
    raw.say(command, codec)
    return await hear_until(raw, kind, codec)


ROOT = Path(__file__).resolve().parents[2]
_TEST = re.compile(r"^\s*(?:async )?def (test_\w+)", re.MULTILINE)


def is_a_test(test_id: str) -> bool:
    """Whether `path::test_name` names a test that there is."""
    path, _, name = test_id.partition("::")
    file = ROOT / path
    return file.is_file() and name in _TEST.findall(file.read_text(encoding="utf-8"))
