"""`evenkeel demo`: starts the demonstration's server, says where it is, and keeps its people busy until it is stopped.

Two processes: this one holds the people (`simulator`), the other one the service (`service`). It listens on this
machine only and sends nothing anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import signal
import sys
import urllib.request
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from ops.demo.people import DOORS
from ops.demo.ready import MISCONFIGURED, Ready

START_WITHIN_S: Final = 60.0
STOP_WITHIN_S: Final = 15.0


class NotStartedError(Exception):
    """The server did not start; it has said why on standard error. `status` is the status to end with."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


def demo(
    port: Annotated[
        int | None, typer.Option(envvar="PORT", min=1, max=65_535, help="Port; the first free one from 8000.")
    ] = None,
    speed: Annotated[
        float, typer.Option(envvar="SPEED", min=0.1, max=60.0, help="How fast the demonstration's clock runs.")
    ] = 1.0,
    exit_after: Annotated[
        float | None, typer.Option(envvar="EXIT_AFTER", min=0.0, help="Stop by itself after so many seconds.")
    ] = None,
    keep: Annotated[bool, typer.Option(help="Go on with what the last demonstration left.")] = False,
    seed: Annotated[int, typer.Option(help="Another number, another course of events.")] = 1,
    folder: Annotated[Path, typer.Option(help="Where it keeps its database.")] = Path("var/demo"),
) -> None:
    """Run the whole service on this machine with invented people."""
    console = Console()
    missing = what_is_missing()
    if missing is not None:
        print(missing, file=sys.stderr)
        raise typer.Exit(MISCONFIGURED)
    arguments = [f"--folder={folder}", f"--speed={speed}", f"--seed={seed}"]
    arguments += [f"--port={port}"] if port is not None else []
    arguments += ["--keep"] if keep else []
    try:
        asyncio.run(_run(console, arguments, speed=speed, seed=seed, exit_after=exit_after))
    except NotStartedError as error:
        raise typer.Exit(error.status) from None


def what_is_missing() -> str | None:
    """What has to be done before a demonstration can start, in one line; None if nothing."""
    clients = importlib.util.find_spec("clients")
    roots = [] if clients is None else list(clients.submodule_search_locations or ())
    if not any((Path(root) / "web" / "built" / "manifest.json").exists() for root in roots):
        return "The files that browsers are served have not been built. Run `make assets` first."
    return None


async def _run(console: Console, arguments: list[str], *, speed: float, seed: int, exit_after: float | None) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    console.print("Starting: an invented service with two days of talk ...")
    async with started(arguments) as server:
        from ops.demo.simulator import simulate  # half a second that the server's start covers

        ready = await _ready(server, stop)
        if ready is None:
            return
        console.print(links(ready))
        console.print(f"Begin at [bold]{ready.url}/demo[/bold], one press for each. All of them are invented.")
        console.print(f"Or sign in by name; the pass phrase of everybody here is {ready.password}")
        console.print("Ctrl-C stops.")
        waits = {
            "stop": loop.create_task(stop.wait()),
            "server": loop.create_task(server.wait()),
            "people": loop.create_task(simulate(ready, seed=seed, speed=speed)),
        }
        done, _ = await asyncio.wait(waits.values(), timeout=exit_after, return_when=asyncio.FIRST_COMPLETED)
        for task in waits.values():
            task.cancel()
        await asyncio.gather(*waits.values(), return_exceptions=True)
        if waits["server"] in done:
            print("The demonstration's server has ended by itself.", file=sys.stderr)
            raise NotStartedError(server.returncode or 1)
        if waits["people"] in done:
            waits["people"].result()  # raises what went wrong
        console.print("Stopping.")


@contextlib.asynccontextmanager
async def started(arguments: list[str]) -> AsyncIterator[Process]:
    """The server's process; it has ended when the block has."""
    # A session of its own: Ctrl-C reaches this process alone, which then stops the server in the right order.
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ops.demo.service", *arguments), stdin=PIPE, stdout=PIPE, start_new_session=True
    )
    try:
        yield server
    finally:
        await _end(server)


async def _ready(server: Process, stop: asyncio.Event) -> Ready | None:
    """What the server says when it answers; None if `stop` was set before.

    Raises:
        NotStartedError: it ended instead, or took too long.
    """
    loop = asyncio.get_running_loop()
    if server.stdout is None:
        raise RuntimeError("the server was started without a pipe")
    stopped, line = loop.create_task(stop.wait()), loop.create_task(server.stdout.readline())
    try:
        await asyncio.wait({stopped, line}, timeout=START_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        if stopped.done():
            return None
        if not line.done():
            print("The demonstration's server took too long to start.", file=sys.stderr)
            raise NotStartedError(1)
        if not line.result():
            raise NotStartedError(await server.wait())
    finally:
        for task in (stopped, line):
            task.cancel()
    ready = msgspec.json.decode(line.result(), type=Ready)
    # It listens already; this is answered as soon as it serves.
    if not await asyncio.to_thread(_answers, ready.url):
        raise NotStartedError(server.returncode or 1)
    return ready


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=START_WITHIN_S) as answer:  # noqa: S310 - our own server
            return bool(answer.status == 200)
    except OSError:
        return False


async def _end(server: Process) -> None:
    """Ask the server to end, and see that it does."""
    if server.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        server.terminate()
    try:
        async with asyncio.timeout(STOP_WITHIN_S):
            await server.wait()
    except TimeoutError:
        server.kill()
        await server.wait()


def links(ready: Ready) -> Table:
    """Who can be entered, and where."""
    table = Table(title="Evenkeel, a demonstration", box=SIMPLE, title_justify="left")
    table.add_column("Be")
    # An address that is cut or broken can not be opened.
    table.add_column("Window", no_wrap=True, overflow="ignore")
    for door in DOORS:
        table.add_row(door.label, f"{door.origin(ready.port)}{door.start}")
    table.add_row("Anyone of them", f"{ready.url}/demo")
    return table
