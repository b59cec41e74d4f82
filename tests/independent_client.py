"""A client written from clients/PROTOCOL.md alone: it imports nothing of ours.

It shows that the text is enough to build on, and what the SDK and the server might both get wrong. `scenario` runs
against any server: connect, join, send with retry, a cut, resume, edit, remove; it returns what it saw.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import Callable
from typing import Any

import msgpack
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

STAY_AWAY = {1000, 1002, 1003, 1007, 1008, 1009, *range(4400, 4408), *range(4409, 4429), *range(4430, 4500)}


class Refused(Exception):
    """The server answered a command with `error`, or closed with a code that says to stay away."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class IndependentClient:
    """One account on one feed, by the rules of sections 1, 2, 4, 5 and 6.

    Attributes:
        places: place -> view, as the reducer left them.
        applied: every seq applied, in order: gapless whatever happened to the connection.
    """

    def __init__(self, url: str, token: str, feed: str, *, binary: bool = True) -> None:
        self.address = url.replace("http", "ws", 1).rstrip("/") + "/ws"
        self.token, self.feed, self.binary = token, feed, binary
        self.places: dict[int, dict[str, Any]] = {}
        self.applied: list[int] = []
        self.snapshots = 0
        self.connections = 0
        self.you: dict[str, Any] = {}
        self._position: dict[str, int] | None = None
        self._unanswered: dict[str, dict[str, Any]] = {}
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._socket: ClientConnection | None = None
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        """Stay connected until cancelled, or until the server says to stay away."""
        while True:
            try:
                await self._connection()
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 1006
                if code in STAY_AWAY:
                    raise Refused(str(code)) from None
            except OSError:
                pass
            self._socket = None
            await asyncio.sleep(0.5)

    async def _connection(self) -> None:
        name = "evenkeel.v1.msgpack" if self.binary else "evenkeel.v1.json"
        headers = {"Authorization": f"Bearer {self.token}"}
        async with connect(
            self.address, subprotocols=[Subprotocol(name)], additional_headers=headers, max_size=4 * 1024 * 1024
        ) as socket:
            self.connections += 1
            await self._write(socket, {"t": "hello", "client_id": self.name(), "client": "independent/1"})
            welcome = await self._read(socket)
            if welcome["t"] != "welcome":
                raise Refused(welcome.get("code", welcome["t"]))
            self.you = welcome["you"]
            await self._join(socket)
            for command in list(self._unanswered.values()):
                await self._write(socket, command)
            self._socket = socket
            async with asyncio.TaskGroup() as tasks:
                beats = tasks.create_task(self._beat(socket, welcome["limits"]["beat_ms"] / 1000))
                try:
                    while True:
                        await self._take(socket, await self._read(socket))
                except ConnectionClosed as exc:
                    closed = exc
                finally:
                    beats.cancel()
            raise closed

    async def _beat(self, socket: ClientConnection, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            at = {self.feed: self._position["seq"]} if self._position else {}
            await self._write(socket, {"t": "beat", "at": at})

    async def _join(self, socket: ClientConnection) -> None:
        after = {"after": self._position} if self._position else {}
        await self._write(socket, {"t": "join", "client_id": self.name(), "feed": self.feed, **after})

    async def _take(self, socket: ClientConnection, frame: dict[str, Any]) -> None:
        if frame["t"] == "joined":
            if not frame["recovered"]:
                self.snapshots += 1
                self.places = {p["item"]["of"]: p["item"]["view"] for p in frame.get("items", []) if "of" in p["item"]}
                self._position = {"epoch": frame["epoch"], "seq": frame["seq"]}
        elif frame["t"] == "event" and self._position:
            last = self._position
            if frame["epoch"] != last["epoch"] or frame["seq"] > last["seq"] + 1:
                await self._join(socket)
            elif frame["seq"] == last["seq"] + 1:
                self._position = {"epoch": frame["epoch"], "seq": frame["seq"]}
                self.applied.append(frame["seq"])
                if frame["item"]["kind"] == "message":
                    self.places[frame["item"]["of"]] = frame["item"]["view"]
        if frame.get("re") in self._answers:
            self._unanswered.pop(frame["re"], None)
            self._answers.pop(frame["re"]).set_result(frame)
        async with self._changed:
            self._changed.notify_all()

    async def command(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Send a command until it is answered, over as many connections as that takes."""
        command = {"t": kind, "client_id": self.name(), "feed": self.feed, **fields}
        while True:
            answer = self._answers[command["client_id"]] = asyncio.get_running_loop().create_future()
            self._unanswered[command["client_id"]] = command
            if self._socket is not None:
                with contextlib.suppress(ConnectionClosed):
                    await self._write(self._socket, command)
            reply = await answer
            if reply["t"] != "error":
                return reply
            if reply["retry"] == "never":
                raise Refused(reply["code"])
            await asyncio.sleep(max(reply.get("retry_after_ms", 0), 500) / 1000)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for a frame after which `holds()` is true."""
        async with self._changed:
            await self._changed.wait_for(holds)

    def cut(self) -> None:
        """Lose the connection as a train in a tunnel does."""
        if self._socket is not None:
            self._socket.transport.abort()

    @staticmethod
    def name() -> str:
        return uuid.uuid4().hex

    async def _write(self, socket: ClientConnection, frame: dict[str, Any]) -> None:
        await socket.send(msgpack.packb(frame) if self.binary else json.dumps(frame))

    async def _read(self, socket: ClientConnection) -> dict[str, Any]:
        data = await socket.recv()
        return dict(msgpack.unpackb(data) if isinstance(data, bytes) else json.loads(data))


async def scenario(url: str, token: str, feed: str, *, binary: bool = True, lines: int = 6) -> IndependentClient:
    """Post `lines` messages across cuts, edit the second, remove the third, and see all of it; within 30 s.

    Returns:
        The client, disconnected, with what it saw. Raises AssertionError where the promises were broken.
    """
    client = IndependentClient(url, token, feed, binary=binary)
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(client.run())
        acks = []
        for n in range(lines):
            sending = tasks.create_task(client.command("send", body=f"A plain line, number {n}."))
            if n % 3 == 1:
                await asyncio.sleep(0)
                client.cut()
            acks.append(await sending)
        seqs = [ack["seq"] for ack in acks]
        await client.command("edit", message=acks[1]["message"], body="A plain line, put differently.")
        await client.command("remove", message=acks[2]["message"])
        await client.until(lambda: client.places.get(seqs[2], {}).get("state") == "removed")
        await client.until(lambda: client.places.get(seqs[1], {}).get("body") == "A plain line, put differently.")
        running.cancel()
    assert seqs == sorted(set(seqs)), "one place for each message, in the order of sending"
    assert client.applied == sorted(set(client.applied)), "no event was applied twice or out of order"
    own = [view for view in client.places.values() if view.get("author", {}).get("id") == client.you["id"]]
    assert len({view["id"] for view in own}) == len(own), "no message stands at two places"
    return client


async def see_held_and_released(client: IndependentClient, place: int) -> list[str]:
    """Wait until the message at `place` was held and then shown; returns the states that it went through."""
    states: list[str] = []

    def is_shown() -> bool:
        state = client.places.get(place, {}).get("state")
        if state is not None and state not in states[-1:]:
            states.append(state)
        return state == "shown" and len(states) > 1

    async with asyncio.timeout(30):
        await client.until(is_shown)
    return states
