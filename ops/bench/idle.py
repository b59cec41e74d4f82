"""`evenkeel bench idle`: what a connection costs that does nothing.

Thousands of sockets, signed in and greeted, on one real worker: how much its memory grew for each (its proportional
share, so that what it shares with nobody is counted once), and how much processor time it takes to keep them while each
sends its heartbeat and is pinged. Clients come from several loopback addresses, since each has no more than some tens
of thousands of ports.
"""

from __future__ import annotations

import asyncio
import re
import resource
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]

from ops.bench.load import Seat, masked_frame, open_sockets
from ops.bench.path import serving
from ops.trial import make_trial

CONNECTIONS: Final = 10_000
PEOPLE: Final = 500
# Loaded before memory is first looked at.
WARM: Final = 100
ALIVE_EVERY_S: Final = 10.0
_PONG: Final = bytes((0x8A, 0x80, 0, 0, 0, 0))
# As clients of ours beat.
BEAT_EVERY_S: Final = 20.0
PER_ADDRESS: Final = 5_000
# Descriptors for everything that is no client's socket.
OTHERS: Final = 500
GOAL_KIB, GOAL_CORE_PERCENT = 10.0, 10.0


def bench_idle(
    folder: Path | None = None,
    *,
    connections: int = CONNECTIONS,
    seconds: float = BEAT_EVERY_S,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Run the bench and return the figures. Fewer connections are opened where this machine allows no more."""
    allowed = min(connections, _raise_limit() - OTHERS)
    with tempfile.TemporaryDirectory(prefix="evenkeel-bench-", dir=folder) as made:
        place = Path(made)
        people = min(PEOPLE, allowed)
        trial = asyncio.run(make_trial(place, f"sqlite:///{place / 'bench.db'}", rooms=1, per_room=people))
        tokens = [person.token for person in trial.members[0]]
        seats = [Seat(tokens[n % people], "") for n in range(allowed)]
        with serving(trial) as server:
            # What the first connections load is the program's, not theirs.
            sockets = open_sockets(server.port, seats[: min(people, WARM)])
            before_kib = pss_kib(server.pid)
            rest = seats[len(sockets) :]
            try:
                for start in range(0, len(rest), PER_ADDRESS):
                    source = f"127.0.0.{2 + start // PER_ADDRESS}"
                    alive = _KeptAlive(sockets)
                    sockets += open_sockets(server.port, rest[start : start + PER_ADDRESS], source, taken=alive)
                    progress(f"{len(sockets)} connections")
                after_kib = pss_kib(server.pid)
                used_s, began = server.cpu_s(), time.perf_counter()
                _beat(sockets, seconds)
                share = (server.cpu_s() - used_s) / (time.perf_counter() - began)
            finally:
                for sock in sockets:
                    sock.close()
    return summary(connections, allowed, (after_kib - before_kib) / max(1, len(rest)), share * 100)


class _KeptAlive:
    """Lets those who wait for the others to be seated say now and then that they are there."""

    def __init__(self, before: Sequence[socket.socket]) -> None:
        self._before = tuple(before)
        self._last = time.perf_counter()

    def __call__(self, seated: Sequence[socket.socket]) -> None:
        if time.perf_counter() - self._last > ALIVE_EVERY_S:
            self._last = time.perf_counter()
            for sock in (*self._before, *seated):
                sock.sendall(_PONG)


def _raise_limit() -> int:
    """Allow this process, and the worker that it starts, as many descriptors as it may have; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def pss_kib(pid: int) -> float:
    """Memory of a process in KiB: what it has alone, and its share of what it has with others."""
    found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii"), re.MULTILINE)
    if found is None:
        raise RuntimeError("this system does not say how much memory a process has")
    return float(found[1])


def _beat(sockets: Sequence[socket.socket], seconds: float) -> None:
    """Each connection sends one beat in BEAT_EVERY_S, spread evenly; what it is answered is read before its next."""
    frame = masked_frame(msgpack.packb({"t": "beat", "at": {}}))
    began = time.perf_counter()
    for n in range(int(len(sockets) * seconds / BEAT_EVERY_S)):
        due = began + n * BEAT_EVERY_S / len(sockets)
        wait_s = due - time.perf_counter()
        if wait_s > 0:
            time.sleep(wait_s)
        sock = sockets[n % len(sockets)]
        sock.sendall(frame)
        if not sock.recv(65_536):
            raise RuntimeError("the server closed an idle connection")


def summary(asked: int, opened: int, kib: float, core_percent: float) -> dict[str, Any]:
    """The figures. `kib` for each connection; `core_percent` of one core while all of them beat."""
    return {
        "asked": asked,
        "connections": opened,
        "limit_nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        "kib_per_connection": round(kib, 2),
        "heartbeats_core_percent": round(core_percent, 2),
        "goals": {
            "kib_per_connection": {"value": round(kib, 2), "at_most": GOAL_KIB, "met": kib <= GOAL_KIB},
            "heartbeats_core_percent": {
                "value": round(core_percent, 2),
                "at_most": GOAL_CORE_PERCENT,
                "met": core_percent < GOAL_CORE_PERCENT,
            },
            "connections": {"value": opened, "at_least": CONNECTIONS, "met": opened >= CONNECTIONS},
        },
        "measured_at": time.strftime("%Y-%m-%d", time.gmtime()),
    }
