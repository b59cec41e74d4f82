"""The demonstration's server: a process of its own, started by `command` and ended when its starter ends.

Decided here: what is fresh at each start, what may never be touched, and how the starter learns that it may begin: one
line of JSON (`Ready`) on standard output. Wrong set-up is one line on standard error and status 2.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import secrets
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

import msgspec
import structlog
import uvloop
from sqlalchemy import Connection, create_engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool
from structlog.typing import EventDict

from ops.demo.people import DOORS
from ops.demo.ready import MISCONFIGURED, Ready
from ops.demo.seed import open_doors, seed
from ops.demo.texts import load_stories, load_talk
from ops.demo.words import prepare
from server.actions.services import Services
from server.clock import ClockMapping, real_us
from server.errors import Misconfigured
from server.main import bind, open_services, serve_edges, stop_on_signals
from server.settings import Settings, load_settings, make_key
from server.store.migrate import DEMO, prepare_database
from server.store.store import read_kind
from server.web.settings import DemoDoor

HOST: Final = "127.0.0.1"
DATABASE: Final = "evenkeel.db"
KEY: Final = "evenkeel.key"
# Stands for a past that was written to its end.
FILLED: Final = "filled"
PORTS: Final = range(8000, 8100)
# Nobody waits for long for a demonstration to end.
DRAIN_S: Final = 1.0


def find_listener(port: int | None) -> socket.socket:
    """A listening socket on `port`, or on the first free one from 8000. Raises Misconfigured if there is none."""
    for candidate in PORTS if port is None else (port,):
        if _taken_on_ipv6(candidate):
            continue
        try:
            return bind(HOST, candidate)
        except OSError:
            continue
    if port is not None:
        raise Misconfigured(f"Port {port} is in use. Choose another with --port, or leave it out.", field="port")
    raise Misconfigured(f"No port from {PORTS.start} to {PORTS.stop - 1} is free. Choose one with --port.")


def _taken_on_ipv6(port: int) -> bool:
    """Whether somebody else answers on `localhost` before us: browsers try IPv6 first."""
    if port == 0:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            return probe.connect_ex(("::1", port)) == 0
    except OSError:
        return False  # a machine without IPv6


def only_one(folder: Path) -> IO[str]:
    """Hold the folder as long as the result is open. Raises Misconfigured if another demonstration has it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / "lock").open("w", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise Misconfigured(
            "Another demonstration is running in this folder. Stop it with Ctrl-C, or give this one another --folder."
        ) from None
    return lock


def tidy(folder: Path, *, keep: bool) -> bool:
    """Make room for a new demonstration, unless `keep` and there is one to go on with; True if it is new.

    Raises:
        Misconfigured: the database there is not a demonstration's. It is not touched.
    """
    if (folder / DATABASE).exists():
        _refuse_others(folder / DATABASE)
        if keep and (folder / FILLED).exists():
            return False
    for old in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", KEY, FILLED):
        (folder / old).unlink(missing_ok=True)
    make_key(folder / KEY)
    return True


def _refuse_others(database: Path) -> None:
    engine = create_engine(
        URL.create("sqlite", database=f"file:{database}", query={"mode": "ro", "uri": "true"}), poolclass=NullPool
    )
    try:
        with engine.connect() as conn:
            kind = _kind(conn)
    finally:
        engine.dispose()
    if kind != DEMO:
        raise Misconfigured(
            f"{database.name} holds {kind} data, not a demonstration; it was left as it is. "
            "Give the demonstration another --folder.",
            code="wrong_kind",
        )


def _kind(conn: Connection) -> str:
    try:
        return read_kind(conn)
    except (SQLAlchemyError, Misconfigured):
        return "other"


def mapping_for(speed: float, ahead_us: int) -> ClockMapping:
    """The clock from now on: never behind where it stood (`ahead_us` before real time), running at `speed`."""
    offset_us = max(0, ahead_us)
    if speed == 1.0:
        return ClockMapping(offset_us=offset_us)
    return ClockMapping(origin_us=real_us(), offset_us=offset_us, speed=speed)


async def serve(services: Services, listener: socket.socket, password: str, *, new: bool) -> None:
    """Serve until SIGTERM, or until the starter has gone. The one place that says by what a demonstration is served.

    A new one gets its proposal of other words meanwhile.
    """
    stop = stop_on_signals()
    # The starter never writes: standard input ends when it does, however it does.
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)
    port = services.settings.port
    doors = tuple(DemoDoor(d.role, d.label, d.hint, d.name, password, d.origin(port), d.start) for d in DOORS)
    async with asyncio.TaskGroup() as tasks:
        preparing = tasks.create_task(prepare(services)) if new else None
        await serve_edges(services, listener, stop, doors=doors, drain_s=DRAIN_S)
        if preparing is not None:
            preparing.cancel()


async def run(folder: Path, listener: socket.socket, *, speed: float, seed_number: int, keep: bool) -> None:
    """Make the invented service, say that it is ready, serve it."""
    new = tidy(folder, keep=keep)
    url = f"sqlite:///{folder / DATABASE}"
    await prepare_database(url, DEMO)
    port = int(listener.getsockname()[1])
    settings: Settings = load_settings(
        database_url=url,
        key_file=folder / KEY,
        kind=DEMO,
        host=HOST,
        port=port,
        origins=tuple(door.origin(port) for door in DOORS),
        trusted_proxies=(),
        fallback_people=(),
    )
    async with open_services(settings) as services:
        if new:
            await seed(services, load_talk(), load_stories(), seed_number)
            (folder / FILLED).touch()
        await services.store.set_clock(mapping_for(speed, services.clock.now_us() - real_us()))
        password = f"demo-{secrets.token_hex(5)}"
        world = await open_doors(services, password)
        ready = Ready(f"http://{HOST}:{port}", port, os.getpid(), password, dict(world.feeds), dict(world.tokens))
        sys.stdout.buffer.write(msgspec.json.encode(ready) + b"\n")
        sys.stdout.buffer.flush()
        await serve(services, listener, password, new=new)


def _shorter(logger: object, method: str, line: EventDict) -> EventDict:
    """A call on the terminal without the ids, which mean nothing to somebody who watches."""
    del logger, method
    if line.get("event") == "person_called":
        return {name: line[name] for name in ("timestamp", "event", "rung", "level")}
    return line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server of a demonstration; returns its exit status."""
    parser = argparse.ArgumentParser(prog="ops.demo.service")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int)
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args(arguments)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            structlog.processors.format_exc_info,
            _shorter,
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("warning"),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        with only_one(given.folder), find_listener(given.port) as listener:
            run_it = run(given.folder, listener, speed=given.speed, seed_number=given.seed, keep=given.keep)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(run_it)
    except Misconfigured as error:
        print(error.text, file=sys.stderr)
        return MISCONFIGURED
    return 0


if __name__ == "__main__":
    sys.exit(main())
