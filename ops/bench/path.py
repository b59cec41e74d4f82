"""`evenkeel bench path`: the whole way of a message, over real sockets, with everything on that a real service has.

decode -> who -> may they -> screen -> group commit (synchronous=FULL) -> acknowledge -> fan out, in one worker on one
core, driven from another. Rooms of twenty and rooms of two take turns for several rounds; the medians are reported,
with how long the same disk took for a flush in the same minutes, because every acknowledgement waits for one.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from ops.bench.load import Load, Measured, Seat
from ops.doctor import flush_ms
from ops.trial import Trial, make_trial
from server.supervisor.listener import bind

CONNECTIONS: Final = 400
OPEN_RATE: Final = 1_000.0
SENDERS: Final = 100
# Goals of ops/decisions/0008-bench.md.
GOAL_20, GOAL_2 = 4_000.0, 6_000.0
GOAL_OPEN_MS, GOAL_OPEN_FLUSHES, GOAL_PEAK_MS = 3.0, 2.0, 50.0


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of service to measure: rooms of a size, over a fixed number of connections."""

    per_room: int

    @property
    def rooms(self) -> int:
        return CONNECTIONS // self.per_room


SHAPES: Final = (Shape(20), Shape(2))


@dataclass(frozen=True, slots=True)
class Round:
    """One run of one shape. `cpu_us`: processor time of the server for one message at the peak, in microseconds; it
    says what a message costs also on a machine where others take their share of the core."""

    shape: str
    peak: Measured
    at_rate: Measured | None
    cpu_us: float
    flush_p50_ms: float
    flush_p99_ms: float


def bench_path(
    folder: Path | None = None,
    *,
    rounds: int = 3,
    seconds: float = 5.0,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Run the bench and return the figures. `folder` is on the disk to measure; None: the system's temporary one."""
    with tempfile.TemporaryDirectory(prefix="evenkeel-bench-", dir=folder) as made:
        prepared = [_prepared(Path(made) / f"of-{shape.per_room}", shape) for shape in SHAPES]
        runs: list[Round] = []
        for number in range(rounds):
            for shape, (place, trial) in zip(SHAPES, prepared, strict=True):
                runs.append(_round(place, trial, shape, seconds))
                progress(f"round {number + 1} of {rounds}, rooms of {shape.per_room}: {_line(runs[-1])}")
    return summary(runs)


def _prepared(place: Path, shape: Shape) -> tuple[Path, Trial]:
    place.mkdir()
    url = f"sqlite:///{place / 'bench.db'}"
    return place, asyncio.run(make_trial(place, url, rooms=shape.rooms, per_room=shape.per_room))


def _round(place: Path, trial: Trial, shape: Shape, seconds: float) -> Round:
    seats = [
        Seat(person.token, room) for room, people in zip(trial.rooms, trial.members, strict=True) for person in people
    ]
    flushes = flush_ms(place, 100)
    with serving(trial) as server:
        load = Load([server.port], seats)
        try:
            at_rate = load.open_loop(OPEN_RATE, seconds) if shape.per_room == 20 else None
            flushes += flush_ms(place, 100)
            used_s, sent = server.cpu_s(), load.sent
            peak = load.closed_loop(SENDERS, seconds)
            cpu_us = (server.cpu_s() - used_s) / (load.sent - sent) * 1e6
        finally:
            load.close()
    flushes = sorted(flushes + flush_ms(place, 100))
    return Round(
        f"rooms_of_{shape.per_room}",
        peak,
        at_rate,
        cpu_us,
        flushes[len(flushes) // 2],
        flushes[int(len(flushes) * 0.99)],
    )


@dataclass(frozen=True, slots=True)
class Serving:
    """A bench worker that answers on `port`."""

    port: int
    pid: int

    def cpu_s(self) -> float:
        """Processor time that it has used, all threads together, in seconds."""
        # The number of another process's clock as clock_getcpuclockid(3) makes it; /proc counts in hundredths.
        return time.clock_gettime(~self.pid << 3 | 2)


@contextmanager
def serving(trial: Trial, core: int | None = 0, without: Sequence[str] = ()) -> Iterator[Serving]:
    """A bench worker on `core`, and this process on another. `without`: what it leaves out (`ops.bench.worker`)."""
    listener = bind("127.0.0.1", 0)
    port = int(listener.getsockname()[1])
    beats, their_end = os.pipe()
    environ = {**os.environ, **trial.environ, "EVENKEEL_PORT": str(port), "EVENKEEL_BENCH_WITHOUT": ",".join(without)}
    mine = os.sched_getaffinity(0)
    if core is not None and len(mine) > 1:
        environ["EVENKEEL_BENCH_CORE"] = str(core)
        os.sched_setaffinity(0, mine - {core})
    worker = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "ops.bench.worker", f"--listener={listener.fileno()}", f"--beat={their_end}"],
        pass_fds=(listener.fileno(), their_end),
        env=environ,
        stderr=subprocess.DEVNULL,
    )
    os.close(their_end)
    try:
        if not os.read(beats, 1):
            raise RuntimeError("the worker did not start; try `evenkeel doctor`")
        yield Serving(port, worker.pid)
        worker.send_signal(signal.SIGTERM)
        worker.wait(30)
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait()
        os.close(beats)
        listener.close()
        os.sched_setaffinity(0, mine)


def summary(runs: list[Round]) -> dict[str, Any]:
    """Medians over the rounds, and whether each goal was met."""
    figures: dict[str, Any] = {}
    for shape in SHAPES:
        name = f"rooms_of_{shape.per_room}"
        chosen = [run for run in runs if run.shape == name]
        figures[name] = {
            "peak": _median([run.peak for run in chosen]),
            "server_cpu_us_per_message": round(statistics.median(run.cpu_us for run in chosen)),
            **({"at_1000_per_s": _median(rated)} if (rated := [run.at_rate for run in chosen if run.at_rate]) else {}),
        }
    flush_p99 = statistics.median(run.flush_p99_ms for run in runs)
    figures["flush_p50_ms"] = round(statistics.median(run.flush_p50_ms for run in runs), 3)
    figures["flush_p99_ms"] = round(flush_p99, 3)
    twenty, two = figures["rooms_of_20"], figures["rooms_of_2"]
    open_goal = GOAL_OPEN_MS + GOAL_OPEN_FLUSHES * flush_p99
    figures["goals"] = {
        "rooms_of_20_messages_per_s": _goal(twenty["peak"]["messages_per_s"], at_least=GOAL_20),
        "rooms_of_2_messages_per_s": _goal(two["peak"]["messages_per_s"], at_least=GOAL_2),
        "ack_p99_ms_at_1000_per_s": _goal(twenty["at_1000_per_s"]["ack_p99_ms"], at_most=open_goal),
        "ack_p99_ms_at_peak": _goal(twenty["peak"]["ack_p99_ms"], at_most=GOAL_PEAK_MS),
    }
    figures["rounds"] = len(runs) // len(SHAPES)
    figures["measured_at"] = time.strftime("%Y-%m-%d", time.gmtime())
    return figures


def _median(runs: list[Measured]) -> dict[str, float]:
    columns = [asdict(run) for run in runs]
    return {name: round(statistics.median(column[name] for column in columns), 2) for name in columns[0]}


def _goal(value: float, *, at_least: float | None = None, at_most: float | None = None) -> dict[str, Any]:
    if at_least is not None:
        return {"value": value, "at_least": at_least, "met": value >= at_least}
    bound = at_most or 0.0
    return {"value": value, "at_most": round(bound, 2), "met": value <= bound}


def _line(run: Round) -> str:
    at_rate = "" if run.at_rate is None else f"; at 1,000/s p99 {run.at_rate.ack_p99_ms:.1f} ms"
    return (
        f"{run.peak.messages_per_s:,.0f} messages/s, ack p50 {run.peak.ack_p50_ms:.1f} p99 {run.peak.ack_p99_ms:.1f} ms"
        f", {run.cpu_us:.0f} us of the server's core each{at_rate}; flush p99 {run.flush_p99_ms:.2f} ms"
    )
