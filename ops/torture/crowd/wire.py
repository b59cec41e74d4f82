"""The bare wire of a crowd: RFC 6455 as far as somebody needs it who says little and is told much, at little cost.

A whole frame at a time, never a fragment; the server sends none. What breaks the rules is not found out here.
"""

from __future__ import annotations

import base64
import os
from typing import Final

from server.protocol.codec import Codec

# First bytes of frames: the last of a message, and its kind.
BINARY: Final = 0x82
CLOSE: Final = 0x88
PING: Final = 0x89
PONG: Final = 0x8A
SWITCHING: Final = "101"
# RFC 6455, section 7.1.5: no close frame came, and one without a code.
NO_CODE: Final = "1006"
EMPTY_CLOSE: Final = "1005"
_IS_MASKED: Final = 0x80
_SIZE_IN_2: Final = 126
# A mask of zeros is one, and leaves the payload as it is.
_MASK: Final = bytes(4)
_END_OF_HEAD: Final = b"\r\n\r\n"


def upgrade(port: int, token: str) -> bytes:
    """The request for a socket to the server at `port` of this machine."""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: {Codec.MSGPACK.subprotocol}\r\n"
        f"Authorization: Bearer {token}\r\n\r\n".encode()
    )


def take_status(buffer: bytearray) -> str | None:
    """Take the head of the answer to `upgrade` from what came, and return its status; None: it is not whole yet."""
    head, end, _ = buffer.partition(_END_OF_HEAD)
    if not end:
        return None
    del buffer[: len(head) + len(end)]
    return head[len("HTTP/1.1 ") :][:3].decode()


def take_frames(buffer: bytearray) -> list[tuple[int, bytes]]:
    """Take all whole frames from what came: first byte and payload of each; what is not whole stays."""
    found, at = [], 0
    while len(buffer) - at >= 2:
        size, head = buffer[at + 1], 2
        if size >= _SIZE_IN_2:
            head += 2 if size == _SIZE_IN_2 else 8
            if len(buffer) - at < head:
                break
            size = int.from_bytes(buffer[at + 2 : at + head], "big")
        if len(buffer) - at < head + size:
            break
        found.append((buffer[at], bytes(buffer[at + head : at + head + size])))
        at += head + size
    del buffer[:at]
    return found


def framed(first: int, payload: bytes) -> bytes:
    """One frame of a client's, with a payload of less than 65,536 bytes."""
    size = len(payload)
    if size < _SIZE_IN_2:
        return bytes((first, _IS_MASKED | size)) + _MASK + payload
    return bytes((first, _IS_MASKED | _SIZE_IN_2)) + size.to_bytes(2, "big") + _MASK + payload


def close_code(payload: bytes) -> str:
    """The code of a close frame, in digits."""
    return str(int.from_bytes(payload[:2], "big")) if payload else EMPTY_CLOSE
