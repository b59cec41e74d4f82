"""A server that can be killed at a named place: a real worker in a process of its own.

Servers are forked from a process that has loaded the program and the lists, so that a campaign spends its time on
crashes and not on imports. What is forked is as a fresh worker: no thread, no loop, no connection was there before.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

from ops.torture.conditions import USUAL, Conditions
from ops.torture.loud import LOUD, make_loud
from ops.torture.skew import SKEWS, Skew
from server import killpoints, worker


class ServerFactory:
    """Starts servers, one after the other on one listening socket or several beside each other."""

    def __init__(self, environ: Mapping[str, str], log: Path, conditions: Conditions = USUAL) -> None:
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["ops.torture.preload", "ops.torture.process"])
        self._environ = dict(environ)
        self._log = str(log)
        self._conditions = conditions

    def start(self, listener: socket.socket, kill_at: str = "", name: str = "one") -> ForkServerProcess:
        """Start a server; with `kill_at` ("name:n") it kills itself when it comes to that place for the n-th time.

        Servers that run beside each other have different names.
        """
        environ = {**self._environ, "EVENKEEL_PORT": str(listener.getsockname()[1])}
        given = (listener, environ, kill_at, self._log, name, self._conditions)
        process = self._context.Process(target=_serve, args=given, daemon=True)
        process.start()
        return process


def _serve(
    listener: socket.socket, environ: dict[str, str], kill_at: str, log: str, name: str, conditions: Conditions
) -> None:
    with open(log, "ab", buffering=0) as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
    for other in ("EVENKEEL_DATABASE_URL", "EVENKEEL_REDIS_URL", "REDIS_URL"):
        os.environ.pop(other, None)
    os.environ.update(environ)
    conditions.apply()
    killpoints.arm(kill_at)
    if environ.get(LOUD):
        make_loud(environ[LOUD])
    if environ.get(SKEWS):
        Skew(Path(environ[SKEWS]) / name).follow()
    sys.exit(worker.main([f"--listener={os.dup(listener.fileno())}", f"--name={name}"]))


def memory_mb(pid: int | None) -> float | None:
    """The resident memory of a process, where /proc tells it."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
