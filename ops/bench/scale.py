"""`evenkeel bench scale`: what a second process costs and brings, on one PostgreSQL and one Redis.

Real workers with everything on. Rooms of twenty whose members sit on both. Asked for: processor time of the workers,
PostgreSQL and Redis together for a million deliveries, two workers against one at the same rate; messages a second of
two against one, where there are four cores for them; how long a message takes to members on the other process, with
Redis and with Redis stopped, where what makes up for it is each hub's look at the heads of its feeds every 5 s.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ops.bench.console import spread
from ops.bench.load import BODIES, EVENT_MARK, ID_BYTES, Load, Seat, message_frame, open_sockets
from ops.bench.path import SENDERS, serving
from ops.setup.postgres import running_postgres
from ops.setup.redis import RedisServer, running_redis
from ops.trial import Trial, make_trial

ROOMS: Final = 10
PER_ROOM: Final = 20
# Below what one worker and a busy machine carry, so that both carry the same.
COST_RATE: Final = 100.0
CROSS_RATE: Final = 500.0
OUTAGE_RATE: Final = 50.0
OUTAGE_S: Final = 15.0
CORES_FOR_TWO: Final = 4
NOT_MEASURED: Final = "not measured"
GOAL_COST, GOAL_THROUGHPUT, GOAL_CROSS_MS, GOAL_OUTAGE_MS = 1.5, 1.6, 25.0, 6_000.0
_ARRIVES_WITHIN_S: Final = 15.0


def bench_scale(
    *,
    rounds: int = 3,
    seconds: float = 5.0,
    outage_s: float = OUTAGE_S,
    rate: float = CROSS_RATE,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Run the bench and return the figures. `rate`: messages a second across processes."""
    costs: dict[int, list[float]] = {1: [], 2: []}
    peaks: dict[int, list[float]] = {1: [], 2: []}
    crossings: list[float] = []
    with (
        tempfile.TemporaryDirectory(prefix="evenkeel-bench-") as made,
        running_postgres(own=True) as postgres,
        running_redis() as redis,
    ):
        trial = asyncio.run(make_trial(Path(made), postgres.create_database(), rooms=ROOMS, per_room=PER_ROOM))
        trial = replace(trial, environ={**trial.environ, "REDIS_URL": redis.url})
        for number in range(rounds):
            for workers in (1, 2):
                with _several(trial, workers) as ports:
                    cost, peak = _cost(ports, trial, seconds)
                    costs[workers].append(cost)
                    peaks[workers] += [] if peak is None else [peak]
                    progress(
                        f"round {number + 1} of {rounds}, {workers} at work: {cost:.1f} s for a million deliveries"
                    )
                    if workers == 2:
                        crossings += _crossings(ports, trial, rate, seconds)
        with _several(trial, 2) as ports:
            outage = _without_redis(redis, ports, trial, outage_s)
    return summary(costs, peaks, crossings, outage)


@contextlib.contextmanager
def _several(trial: Trial, count: int) -> Iterator[list[int]]:
    """`count` workers for one database, wherever the system puts them; gives their ports."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(serving(trial, core=None)).port for _ in range(count)]


def _seats(trial: Trial) -> list[Seat]:
    return [
        Seat(person.token, feed) for feed, people in zip(trial.rooms, trial.members, strict=True) for person in people
    ]


def _cost(ports: Sequence[int], trial: Trial, seconds: float) -> tuple[float, float | None]:
    """Processor seconds of all servers for a million deliveries; messages/s at the peak, where that says anything."""
    load = Load(ports, _seats(trial))
    try:
        load.open_loop(COST_RATE, seconds / 2, warm_s=0.5)
        used_s, sent = cpu_of_children_s(), load.sent
        load.open_loop(COST_RATE, seconds, warm_s=0.0)
        cost = (cpu_of_children_s() - used_s) / ((load.sent - sent) * PER_ROOM) * 1e6
        peak = load.closed_loop(SENDERS, seconds).messages_per_s if _has_cores() else None
    finally:
        load.close()
    return cost, peak


def _has_cores() -> bool:
    return len(os.sched_getaffinity(0)) >= CORES_FOR_TWO


def cpu_of_children_s() -> float:
    """Processor seconds used so far by every process that descends from this one, those included that have ended."""
    used: dict[int, int] = {}
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has just ended, and its parent has its time
                fields = (entry / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
                used[int(entry.name)] = sum(int(field) for field in fields[11:15])
                parents[int(entry.name)] = int(fields[1])
    ours, total = {os.getpid()}, 0
    while True:
        found = {pid for pid, parent in parents.items() if parent in ours} - ours
        if not found:
            return total / os.sysconf("SC_CLK_TCK")
        total += sum(used[pid] for pid in found)
        ours |= found


class _Crossing:
    """One writes on the first server in each room, the members on the second listen.

    A room's events come in the order in which its one author wrote, so the n-th that a member is given is the n-th that
    was written.
    """

    def __init__(self, ports: Sequence[int], trial: Trial) -> None:
        here = [Seat(people[0].token, feed) for feed, people in zip(trial.rooms, trial.members, strict=True)]
        there = [
            (n, Seat(person.token, feed))
            for n, (feed, people) in enumerate(zip(trial.rooms, trial.members, strict=True))
            for person in people[PER_ROOM // 2 :]
        ]
        self._writers = open_sockets(ports[0], here)
        self._frames = [message_frame(seat.feed, BODIES[n % len(BODIES)]) for n, seat in enumerate(here)]
        self._written: list[list[float]] = [[] for _ in here]
        self._readers: dict[int, tuple[socket.socket, int]] = {}
        self._heard: dict[int, int] = {}
        self._carry: dict[int, bytes] = {}
        self._poll = select.epoll()
        for sock, (room, _) in zip(open_sockets(ports[1], [seat for _, seat in there]), there, strict=True):
            sock.setblocking(False)
            self._readers[sock.fileno()], self._heard[sock.fileno()] = (sock, room), 0
            self._carry[sock.fileno()] = b""
            self._poll.register(sock.fileno(), select.EPOLLIN)
        self._salt, self._n = os.urandom(3).hex(), 0
        self.taken_ms: list[float] = []

    def run(self, rate: float, seconds: float) -> None:
        """Write at `rate` messages a second for a time, then wait until all have come across.

        Raises:
            RuntimeError: one did not, as where a server is so late that it refuses.
        """
        began = time.perf_counter()
        count = 0
        while (now := time.perf_counter()) < began + seconds:
            due = began + count / rate
            if now < due:
                self._listen(min(due, began + seconds) - now)
                continue
            self._write(count % len(self._writers), due)
            count += 1
        until = time.perf_counter() + _ARRIVES_WITHIN_S
        while any(self._heard[fd] < len(self._written[room]) for fd, (_, room) in self._readers.items()):
            if time.perf_counter() > until:
                raise RuntimeError(f"this machine does not carry {rate:,.0f} messages/s across two processes just now")
            self._listen(0.05)

    def _write(self, room: int, due: float) -> None:
        frame, id_at = self._frames[room]
        self._n += 1
        frame[id_at : id_at + ID_BYTES] = f"{time.time_ns() // 1_000_000:012x}-{self._salt}{self._n:010d}".encode()
        self._written[room].append(due)
        self._writers[room].sendall(frame)

    def _listen(self, within_s: float) -> None:
        for fd, _ in self._poll.poll(max(0.0, within_s)):
            sock, room = self._readers[fd]
            whole = self._carry[fd] + sock.recv(262_144)
            now = time.perf_counter()
            for _ in range(whole.count(EVENT_MARK)):
                self.taken_ms.append((now - self._written[room][self._heard[fd]]) * 1000)
                self._heard[fd] += 1
            self._carry[fd] = whole[-(len(EVENT_MARK) - 1) :]

    def close(self) -> None:
        self._poll.close()
        for sock in (*self._writers, *(sock for sock, _ in self._readers.values())):
            sock.close()


def _crossings(ports: Sequence[int], trial: Trial, rate: float, seconds: float) -> list[float]:
    """Milliseconds from when a message was due to each member on the other process."""
    crossing = _Crossing(ports, trial)
    try:
        crossing.run(COST_RATE, 1.0)
        crossing.taken_ms.clear()
        crossing.run(rate, seconds)
    finally:
        crossing.close()
    return crossing.taken_ms


def _without_redis(redis: RedisServer, ports: Sequence[int], trial: Trial, seconds: float) -> list[float]:
    """The same while Redis is stopped."""
    crossing = _Crossing(ports, trial)
    try:
        crossing.run(OUTAGE_RATE, 1.0)
        crossing.taken_ms.clear()
        redis.stop()
        crossing.run(OUTAGE_RATE, seconds)
    finally:
        crossing.close()
        redis.start()
    return crossing.taken_ms


def summary(
    costs: dict[int, list[float]], peaks: dict[int, list[float]], crossings: Sequence[float], outage: Sequence[float]
) -> dict[str, Any]:
    """The figures; ratios are the median of each round's."""
    ratio = statistics.median(two / one for one, two in zip(costs[1], costs[2], strict=True))
    cross, without = spread(crossings), spread(outage)
    throughput: Any = NOT_MEASURED
    if peaks[1] and peaks[2]:
        throughput = round(statistics.median(two / one for one, two in zip(peaks[1], peaks[2], strict=True)), 2)
    more = throughput != NOT_MEASURED and throughput >= GOAL_THROUGHPUT
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu_s_per_million": {
            "one_worker": round(statistics.median(costs[1]), 1),
            "two_workers": round(statistics.median(costs[2]), 1),
        },
        "throughput_two_to_one": throughput,
        "across_processes_ms": cross,
        "across_processes_without_redis_ms": without,
        "goals": {
            "cpu_two_to_one": {"value": round(ratio, 2), "at_most": GOAL_COST, "met": ratio <= GOAL_COST},
            "throughput_two_to_one": {"value": throughput, "at_least": GOAL_THROUGHPUT, "met": more},
            "across_p99_ms": {"value": cross["p99"], "at_most": GOAL_CROSS_MS, "met": cross["p99"] <= GOAL_CROSS_MS},
            "across_without_redis_p99_ms": {
                "value": without["p99"],
                "at_most": GOAL_OUTAGE_MS,
                "met": without["p99"] <= GOAL_OUTAGE_MS,
            },
        },
        "rounds": len(costs[1]),
        "measured_at": time.strftime("%Y-%m-%d", time.gmtime()),
    }
