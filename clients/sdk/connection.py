"""One connection at a time: handshake, frames in and out, and how long to wait before the next one.

Decided here: what counts as a lost connection and the back-off. Not decided here: what is sent and what it means
(`client`), or which close codes mean "come back" (`server.protocol.codes`).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from server.protocol.codec import Codec, ReplyOrUnknown
from server.protocol.codes import CloseAdvice, CloseCode, ProtocolError, close_advice
from server.protocol.frames import MAX_REPLY_BYTES, AnyCommand, Error, Hello, Welcome

# Full jitter between FLOOR_S and a cap that doubles from 1 s up to CEILING_S (section 5 of PROTOCOL.md).
FLOOR_S: Final = 0.5
CEILING_S: Final = 30.0
# A connection that lasted so long after `welcome` has proved that the server is well.
PROVEN_S: Final = 30.0
HANDSHAKE_S: Final = 10.0
CLOSE_S: Final = 2.0

# Below WARNING the library writes the headers that it sends, the token among them, into whatever log the program keeps.
_WIRE: Final = logging.getLogger("evenkeel.sdk.wire")
_WIRE.setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Timing:
    """The clock, the wait and the dice of a client: real ones, unless a simulator brings its own.

    `monotonic` and `sleep` are in seconds; `uniform` takes the two ends of a range.
    """

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    uniform: Callable[[float, float], float] = random.uniform


class Backoff:
    """How long to wait before each attempt, given how the last connection went."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._attempt = 0

    def after(self, advice: CloseAdvice, *, lasted_s: float, floor_s: float = 0.0, moves: bool = False) -> float:
        """Seconds to wait now.

        Args:
            advice: of the close that ended the last connection or attempt.
            lasted_s: how long the connection lasted after `welcome`; 0 where it never came to that.
            floor_s: what the server asked for, from `drain`.
            moves: we closed at the moment that `drain` gave us. The server has spread these moments, so that the first
                attempt need not wait; unless the connection was young, for a server may send everybody away at once.
        """
        if lasted_s >= PROVEN_S:
            self._attempt = 0
            if moves:
                return floor_s
        # Past the sixth doubling the cap is reached; the exponent stays small however long a server is away.
        cap = min(CEILING_S, float(2 ** min(self._attempt, 6)))
        self._attempt += 1
        return max(self._timing.uniform(FLOOR_S, cap), advice.min_delay_ms / 1_000, floor_s)


class Lost(Exception):
    """A connection, or the attempt to make one, ended.

    Attributes:
        code: the close code, 1006 where there was none.
        advice: whether to come back.
        error: what the server answered to `hello`, if it refused that.
    """

    def __init__(self, code: int, advice: CloseAdvice, error: Error | None = None) -> None:
        super().__init__(f"{code}: {advice.meaning}")
        self.code = code
        self.advice = advice
        self.error = error


def _advice_for_status(status: int) -> CloseAdvice:
    """What a refused upgrade means (section 1 of PROTOCOL.md)."""
    if status == 401:
        return close_advice(CloseCode.SESSION_ENDED)
    if status == 429:
        return close_advice(CloseCode.TOO_MANY_CONNECTIONS)
    if 400 <= status < 500:
        return CloseAdvice(f"The server refused the connection ({status}).", reconnect=False)
    return CloseAdvice(f"The server can not take a connection now ({status}).", reconnect=True, min_delay_ms=1_000)


class Link:
    """A connection on which `hello` was answered by `welcome`."""

    def __init__(self, socket: ClientConnection, codec: Codec, timing: Timing) -> None:
        self._socket = socket
        self._codec = codec
        self._timing = timing
        self.opened_at = timing.monotonic()
        self.heard_at = self.opened_at

    @classmethod
    async def open(
        cls, address: str, token: str | None, hello: Hello, codec: Codec, timing: Timing
    ) -> tuple[Link, Welcome]:
        """Connect and say `hello`.

        Raises:
            Lost: it did not come to a `welcome` within 10 s, for whatever reason.
        """
        unreachable = CloseAdvice("The server can not be reached.", reconnect=True)
        socket: ClientConnection | None = None
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                socket = await connect(
                    address,
                    subprotocols=[Subprotocol(codec.subprotocol)],
                    additional_headers={} if token is None else {"Authorization": f"Bearer {token}"},
                    max_size=MAX_REPLY_BYTES,
                    compression=None,
                    # The heartbeat of the protocol finds a dead connection, and says more.
                    ping_interval=None,
                    open_timeout=None,
                    close_timeout=CLOSE_S,
                    logger=_WIRE,
                )
                link = cls(socket, codec, timing)
                await socket.send(codec.encode(hello), text=codec.is_text)
                answer = codec.decode_reply(await socket.recv(decode=False))
                if isinstance(answer, Welcome):
                    return link, answer
                # A refused hello is followed by a close that says whether to come back.
                async for _ in socket:
                    continue
                raise Lost(
                    socket.close_code or CloseCode.LOST,
                    close_advice(socket.close_code or CloseCode.LOST),
                    _error(answer),
                )
        except InvalidStatus as exc:
            raise Lost(CloseCode.LOST, _advice_for_status(exc.response.status_code)) from None
        except ConnectionClosed as exc:
            code = exc.rcvd.code if exc.rcvd is not None else CloseCode.LOST
            raise Lost(code, close_advice(code)) from None
        except InvalidMessage:
            # Cut in the middle of the handshake: a server that was just killed, not another kind of server.
            await _cut(socket)
            raise Lost(CloseCode.LOST, unreachable) from None
        except (InvalidHandshake, ProtocolError):
            await _cut(socket)
            raise Lost(
                CloseCode.PROTOCOL_ERROR, CloseAdvice("No Evenkeel server answers at this address.", reconnect=False)
            ) from None
        except (OSError, TimeoutError, WebSocketException):
            await _cut(socket)
            raise Lost(CloseCode.LOST, unreachable) from None
        except asyncio.CancelledError:
            await _cut(socket)
            raise

    @property
    def lasted_s(self) -> float:
        return self._timing.monotonic() - self.opened_at

    async def send(self, command: AnyCommand) -> None:
        """Write a command. On a connection that is gone nothing happens: `replies` tells, and the client resends."""
        try:
            await self._socket.send(self._codec.encode(command), text=self._codec.is_text)
        except ConnectionClosed:
            return

    async def replies(self) -> AsyncIterator[ReplyOrUnknown]:
        """Every frame from the server, until the connection ends.

        Raises:
            Lost: always, in the end.
        """
        try:
            while True:
                data = await self._socket.recv(decode=False)
                self.heard_at = self._timing.monotonic()
                yield self._codec.decode_reply(data)
        except ConnectionClosed as exc:
            code = exc.rcvd.code if exc.rcvd is not None else CloseCode.LOST
            raise Lost(code, close_advice(code)) from None
        except ProtocolError as exc:
            await self.close(CloseCode.PROTOCOL_ERROR)
            raise Lost(
                CloseCode.PROTOCOL_ERROR, CloseAdvice(f"The server broke the protocol: {exc.code}.", reconnect=True)
            ) from None

    async def close(self, code: CloseCode = CloseCode.NORMAL) -> None:
        """Say goodbye; after 2 s without an answer the connection is cut."""
        await self._socket.close(code)

    def cut(self) -> None:
        """End it at once, without a goodbye: for a peer that does not answer any more."""
        self._socket.transport.abort()


def _error(answer: ReplyOrUnknown) -> Error | None:
    return answer if isinstance(answer, Error) else None


async def _cut(socket: ClientConnection | None) -> None:
    if socket is not None:
        socket.transport.abort()
        await socket.wait_closed()
