"""What the machine allows: a server that writes one prebuilt frame for each delivery, and does nothing else.

It joins whoever asks for `/<room>` to that room, looks at nothing that they send but where a frame ends, and writes the
frame that it was given to every member, each with a `write` of its own. No decoding, no acknowledgement. Whatever a hub
does for a delivery comes on top of this, and only fewer writes can bring it below.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Callable

import uvloop
from websockets.utils import accept_key

_ROOMS: dict[bytes, list[Callable[[bytes], None]]] = {}


class Floor(asyncio.Protocol):
    """One connection. `frame` is set on the class before it is used."""

    frame = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._room: list[Callable[[bytes], None]] = []
        self._buffer = b""
        self._is_open = False

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        if not self._is_open:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._buffer = head
                return
            self._shake_hands(head)
        at = 0
        while len(data) - at >= 8:
            size, head_size = data[at + 1] & 127, 6
            if size == 126:
                size, head_size = int.from_bytes(data[at + 2 : at + 4], "big"), 8
            if len(data) - at < head_size + size:
                break
            at += head_size + size
            for write in self._room:
                write(self.frame)
        self._buffer = data[at:]

    def _shake_hands(self, head: bytes) -> None:
        request, *lines = head.split(b"\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        accept = accept_key(fields[b"sec-websocket-key"].decode())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept.encode() + b"\r\n\r\n"
        )
        self._room = _ROOMS.setdefault(request.split(b" ")[1], [])
        self._room.append(self._transport.write)
        self._is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_open:
            self._room.remove(self._transport.write)


async def _serve(listener: socket.socket) -> None:
    server = await asyncio.get_running_loop().create_server(Floor, sock=listener, backlog=2048)
    await server.serve_forever()


def main() -> int:
    """Serve until killed; the frame to write comes on standard input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listener", type=int, required=True)
    given = parser.parse_args()
    core = os.environ.get("EVENKEEL_BENCH_CORE")
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core)})
    Floor.frame = sys.stdin.buffer.read()
    uvloop.run(_serve(socket.socket(fileno=given.listener)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
