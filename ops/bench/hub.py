"""`evenkeel bench hub`: what the hub adds to the bare writing of frames.

The real worker with durability off and nothing else (`ops.bench.volatile`): messages enter as `send` frames over 2,000
sockets, are decoded, attributed, paced, permitted, screened, sealed, given their seq, acknowledged and delivered. In
turns with it, a few seconds each, a server that writes one prebuilt frame of the same size for each delivery
(`ops.bench.floor`). Both run on one core and are driven from another by the same generator with the same frames. Rooms
of 2, 20, 500 and 2,000, with 1,000, 100, 8 and 4 messages under way.

The ratio is of deliveries a second; the ratio of processor time for a delivery stands beside it, since that one holds
also on a machine that others use. A second line without the filter says how much of the difference is screening; goals
are judged by the first.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ops.bench.engine import Engine, build_engine
from ops.bench.load import BODIES, ID_BYTES, Seat, message_frame, open_raw, open_sockets
from ops.bench.path import Serving, serving
from ops.trial import Trial, make_trial, seat_again
from server.ids import new_id
from server.live.socket import frame
from server.protocol.codec import Codec
from server.protocol.frames import Event, MessageItem, Person, Shown
from server.supervisor.listener import bind

CONNECTIONS: Final = 2_000
# Each has several sockets, as somebody with a phone and a laptop has.
PEOPLE: Final = 500
DATABASE: Final = "bench.db"
WARM_S: Final = 1.0
DRAIN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Shape:
    """Rooms of a size; `senders` of each write, `window` messages are under way; `goal`: deliveries of the floor's."""

    per_room: int
    senders: int
    window: int
    goal: float

    @property
    def name(self) -> str:
        return f"rooms_of_{self.per_room}"


SHAPES: Final = (Shape(2, 1, 1_000, 0.55), Shape(20, 2, 100, 0.9), Shape(500, 5, 8, 1.8), Shape(2_000, 20, 4, 3.3))
HUB, UNFILTERED, FLOOR = "hub", "hub_without_filter", "floor"
WITHOUT: Final = {HUB: ("durability",), UNFILTERED: ("durability", "filter")}


@dataclass(frozen=True, slots=True)
class Run:
    """One server driven for a few seconds in rooms of one size; processor time of the server's whole process."""

    shape: str
    server: str
    deliveries_per_s: float
    messages_per_s: float
    cpu_s_per_million: float


def bench_hub(
    folder: Path | None = None,
    *,
    rounds: int = 3,
    seconds: float = 3.0,
    connections: int = CONNECTIONS,
    shapes: Sequence[Shape] = SHAPES,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Run the bench and return the figures.

    Raises:
        Misconfigured: there is no C compiler for the load generator.
        RuntimeError: a server lost or refused a message.
    """
    with tempfile.TemporaryDirectory(prefix="evenkeel-bench-", dir=folder) as made:
        place = Path(made)
        library = build_engine(place)
        trials = asyncio.run(_trials(place, connections, [shape.per_room for shape in shapes]))
        runs = []
        with floor(_event_frame()) as bare:
            for number in range(rounds):
                for shape in shapes:
                    trial = trials[shape.per_room]
                    runs.append(_run(library, FLOOR, bare, shape, trial, seconds))
                    progress(f"round {number + 1} of {rounds}, {_line(runs[-1])}")
                    for name, without in WITHOUT.items():
                        # A worker of its own: what the one before gave out of a feed stands in no log.
                        with serving(trial, without=without) as server:
                            runs.append(_run(library, name, server, shape, trial, seconds))
                        progress(f"round {number + 1} of {rounds}, {_line(runs[-1])}")
    return summary(runs, shapes, connections)


async def _trials(place: Path, connections: int, sizes: Sequence[int]) -> dict[int, Trial]:
    """One database with PEOPLE on `connections` seats, in rooms of each size."""
    people = await make_trial(place, f"sqlite:///{place / DATABASE}", rooms=1, per_room=min(PEOPLE, connections))
    return {size: await seat_again(people, rooms=connections // size, per_room=size) for size in sizes}


@contextlib.contextmanager
def floor(written: bytes) -> Iterator[Serving]:
    """The server that writes `written` for each delivery, on the core where the hub runs too."""
    listener = bind("127.0.0.1", 0)
    mine = os.sched_getaffinity(0)
    server = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "ops.bench.floor", f"--listener={listener.fileno()}"],
        pass_fds=(listener.fileno(),),
        env={**os.environ, **({"EVENKEEL_BENCH_CORE": "0"} if len(mine) > 1 else {})},
        stdin=subprocess.PIPE,
    )
    assert server.stdin is not None
    server.stdin.write(written)
    server.stdin.close()
    try:
        yield Serving(int(listener.getsockname()[1]), server.pid)
    finally:
        server.kill()
        server.wait()
        listener.close()


def _event_frame() -> bytes:
    """The frame that a member is sent of a message, with invented ids of the real length."""
    feed, message, author = f"room:{new_id()}", new_id(), Person(new_id(), "Amber Heron", "member")
    shown = Shown(id=message, author=author, body=BODIES[0], at=1_700_000_000_000, client_id="#" * ID_BYTES)
    item = MessageItem(of=100_000, change="new", view=shown)
    return frame(Codec.MSGPACK.encode(Event(feed=feed, epoch=1, seq=100_000, item=item)), is_text=False)


def _run(library: ctypes.CDLL, name: str, server: Serving, shape: Shape, trial: Trial, seconds: float) -> Run:
    seats = [
        Seat(person.token, feed) for feed, people in zip(trial.rooms, trial.members, strict=True) for person in people
    ]
    if name == FLOOR:
        sockets = [open_raw(server.port, f"/{seat.feed}") for seat in seats]
    else:
        sockets = open_sockets(server.port, seats)
    try:
        # The first of each room write before the second of any, so that no two messages meet that need not.
        order = [place for n in range(shape.senders) for place in range(n, len(seats), shape.per_room)]
        senders = [
            (sockets[place], message_frame(seats[place].feed, BODIES[number % len(BODIES)]))
            for number, place in enumerate(order)
        ]
        for sock in sockets:
            sock.setblocking(False)
        with Engine(library, sockets, senders, shape.per_room) as engine:
            engine.run(shape.window, WARM_S)
            # Whoever writes for the first time is looked up: not what is measured.
            while engine.counts().sent < 2 * len(senders):
                engine.run(shape.window, WARM_S)
            before, used_s, began = engine.counts(), server.cpu_s(), time.perf_counter()
            engine.run(shape.window, seconds)
            after, used_s, lasted = engine.counts(), server.cpu_s() - used_s, time.perf_counter() - began
            engine.drain(DRAIN_S)
            end = engine.counts()
    finally:
        for sock in sockets:
            sock.close()
    answered = end.sent if name != FLOOR else 0
    if end.lost or end.refused or end.delivered != end.sent * shape.per_room or end.acknowledged != answered:
        raise RuntimeError(f"{name} in {shape.name} did not deliver and acknowledge everything: {end}")
    delivered = after.delivered - before.delivered
    return Run(
        shape.name,
        name,
        deliveries_per_s=delivered / lasted,
        messages_per_s=delivered / shape.per_room / lasted,
        cpu_s_per_million=used_s / delivered * 1e6,
    )


def summary(runs: Sequence[Run], shapes: Sequence[Shape], connections: int) -> dict[str, Any]:
    """Medians over the rounds; ratios are the median of each round's, so that drift of the machine hits both sides."""
    figures: dict[str, Any] = {"connections": connections}
    goals: dict[str, Any] = {}
    for shape in shapes:
        by_server = {
            name: [run for run in runs if run.shape == shape.name and run.server == name]
            for name in (FLOOR, HUB, UNFILTERED)
        }
        figures[shape.name] = {
            "in_flight": shape.window,
            **{
                name: {
                    field: round(statistics.median(getattr(run, field) for run in chosen), digits)
                    for field, digits in (("deliveries_per_s", 0), ("messages_per_s", 0), ("cpu_s_per_million", 2))
                }
                for name, chosen in by_server.items()
            },
        }
        for name in (HUB, UNFILTERED):
            pairs = list(zip(by_server[name], by_server[FLOOR], strict=True))
            rate = statistics.median(run.deliveries_per_s / bare.deliveries_per_s for run, bare in pairs)
            cost = statistics.median(bare.cpu_s_per_million / run.cpu_s_per_million for run, bare in pairs)
            figures[shape.name][name] |= {"of_the_floor": round(rate, 2), "of_the_floor_by_cpu": round(cost, 2)}
        value = figures[shape.name][HUB]["of_the_floor"]
        goals[f"{shape.name}_of_the_floor"] = {"value": value, "at_least": shape.goal, "met": value >= shape.goal}
    figures["goals"] = goals
    figures["rounds"] = len(runs) // (len(shapes) * 3)
    figures["measured_at"] = time.strftime("%Y-%m-%d", time.gmtime())
    return figures


def _line(run: Run) -> str:
    return (
        f"{run.shape.replace('_', ' ')}, {run.server.replace('_', ' ')}: {run.deliveries_per_s:,.0f} deliveries/s, "
        f"{run.cpu_s_per_million:.1f} s of the core for a million"
    )
