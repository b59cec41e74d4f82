"""A load generator that costs little: plain sockets, one epoll, frames encoded beforehand, nothing decoded.

Acknowledgements and deliveries are counted by a marker in the bytes. Commands of one connection are answered in order,
so the n-th acknowledgement on it belongs to the n-th message. In an open loop a message's time runs from when it should
have been sent, whatever kept the generator from sending it.
"""

from __future__ import annotations

import base64
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgpack  # type: ignore[import-untyped]

_ACK: Final = b"\xa1t\xa3ack"
EVENT_MARK: Final = b"\xa5event"
_ERROR: Final = b"\xa5error"
_CARRIED: Final = len(_ACK) - 1
# As the SDK makes them: the time in milliseconds, then what makes it unique.
ID_BYTES: Final = 29
_PLACE: Final = b"#" * ID_BYTES
# Fewer than a server lets wait to be accepted.
_CROWD: Final = 50

# About 200 bytes each: the length of what people write, and nothing in it for the filter to find.
BODIES: Final = (
    "I went down to the harbour this morning and sat with a flask of tea for an hour. The boats were coming in and "
    "nobody asked me anything, which was just what I wanted. I might go again on Thursday.",
    "My neighbour gave me a bag of tomatoes from the garden, far too many, so I have been making soup all afternoon. "
    "If anybody has a good way to keep it for the winter I would like to hear about it.",
    "We tried the breathing exercise before breakfast as somebody here suggested. It felt a little silly at first, "
    "then it was fine, and I did notice that the journey to work was calmer than last week.",
    "Finished the second book in that series about the lighthouse keepers. It was slower than the first one, but the "
    "last few chapters were lovely. Does anybody know whether the third one has come out yet?",
    "The dog has learnt to open the kitchen door, so now we find the cushions in the hallway every day. I should be "
    "cross about it but it made me laugh, and that has been rare enough these past few weeks.",
)


@dataclass(frozen=True, slots=True)
class Seat:
    """One connection to make: whose token, and the room it sits in ("": none)."""

    token: str
    feed: str


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run came to. Latencies in milliseconds, from sending to the acknowledgement."""

    messages_per_s: float
    deliveries_per_s: float
    ack_p50_ms: float
    ack_p99_ms: float
    messages: int


class _Connection:
    __slots__ = ("carry", "feed_frame", "id_at", "n", "sock", "waiting")

    def __init__(self, sock: socket.socket, frames: list[tuple[bytearray, int]]) -> None:
        self.sock = sock
        self.carry = b""
        self.feed_frame = frames
        self.waiting: deque[float] = deque()
        self.n = 0


class Load:
    """Connections, seated and ready to send; of several servers, each is given the next connection in turn."""

    def __init__(self, ports: Sequence[int], seats: Sequence[Seat]) -> None:
        self._salt = os.urandom(3).hex()
        self.sent = 0
        self._connections = [
            _Connection(sock, [message_frame(seat.feed, body) for body in BODIES])
            for sock, seat in zip(_in_turn(ports, seats), seats, strict=True)
        ]
        self._poll = select.epoll()
        self._by_fd = {}
        for connection in self._connections:
            connection.sock.setblocking(False)
            self._by_fd[connection.sock.fileno()] = connection
            self._poll.register(connection.sock.fileno(), select.EPOLLIN)
        self.deliveries = 0

    def close(self) -> None:
        """End every connection."""
        self._poll.close()
        for connection in self._connections:
            connection.sock.close()

    def closed_loop(self, senders: int, seconds: float, warm_s: float = 1.0) -> Measured:
        """`senders` connections each send the next message when the last one was acknowledged."""
        chosen = self._spread(senders)
        began = time.perf_counter()
        for connection in chosen:
            self._send(connection, time.perf_counter())
        self._serve(began + warm_s, again=True)
        self.deliveries = 0
        start = time.perf_counter()
        taken = self._serve(start + seconds, again=True)
        lasted = time.perf_counter() - start
        deliveries = self.deliveries
        self._finish()
        return _measured(taken, lasted, deliveries)

    def open_loop(self, rate: float, seconds: float, warm_s: float = 1.0) -> Measured:
        """Messages at `rate` per second, from one connection after the other, whatever the server does."""
        began = time.perf_counter()
        turn, count, taken = 0, 0, []
        measured_from, until = began + warm_s, began + warm_s + seconds
        counted_from = 0
        while (now := time.perf_counter()) < until:
            due = began + count / rate
            if now < due:
                found = self._serve_once(min(due, until), again=False)
                if due > measured_from:
                    taken += found
                else:
                    counted_from = self.deliveries
                continue
            self._send(self._connections[turn], due)
            turn = (turn + 7) % len(self._connections)
            count += 1
        lasted = time.perf_counter() - measured_from
        deliveries = self.deliveries - counted_from
        self._finish()
        return _measured(taken, lasted, deliveries)

    def _spread(self, count: int) -> list[_Connection]:
        step = max(1, len(self._connections) // count)
        return self._connections[::step][:count]

    def _send(self, connection: _Connection, at: float) -> None:
        frame, id_at = connection.feed_frame[connection.n % len(connection.feed_frame)]
        connection.n += 1
        self.sent += 1
        frame[id_at : id_at + ID_BYTES] = f"{time.time_ns() // 1_000_000:012x}-{self._salt}{self.sent:010d}".encode()
        connection.waiting.append(at)
        # A frame is far smaller than a socket's buffer, and few are ever under way on one connection.
        if connection.sock.send(frame) != len(frame):
            raise RuntimeError("the server does not read any more")

    def _serve(self, until: float, *, again: bool) -> list[float]:
        taken: list[float] = []
        while time.perf_counter() < until:
            taken += self._serve_once(until, again=again)
        return taken

    def _serve_once(self, until: float, *, again: bool) -> list[float]:
        """Take what has come until now, or wait for it; returns the latencies of what was acknowledged, in seconds."""
        taken = []
        for fd, _ in self._poll.poll(max(0.0, until - time.perf_counter())):
            connection = self._by_fd[fd]
            data = connection.sock.recv(262_144)
            if not data:
                raise RuntimeError("the server closed a connection")
            whole = connection.carry + data
            self.deliveries += whole.count(EVENT_MARK)
            acks = whole.count(_ACK)
            if _ERROR in whole:
                raise RuntimeError("the server refused a message")
            connection.carry = whole[-_CARRIED:]
            if acks:
                now = time.perf_counter()
                for _ in range(acks):
                    taken.append(now - connection.waiting.popleft())
                    if again:
                        self._send(connection, now)
        return taken

    def _finish(self) -> None:
        """Wait until everything sent was acknowledged."""
        deadline = time.perf_counter() + 10
        while any(connection.waiting for connection in self._connections):
            if time.perf_counter() > deadline:
                raise RuntimeError("messages were not acknowledged")
            self._serve_once(time.perf_counter() + 0.1, again=False)


def _in_turn(ports: Sequence[int], seats: Sequence[Seat]) -> list[socket.socket]:
    """A socket for each seat, in their order, on one port after the other."""
    parts = [iter(open_sockets(port, seats[n :: len(ports)])) for n, port in enumerate(ports)]
    return [next(parts[n % len(ports)]) for n in range(len(seats))]


def open_sockets(
    port: int,
    seats: Sequence[Seat],
    source: str = "",
    *,
    taken: Callable[[Sequence[socket.socket]], None] = lambda seated: None,
) -> list[socket.socket]:
    """A socket for each seat, signed in and, where the seat names a feed, joined; a crowd at a time.

    Args:
        source: the loopback address that they come from; "": the usual one.
        taken: told who is seated by now, after each crowd.

    Raises:
        RuntimeError: the server turned somebody away.
    """
    seated: list[socket.socket] = []
    for start in range(0, len(seats), _CROWD):
        crowd = seats[start : start + _CROWD]
        sockets = [_connect(port, "/ws", source, _sign(seat.token)) for seat in crowd]
        seated += sockets
        for sock in sockets:
            _read_until(sock, b"\r\n\r\n")
            sock.sendall(_frame({"t": "hello", "client_id": "bench-hello", "client": "bench"}))
        for sock, seat in zip(sockets, crowd, strict=True):
            _read_until(sock, b"welcome")
            if seat.feed:
                sock.sendall(_frame({"t": "join", "client_id": "bench-join", "feed": seat.feed}))
        for sock, seat in zip(sockets, crowd, strict=True):
            if seat.feed:
                _read_until(sock, b"joined")
        taken(seated)
    return seated


def open_raw(port: int, path: str) -> socket.socket:
    """A socket that was answered with 101 for `path` and has said nothing yet."""
    sock = _connect(port, path, "", "")
    _read_until(sock, b"\r\n\r\n")
    return sock


def _connect(port: int, path: str, source: str, more: str) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(source, 0) if source else None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{more}\r\n".encode()
    )
    return sock


def _sign(token: str) -> str:
    return f"Sec-WebSocket-Protocol: evenkeel.v1.msgpack\r\nAuthorization: Bearer {token}\r\n"


def message_frame(feed: str, body: str) -> tuple[bytearray, int]:
    """A message's frame, and where in it the ID_BYTES bytes of its client id stand."""
    frame = _frame({"t": "send", "client_id": _PLACE.decode(), "feed": feed, "body": body})
    return bytearray(frame), frame.index(_PLACE)


def _frame(command: dict[str, str]) -> bytes:
    """The frame of a command."""
    return masked_frame(msgpack.packb(command))


def masked_frame(payload: bytes) -> bytes:
    """One whole binary frame as a client sends it. The mask is zero: the server unmasks it at the same cost."""
    size = len(payload)
    head = bytes((0x82, 0x80 | size)) if size < 126 else bytes((0x82, 0xFE)) + size.to_bytes(2, "big")
    return head + bytes(4) + payload


def _read_until(sock: socket.socket, marker: bytes) -> None:
    data = b""
    while marker not in data:
        part = sock.recv(65_536)
        if not part:
            raise RuntimeError(f"the server ended the connection before `{marker!r}`")
        data += part


def _measured(taken: list[float], lasted_s: float, deliveries: int) -> Measured:
    taken.sort()
    if not taken:
        raise RuntimeError("nothing was acknowledged")
    return Measured(
        messages_per_s=len(taken) / lasted_s,
        deliveries_per_s=deliveries / lasted_s,
        ack_p50_ms=taken[len(taken) // 2] * 1000,
        ack_p99_ms=taken[min(len(taken) - 1, int(len(taken) * 0.99))] * 1000,
        messages=len(taken),
    )
