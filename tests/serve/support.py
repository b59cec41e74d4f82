"""The supervisor as a process of its own, with its log to read."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 80.0


def until(find: Callable[[], T | None], what: str, within_s: float = PATIENCE_S) -> T:
    """Look again and again until there is something to find; fails with `what` when the time is over."""
    deadline = time.monotonic() + within_s
    while True:
        found = find()
        if found:
            return found
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


class Supervisor:
    """A running supervisor; `lines` are what it has said so far."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Every line about an event, the worker's own lines left out."""
        found = []
        for line in self._log.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                said = json.loads(line)
                if said.get("event") == event and "at" in said:
                    found.append(said)
        return found

    def said(self, event: str, times: int = 1) -> dict[str, Any]:
        """The n-th line about an event, as soon as it is there."""
        return until(
            lambda: self.lines(event)[times - 1 : times] or None,
            f"{event} x{times}\n{self._log.read_text(encoding='utf-8')[-3000:]}",
        )[0]

    @property
    def port(self) -> int:
        return int(self.said("serving")["port"])

    def stop(self) -> int:
        """SIGTERM, and the exit status that follows."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextlib.contextmanager
def supervisor(
    folder: Path, environ: dict[str, str], module: str = "server.supervisor", port: int = 0
) -> Iterator[Supervisor]:
    """A supervisor on a port (0: a free one), gone after the block however it ends."""
    env = {**os.environ, **environ, "EVENKEEL_PORT": str(port), "PYTHONPATH": str(ROOT)}
    with _started(folder, [sys.executable, "-m", module], env) as running:
        yield running


def evenkeel(folder: Path, *arguments: str, url: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of the program to its end, as the operator of the service of `folder`."""
    return subprocess.run(
        [sys.executable, "-m", "ops.cli", *arguments],
        env=operators_environ(folder, url),
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=90,
    )


@contextlib.contextmanager
def served(folder: Path, url: str | None = None, environ: Mapping[str, str] | None = None) -> Iterator[Supervisor]:
    """`evenkeel serve` for the service of `folder`, which must have been set up; gone after the block."""
    env = {**operators_environ(folder, url), **(environ or {})}
    with _started(folder, [sys.executable, "-m", "ops.cli", "serve"], env) as running:
        yield running


def operators_environ(folder: Path, url: str | None = None) -> dict[str, str]:
    """The environment of a service whose key, and database unless `url` names one, are in `folder`."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": url or f"sqlite:///{folder / 'e.db'}",
        "EVENKEEL_KEY_FILE": str(folder / "e.key"),
        "EVENKEEL_PORT": "0",
        "EVENKEEL_ARGON2_MEMORY_KIB": "8",
        "EVENKEEL_ARGON2_PASSES": "1",
    }


@contextlib.contextmanager
def _started(folder: Path, command: Sequence[str], env: Mapping[str, str]) -> Iterator[Supervisor]:
    log = folder / "supervisor.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL)
    try:
        yield Supervisor(process, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
