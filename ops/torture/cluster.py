"""Several servers of one service beside each other, each on a port of its own, as on several machines.

For campaigns and tests that have to say which process is asked, killed or stopped. They share one database and one
Redis (`environ` names both); each can be started again on its port, under its name.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sqlalchemy import select

from ops.doctor import look
from ops.torture.conditions import USUAL, Conditions
from ops.torture.process import ServerFactory
from server.jobs.lease import JOBS
from server.settings import load_settings
from server.store.schema import lease
from server.supervisor.listener import bind

START_S: Final = 40.0
STOP_S: Final = 30.0


class Cluster:
    """`count` servers, started on entering and gone on leaving, however the block ends.

    Args:
        environ: as `ops.trial.Trial` has it, with REDIS_URL where there are several.
        folder: is given the log of all of them.
        origins: other addresses by which clients reach them, as a proxy's or a balancer's; written as an Origin is.
        conditions: what is different from a real server.

    Attributes:
        urls, ports: where each is reached, by its number.
        log: what all of them have written.
    """

    def __init__(
        self,
        count: int,
        environ: Mapping[str, str],
        folder: Path,
        origins: Sequence[str] = (),
        conditions: Conditions = USUAL,
    ) -> None:
        self.log = folder / "cluster.log"
        self._listeners: list[socket.socket] = [bind("127.0.0.1", 0) for _ in range(count)]
        self._servers: dict[int, ForkServerProcess] = {}
        self.ports: tuple[int, ...] = tuple(listener.getsockname()[1] for listener in self._listeners)
        self.urls = tuple(f"http://127.0.0.1:{port}" for port in self.ports)
        self._environ = dict(environ)
        if origins:
            self._environ["EVENKEEL_ORIGINS"] = ",".join((*self.urls, *origins))
        if conditions.send_buffer:
            for listener in self._listeners:
                # Every connection that is taken from here has it too.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, conditions.send_buffer)
        self._factory = ServerFactory(self._environ, self.log, conditions)

    async def __aenter__(self) -> Self:
        try:
            for n in range(len(self.urls)):
                self.start(n)
            for n in range(len(self.urls)):
                await self.until_ready(n)
        except BaseException:
            self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def start(self, n: int, kill_at: str = "") -> None:
        """Start server `n`, at first or again, without waiting for it."""
        self._servers[n] = self._factory.start(self._listeners[n], kill_at, name=f"server-{n}")

    def pid(self, n: int) -> int | None:
        """The process of server `n`; None once it has ended."""
        return self._servers[n].pid if self._servers[n].is_alive() else None

    def signal(self, n: int, number: signal.Signals) -> None:
        """Send server `n` a signal, such as SIGSTOP or SIGTERM."""
        pid = self._servers[n].pid
        if pid is not None:
            os.kill(pid, number)

    async def kill(self, n: int) -> None:
        """Kill server `n` and wait until it is gone."""
        self._servers[n].kill()
        await asyncio.to_thread(self._servers[n].join)

    async def stop(self, n: int) -> int | None:
        """Stop server `n` in order; returns its exit status, None if it did not end."""
        self._servers[n].terminate()
        await asyncio.to_thread(self._servers[n].join, STOP_S)
        return self._servers[n].exitcode

    async def is_ready(self, n: int) -> bool:
        """What server `n` says of itself; False also if it says nothing."""
        return await asyncio.to_thread(_is_ready, self.urls[n])

    async def until_ready(self, n: int, *, ready: bool = True, within_s: float = START_S) -> None:
        """Wait until server `n` says that it is ready, or that it is not. Raises TimeoutError."""
        until = time.monotonic() + within_s
        while await self.is_ready(n) != ready:
            if time.monotonic() > until:
                raise TimeoutError(f"server {n} was not {'ready' if ready else 'unready'} within {within_s} s")
            await asyncio.sleep(0.05)

    async def job_holder(self) -> int | None:
        """Which server holds the lease of the jobs, by the row (run out or not); None: none of them."""
        settings = load_settings(database_url=self._environ["DATABASE_URL"], kind=self._environ["EVENKEEL_KIND"])
        holder = await look(
            settings, lambda conn: conn.execute(select(lease.c.holder).where(lease.c.name == JOBS)).scalar_one_or_none()
        )
        return int(holder.partition("-")[2]) if holder else None

    def _end(self) -> None:
        for server in self._servers.values():
            server.kill()
            server.join()
        for listener in self._listeners:
            listener.close()


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:  # noqa: S310 - http, our own
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
