"""WebSocket framing on one TCP connection that uvicorn hands over; what the messages mean is decided in a subclass.

`websockets`' sans-I/O protocol checks the handshake and the closing one. Data frames are read here: one whole, masked,
unfragmented frame, nearly all there is, costs a slice and an unmasking (0.3 us; 2.3 us through the sans-I/O parser, and
4.4 KiB a connection less, November 2026). Fragments are joined here as well, because a message that is too long has to
be passed over without being kept, and a close between two fragments is answered as a close, both of which the sans-I/O
parser does not do.

No task, queue or timer per connection. Everything that waits is bounded: bytes before the 101, one message, the number
of its fragments and the time it takes. Extensions are never negotiated, so outgoing frames carry no state.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import IntEnum
from http import HTTPStatus
from typing import Any, ClassVar, Protocol, cast

import structlog
from websockets.http11 import Request
from websockets.protocol import State as ProtocolState
from websockets.server import ServerProtocol

from server.errors import BadRequest, ServiceError, Unavailable
from server.ids import new_id
from server.live.handshake import describe, refusal
from server.live.verbs import Upgrade
from server.protocol.codes import CloseCode
from server.protocol.frames import DISCARD_BYTES, MAX_FRAME_BYTES

try:
    from websockets.speedups import apply_mask
except ImportError:  # built without its C part
    from websockets.utils import apply_mask

_log = structlog.get_logger(__name__)

# The library would write headers (cookies) and payloads to this logger at DEBUG.
_SILENT = logging.Logger("silent", level=logging.CRITICAL + 1)
_SILENT.disabled = True

_WRONG = "Send a WebSocket handshake of version 13."

_OPCODE, _FIN, _RSV = 0x0F, 0x80, 0x70
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_KNOWN = frozenset((_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG))
PING = bytes((_FIN | _PING, 0))


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """Bounds of one connection. Sizes in bytes, times in seconds."""

    message_bytes: int = MAX_FRAME_BYTES
    discard_bytes: int = DISCARD_BYTES
    fragments: int = 128
    fragments_s: float = 10.0
    partial_s: float = 30.0
    early_bytes: int = 16 * 1024
    handshake_s: float = 10.0
    closing_s: float = 2.0


class Owner(Protocol):
    """Who owns the tasks and the clock of many sockets."""

    now: float
    limits: SocketLimits

    def watch(self, socket: WebSocket, at: float) -> None:
        """Call `socket.review(now)` once `at` has come."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` in a task that is ended with the owner."""
        ...


class Phase(IntEnum):
    HANDSHAKE = 0
    OPEN = 1
    CLOSING = 2
    LOST = 3


def frame(payload: bytes, is_text: bool) -> bytes:
    """One whole unmasked data frame around `payload`."""
    size = len(payload)
    first = _FIN | (_TEXT if is_text else _BINARY)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


class WebSocket(asyncio.Protocol):
    """One connection, from uvicorn's hand-over to the loss of the TCP connection.

    Subclasses answer `admit`, `opened`, `message`, `oversized`, `may_control` and `ended`. `write` takes whole frames
    only and may be called as long as `phase` is OPEN.
    """

    __slots__ = (
        "_buffer",
        "_close_by",
        "_connections",
        "_fragment_count",
        "_fragment_size",
        "_fragments",
        "_fragments_by",
        "_fragments_text",
        "_handshake",
        "_held",
        "_need",
        "_partial_by",
        "_skip",
        "_skip_final",
        "heard_at",
        "paused",
        "phase",
        "transport",
        "write",
    )

    owner: ClassVar[Owner]

    def __init__(self, config: object, server_state: Any, app_state: object) -> None:
        del config, app_state
        self._connections: set[Any] = server_state.connections
        self._handshake: ServerProtocol | None = ServerProtocol(logger=_SILENT)
        self._buffer = bytearray()
        self._need = 0  # bytes that the buffer must hold before looking at it can help
        self._held = False  # no further message is wanted now; reading is paused
        self._skip = 0  # bytes of an oversized frame still to pass over
        self._skip_final = False
        self._fragments: list[bytes] | None = None
        self._fragment_size = 0
        self._fragment_count = 0
        self._fragments_text = False
        self._fragments_by = 0.0
        self._partial_by = 0.0
        self._close_by = 0.0
        self.paused = False  # the transport's buffer is over its high-water mark
        self.phase = Phase.HANDSHAKE
        self.heard_at = 0.0  # when anything last came, by the owner's clock

    # --- what a subclass decides ---

    async def admit(self, upgrade: Upgrade) -> str | None:
        """The subprotocol to answer with; raises ServiceError to refuse. Runs before anything is answered."""
        raise NotImplementedError

    def opened(self) -> None:
        """The 101 is written."""

    def message(self, payload: bytes, is_text: bool) -> None:
        """One whole message; text is valid UTF-8."""

    def oversized(self) -> None:
        """A message over `message_bytes` came, and is passed over."""

    def may_control(self) -> bool:
        """Whether one more ping or pong is tolerated."""
        return True

    def ended(self) -> None:
        """The connection left OPEN: nothing may be written any more. Called once, only after `opened`."""

    # --- what a subclass may do ---

    def close(self, code: int, reason: bytes = b"") -> None:
        """Say goodbye with `code` and stop reading; the TCP connection is cut if the other side does not end it."""
        if self.phase is Phase.OPEN:
            self.write(bytes((_FIN | _CLOSE, 2 + len(reason))) + int(code).to_bytes(2, "big") + reason)
            self._end(half=True)
        elif self.phase is Phase.HANDSHAKE:
            self.phase = Phase.CLOSING
            self.transport.abort()

    def hold(self) -> None:
        """Take no further message until `release`; the client's TCP connection fills up instead."""
        if not self._held:
            self._held = True
            self.transport.pause_reading()

    def release(self) -> None:
        """Go on after `hold`."""
        if not self._held:
            return
        self._held = False
        if self.phase is Phase.OPEN:
            data = bytes(self._buffer)
            self._buffer.clear()
            self._partial_by = 0.0
            self._parse(data)
            if not self._held and self.phase is Phase.OPEN:
                self.transport.resume_reading()

    @property
    def is_held(self) -> bool:
        return self._held

    @property
    def unsent_bytes(self) -> int:
        return self.transport.get_write_buffer_size()

    def review(self, now: float) -> None:
        """Enforce what has a deadline; called by the owner."""
        if self.phase is Phase.CLOSING:
            if now >= self._close_by:
                self.transport.abort()
            else:
                self.owner.watch(self, self._close_by)
        elif self.phase is Phase.OPEN and (
            (self._fragments is not None and now >= self._fragments_by)
            or (self._partial_by and not self._held and now >= self._partial_by)
        ):
            self.close(CloseCode.POLICY)

    # --- calls from uvicorn and the transport ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.write: Callable[[bytes], None] = self.transport.write
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        was, self.phase = self.phase, Phase.LOST
        self._connections.discard(self)
        self._buffer.clear()
        self._fragments = None
        if was is Phase.OPEN:
            self.ended()

    def shutdown(self) -> None:
        """uvicorn stops."""
        self.close(CloseCode.SERVICE_RESTART)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False

    def data_received(self, data: bytes) -> None:
        self.heard_at = self.owner.now
        if self.phase is Phase.OPEN:
            if self._buffer:
                self._buffer += data
                if self._held or len(self._buffer) < self._need:
                    return
                data = bytes(self._buffer)
                self._buffer.clear()
            elif self._held:
                self._buffer += data
                return
            self._parse(data)
        elif self.phase is Phase.HANDSHAKE:
            self._shake_hands(data)

    # --- handshake ---

    def _shake_hands(self, data: bytes) -> None:
        protocol = self._handshake
        if protocol is None:  # the request was read and is being decided on
            self._buffer += data
            if len(self._buffer) > self.owner.limits.early_bytes:
                self.transport.pause_reading()
            return
        self._handshake = None
        protocol.receive_data(data)
        request = next((event for event in protocol.events_received() if isinstance(event, Request)), None)
        if request is None:
            self._refuse(refusal(BadRequest(_WRONG), 400, new_id()))
            return
        _ = self.owner.spawn(self._decide(protocol, request))

    async def _decide(self, protocol: ServerProtocol, request: Request) -> None:
        request_id = new_id()
        response = protocol.accept(request)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            extra = [(name, response.headers[name]) for name in ("Allow", "Upgrade") if name in response.headers]
            self._refuse(refusal(BadRequest(_WRONG), response.status_code, request_id, extra))
            return
        try:
            upgrade = describe(request, self.transport, request_id)
            async with asyncio.timeout(self.owner.limits.handshake_s):
                subprotocol = await self.admit(upgrade)
        except ServiceError as exc:
            self._refuse(refusal(exc, exc.status, request_id))
            return
        except TimeoutError:
            self._refuse(refusal(Unavailable("Try again in a moment."), 503, request_id))
            return
        except Exception as exc:
            _log.error("handshake_failed", request_id=request_id, error=type(exc).__name__)
            self._refuse(refusal(ServiceError("Something failed here."), 500, request_id))
            return
        if self.phase is not Phase.HANDSHAKE:
            return
        if subprotocol is not None:
            response.headers["Sec-WebSocket-Protocol"] = subprotocol
        self.write(response.serialize())
        self.phase = Phase.OPEN
        self.opened()
        self.transport.resume_reading()
        if self._buffer and self.phase is Phase.OPEN:
            data = bytes(self._buffer)
            self._buffer.clear()
            self._parse(data)

    def _refuse(self, refusal: bytes) -> None:
        if self.phase is Phase.HANDSHAKE:
            self.write(refusal)
            self.phase = Phase.CLOSING
            self._finish_writing()

    # --- frames ---

    def _parse(self, data: bytes) -> None:  # noqa: PLR0912, PLR0915 - the hot path, without a call for each step
        """Act on every whole frame in `data`; keep what follows the last of them."""
        at, size = 0, len(data)
        most = self.owner.limits.message_bytes
        while at < size and self.phase is Phase.OPEN and not self._held:
            left = size - at
            if self._skip:
                taken = min(self._skip, left)
                at += taken
                self._skip -= taken
                if not self._skip:
                    self._skipped()
                continue
            if left < 2:
                self._need = 2
                break
            first, length = data[at], data[at + 1] & 0x7F
            if not data[at + 1] & 0x80:
                self.close(CloseCode.PROTOCOL_ERROR)
                return
            head = 6
            if length == 126:
                head = 8
                if left < 4:
                    self._need = 4
                    break
                length = int.from_bytes(data[at + 2 : at + 4], "big")
            elif length == 127:
                head = 14
                if left < 10:
                    self._need = 10
                    break
                length = int.from_bytes(data[at + 2 : at + 10], "big")
            if (first == 0x82 or first == 0x81) and length <= most and self._fragments is None:  # noqa: PLR1714
                body = at + head
                end = body + length
                if end > size:
                    self._need = head + length
                    break
                payload = apply_mask(data[body:end], data[body - 4 : body])
                at = end
                self._whole(payload, first == 0x81)
                continue
            used = self._unusual(data, at, first, head, length)
            if used == 0:
                break
            at += used
        if self.phase is Phase.OPEN:
            if at < size:
                self._buffer += data[at:]
                if at or not self._partial_by:
                    self._partial_by = self.owner.now + self.owner.limits.partial_s
            else:
                self._partial_by = 0.0

    def _whole(self, payload: bytes, is_text: bool) -> None:
        if is_text and not payload.isascii():
            try:
                payload.decode()
            except UnicodeDecodeError:
                self.close(CloseCode.INVALID_TEXT)
                return
        self.message(payload, is_text)

    def _unusual(self, data: bytes, at: int, first: int, head: int, length: int) -> int:
        """Act on a control frame, a fragment, or a frame that is too long or wrong; return bytes used, 0: not all here.

        After a failure the connection is no longer OPEN and the number returned does not matter.
        """
        opcode = first & _OPCODE
        if first & _RSV or opcode not in _KNOWN or length >> 63:
            self.close(CloseCode.PROTOCOL_ERROR)
            return 0
        body = at + head
        if opcode >= _CLOSE:
            if not first & _FIN or length > 125:
                self.close(CloseCode.PROTOCOL_ERROR)
                return 0
            if body + length > len(data):
                self._need = head + length
                return 0
            self._control(
                opcode, data[at : body + length], apply_mask(data[body : body + length], data[body - 4 : body])
            )
            return head + length
        if (opcode == _CONTINUATION) is (self._fragments is None):
            self.close(CloseCode.PROTOCOL_ERROR)
            return 0
        return self._fragment(data, body, first, head, length)

    def _fragment(self, data: bytes, body: int, first: int, head: int, length: int) -> int:
        limits = self.owner.limits
        total = self._fragment_size + length
        if total > limits.discard_bytes:
            self.close(CloseCode.TOO_BIG)
            return 0
        too_long = total > limits.message_bytes
        if body + (0 if too_long else length) > len(data):
            self._need = head if too_long else head + length
            return 0
        if self._fragments is None:
            self._fragments = []
            self._fragments_text = first & _OPCODE == _TEXT
            self._fragments_by = self.owner.now + limits.fragments_s
            self.owner.watch(self, self._fragments_by)
        self._fragment_count += 1
        if self._fragment_count > limits.fragments:
            self.close(CloseCode.POLICY)
            return 0
        if too_long:
            if self._fragment_size <= limits.message_bytes:
                self.oversized()
            self._fragments.clear()
            self._fragment_size = total
            self._skip, self._skip_final = length, bool(first & _FIN)
            if not length:
                self._skipped()
            return head
        self._fragments.append(apply_mask(data[body : body + length], data[body - 4 : body]))
        self._fragment_size = total
        if first & _FIN:
            payload, is_text = b"".join(self._fragments), self._fragments_text
            self._forget_fragments()
            self._whole(payload, is_text)
        return head + length

    def _skipped(self) -> None:
        if self._skip_final:
            self._forget_fragments()

    def _forget_fragments(self) -> None:
        self._fragments = None
        self._fragment_size = self._fragment_count = 0

    def _control(self, opcode: int, raw: bytes, payload: bytes) -> None:
        if opcode == _CLOSE:
            # A protocol of its own, without the fragments so far: a close between two of them is a close, no error.
            protocol = ServerProtocol(state=ProtocolState.OPEN, logger=_SILENT)
            protocol.receive_data(raw)
            for data in protocol.data_to_send():
                if data:
                    self.write(data)
            self._end(half=False)
        elif not self.may_control():
            self.close(CloseCode.POLICY)
        elif opcode == _PING:
            self.write(bytes((_FIN | _PONG, len(payload))) + payload)

    # --- the end ---

    def _end(self, half: bool) -> None:
        self.phase = Phase.CLOSING
        self._buffer.clear()
        self._fragments = None
        self.ended()
        if self._held:
            self._held = False
            self.transport.resume_reading()
        if half and self.transport.can_write_eof():
            # Not closed yet: closing with unread bytes resets the connection, and the close code would be lost.
            self.transport.write_eof()
            self._close_by = self.owner.now + self.owner.limits.closing_s
            self.owner.watch(self, self._close_by)
        else:
            self._finish_writing()

    def _finish_writing(self) -> None:
        self._close_by = self.owner.now + self.owner.limits.closing_s
        self.owner.watch(self, self._close_by)
        self.transport.close()
