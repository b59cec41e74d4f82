"""One client: its commands in order, its answers, its deadlines.

A command is begun when the one before it was answered, so what a connection says is carried out in the order in which
it was said. What comes meanwhile waits, up to a bound, and at the bound the socket is not read any more. A task exists
only while commands are being carried out. Commands that were received whole are carried out even if the connection
ends meanwhile, unless it was ended because the session was: somebody who asked for help and closed the lid has asked.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec
import structlog
from structlog.contextvars import bind_contextvars

from server.auth.requester import Requester
from server.errors import BadRequest, NotSignedIn, Refused, ServiceError, TooFast, Unavailable
from server.ids import new_id
from server.live import metrics
from server.live.encoding import encode_reply
from server.live.entrance import Stage
from server.live.followers import Follower
from server.live.limits import Allowance
from server.live.seats import Seat
from server.live.shape import Features
from server.live.socket import PING, Phase, WebSocket
from server.live.verbs import Upgrade
from server.protocol.codec import Codec
from server.protocol.codes import CloseCode, ErrorCode, ProtocolError
from server.protocol.frames import (
    Ack,
    AnyCommand,
    AnyReply,
    Beat,
    BeatReply,
    Error,
    Hello,
    Join,
    Leave,
    Left,
    Position,
)
from server.protocol.session import Session

if TYPE_CHECKING:
    from server.live.hub import Hub

_log = structlog.get_logger(__name__)

# Carried out here, not by `Verbs.run`; of no use any more once the connection is gone.
_ONLY_FOR_READING: Final = (Hello, Join, Leave, Beat)
# Answers made in one tick of the loop are written together, up to this many bytes.
_REPLY_BYTES: Final = 64 * 1024


class Connection(WebSocket):
    """A socket with a person behind it. A subclass made by the hub names the hub."""

    __slots__ = (
        "_allowance",
        "_backlog",
        "_is_timed_out",
        "_lagging_since",
        "_opened_at",
        "_pinged_at",
        "_replies",
        "_reply_bytes",
        "_running_since",
        "_seat",
        "_session",
        "_task",
        "_upgrade",
        "codec",
        "features",
        "follows",
        "requester",
    )

    hub: ClassVar[Hub]
    requester: Requester
    codec: Codec

    def __init__(self, config: object, server_state: Any, app_state: object) -> None:
        super().__init__(config, server_state, app_state)
        self.features: Features = frozenset()
        self.follows: dict[str, Follower] = {}
        self._session = Session()
        self._backlog: deque[AnyCommand | ProtocolError] = deque()
        self._task: asyncio.Task[None] | None = None
        self._running_since = 0.0
        self._is_timed_out = False
        self._replies: list[bytes] = []
        self._reply_bytes = 0
        self._upgrade: Upgrade | None = None
        self._seat: Seat | None = None
        self._opened_at = self.heard_at = self._pinged_at = 0.0
        self._lagging_since = 0.0

    # --- what delivery asks ---

    @property
    def can_take(self) -> bool:
        return self.phase is Phase.OPEN and not self.paused

    @property
    def is_open(self) -> bool:
        return self.phase is Phase.OPEN

    @property
    def is_busy(self) -> bool:
        """Whether a command is being carried out."""
        return self._task is not None

    def flush_replies(self, events: Sequence[bytes] = ()) -> None:
        if self._replies or events:
            data = b"".join((*events, *self._replies))
            self._replies.clear()
            self._reply_bytes = 0
            if self.phase is Phase.OPEN:
                self.write(data)
        self._check_unsent()

    def caught_up(self) -> None:
        if self._lagging_since:
            self._lagging_since = 0.0
            metrics.LAGGING.dec()

    # --- the socket ---

    async def admit(self, upgrade: Upgrade) -> str:
        if self.hub.is_draining:
            raise Unavailable("This server is about to restart: connect again in a moment.", retry="later")
        codec = Codec.choose(upgrade.offered)
        if codec is None:
            names = " or ".join(known.subprotocol for known in Codec)
            raise BadRequest(f"Offer the subprotocol {names}.", field="Sec-WebSocket-Protocol")
        address = self.hub.address_of(upgrade)
        self.hub.seats.check_address(address)
        async with self.hub.entrance.at(Stage.HANDSHAKE):
            self._check_waits()
            self.requester = await self.hub.verbs.open_connection(upgrade)
        self._check_waits()
        self._seat = self.hub.seats.take(self.requester.account, address, is_staff=self.requester.is_staff)
        self.codec = codec
        self._upgrade = upgrade
        return codec.subprotocol

    def _check_waits(self) -> None:
        """Nothing is spent on a client that went away meanwhile; given a seat, it would never give it back."""
        if self.phase is not Phase.HANDSHAKE:
            raise Unavailable("Connect again.")

    def opened(self) -> None:
        now = self.hub.clock()
        self._opened_at = self.heard_at = self._pinged_at = now
        self._allowance = Allowance()
        self.hub.enter(self)
        self.hub.watch(self, now + self.hub.timings.hello_s)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._seat is not None:
            self.hub.seats.leave(self._seat)
            self._seat = None

    def ended(self) -> None:
        self._replies.clear()
        self.caught_up()
        self.hub.exit(self)

    def close(self, code: int, reason: bytes = b"") -> None:
        if self.phase is Phase.OPEN:
            self.flush_replies()
        if self.phase is Phase.OPEN:
            metrics.CLOSES.labels(str(int(code))).inc()
        super().close(code, reason)

    def cut(self, code: int) -> None:
        """Close, and carry out nothing more of what was received; what is being carried out is finished."""
        self._only_hear_the_rest()
        self._replies.clear()
        self.close(code)

    def _only_hear_the_rest(self) -> None:
        """The session ended: what waits is not carried out, but somebody in danger may have written it before that."""
        unread = [command for command in self._backlog if not isinstance(command, ProtocolError)]
        self._backlog.clear()
        if unread and self._session.is_ready:
            _ = self.hub.spawn(self._hear(unread))

    async def _hear(self, unread: Sequence[AnyCommand]) -> None:
        for command in unread:
            request_id = new_id()
            bind_contextvars(request_id=request_id)
            try:
                async with asyncio.timeout(self.hub.timings.command_s):
                    await self.hub.verbs.hear_refused(self.requester, command, request_id)
            except Exception as exc:  # the others are heard all the same
                _log.error("unheard", request_id=request_id, kind=type(command).__name__, error=type(exc).__name__)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.phase is Phase.OPEN:
            if not self._lagging_since:
                self._lagging_since = self.hub.clock()
                metrics.LAGGING.inc()
                self.hub.watch(self, self._lagging_since + self.hub.timings.slow_s)
            self.hub.delivery.pause(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.phase is Phase.OPEN:
            self.hub.delivery.resume(self)

    def may_control(self) -> bool:
        self._check_unsent()
        return self._allowance.wait("control", self.hub.clock()) == 0.0

    def _check_unsent(self) -> None:
        """Answers are written even to a connection that lags, so that they are bounded here."""
        if self.paused and self.phase is Phase.OPEN:
            timings = self.hub.timings
            most = timings.unsent_staff_bytes if self.requester.is_staff else timings.unsent_bytes
            if self.unsent_bytes > most:
                super().close(CloseCode.SLOW_CONSUMER)
                metrics.CLOSES.labels(str(int(CloseCode.SLOW_CONSUMER))).inc()

    # --- deadlines ---

    def review(self, now: float) -> None:
        super().review(now)
        if self.phase is not Phase.OPEN:
            return
        timings, hub = self.hub.timings, self.hub
        if self._running_since and now >= self._running_since + timings.command_s and self._task is not None:
            self._is_timed_out = True
            self._running_since = 0.0
            self._task.cancel()
        if now < hub.lenient_until:  # this process was late, not the client
            hub.watch(self, hub.lenient_until)
        elif not self._session.is_ready and self._task is None and now >= self._opened_at + timings.hello_s:
            self.close(CloseCode.NO_HELLO)
        elif self._lagging_since and now >= self._lagging_since + timings.slow_s:
            self.close(CloseCode.SLOW_CONSUMER)
        elif not self.is_held and now >= self.heard_at + timings.dead_s:
            self.close(CloseCode.HEARTBEAT_LOST)
        elif now >= max(self.heard_at, self._pinged_at) + timings.ping_s:
            self._pinged_at = now
            self.write(PING)
        if self.phase is Phase.OPEN:
            hub.watch(self, max(self.heard_at, self._pinged_at) + timings.ping_s)
            hub.watch(self, min(self.heard_at + timings.dead_s, now + timings.dead_s))

    # --- commands ---

    def message(self, payload: bytes, is_text: bool) -> None:
        if is_text is not self.codec.is_text:
            kind = "text" if self.codec.is_text else "binary"
            self._queue(ProtocolError(ErrorCode.MALFORMED, f"Send {kind} frames with this subprotocol."))
            return
        try:
            command: AnyCommand | ProtocolError = self.codec.decode_command(payload)
        except ProtocolError as exc:
            command = exc
        self._queue(command)

    def oversized(self) -> None:
        most = self.hub.limits.message_bytes
        self._queue(ProtocolError(ErrorCode.TOO_BIG, f"Send frames of at most {most} bytes."))

    def _queue(self, command: AnyCommand | ProtocolError) -> None:
        if type(command) is Beat and self._task is None and self._session.is_ready:
            self._answer_beat(command)
            return
        self._backlog.append(command)
        if self._task is None:
            self._task = self.hub.spawn(self._serve())
        elif len(self._backlog) >= self.hub.timings.backlog:
            self.hold()

    async def _serve(self) -> None:
        """Carry out what waits, one after the other, until nothing does."""
        try:
            while self._backlog:
                command = self._backlog.popleft()
                if self.is_held and len(self._backlog) <= self.hub.timings.backlog // 2:
                    self.release()
                if isinstance(command, ProtocolError):
                    self._complain(command)
                elif self.phase is Phase.OPEN or not isinstance(command, _ONLY_FOR_READING):
                    await self._answer(command)
        finally:
            self._task = None
            self._running_since = 0.0
            self.hub.served(self)

    def _answer_beat(self, beat: Beat) -> None:
        """A heartbeat behind nothing waits for nothing; ten thousand idle connections send 500 a second."""
        outcome = "done"
        try:
            self.reply(self._beat(beat))
        except ServiceError as exc:
            outcome = exc.error_code
            self.reply(_error(exc, new_id(), None))
        metrics.command("beat", outcome).inc()

    def _beat(self, beat: Beat) -> BeatReply:
        wait_s = self._allowance.wait("beat", self.hub.clock())
        if wait_s:
            raise TooFast(retry_after_ms=int(wait_s * 1000) + 1)
        self.hub.delivery.repair(self, beat.at)
        return BeatReply(now=self.hub.now_ms(), at=self.hub.delivery.positions(self))

    def _complain(self, error: ProtocolError) -> None:
        metrics.command("none", error.code.value).inc()
        if self._allowance.wait("broken", self.hub.clock()):
            self.close(CloseCode.POLICY)
        else:
            self.reply(error.to_reply(new_id()))

    async def _answer(self, command: AnyCommand) -> None:
        """Carry out `command` and answer it; whatever goes wrong becomes its answer."""
        refusal = self._session.check(command)
        if refusal is not None:
            self._complain(refusal)
            return
        request_id = new_id()
        bind_contextvars(request_id=request_id)
        named = None if isinstance(command, Beat) else command.client_id
        kind = type(command).__name__.lower()
        outcome = "done"
        self._start_clock()
        began = self._running_since
        try:
            reply = await self._carry_out(command, request_id)
            if type(reply) is Ack:
                metrics.ACK.observe(self.hub.clock() - began)
            if reply is not None:
                self.reply(reply)
        except ServiceError as exc:
            outcome = exc.error_code
            self.reply(_error(exc, request_id, named))
            if isinstance(command, Hello):
                self._turn_away(exc)
            elif isinstance(exc, NotSignedIn):
                self._only_hear_the_rest()
                self.close(CloseCode.SESSION_ENDED)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._is_timed_out or task is None or task.cancelling() > 1:
                raise
            task.uncancel()
            self._is_timed_out = False
            outcome = "timeout"
            _log.error("command_timeout", request_id=request_id, kind=kind)
            self.reply(_error(Unavailable("This took too long. Send it again."), request_id, named))
        except Exception as exc:
            outcome = "internal"
            _log.error("command_failed", request_id=request_id, kind=kind, error=type(exc).__name__, at=_place(exc))
            self.reply(_error(ServiceError("Something failed here."), request_id, named))
        finally:
            self._running_since = 0.0
        metrics.command(kind, outcome).inc()

    def _start_clock(self) -> None:
        self._running_since = self.hub.clock()
        self.hub.watch(self, self._running_since + self.hub.timings.command_s)

    async def _carry_out(self, command: AnyCommand, request_id: str) -> AnyReply | None:
        hub = self.hub
        if not isinstance(command, _ONLY_FOR_READING):
            return await hub.verbs.run(self.requester, command, request_id)
        if isinstance(command, Beat):
            return self._beat(command)
        if not isinstance(command, Hello):
            hub.verbs.check_pace(self.requester, command)
        if isinstance(command, Join):
            async with hub.entrance.at(Stage.JOIN):
                await hub.delivery.join(self, command.feed, command.after, command.client_id)
            return None
        if isinstance(command, Leave):
            hub.delivery.leave(self, command.feed)
            return Left(re=command.client_id, feed=command.feed)
        async with hub.entrance.at(Stage.HELLO):
            await self._greet(command)
        return None

    async def _greet(self, hello: Hello) -> None:
        upgrade, self._upgrade = self._upgrade, None
        if upgrade is None:
            raise BadRequest("Say hello once.")
        await self.hub.verbs.redeem_ticket(self.requester, upgrade, hello.ticket)
        welcome = await self.hub.verbs.welcome(self.requester, hello)
        welcome = msgspec.structs.replace(welcome, re=hello.client_id)
        self._session.welcomed(welcome)
        self.features = self._session.features
        self.reply(welcome)
        for position in hello.resume:
            self._start_clock()
            after = Position(epoch=position.epoch, seq=position.seq)
            try:
                await self.hub.delivery.join(self, position.feed, after, None)
            except ServiceError as exc:
                self.reply(msgspec.structs.replace(_error(exc, new_id(), hello.client_id), field=position.feed))

    def _turn_away(self, error: ServiceError) -> None:
        """`hello` was refused: there is nothing to do on this connection."""
        if isinstance(error, NotSignedIn):
            self.close(CloseCode.SESSION_ENDED)
        elif isinstance(error, Refused):
            self.close(CloseCode.FORBIDDEN)
        else:
            self.close(CloseCode.TRY_LATER)

    def reply(self, reply: AnyReply) -> None:
        """Answer, after the events that are known now."""
        if self.phase is not Phase.OPEN:
            return
        data = encode_reply(reply, self.codec, self.features)
        self._replies.append(data)
        self._reply_bytes += len(data)
        if self._reply_bytes > _REPLY_BYTES:
            self.hub.delivery.flush()
            self.flush_replies()
        elif len(self._replies) == 1:
            self.hub.delivery.reply(self)


def _error(exc: ServiceError, request_id: str, named: str | None) -> Error:
    return Error(
        code=exc.error_code,
        message=exc.text,
        retry=exc.retry,
        request_id=request_id,
        re=named,
        field=exc.field,
        retry_after_ms=exc.retry_after_ms,
    )


def _place(exc: BaseException) -> str:
    """File and line where `exc` was raised; never its text, which may quote what somebody wrote."""
    trace = exc.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"
