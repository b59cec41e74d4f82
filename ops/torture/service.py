"""A whole service as its operator starts it: the supervisor in a process of its own, its workers, and what they say.

For campaigns that break what is around a worker rather than the worker: the supervisor stops it, watches it, starts it
again. All of it is gone when the block ends, however that comes about.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

START_S: Final = 60.0
STOP_S: Final = 40.0
LOOK_S: Final = 0.05
_OURS: Final = ("EVENKEEL_DATABASE_URL", "EVENKEEL_REDIS_URL", "REDIS_URL", "NOTIFY_SOCKET")


class RunningService:
    """A supervisor that runs. `lines` are read anew at each look; `log` holds what all its processes wrote."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log = process, log

    @property
    def pid(self) -> int:
        """The supervisor's."""
        return self.process.pid

    def lines(self, event: str, since: float = 0.0) -> list[dict[str, Any]]:
        """Every line about an event, `said_at` being its moment in seconds since 1970, from `since` on."""
        return [line for line in read_lines(self.log) if line.get("event") == event and line["said_at"] >= since]

    @property
    def workers(self) -> dict[int, int]:
        """The pid of the worker that served last in each place."""
        return {line["worker"]: line["pid"] for line in self.lines("serving")}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.lines('serving')[0]['port']}"

    async def until(self, found: Callable[[], object], what: str, within_s: float = START_S) -> None:
        """Look until there is something. Raises TimeoutError, with the end of the log."""
        until = time.monotonic() + within_s
        while not found():
            if time.monotonic() > until:
                raise TimeoutError(f"never: {what}\n{self.log.read_text(errors='replace')[-2000:]}")
            await asyncio.sleep(LOOK_S)

    async def until_serving(self, starts: int) -> None:
        """Wait until so many workers, in all, have begun to serve."""
        await self.until(lambda: len(self.lines("serving")) >= starts, f"{starts} workers that serve")

    async def stop(self) -> int:
        """Stop in order; returns the supervisor's exit status."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, STOP_S)


@contextlib.contextmanager
def running_service(
    folder: Path, environ: Mapping[str, str], *, before: Sequence[str] = (), module: str = "server.supervisor"
) -> Iterator[RunningService]:
    """Start a supervisor on a free port; it and its workers are killed at the end if they still run.

    Args:
        before: a program and arguments that prepare something and then become what follows them.
        module: what is run as the supervisor.
    """
    log = folder / "service.log"
    env = {name: value for name, value in os.environ.items() if name not in _OURS}
    with log.open("wb") as sink:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [*before, sys.executable, "-m", module],
            env={**env, "EVENKEEL_PORT": "0", **environ},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        )
    running = RunningService(process, log)
    try:
        yield running
    finally:
        _end(process, running)


def _end(process: subprocess.Popen[bytes], running: RunningService) -> None:
    """Kill the supervisor, and the workers that it leaves behind: one that stands still would stay."""
    left = _children(process.pid) | set(running.workers.values()) if process.poll() is None else set()
    process.kill()
    process.wait()
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _children(pid: int) -> set[int]:
    with contextlib.suppress(OSError):
        return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    return set()


def read_lines(log: Path) -> list[dict[str, Any]]:
    """The lines of a log that are JSON objects with a time; `said_at` is added to each."""
    found = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(json.JSONDecodeError, ValueError):
            said = json.loads(line)
            at = said.get("at") or said.get("timestamp")
            if at:
                found.append({**said, "said_at": datetime.fromisoformat(at).timestamp()})
    return found


def asked(url: str, path: str, *, within_s: float = 5.0, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Status and body of one GET; status 0 where nothing answers."""
    request = urllib.request.Request(f"{url}{path}", headers=dict(headers or {}))  # noqa: S310 - http, our own
    try:
        with urllib.request.urlopen(request, timeout=within_s) as answer:  # noqa: S310
            return int(answer.status), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError:
        return 0, b""
