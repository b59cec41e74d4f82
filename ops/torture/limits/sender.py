"""Somebody who sends by HTTP whatever becomes of the service, and knows what was refused and what was cut off."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from typing import Any, Final

import msgspec

from ops.torture.clients import CLEAN, URGENT, Log, words
from server.protocol.frames import Ack

URGENT_SHARE: Final = 0.1
# By then everybody is answered, given that there is room.
RECOVER_S: Final = 30.0


class Sender:
    """A member who sends one message after the other by HTTP, over one connection for as long as it is kept open."""

    def __init__(self, port: int, log: Log, name: str, token: str, rng: random.Random) -> None:
        self.log = log
        self._port, self._name, self._token, self._rng = port, name, token, rng
        self._open = ""
        self._link: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def new_id(self) -> str:
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))

    async def send(self) -> str:
        """Send something new, or once more what was not acknowledged; "" or the code that it was refused with."""
        if not self._open:
            self._open = self.new_id()
            text = URGENT if self._rng.random() < URGENT_SHARE else self._rng.choice(CLEAN)
            self.log.sent[self._open] = words(self._name, len(self.log.sent), text)
        said = await self.ask(
            {"t": "send", "client_id": self._open, "feed": self.log.feed, "body": self.log.sent[self._open]}
        )
        if said is None:
            return "cut"
        if "code" in said:
            return str(said["code"])
        self.log.acks.setdefault(self._open, []).append(msgspec.convert(said, Ack))
        self._open = ""
        return ""

    async def ask(self, command: dict[str, str]) -> dict[str, Any] | None:
        """The answer to one command; None where the connection was cut or could not be made."""
        body = json.dumps(command).encode()
        head = (
            f"POST /api/commands HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nAuthorization: Bearer {self._token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            async with asyncio.timeout(RECOVER_S):
                if self._link is None:
                    self._link = await asyncio.open_connection("127.0.0.1", self._port)
                reader, writer = self._link
                writer.write(head.encode() + body)
                answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = int(answer.partition("content-length: ")[2].partition("\r\n")[0])
                said = json.loads(await reader.readexactly(length))
        except (OSError, EOFError, TimeoutError, ValueError):
            self.close()
            return None
        return dict(said)

    def close(self) -> None:
        """Hang up."""
        if self._link is not None:
            self._link[1].transport.abort()
        self._link = None
