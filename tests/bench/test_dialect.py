"""The service speaks the yardstick's dialect, and what was not measured never counts as a pass."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ops.bench.path import serving
from ops.trial import Trial
from tests.bench.compare import GOALS, NOT_MEASURED, OURS, Server, goal_against, is_there, servers
from tests.bench.server import prepare

HERE = Path(__file__).resolve().parent
MEMBERS = 3
TIME, NUMBER = b"~@", b"~#"


class Yardstick:
    """As much of the yardstick's base class as a dialect leans on."""

    def __init__(self, **opts: str) -> None:
        self.opts = opts


class Wire:
    """One connection as the yardstick hands it to a dialect: whole payloads, there and back."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, payload: bytes, opcode: int) -> None:
        size = len(payload)
        head = bytes((0x80 | size,)) if size < 126 else bytes((0xFE,)) + size.to_bytes(2, "big")
        self._writer.write(bytes((0x80 | opcode,)) + head + bytes(4) + payload)
        await self._writer.drain()

    async def recv(self) -> tuple[int, bytes]:
        first, size = await self._reader.readexactly(2)
        if size == 126:
            size = int.from_bytes(await self._reader.readexactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await self._reader.readexactly(8), "big")
        return first & 0x0F, await self._reader.readexactly(size)

    async def next(self, kind: bytes) -> bytes:
        """The next frame of a kind."""
        while True:
            _, payload = await self.recv()
            if kind in payload:
                return payload

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
def dialect(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of the dialect, loaded as the yardstick loads it."""
    kit = ModuleType("loadgen")
    kit.Dialect = Yardstick  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "loadgen", kit)
    spec = importlib.util.spec_from_file_location("evenkeel_dialect", HERE / "evenkeel.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def _open(spoken: Any, port: int, i: int) -> Wire:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    path, headers = spoken.request(i, 0)
    lines = [f"{name}: {value}" for name, value in headers.items()]
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"{chr(10).join(line + chr(13) for line in lines)}\n\r\n".encode()
    )
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    wire = Wire(reader, writer)
    await spoken.join(wire, i, 0)
    return wire


@pytest.mark.timeout(120)
@pytest.mark.parametrize("without", [(), ("durability",)], ids=["durable", "volatile"])
def test_a_message_in_the_dialect_reaches_every_member_and_is_acknowledged(
    tmp_path: Path, dialect: Any, without: tuple[str, ...]
) -> None:
    """The time in the body comes to every member as it was written; the answer has the number and not the time."""
    environ, place = asyncio.run(prepare(tmp_path, MEMBERS, [MEMBERS]))
    file = tmp_path / "place.json"
    file.write_text(json.dumps(place), encoding="utf-8")
    with serving(Trial((), (), (), environ), without=without) as server:

        async def drive() -> tuple[bytes, list[bytes], bytes]:
            spoken = dialect.Dialect(place=str(file))
            await spoken.setup("127.0.0.1", server.port, MEMBERS, 1)
            wires = [await _open(spoken, server.port, i) for i in range(MEMBERS)]
            message = spoken.message(0, 0, 100)
            await wires[0].send(message, spoken.opcode)
            heard = [await wire.next(b"\xa5event") for wire in wires]
            answer = await wires[0].next(b"\xa1t\xa3ack")
            for wire in wires:
                wire.close()
            return message, heard, answer

        message, heard, answer = asyncio.run(asyncio.wait_for(drive(), 60))
    mark = TIME + b"0" * 16
    body = message[message.index(mark) :][:100]
    assert all(body in event for event in heard)
    assert NUMBER + b"0" * 12 in answer
    assert TIME not in answer


def test_a_rival_that_is_not_installed_is_not_there(tmp_path: Path) -> None:
    """A module that can not be imported, a program that does not run: neither is measured."""
    assert not is_there(Server("ghost", (), module="no_such_server"), sys.executable, tmp_path)
    assert not is_there(Server("ghost", (), module="json"), str(tmp_path / "no-python"), tmp_path)
    assert is_there(servers(sys.executable)[0], sys.executable, tmp_path)


def test_what_was_not_measured_is_no_pass() -> None:
    """Without the rival there is no ratio, and the goal is not met, however quick we were."""
    cost = {"cpu_s_per_million": 1.0}
    for size in GOALS:
        absent = {f"rooms_of_{size}": {OURS: cost, "socketify": NOT_MEASURED}}
        assert goal_against(absent, size) == {"value": NOT_MEASURED, "at_most": GOALS[size], "met": False}
        there = {f"rooms_of_{size}": {OURS: cost, "socketify": cost}}
        assert goal_against(there, size) == {"value": 1.0, "at_most": GOALS[size], "met": True}
