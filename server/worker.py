"""The worker process: the whole service, or a part of it, on a listening socket that somebody else holds.

Started by the supervisor (`python -m server.worker --listener=FD --beat=FD --window=FD --name=NAME`). It ends when it
is told to (SIGTERM: drain, then status 0), when its settings are wrong (status 2, one line on stderr), and when nobody
reads its beats any more: a worker without a supervisor is watched by nobody.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import struct
import sys
import termios
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog
import uvloop
from prometheus_client import Gauge
from structlog.typing import EventDict

from server.admin.commands import Running
from server.admin.listener import answering
from server.errors import Misconfigured
from server.ids import new_id
from server.jobs.presence import check_company
from server.main import Watch, open_services, serve_edges, stop_on_signals
from server.numbers import Numbers
from server.settings import Settings, load_settings
from server.supervisor.slot import MISCONFIGURED
from server.supervisor.window import Window
from server.tracing import Tracing, open_tracing

log = structlog.get_logger()
# The answer to `drain` goes out before the process that gives it is told to stop.
STOP_AFTER_S: Final = 0.2


async def serve(
    settings: Settings, listener: socket.socket | None, watch: Watch, name: str, tracing: Tracing, *, minded: bool
) -> None:
    """Serve until told to stop, then drain.

    Args:
        tracing: stays open.
        minded: a supervisor started this process and those that bear its name but for the number behind it.
    """
    stop = stop_on_signals()
    # Whoever minds this process would start it again: what is stopped is the supervisor, with all its workers.
    to_stop, service = (os.getppid(), name.rpartition("-")[0]) if minded else (os.getpid(), name)

    def drain() -> None:
        asyncio.get_running_loop().call_later(STOP_AFTER_S, os.kill, to_stop, signal.SIGTERM)

    async with open_services(settings, watch, tracing) as services, answering(services, Running(service, drain)):
        await check_company(services.store, name, has_bus=settings.has_bus)
        await serve_edges(services, listener, stop, watch, name=name, service=service)


# How long one thread may keep another from the interpreter. The writer's thread comes back from each statement and each
# flush to a loop that is busy: at the usual 5 ms a commit of many statements waits many times.
SWITCH_S: Final = 0.0005


# A supervisor reads several times a second. One that lets so many beats lie, one each second, stands still; it is said
# again after as many.
UNREAD_BEATS: Final = 20
UNREAD: Final = Gauge("evenkeel_supervisor_unread_beats", "Beats, one each second, that the supervisor has not read.")


class Beats:
    """The beats of this worker, written to the pipe `fd`; says when nobody reads them, since nobody else may see it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        os.set_blocking(fd, False)

    def __call__(self) -> None:
        """Beat once. Raises OSError where the pipe is closed."""
        with contextlib.suppress(BlockingIOError):  # nobody has read for hours
            os.write(self._fd, b".")
        unread = self._unread()
        UNREAD.set(unread)
        if unread and unread % UNREAD_BEATS == 0:
            log.critical("supervisor_silent", unread=unread)

    def _unread(self) -> int:
        """How many beats lie in the pipe; 0 on a system that does not say."""
        try:
            return int(struct.unpack("i", fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4)))[0])
        except OSError:
            return 0


def watch_for(beat: int | None, window: int | None, numbers: Numbers) -> Watch:
    """What the supervisor's descriptors mean to the service."""
    tell = (lambda: None) if beat is None else Beats(beat)
    if window is None:
        return Watch(tell, numbers=numbers)
    shared = Window(window)
    return Watch(tell, shared.mark, shared.stalled, numbers)


class Lines:
    """The worker's log on the descriptor `fd`, a line at a time.

    A line that can not be written, because the disk is full or nobody reads, is lost; it takes nothing else with it.
    Each method answers whether the line was written, so that a call for somebody is not counted as made if it was not.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def msg(self, message: str) -> bool:
        """Write one line."""
        try:
            line = f"{message}\n".encode(errors="backslashreplace")
            return os.write(self._fd, line) == len(line)
        except OSError:
            return False

    log = debug = info = warning = warn = error = err = critical = fatal = failure = exception = msg


def _severity(logger: object, method: str, event: EventDict) -> EventDict:
    """How loud a line is, beside `level`, which in this service is how soon a person must look."""
    del logger
    event["severity"] = method
    return event


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a worker; returns its exit status."""
    parser = argparse.ArgumentParser(prog="server.worker", description="One worker of an Evenkeel service.")
    parser.add_argument("--listener", type=int, help="descriptor of the listening socket; none for EVENKEEL_ROLE=jobs")
    parser.add_argument("--name", default="", help="names this process among those of the service; else a new name")
    parser.add_argument("--beat", type=int, help="descriptor that is written to every second")
    parser.add_argument("--window", type=int, help="descriptor of the page shared with the supervisor")
    parser.add_argument("--numbers", type=Path, help="folder in which the workers leave their numbers")
    given = parser.parse_args(arguments)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _severity,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=lambda *_: Lines(sys.stderr.fileno()),
    )
    sys.setswitchinterval(SWITCH_S)
    try:
        settings = load_settings()
        if (given.listener is None) != (settings.role == "jobs"):
            raise Misconfigured("A worker has a listening socket unless its role is jobs.", field="role")
        listener = None if given.listener is None else socket.socket(fileno=given.listener)
        numbers = Numbers(given.name.rpartition("-")[2] or "0", given.numbers)
        watch = watch_for(given.beat, given.window, numbers)
        name, minded = given.name or new_id(), given.beat is not None
        with (
            contextlib.closing(open_tracing()) as tracing,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            runner.run(serve(settings, listener, watch, name, tracing, minded=minded))
    except Misconfigured as error:
        print(error.text, file=sys.stderr)  # noqa: T201 - for the operator who has just started this
        return MISCONFIGURED
    return 0


if __name__ == "__main__":
    sys.exit(main())
