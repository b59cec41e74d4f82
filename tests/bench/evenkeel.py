"""The service's dialect of the fan-out yardstick (`loadgen.py --dialect evenkeel --opt place=FILE`).

A dialect says how a connection signs in and joins, and how a message is spelt. `~@` and sixteen hexadecimal digits,
the time of sending, stand in the body and reach every member as they were written; `~#` and twelve digits are the
client id, which the acknowledgement names. FILE says which tokens and rooms there are (`tests.bench.server`).
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
from loadgen import Dialect as Base  # type: ignore[import-not-found]

BINARY = 2
# What people write. The yardstick's own filler is Latin: to the filter every word of it is one that it does not know,
# and is looked at longer. So is the mark of the time: 176 us for these words behind it, 17 us for a message without.
WORDS = (
    " I went down to the harbour this morning and sat with a flask of tea for an hour. The boats were coming in and"
    " nobody asked me anything, which was just what I wanted. I might go again on Thursday, if the weather is kind."
)


class Dialect(Base):  # type: ignore[misc]
    """2,000 sockets share the accounts that there are; connection `i` sits in room `room`."""

    opcode = BINARY

    def __init__(self, **opts: str) -> None:
        super().__init__(**opts)
        place = json.loads(Path(opts["place"]).read_text(encoding="utf-8"))
        self._tokens: list[str] = place["tokens"]
        self._rooms: dict[str, list[str]] = place["rooms"]
        self._feeds: list[str] = []

    async def setup(self, host: str, port: int, n: int, rooms: int) -> None:
        """Choose the rooms that hold as many as these do."""
        self._address = host, port
        self._feeds = self._rooms[str(n // rooms)]

    def request(self, i: int, room: int) -> tuple[str, dict[str, str]]:
        """The opening request of connection `i`: path and headers. The yardstick sends an Origin: a browser's."""
        del room
        return "/ws", {"Cookie": f"evenkeel={self._token(i)}", "Sec-WebSocket-Protocol": "evenkeel.v1.msgpack"}

    def _token(self, i: int) -> str:
        return self._tokens[i % len(self._tokens)]

    async def join(self, ws: Any, i: int, room: int) -> None:
        """Greet with a ticket, and follow the room; returns when both were answered."""
        hello = {"t": "hello", "client_id": "bench-hello", "client": "bench", "ticket": await self._ticket(i)}
        await ws.send(msgpack.packb(hello), BINARY)
        await _answered(ws, "welcome")
        await ws.send(msgpack.packb({"t": "join", "client_id": "bench-join", "feed": self._feeds[room]}), BINARY)
        await _answered(ws, "joined")

    async def _ticket(self, i: int) -> str:
        """A one-time ticket for one socket of the account of connection `i`."""
        reader, writer = await asyncio.open_connection(*self._address)
        try:
            writer.write(
                f"POST /api/ticket HTTP/1.1\r\nHost: {self._address[0]}:{self._address[1]}\r\nConnection: close\r\n"
                f"Authorization: Bearer {self._token(i)}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"
                "{}".encode()
            )
            answer = await reader.read()
        finally:
            writer.close()
        return str(json.loads(answer.partition(b"\r\n\r\n")[2])["ticket"])

    def message(self, i: int, room: int, size: int) -> bytes:
        """One message of `size` characters with both markers, unmasked and unframed."""
        del i
        marks = "~@" + "0" * 16
        body = marks + (WORDS * (size // len(WORDS) + 1))[: size - len(marks)]
        return bytes(
            msgpack.packb({"t": "send", "client_id": "~#" + "0" * 12, "feed": self._feeds[room], "body": body})
        )


async def _answered(ws: Any, kind: str) -> None:
    while True:
        _, data = await ws.recv()
        said = msgpack.unpackb(data)["t"]
        if said == kind:
            return
        if said == "error":
            raise ConnectionError(f"refused instead of {kind}")
