"""`evenkeel bench first-run`: how long somebody who has just cloned the repository waits for the first live message.

A fresh clone of what is committed, then `make demo` in it as the README says, with whatever caches of packages this
machine has, until a message that was said live has come over a socket to a visitor. Everything lies in a folder that is
removed, on a port of its own; it ends by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

from clients.sdk import http_api
from clients.sdk.client import Client
from server.errors import Misconfigured
from server.protocol.frames import MessageItem

ROOT: Final = Path(__file__).resolve().parents[2]
GOAL_S: Final = 60.0
WITHIN_S: Final = 600.0
STOP_S: Final = 30.0
_LOOK_S: Final = 0.1


def bench_first_run(
    repository: Path = ROOT, *, within_s: float = WITHIN_S, progress: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Clone `repository`, start its demonstration, wait for the first live message; returns the figures in seconds.

    Raises:
        Misconfigured: this is no clone, or `git` or `make` is missing.
        RuntimeError: the demonstration ended by itself, or `within_s` seconds were not enough.
    """
    if not (repository / ".git").exists():
        raise Misconfigured("This is measured from a clone of the repository, which an installed package is not.")
    missing = [name for name in ("git", "make") if shutil.which(name) is None]
    if missing:
        raise Misconfigured(f"This needs {' and '.join(missing)}.")
    began = time.perf_counter()

    def since() -> float:
        return round(time.perf_counter() - began, 2)

    with tempfile.TemporaryDirectory(prefix="evenkeel-first-run-") as made:
        clone = Path(made) / "evenkeel"
        subprocess.run(  # noqa: S603 - our own repository
            ["git", "clone", "--quiet", "--no-hardlinks", str(repository), str(clone)],  # noqa: S607
            check=True,
            stdin=subprocess.DEVNULL,
        )
        cloned_s = since()
        progress(f"cloned after {cloned_s} s")
        port = _free_port()
        with _demo(clone, port, within_s) as demo:
            _wait_until_it_answers(demo, port, began + within_s)
            answers_s = since()
            progress(f"answers after {answers_s} s")
            asyncio.run(_first_live_message(port, began + within_s - time.perf_counter()))
            first_s = since()
            progress(f"first live message after {first_s} s")
    return {
        "cloned_s": cloned_s,
        "answers_s": answers_s,
        "first_live_message_s": first_s,
        "goals": {"first_live_message_s": {"value": first_s, "at_most": GOAL_S, "met": first_s <= GOAL_S}},
        "measured_at": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _demo(clone: Path, port: int, within_s: float) -> Iterator[subprocess.Popen[bytes]]:
    """`make demo` in the clone, in a process group of its own that is gone after the block."""
    # Where this program runs from must not be found by the one that is set up there.
    ours = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "SPEED"}
    environ = {name: value for name, value in os.environ.items() if name not in ours}
    demo = subprocess.Popen(  # noqa: S603 - our own program
        ["make", "demo", f"PORT={port}", f"EXIT_AFTER={within_s:.0f}"],  # noqa: S607
        cwd=clone,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield demo
    finally:
        for number in (signal.SIGINT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(demo.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                demo.wait(STOP_S)
                break


def _wait_until_it_answers(demo: subprocess.Popen[bytes], port: int, until: float) -> None:
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5):
            return
        if demo.poll() is not None:
            raise RuntimeError(f"`make demo` ended by itself, with status {demo.returncode}")
        if time.perf_counter() > until:
            raise RuntimeError("`make demo` did not answer in time")
        time.sleep(_LOOK_S)


async def _first_live_message(port: int, within_s: float) -> None:
    """Until something new is said in any room that a visitor is in."""
    url = f"http://127.0.0.1:{port}"
    token = await asyncio.to_thread(_enter, port)
    rooms = await http_api.list_rooms(url, token)
    heard = asyncio.Event()

    async with asyncio.timeout(within_s), Client(url, token=token) as client, asyncio.TaskGroup() as readers:

        async def listen(name: str) -> None:
            async for item in (await client.join(name)).events():
                if isinstance(item, MessageItem) and item.change == "new":
                    heard.set()

        reading = [readers.create_task(listen(room.feed)) for room in rooms]
        await heard.wait()
        for task in reading:
            task.cancel()


def _enter(port: int) -> str:
    """Press the member's button on the demonstration's page; returns the token of the session."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(
            "POST",
            "/demo/enter",
            urllib.parse.urlencode({"door": "member"}),
            {"Origin": f"http://127.0.0.1:{port}", "Content-Type": "application/x-www-form-urlencoded"},
        )
        found = re.search(r"evenkeel=([^;]+)", connection.getresponse().getheader("set-cookie") or "")
    finally:
        connection.close()
    if found is None:
        raise RuntimeError("the demonstration did not let a visitor in")
    return found[1]
