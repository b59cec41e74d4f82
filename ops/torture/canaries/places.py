"""What a service stands on, and what it leaves there as bytes: files of a database, and all that a Redis was told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import redis

from ops.setup.postgres import PostgresServer, running_postgres
from ops.setup.redis import RedisServer, running_redis
from ops.torture.canaries.house import House


class Place:
    """What a service stands on, and the bytes that it leaves there."""

    def __init__(self, stack: contextlib.ExitStack, folder: Path, kind: str) -> None:
        self._folder = folder
        self._postgres: PostgresServer | None = None
        self._monitor: _Monitor | None = None
        self.environ: dict[str, str] = {}
        if kind == "sqlite":
            self.database_url = f"sqlite:///{folder / 'canaries.db'}"
            return
        self._postgres = stack.enter_context(running_postgres(own=True))
        self.database_url = self._postgres.create_database()
        server = stack.enter_context(running_redis())
        self._monitor = stack.enter_context(_monitored(server))
        self.environ = {"REDIS_URL": server.url}

    async def fail_under(self, house: House) -> None:
        """Let the database go away under somebody who talks, and come back."""
        if self._postgres is None or self._postgres.postmaster is None:
            return
        postmaster, cage = self._postgres.postmaster, house.cage
        robin, _ = house.trial.members[0]
        await asyncio.to_thread(postmaster.crash)
        feed = house.trial.rooms[0]
        await house.command(robin.token, t="send", feed=feed, body=cage.word("failing database: message"))
        await house.command(robin.token, t="help", body=cage.word("failing database: help"))
        given = {
            "pseudonym": cage.word("failing database: name"),
            "password": cage.secret(cage.word("failing database: password")),
        }
        await house.post("/api/sign-in", given)
        postmaster.spawn()
        await asyncio.to_thread(postmaster.until_ready)

    def held(self) -> dict[str, bytes]:
        """The files of the database, and all that passed through Redis and lies in it."""
        if self._postgres is None:
            return {
                "database": b"".join(
                    path.read_bytes() for path in sorted(self._folder.glob("canaries.db*")) if path.is_file()
                )
            }
        folder = Path(str(self._postgres.url.query["host"])).parent
        files = [path for path in sorted((folder / "data").rglob("*")) if path.is_file()]
        log = (folder / "log").read_bytes()
        assert self._monitor is not None
        return {"database": b"".join(path.read_bytes() for path in files), "log": log, "redis": self._monitor.end()}


class _Monitor:
    """Everything that a Redis is told, from a connection that it tells of all others."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._heard = bytearray()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(server.url.removeprefix("unix://"))
        self._socket.sendall(b"MONITOR\r\n")
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._socket.recv(65_536):
                self._heard += data

    def end(self) -> bytes:
        """What was heard, and what every key holds."""
        with redis.Redis.from_url(self._server.url) as there:
            kept = b"".join(key + (there.dump(key) or b"") for key in there.scan_iter())
        self.close()
        return bytes(self._heard) + kept

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@contextlib.contextmanager
def _monitored(server: RedisServer) -> Iterator[_Monitor]:
    monitor = _Monitor(server)
    try:
        yield monitor
    finally:
        monitor.close()
