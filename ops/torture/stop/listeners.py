"""Who listens beside the service: somebody in the place of systemd, and `evenkeel watch` as on another machine."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from ops.torture.service import read_lines

WATCH_TOKEN: Final = "of the watch of a campaign"  # noqa: S105 - of a database that is thrown away
BEAT_FILE: Final = "watch.beat"


class Manager:
    """A service manager: hears the supervisor's signs of life, as systemd does."""

    def __init__(self, address: Path) -> None:
        self.address = address
        self.heard_at = time.time()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(address))
        threading.Thread(target=self._hear, name="manager", daemon=True).start()

    def _hear(self) -> None:
        with contextlib.suppress(OSError):
            while self._socket.recv(256):
                self.heard_at = time.time()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@contextlib.contextmanager
def listening_manager(folder: Path) -> Iterator[Manager]:
    manager = Manager(folder / "notify")
    try:
        yield manager
    finally:
        manager.close()


class Watching:
    """`evenkeel watch`, as it runs on another machine."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.pid = process.pid
        self._log, self._beat = folder / "watch.log", folder / BEAT_FILE

    @property
    def beaten_at(self) -> float:
        """When it last showed that it lives, in seconds since 1970."""
        return self._beat.stat().st_mtime if self._beat.exists() else time.time()

    def said(self, events: Sequence[str], since: float) -> list[dict[str, Any]]:
        return [line for line in read_lines(self._log) if line["event"] in events and line["said_at"] >= since]


@contextlib.contextmanager
def watching(folder: Path, url: str) -> Iterator[Watching]:
    with (folder / "watch.log").open("wb") as sink:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "ops.cli", "watch", url, f"--beat-file={folder / BEAT_FILE}"],
            env={**os.environ, "EVENKEEL_WATCH_TOKEN": WATCH_TOKEN},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        )
    try:
        yield Watching(process, folder)
    finally:
        process.kill()
        process.wait()
