"""The example that people start from: it is ten lines, it runs, and it needs nothing of the server's own libraries."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.independent_client import IndependentClient, scenario, see_held_and_released
from tests.protocol.small_server import ROOM, http_front, one_port, small_server

ROOT = Path(__file__).parents[2]
BOT = re.findall(r"^```python bot\n(.*?)^```$", (ROOT / "clients" / "README.md").read_text(), re.MULTILINE | re.DOTALL)[
    0
]

LOOK = """
import sys
import clients.sdk, clients.sdk.http_api
ours = sorted(m for m in sys.modules if m.startswith("server."))
assert all(m == "server.protocol" or m.startswith("server.protocol.") for m in ours), ours
try:
    import sqlalchemy
except ImportError:
    print("only the base")
"""


@pytest.fixture(scope="module")
def base_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds what `pip install evenkeel` brings, and nothing else."""
    place = tmp_path_factory.mktemp("base")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    (packages,) = place.glob("lib/python*/site-packages")
    wanted = [Requirement(line) for line in metadata.requires("evenkeel") or ()]
    base = [each.name for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    assert len(base) == 3, base
    for name in base:
        installed = metadata.distribution(name)
        for file in installed.files or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                (packages / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(installed.locate_file(file)), packages / file)
    (packages / "evenkeel.pth").write_text(f"{ROOT}\n", encoding="utf-8")
    return place / "bin" / "python"


def test_the_bot_is_ten_lines() -> None:
    """Not counting empty ones."""
    assert len([line for line in BOT.splitlines() if line.strip()]) <= 10


def test_the_sdk_needs_the_base_dependencies_only(base_python: Path) -> None:
    """It is imported where nothing else is, and of the server it imports the protocol alone."""
    done = subprocess.run(
        [base_python, "-I", "-c", LOOK], cwd=base_python.parent, capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("only the base", "")


async def test_the_bot_answers(base_python: Path) -> None:
    """The text of the README, run as a program with another address, answers a greeting over the socket."""
    account = {"id": "you", "name": "night-bot", "role": "member"}
    with http_front({"/api/sign-in": (200, {"token": "t", "account": account})}) as (front, _):
        async with small_server() as small, one_port(front, small.url) as url:
            program = BOT.replace("http://127.0.0.1:8000", url).replace("room:01JD0000000000000000000001", ROOM)
            bot = await asyncio.create_subprocess_exec(base_python, "-I", "-c", program)
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
