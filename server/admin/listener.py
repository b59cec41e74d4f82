"""The admin socket: where a running service takes its operator's commands, one JSON line each way.

Decided here: who is listened to and for how long. The socket's file is its owner's alone from before it listens, and
the kernel is asked who has connected: the service's own account, or root. A command longer than `LONGEST` bytes, slower
than `READ_S`, or not exactly one of `commands`, is refused in plain words, and nothing is done.

Of several workers one holds the socket, by a lock beside it; when that one ends, however it ends, another takes it
over. A service without its socket goes on serving: what is wrong is said once in the log and tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import stat
from collections.abc import AsyncIterator, Collection, Iterator
from pathlib import Path
from typing import Final

import msgspec
import structlog

from server.actions.services import Services
from server.admin.commands import Done, Refusal, Reply, Request, Running, run
from server.admin.place import operator_name, peer_uid, short_name, socket_place
from server.errors import BadRequest, Misconfigured, Refused, ServiceError, TooLong, TooMany, Unavailable
from server.ids import new_id

LONGEST: Final = 4096
READ_S: Final = 5.0
ACT_S: Final = 30.0
AT_ONCE: Final = 8
AGAIN_S: Final = 1.0

log = structlog.get_logger()


@contextlib.asynccontextmanager
async def answering(
    services: Services,
    running: Running | None = None,
    *,
    read_s: float = READ_S,
    users: Collection[int] | None = None,
) -> AsyncIterator[None]:
    """Take the operator's commands for as long as the block lasts.

    Args:
        running: what a `drain` stops; None: nothing here can be stopped.
        read_s: how long a command may take to arrive.
        users: user ids that are listened to; None: this process's own and root.
    """
    admin = _Admin(services, running, read_s, frozenset((0, os.geteuid()) if users is None else users))
    task = asyncio.get_running_loop().create_task(admin.keep(socket_place(services.settings)), name="admin")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class _Admin:
    def __init__(self, services: Services, running: Running | None, read_s: float, users: frozenset[int]) -> None:
        self._services = services
        self._running = running
        self._read_s = read_s
        self._users = users
        self._busy: set[asyncio.Task[None]] = set()

    async def keep(self, place: Path) -> None:
        """Hold the socket, or wait until it can be held, for ever."""
        said = False
        while True:
            try:
                with _held(place) as listener:
                    await self._serve(listener)
            except BlockingIOError:
                pass  # another worker of this service has it
            except Exception as error:
                if not said:
                    log.critical("admin_socket_not_opened", error=type(error).__name__, errno=_errno(error))
                said = True
            await asyncio.sleep(AGAIN_S)

    async def _serve(self, listener: socket.socket) -> None:
        server = await asyncio.start_unix_server(self._connected, sock=listener, limit=LONGEST)
        try:
            await asyncio.Event().wait()
        finally:
            server.close()
            for task in self._busy:
                task.cancel()
            await asyncio.gather(*self._busy, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._busy.add(task)
            task.add_done_callback(self._busy.discard)
        try:
            writer.write(msgspec.json.encode(await self._reply(reader, writer)) + b"\n")
            async with asyncio.timeout(self._read_s):
                await writer.drain()
        except (OSError, TimeoutError):
            pass  # whoever asked has gone
        finally:
            writer.close()

    async def _reply(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Reply:
        uid = peer_uid(writer.get_extra_info("socket"))
        with structlog.contextvars.bound_contextvars(request_id=new_id()):
            try:
                if uid not in self._users:
                    raise Refused("Only the account that runs the service may do this.", code="not_the_operator")
                if len(self._busy) > AT_ONCE:
                    raise TooMany("Too many commands at once. Try again in a moment.")
                request = await self._read(reader)
                if request.kind != self._services.store.kind:
                    raise Misconfigured(
                        f"A {self._services.store.kind} service is running here, not a {request.kind} one.",
                        code="wrong_kind",
                    )
                done = await self._carry_out(request, uid)
            except ServiceError as error:
                log.warning("operator_refused", uid=uid, code=error.error_code)
                return Refusal(error.error_code, error.text, error.field)
            except Exception as error:
                log.error("operator_failed", uid=uid, error=type(error).__name__)
                return Refusal("internal", "The service could not do this; its log says more.")
        return Done(msgspec.Raw(done))

    async def _read(self, reader: asyncio.StreamReader) -> Request:
        try:
            async with asyncio.timeout(self._read_s):
                line = await reader.readline()
        except ValueError:
            raise TooLong(f"A command has at most {LONGEST} bytes.") from None
        except TimeoutError:
            raise BadRequest("No command came in time.", code="too_slow") from None
        try:
            return msgspec.json.decode(line, type=Request)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            raise BadRequest("That is not a command of this service.") from None

    async def _carry_out(self, request: Request, uid: int) -> bytes:
        try:
            async with asyncio.timeout(ACT_S):
                done = await run(self._services, operator_name(uid), request.command, self._running)
        except TimeoutError:
            raise Unavailable(
                "This took too long. Look whether it was done before you try again.", code="unknown_outcome"
            ) from None
        log.info("operator_acted", uid=uid, act=type(request.command).__name__)
        return msgspec.json.encode(done)


@contextlib.contextmanager
def _held(place: Path) -> Iterator[socket.socket]:
    """The bound socket, its owner's alone, gone after the block.

    Raises:
        BlockingIOError: another process has it.
        OSError: it can not be made; what lies there and is no socket is left alone.
    """
    lock = os.open(f"{place}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(place)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            try:
                with short_name(place) as name:
                    listener.bind(name)
                place.chmod(0o600)  # nobody can connect before it listens
                yield listener
            finally:
                _remove(place)
    finally:
        os.close(lock)


def _remove(place: Path) -> None:
    """Take away the socket there, that of a process which was killed or our own."""
    try:
        if not stat.S_ISSOCK(place.lstat().st_mode):
            raise FileExistsError(f"{place.name} is in the way")
    except FileNotFoundError:
        return
    place.unlink(missing_ok=True)


def _errno(error: Exception) -> int | None:
    return error.errno if isinstance(error, OSError) else None
