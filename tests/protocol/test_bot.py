"""The example that people start from: it is ten lines, it runs, and it needs nothing of the server's own libraries."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

from tests.independent_client import IndependentClient
from tests.protocol.small_server import ROOM, http_front, small_server

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
    async with small_server() as small:
        with http_front({"/api/sign-in": (200, {"token": "t", "account": account})}) as (front, _):
            # The bot signs in at one port and talks at another, since the small server has no HTTP of its own.
            program = BOT.replace("http://127.0.0.1:8000", front).replace("room:01JD0000000000000000000001", ROOM)
            elsewhere = f"c.http_api.socket_address = lambda url: '{small.socket_url}'"
            program = f"import clients.sdk.client as c\n{elsewhere}\n{program}"
            bot = await asyncio.create_subprocess_exec(sys.executable, "-c", program, cwd=ROOT)
            try:
                while not small.joins:
                    await small.changed.wait()
                    small.changed.clear()
                await small.post("!hello")
                while not small.sends:
                    await small.changed.wait()
                    small.changed.clear()
            finally:
                bot.terminate()
                await bot.wait()
    assert [send.body for send in small.sends] == ["Hello, north-wind."]


async def test_a_client_written_from_the_text_alone_works() -> None:
    """The independent client posts across a cut and resumes, on both subprotocols, without a gap or a double."""
    for binary in (True, False):
        async with small_server() as small, asyncio.TaskGroup() as tasks:
            client = IndependentClient(small.url, "t", ROOM, binary=binary)
            running = tasks.create_task(client.run())
            small.cut_before_ack = 1
            ack = await client.command("send", body="once")
            await client.until(lambda client=client: 1 in client.places)
            running.cancel()
        assert (ack["seq"], len(small.log), client.connections) == (1, 1, 2)
