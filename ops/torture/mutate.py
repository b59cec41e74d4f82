"""Frames that no honest client sends: made by chance from good commands, all from one seed. Pure; nothing is sent here.

What is broken is either what a frame carries (the server answers that, and the connection goes on) or the frame itself
(the connection ends). A connection is for some of the former and one of the latter, so that the server looks at each.
"""

from __future__ import annotations

import random
import struct
from typing import Final

from server.protocol.codec import Codec
from server.protocol.frames import (
    AnyCommand,
    Beat,
    Edit,
    Hello,
    Help,
    History,
    Join,
    Leave,
    OpenCase,
    Position,
    Read,
    Remove,
    Report,
    Send,
)

# Below what one connection may send of broken messages before it is sent away: all of a batch is looked at. Pings and
# pongs, 0.8 to a message, stay below their own bound as good as always.
MESSAGES: Final = 24
MARKER: Final = "fuzz-last"
_SIZES: Final = (0, 1, 2, 5, 17, 125, 126, 127, 300, 4_000, 65_535)
_TEXTS: Final = ("", "Good morning", "é" * 40, "\u200b\u202e\u0000", "😀" * 20, "x" * 3_999, "a b" * 900)
_VALUES: Final = (
    b"\x00",
    b"\xff",
    b"\xc0",
    b"\xc1",
    b"\x80",
    b"\x90",
    b"\xdc\xff\xff",
    b"\xcf" + b"\xff" * 8,
    b"{",
    b'"',
)


def framed(rng: random.Random, payload: bytes, opcode: int, *, fin: bool = True, rsv: int = 0) -> bytes:
    """One masked frame, as a client sends it."""
    size = len(payload)
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65_536:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0x80 | 127)) + size.to_bytes(8, "big")
    mask = rng.randbytes(4)
    pad = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")


class Mutator:
    """An endless source of batches for one codec, about the feed `feed`."""

    def __init__(self, rng: random.Random, codec: Codec, feed: str) -> None:
        self._rng = rng
        self._codec = codec
        self._opcode = 1 if codec.is_text else 2
        self._feed = feed

    def command(self) -> AnyCommand:
        """A command that the server could carry out, or would refuse politely."""
        rng, feed = self._rng, self._feed
        named = f"fuzz-{rng.getrandbits(48):012x}"
        some = f"{rng.getrandbits(60):015x}"
        number = rng.choice((0, 1, rng.getrandbits(16), 2**53 - 1))
        text = rng.choice(_TEXTS)
        choices: tuple[AnyCommand, ...] = (
            Hello(client_id=named, client="fuzz", features=("handling",) * rng.randint(0, 3)),
            Join(client_id=named, feed=feed, after=Position(epoch=1, seq=number)),
            Join(client_id=named, feed=rng.choice(("inbox", "staff:moderation", "room:nowhere"))),
            Leave(client_id=named, feed=feed),
            Send(client_id=named, feed=feed, body=text),
            Edit(client_id=named, feed=feed, message=some, body=text),
            Remove(client_id=named, feed=feed, message=some),
            History(client_id=named, feed=feed, before=number),
            Read(client_id=named, feed=feed, seq=number),
            Report(client_id=named, feed=feed, message=some, reason="other", body=text),
            OpenCase(client_id=named, case=some),
            Beat(at={feed: number}),
        )
        if rng.random() < 0.001:  # each opens a case or joins one, and is never refused for being one of many
            return Help(client_id=named)
        return rng.choice(choices)

    def payload(self) -> bytes:
        """What one frame carries: a command, whole or damaged, or noise."""
        rng = self._rng
        if rng.random() < 0.15:
            return rng.randbytes(rng.choice(_SIZES))
        data = bytearray(self._codec.encode(self.command()))
        for _ in range(rng.choice((0, 1, 1, 1, 2, 4, 16))):
            self._damage(data)
        return bytes(data)

    def _damage(self, data: bytearray) -> None:
        rng = self._rng
        at = rng.randrange(len(data) + 1)
        match rng.randrange(7):
            case 0 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(data):
                data[at] = rng.randrange(256)
            case 2:
                del data[at : at + rng.randint(1, 8)]
            case 3:
                data[at:at] = rng.randbytes(rng.randint(1, 8))
            case 4:
                data[at:at] = rng.choice(_VALUES) * rng.choice((1, 1, 2, 40, 2_000))
            case 5:
                data[at:at] = data[: rng.randint(0, len(data))]
            case _:
                del data[at:]

    def _message(self) -> tuple[bytes, int]:
        """One message in one or several frames, after which the connection may go on; and how many frames."""
        rng, payload = self._rng, self.payload()
        opcode = self._opcode
        if opcode == 2 and rng.random() < 0.1:
            opcode = 1  # not what this subprotocol is spoken in
        if opcode == 1:
            payload = payload.decode(errors="replace").encode()
        cuts = sorted(rng.randint(0, len(payload)) for _ in range(rng.choice((0, 0, 0, 1, 2, 5, 20))))
        parts = [payload[a:b] for a, b in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
        last = len(parts) - 1
        frames = [framed(rng, part, opcode if n == 0 else 0, fin=n == last) for n, part in enumerate(parts)]
        for _ in range(rng.choice((0, 0, 0, 1, 3))):
            control = framed(rng, rng.randbytes(rng.randint(0, 125)), rng.choice((9, 10)))
            frames.insert(rng.randint(0, len(frames)), control)
        return b"".join(frames), len(frames)

    def violent(self) -> bytes:
        """One frame that is wrong as a frame, or ends the connection in another way."""
        rng, payload = self._rng, self.payload()
        good = framed(rng, payload, self._opcode)
        match rng.randrange(10):
            case 0:
                return framed(rng, payload, rng.randrange(16), fin=rng.random() < 0.5, rsv=rng.randrange(8))
            case 1:
                return bytes((0x80 | self._opcode, len(payload) & 0x7F)) + payload  # not masked
            case 2:
                damaged = bytearray(good)
                damaged[rng.randrange(min(len(good), 14))] ^= 1 << rng.randrange(8)
                return bytes(damaged)
            case 3:
                return good[: rng.randrange(len(good))]
            case 4:
                return rng.randbytes(rng.randint(1, 200))
            case 5:
                size = rng.choice((65_537, 1 << 20, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1))
                return bytes((0x80 | self._opcode, 0xFF)) + struct.pack("!Q", size) + rng.randbytes(4) + payload
            case 6:
                return framed(rng, rng.randbytes(rng.randint(0, 125)), 8)
            case 7:
                code = rng.choice((999, 1000, 1004, 1005, 1006, 1015, 2999, 3000, 4999, 5000, 65_535))
                return framed(rng, code.to_bytes(2, "big") + rng.randbytes(rng.randint(0, 123)), 8)
            case 8:
                return framed(rng, payload, self._opcode, fin=False) + framed(rng, payload, self._opcode)
            case _:
                return framed(rng, rng.randbytes(rng.randint(1, 60)) + b"\xff\xfe", 1)

    def batch(self) -> tuple[bytes, int]:
        """Bytes of some messages to write at once, and the number of frames in them."""
        made = [self._message() for _ in range(self._rng.randint(1, MESSAGES))]
        return b"".join(data for data, _ in made), sum(frames for _, frames in made)

    def marker(self) -> bytes:
        """A command whose answer says that everything before it was carried out or refused."""
        return framed(self._rng, self._codec.encode(Leave(client_id=MARKER, feed=self._feed)), self._opcode)

    def damaged(self, request: bytes) -> bytes:
        """A handshake with a few of its bytes changed."""
        data = bytearray(request)
        for _ in range(self._rng.randint(1, 4)):
            self._damage(data)
        return bytes(data)
