"""The example that people start from: it is ten lines, it runs, and it needs nothing of the server's own libraries."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.independent_client import IndependentClient, scenario, see_held_and_released
from tests.protocol.small_server import ROOM, http_front, one_port, small_server

ROOT = Path(__file__).parents[2]
BOT = re.findall(r"^```python bot\n(.*?)^```$", (ROOT / "clients" / "README.md").read_text(), re.MULTILINE | re.DOTALL)[
    0
]

# Refuses every import that is neither of the standard library, nor ours, nor one of the base dependencies.
BLOCKER = """
import importlib.abc, sys
ALLOWED = {*sys.stdlib_module_names, "clients", "server", "msgpack", "msgspec", "websockets"}
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in ALLOWED:
            raise ImportError(f"blocked: {name}")
sys.meta_path.insert(0, Blocker())
import clients.sdk, clients.sdk.http_api
ours = sorted(m for m in sys.modules if m.startswith("server."))
assert all(m == "server.protocol" or m.startswith("server.protocol.") for m in ours), ours
try:
    import sqlalchemy
except ImportError:
    print("only the base")
"""


def test_the_bot_is_ten_lines() -> None:
    """Not counting empty ones."""
    assert len([line for line in BOT.splitlines() if line.strip()]) <= 10


def test_the_sdk_needs_the_base_dependencies_only() -> None:
    """It is imported where nothing else can be, and of the server it imports the protocol alone."""
    done = subprocess.run([sys.executable, "-c", BLOCKER], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("only the base", "")


async def test_the_bot_answers() -> None:
    """The text of the README, run as a program with another address, answers a greeting over the socket."""
    account = {"id": "you", "name": "night-bot", "role": "member"}
    with http_front({"/api/sign-in": (200, {"token": "t", "account": account})}) as (front, _):
        async with small_server() as small, one_port(front, small.url) as url:
            program = BOT.replace("http://127.0.0.1:8000", url).replace("room:01JD0000000000000000000001", ROOM)
            bot = await asyncio.create_subprocess_exec(sys.executable, "-c", program, cwd=ROOT)
            try:
                await small.until(lambda: small.joins)
                await small.post("!hello")
                await small.until(lambda: small.sends)
            finally:
                bot.terminate()
                await bot.wait()
    assert [send.body for send in small.sends] == ["Hello, north-wind."]


@pytest.mark.parametrize("binary", [True, False], ids=["msgpack", "json"])
async def test_a_client_written_from_the_text_alone_works(binary: bool) -> None:
    """The independent client's scenario, with cuts and one lost ack: no gap, no double, edit and removal seen."""
    async with small_server() as small:
        small.cut_before_ack = 1
        client = await scenario(small.url, "t", ROOM, binary=binary, lines=4)
    assert len(small.stored) == 4
    assert client.connections > 1


async def test_the_independent_client_sees_a_message_held_and_released() -> None:
    """Withheld first, then shown, at the same place."""
    async with small_server() as small, asyncio.TaskGroup() as tasks:
        small.holds = True
        client = IndependentClient(small.url, "t", ROOM)
        running = tasks.create_task(client.run())
        await small.until(lambda: small.joins)
        of = await small.post("careful")
        seen = tasks.create_task(see_held_and_released(client, of))
        await client.until(lambda: of in client.places)
        await small.release(of, "careful")
        assert await seen == ["withheld", "shown"]
        running.cancel()
