"""The service as the yardstick's server: a fresh database with people and rooms, and a worker on a port.

    python -m tests.bench.server --port 9000 --place FILE [--without durability] [--sizes 2,20] [--connections 2000]

FILE says what the dialect has to know: {"tokens": [...], "rooms": {"20": [...]}, "environ": {...}}. Where it is not
there yet, it is written, and the database beside it; a worker is given a copy of that database. It serves until it is
told to stop.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from ops.trial import make_trial, seat_again

PEOPLE = 500
DATABASE = "bench.db"


async def prepare(folder: Path, connections: int, sizes: list[int]) -> tuple[dict[str, str], dict[str, Any]]:
    """A database in `folder`; returns a worker's environment, and what the dialect has to know."""
    people = await make_trial(folder, f"sqlite:///{folder / DATABASE}", rooms=1, per_room=min(PEOPLE, connections))
    rooms = {}
    for size in sizes:
        rooms[str(size)] = (await seat_again(people, rooms=connections // size, per_room=size)).rooms
    tokens = [person.token for belonging in people.members for person in belonging]
    return people.environ, {"tokens": tokens, "rooms": rooms}


def main() -> int:
    """Become the worker, once the database is there."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--place", type=Path, required=True)
    parser.add_argument("--without", default="")
    parser.add_argument("--sizes", default="2,20,500,2000")
    parser.add_argument("--connections", type=int, default=2_000)
    given = parser.parse_args()
    folder = given.place.parent
    if not given.place.exists():
        sizes = [int(size) for size in given.sizes.split(",")]
        environ, place = asyncio.run(prepare(folder, given.connections, sizes))
        given.place.write_text(json.dumps({**place, "environ": environ}), encoding="utf-8")
    environ = json.loads(given.place.read_text(encoding="utf-8"))["environ"]
    copy = shutil.copy(folder / DATABASE, tempfile.mkdtemp(prefix="evenkeel-bench-", dir=folder))
    environ["DATABASE_URL"] = f"sqlite:///{copy}"
    listener = socket.create_server(("127.0.0.1", given.port), backlog=2048)
    listener.set_inheritable(True)
    added = {"EVENKEEL_PORT": str(given.port), "EVENKEEL_BENCH_WITHOUT": given.without}
    command = [sys.executable, "-m", "ops.bench.worker", f"--listener={listener.fileno()}"]
    os.execve(sys.executable, command, {**os.environ, **environ, **added})
    return 0


if __name__ == "__main__":
    sys.exit(main())
