"""What one client may rely on: commands in order, an answer to each, deadlines, and its end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs
from websockets.exceptions import ConnectionClosed

from server.errors import Conflict
from server.protocol.codec import Codec
from server.protocol.frames import (
    Ack,
    Act,
    Beat,
    BeatReply,
    Done,
    Error,
    Event,
    FeedPosition,
    Hello,
    Help,
    History,
    Join,
    Joined,
    Send,
    Welcome,
)
from tests.live.support import ROOM, Raw, Stage, masked


def send(n: int) -> Send:
    return Send(client_id=f"send-{n:04}", feed=ROOM, body=f"n{n}")


class Gate:
    """Commands wait here until let through."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.opened = asyncio.Event()
        self.reached = asyncio.Event()
        stage.service.hooks["run"] = self.wait

    async def wait(self, *_: Any) -> None:
        self.reached.set()
        await self.opened.wait()


# --- order and back-pressure ---


async def test_commands_sent_at_once_are_carried_out_one_after_the_other(stage: Stage) -> None:
    """A slow first command holds up the second; the answers come in the order of the commands."""
    running = most = 0

    async def slow_first(*args: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(20 if args[1].client_id == "send-0000" else 1):
            await asyncio.sleep(0)
        running -= 1

    stage.service.hooks["run"] = slow_first
    async with stage.client() as ann:
        for n in range(10):
            await ann.say(send(n))
        acks = [await ann.hear_as(Ack) for _ in range(10)]
    assert [(ack.re, ack.seq) for ack in acks] == [(f"send-{n:04}", n + 1) for n in range(10)]
    assert most == 1


async def test_broken_frames_and_beats_keep_their_place_in_the_order(stage: Stage) -> None:
    """An error or a beat is answered where it stood among the commands."""
    async with Raw.open(stage) as raw:
        raw.say(send(1))
        raw.writer.write(masked(b"\xc1"))
        raw.say(Beat())
        raw.say(send(2))
        assert [type(await raw.hear()) for _ in range(4)] == [Ack, Error, BeatReply, Ack]


async def test_a_client_that_says_too_much_at_once_is_not_read_any_more(stage: Stage) -> None:
    """At 32 waiting commands reading pauses; when they are done it goes on, and none is lost."""
    gate = Gate(stage)
    async with Raw.open(stage) as raw:
        for n in range(200):
            raw.say(History(client_id=f"hist-{n:04}", feed=ROOM, before=1))
        await gate.reached.wait()
        connection = stage.connection("ann")
        await stage.until(lambda: connection.is_held)
        assert len(stage.service.called("run")) == 1
        gate.opened.set()
        answers = [await raw.hear() for _ in range(200)]
    assert [answer.re for answer in answers] == [f"hist-{n:04}" for n in range(200)]
    # 100 at once are allowed; the rest is refused, each at its place.
    assert [type(answer) for answer in answers] == [Done] * 100 + [Error] * 100


async def test_a_command_that_takes_too_long_is_answered_and_the_next_goes_on(stage: Stage) -> None:
    """After ten seconds: unavailable, send the same again."""
    gate = Gate(stage)
    async with stage.client() as ann:
        await ann.say(send(1))
        await gate.reached.wait()
        stage.service.hooks.clear()
        await ann.say(send(2))
        stage.fast_forward(11)
        error = await ann.hear_as(Error)
        assert (error.re, error.code, error.retry) == ("send-0001", "unavailable", "same")
        assert (await ann.hear_as(Ack)).re == "send-0002"


async def test_what_was_received_is_carried_out_though_the_client_is_gone(stage: Stage) -> None:
    """A message and a call for help sent before the connection broke are not lost."""
    gate = Gate(stage)
    async with Raw.open(stage) as raw:
        raw.say(send(1))
        raw.say(Help(client_id="help-0001"))
        raw.say(Join(client_id="join-0001", feed=ROOM))
        await gate.reached.wait()
        connection = stage.connection("ann")
        raw.writer.transport.abort()
        await stage.until(lambda: not connection.is_open)
    gate.opened.set()
    await stage.until(lambda: not connection.is_busy)
    assert [type(args[1]) for args in stage.service.called("run")] == [Send, Help]
    assert stage.log.head(ROOM) == 1
    assert stage.service.called("follow") == []


# --- errors ---


async def test_an_error_of_the_service_is_answered_with_its_advice(stage: Stage) -> None:
    """Code, text, field, retry, the command's name and a request id reach the client."""

    async def refuse(*_: Any) -> None:
        raise Conflict("Read it again.", field="version", retry="later", retry_after_ms=70)

    stage.service.hooks["run"] = refuse
    async with stage.client() as ann:
        await ann.say(Act(client_id="act-00001", case="C1", version=1, act="claim"))
        error = await ann.hear_as(Error)
        assert len(error.request_id) == 26
        assert error == Error(
            code="conflict", message="Read it again.", retry="later", request_id=error.request_id, re="act-00001",
            field="version", retry_after_ms=70,
        )  # fmt: skip


async def test_a_failure_is_logged_by_ids_and_never_by_text(stage: Stage) -> None:
    """An unexpected error is "internal" for the client; the log has the request id and no word of the message."""

    async def fail(*_: Any) -> None:
        raise ValueError("the words of somebody")

    stage.service.hooks["run"] = fail
    with capture_logs() as logs:
        async with stage.client() as ann:
            await ann.say(send(1))
            error = await ann.hear_as(Error)
    assert error.code == "internal"
    (entry,) = logs
    assert entry["request_id"] == error.request_id
    assert entry["error"] == "ValueError"
    assert "words" not in repr(logs) + error.message
    assert "n1" not in repr(logs)


async def test_what_is_logged_while_a_command_is_carried_out_bears_its_request_id(stage: Stage) -> None:
    """Whoever quotes the id of an answer leads to every line of it; the next command's lines bear another."""

    async def log_and_refuse(*_: Any) -> None:
        structlog.get_logger().warning("something")
        raise Conflict("Read it again.")

    stage.service.hooks["run"] = log_and_refuse
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        async with stage.client() as ann:
            errors = []
            for n in range(2):
                await ann.say(send(n))
                errors.append(await ann.hear_as(Error))
    assert [line["request_id"] for line in logs] == [error.request_id for error in errors]
    assert errors[0].request_id != errors[1].request_id


# --- hello ---


async def test_without_hello_the_connection_ends_after_five_seconds(stage: Stage) -> None:
    """4408, also for one that says other things."""
    async with Raw.open(stage, hello=False) as raw:
        stage.fast_forward(4)
        raw.say(Beat())
        assert (await raw.hear()).code == "hello_first"
        stage.fast_forward(2)
        assert await raw.close_code() == 4408


async def test_a_cookie_needs_a_ticket(stage: Stage) -> None:
    """Where the service asks for a ticket and there is none, the answer is an error and 4401."""
    async with stage.client(headers={"Cookie": "s=1"}, hello=False) as ann:
        await ann.say(Hello(client_id="hello-01", client="x"))
        assert (await ann.hear_as(Error)).code == "not_signed_in"
        assert await ann.close_code() == 4401
    async with stage.client(headers={"Cookie": "s=1"}, hello=False) as ann:
        await ann.say(Hello(client_id="hello-01", client="x", ticket="good"))
        assert (await ann.hear_as(Welcome)).re == "hello-01"


async def test_hello_resumes_several_feeds(stage: Stage) -> None:
    """Each feed of `resume` is joined from its position; one that may not be read is an error naming it."""
    for n in range(3):
        stage.log.say(f"n{n}")
    stage.service.banned.add(("ann", "room:R9"))
    async with stage.client(hello=False) as ann:
        resume = (FeedPosition(feed="room:R9", epoch=1, seq=1), FeedPosition(feed=ROOM, epoch=1, seq=1))
        await ann.say(Hello(client_id="hello-01", client="x", resume=resume))
        await ann.hear_as(Welcome)
        error = await ann.hear_as(Error)
        assert (error.field, error.code) == ("room:R9", "not_found")
        assert (await ann.hear_as(Joined)).recovered
        assert [e.seq for e in await ann.events(2)] == [2, 3]


# --- limits ---


async def test_joining_too_often_is_refused_on_all_sockets_of_the_account(stage: Stage) -> None:
    """A join is counted for the account, a beat for the socket; the answer says when to come back."""
    async with stage.client("ann") as one, stage.client("ann") as two, stage.client("ben") as ben:
        for _ in range(100):
            await one.join()
        await two.say(Join(client_id="join-0001", feed=ROOM))
        error = await two.hear_as(Error)
        assert (error.code, error.retry, error.retry_after_ms) == ("too_many", "later", 101)
        await ben.join()
        stage.clock.now += 0.101
        await two.join()


async def test_beating_too_often_is_refused_on_that_socket_alone(stage: Stage) -> None:
    """Each socket beats by itself: what one does too often is not held against another of the same account."""
    async with stage.client("ann") as one, stage.client("ann") as two:
        for _ in range(31):
            await one.say(Beat())
        assert [type(await one.hear_any()) for _ in range(31)] == [BeatReply] * 30 + [Error]
        await two.say(Beat())
        assert isinstance(await two.hear(), BeatReply)


# --- liveness ---


async def test_silence_is_asked_and_then_ended(stage: Stage) -> None:
    """A ping after 12 s of silence; 4002 within 25 s of the last frame, to the second. Any frame counts as life."""
    async with Raw.open(stage) as raw:
        stage.fast_forward(13)
        assert await raw.frame() == (9, b"")
        raw.writer.write(masked(b"", opcode=10))
        raw.say(Beat())
        await raw.hear()
        stage.fast_forward(13)
        assert await raw.frame() == (9, b"")
        stage.fast_forward(8)
        assert stage.connection("ann").is_open
        stage.fast_forward(4)
        assert await raw.close_code() == 4002


async def test_when_this_process_stood_still_no_client_is_blamed(stage: Stage) -> None:
    """After a late timer, deadlines of clients wait until what they sent could be read."""
    async with Raw.open(stage) as raw:
        stage.hub.lenient_until = stage.clock.now + 50
        stage.clock.now += 47
        stage.hub.tick()
        raw.say(Beat())
        assert isinstance(await raw.hear(), BeatReply)
        stage.fast_forward(4)
        raw.say(Beat())
        while isinstance(frame := await raw.frame(), tuple) and frame[0] == 9:
            continue
        assert frame[0] == 2


# --- the end of a session ---


async def test_ending_a_session_closes_its_sockets_and_stops_delivery_at_once(stage: Stage) -> None:
    """4401 on each socket of the session; what is committed in the same step is not delivered; others stay."""
    async with (
        stage.client("ann", join=(ROOM,)) as ann,
        stage.client("ann", session="S-other", join=(ROOM,)) as other,
        stage.client("ben", join=(ROOM,)) as ben,
    ):
        event = stage.log.say("secret")
        stage.announce(event)
        stage.hub.close_session("S-ann")
        with pytest.raises(ConnectionClosed):
            await ann.hear_any()
        assert await ann.close_code() == 4401
        assert await other.bodies(1) == ["secret"]
        assert await ben.bodies(1) == ["secret"]


async def test_a_session_that_ended_elsewhere_is_found_by_the_look(stage: Stage) -> None:
    """Without any call, the next look closes what is not alive; while the store is away nobody is closed."""

    async def away(*_: Any) -> None:
        raise ConnectionError

    async with stage.client("ann") as ann, stage.client("ben") as ben:
        stage.service.dead_sessions.add("S-ann")
        stage.service.hooks["sessions_alive"] = away
        with capture_logs():
            await stage.hub.look()
        await ann.say(Beat())
        assert isinstance(await ann.hear(), BeatReply)
        stage.service.hooks.clear()
        await stage.hub.look()
        assert await ann.close_code() == 4401
        await ben.say(Beat())
        assert isinstance(await ben.hear(), BeatReply)


async def test_commands_waiting_when_the_session_ends_are_heard_and_not_carried_out(stage: Stage) -> None:
    """Only the one that was begun is finished; the others are looked at for a risk."""
    gate = Gate(stage)
    async with Raw.open(stage) as raw:
        raw.say(send(1))
        raw.say(send(2))
        await gate.reached.wait()
        raw.writer.write(masked(b"", opcode=9))
        assert await raw.frame() == (10, b"")
        connection = stage.connection("ann")
        stage.hub.close_session("S-ann")
        assert await raw.close_code() == 4401
    gate.opened.set()
    await stage.until(lambda: not connection.is_busy)
    assert [args[1].client_id for args in stage.service.called("run")] == ["send-0001"]
    await stage.until(lambda: bool(stage.service.called("hear_refused")))
    assert [args[1] for args in stage.service.called("hear_refused")] == [send(2)]


async def test_both_encodings_carry_the_same_conversation(stage: Stage) -> None:
    """What is said in one encoding is heard in the other."""
    async with stage.client("ann", join=(ROOM,)) as ann, stage.client("ben", codec=Codec.JSON, join=(ROOM,)) as ben:
        await ben.say(send(1))
        assert (await ann.bodies(1)) == ["n1"]
        assert [type(await ben.hear_any()) for _ in range(2)] == [Event, Ack]
