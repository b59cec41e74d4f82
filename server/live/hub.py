"""All connections of one process: who is here, what time it is for them, and how they are sent away.

How to use it: make a `Hub`, pass `hub.protocol` to `uvicorn.Config(ws=...)`, call `bus.listen(hub.events, hub.moved)`,
`start` it in the loop before serving; when stopping, `await drain` before uvicorn is told to exit, and `stop` after.

The truth about positions and sessions is in the store: whatever nudge or call may be lost, a look every few seconds
finds what moved and which sessions ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from server.auth.origins import client_address
from server.clock import real_us
from server.feeds import FeedEvent
from server.live import metrics
from server.live.connection import Connection
from server.live.delivery import Delivery
from server.live.entrance import Entrance
from server.live.gaps import FEEDS_PER_READ
from server.live.seats import SeatLimits, Seats
from server.live.socket import SocketLimits, WebSocket
from server.live.verbs import Upgrade, Verbs
from server.live.wheel import Wheel
from server.protocol.codes import CloseCode
from server.protocol.frames import Drain

_log = structlog.get_logger(__name__)

_LATE_S: Final = 2.0  # a timer this late means that the process stood still; clients are given time
_LENIENCE_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Timings:
    """Deadlines in seconds and bounds in bytes or numbers, for each connection.

    Attributes:
        hello_s: until `hello` must have come.
        ping_s: of silence before a ping; dead_s: of silence before the connection counts as lost. The timer rounds up,
            and both sides are to know within 25 s.
        slow_s: how long a connection may lag; unsent_bytes: how much may wait for it.
        command_s: how long a command may take.
        look_s: between looks at the heads of feeds and at the sessions; again_s: after one that failed.
        backlog: commands that may wait on one connection.
        places: handshakes, hellos and joins that may be carried out at a time.
    """

    hello_s: float = 5.0
    ping_s: float = 12.0
    dead_s: float = 22.0
    slow_s: float = 10.0
    command_s: float = 10.0
    look_s: float = 5.0
    again_s: float = 0.5
    tick_s: float = 1.0
    backlog: int = 32
    places: int = 8
    unsent_bytes: int = 1 << 20
    unsent_staff_bytes: int = 4 << 20


class Hub:
    """The live side of one process. All methods are called in its event loop."""

    def __init__(
        self,
        verbs: Verbs,
        *,
        limits: SocketLimits | None = None,
        timings: Timings | None = None,
        seats: SeatLimits | None = None,
        trusted_proxies: tuple[str, ...] = (),
        clock: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: real_us() // 1000,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.verbs = verbs
        self.limits = limits or SocketLimits()
        self.timings = timings or Timings()
        self.seats = Seats(seats)
        self.entrance = Entrance(self.timings.places)
        self._trusted_proxies = trusted_proxies
        self.clock = clock
        self.now_ms = now_ms
        self._chance = chance
        self.now = clock()
        self.lenient_until = 0.0
        self.is_draining = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self.delivery = Delivery(verbs, self.spawn)
        self._wheel: Wheel[WebSocket] = Wheel(self.now)
        self._connections: set[Connection] = set()
        self._sessions: dict[str, set[Connection]] = {}
        self._changed = asyncio.Event()
        self._look_now = asyncio.Event()
        self.protocol: type[Connection] = type(
            "HubConnection", (Connection,), {"__slots__": (), "hub": self, "owner": self}
        )

    # --- the bus ---

    def events(self, events: Sequence[FeedEvent]) -> None:
        """What this process committed; for `Bus.listen`."""
        self.delivery.events(events)

    def moved(self, feed: str, epoch: int, seq: int) -> None:
        """What another process committed; for `Bus.listen`."""
        self.delivery.moved(feed, epoch, seq)

    def look_soon(self) -> None:
        """Something may have passed unheard: look at the store now, not only when the time comes."""
        self._look_now.set()

    def sessions_changed(self, session_ids: Sequence[str]) -> None:
        """These sessions were ended by another process, it says: ask the store about those that are here."""
        here = [session for session in session_ids if session in self._sessions]
        if here:
            _ = self.spawn(self._look_at_sessions(here))

    # --- life ---

    def start(self) -> None:
        """Begin to keep time and to look at the store."""
        loop = asyncio.get_running_loop()
        metrics.TASKS.set_function(lambda: len(asyncio.all_tasks(loop)))
        _ = self.spawn(self._keep_time())
        _ = self.spawn(self._keep_looking())

    async def stop(self) -> None:
        """End every task, and wait for their ends. Connections are uvicorn's to close."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def spawn(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[Any]:
        """Run `work` in a task of the hub's own."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            _log.error("task_failed", error=type(exc).__name__)

    async def drain(self, deadline_s: float) -> None:
        """Send everybody away within `deadline_s` seconds, each after a delay of their own.

        New connections are refused. Each client is told a moment within the first half of the time; those still here
        then are closed with 1012 as soon as no command of theirs runs, and cut when the time is over.
        """
        self.is_draining = True
        loop = asyncio.get_running_loop()
        begin = loop.time()
        spread = deadline_s / 2
        for connection in list(self._connections):
            connection.reply(Drain(after_ms=int(self._chance() * spread * 1000)))
        await self._until(lambda: not self._connections, begin + spread)
        await self._until(self._send_away, begin + deadline_s)
        for connection in list(self._connections):
            connection.close(CloseCode.SERVICE_RESTART)

    def _send_away(self) -> bool:
        for connection in list(self._connections):
            if not connection.is_busy:
                connection.close(CloseCode.SERVICE_RESTART)
        return not self._connections

    async def _until(self, is_done: Callable[[], bool], at: float) -> None:
        try:
            async with asyncio.timeout_at(at):
                while not is_done():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return

    # --- connections ---

    def address_of(self, upgrade: Upgrade) -> str:
        """The client's address, behind any trusted proxy."""
        forwarded = ",".join(value for name, value in upgrade.headers if name == "x-forwarded-for")
        return client_address(upgrade.peer[0] if upgrade.peer else None, forwarded, self._trusted_proxies)

    def enter(self, connection: Connection) -> None:
        self._connections.add(connection)
        self._sessions.setdefault(connection.requester.session, set()).add(connection)
        metrics.CONNECTIONS.inc()

    def exit(self, connection: Connection) -> None:
        """`connection` ended: nothing more is written to it."""
        self.delivery.leave_all(connection)
        self._connections.discard(connection)
        session = connection.requester.session
        members = self._sessions.get(session)
        if members is not None:
            members.discard(connection)
            if not members:
                del self._sessions[session]
        metrics.CONNECTIONS.dec()
        self._changed.set()

    def served(self, connection: Connection) -> None:
        """`connection` has nothing more to carry out just now."""
        del connection
        self._changed.set()

    def close_session(self, session_id: str) -> None:
        """The session ended: its connections are closed, and nothing more is written to them from this step on."""
        for connection in list(self._sessions.get(session_id, ())):
            connection.cut(CloseCode.SESSION_ENDED)

    # --- time ---

    def watch(self, socket: WebSocket, at: float) -> None:
        self._wheel.put(socket, at)

    def tick(self) -> None:
        """Enforce every deadline that has come."""
        self.now = self.clock()
        for socket in self._wheel.due(self.now):
            try:
                socket.review(self.now)
            except Exception as exc:  # time goes on for everybody else
                _log.error("review_failed", error=type(exc).__name__)

    async def _keep_time(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self.timings.tick_s
            await asyncio.sleep(self.timings.tick_s)
            late = max(0.0, loop.time() - due)
            metrics.LOOP_LAG.observe(late)
            if late > _LATE_S:
                _log.warning("loop_late", seconds=round(late, 1))
                self.lenient_until = self.clock() + _LENIENCE_S
            self.tick()

    async def look(self) -> bool:
        """Compare with the store: which feeds moved, which sessions ended. False if not all of it could be asked."""
        moved = await self._look_at_heads(self.delivery.followed())
        return await self._look_at_sessions(list(self._sessions)) and moved

    async def _look_at_heads(self, feeds: Sequence[str]) -> bool:
        try:
            async with asyncio.timeout(self.timings.look_s):
                for start in range(0, len(feeds), FEEDS_PER_READ):
                    heads = await self.verbs.heads(feeds[start : start + FEEDS_PER_READ])
                    for feed, (epoch, seq) in heads.items():
                        self.delivery.moved(feed, epoch, seq)
        except Exception as exc:
            _log.warning("heads_failed", error=type(exc).__name__)
            return False
        return True

    async def _look_at_sessions(self, sessions: Sequence[str]) -> bool:
        """Close the connections of those of `sessions` that have ended. False if they could not be asked for."""
        try:
            async with asyncio.timeout(self.timings.look_s):
                alive = await self.verbs.sessions_alive(sessions) if sessions else set()
        except Exception as exc:
            _log.warning("sessions_failed", error=type(exc).__name__)
            return False
        for session in sessions:
            if session not in alive:
                self.close_session(session)
        return True

    async def _keep_looking(self) -> None:
        wait_s = self.timings.look_s
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._look_now.wait()
            self._look_now.clear()
            # After a database that was away, what nobody announced would else wait for another whole look.
            wait_s = self.timings.look_s if await self.look() else self.timings.again_s
