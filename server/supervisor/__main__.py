"""`python -m server.supervisor`: what `evenkeel serve` becomes once it has looked at the settings.

Reads a handful of environment variables, which `evenkeel serve` has checked and set; the worker checks all of them
again. Exit status 0 after a stop in order, 2 where the settings are wrong.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shlex
import socket
import sys
import tempfile
from collections.abc import Iterator

from server.supervisor.alarm import Alarm
from server.supervisor.listener import bind_all
from server.supervisor.minder import Minder
from server.supervisor.overdue import AFTER_S, OverdueWatch, reader_for
from server.supervisor.slot import MISCONFIGURED, Limits

WORKER = "server.worker"


def main(worker: str = WORKER) -> int:
    """Bind, watch, and mind workers (the module `worker`) until told to stop."""
    env = dict(os.environ)
    host, port = env.get("EVENKEEL_HOST", "127.0.0.1"), int(env.get("EVENKEEL_PORT", "8000"))
    database_url = env.get("DATABASE_URL") or env.get("EVENKEEL_DATABASE_URL") or "sqlite:///var/evenkeel.db"
    if not ipaddress.ip_address(socket.gethostbyname(host) if ":" not in host else host).is_loopback:
        return _refuse("EVENKEEL_HOST: only a loopback address is served.")
    workers = int(env.get("EVENKEEL_WORKERS", "1"))
    listeners: list[socket.socket | None] = [None] * workers
    if env.get("EVENKEEL_ROLE") != "jobs":
        try:
            bound = bind_all(host, port, workers)
        except OSError as error:
            return _refuse(
                f"Port {port} can not be opened ({error.strerror}). Stop what uses it, or set EVENKEEL_PORT."
            )
        env["EVENKEEL_PORT"] = str(bound[0].getsockname()[1])
        listeners = [*bound]
    alarm = Alarm(shlex.split(env.get("EVENKEEL_SUPERVISOR_COMMAND", "")))
    watch = OverdueWatch(reader_for(database_url), alarm, after_s=float(env.get("EVENKEEL_OVERDUE_S", AFTER_S)))
    limits = Limits(stall_s=float(env.get("EVENKEEL_STALL_S", Limits().stall_s)))
    watch.start()
    try:
        with _shared_numbers(workers, alarm) as options:
            command = [sys.executable, "-m", worker, *options]
            return Minder(command, listeners, alarm, limits=limits, environ=env).run()
    finally:
        watch.stop()
        alarm.close()


@contextlib.contextmanager
def _shared_numbers(workers: int, alarm: Alarm) -> Iterator[list[str]]:
    """What tells the workers where to leave their numbers for each other; nothing for one that is alone.

    The folder is in memory where the system keeps its temporary files there, and gone with this process. Where none can
    be made each worker answers for itself: that people are served and called does not wait for numbers.
    """
    with contextlib.ExitStack() as kept:
        options = []
        if workers > 1:
            try:
                made = tempfile.TemporaryDirectory(prefix="evenkeel-", ignore_cleanup_errors=True)
                options = [f"--numbers={kept.enter_context(made)}"]
            except OSError as error:
                advice = "/metrics tells the numbers of whichever worker answers; make a folder for temporary files"
                alarm.warn("numbers_not_shared", error=type(error).__name__, advice=advice)
        yield options


def _refuse(text: str) -> int:
    print(text, file=sys.stderr)  # noqa: T201 - before there is a log
    return MISCONFIGURED


if __name__ == "__main__":
    sys.exit(main())
