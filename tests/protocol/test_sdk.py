"""What the SDK promises, against a real server on a real socket."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from clients.sdk import Client, CommandRefused, ConnectionEnded, HttpRefused, LinkChange, LinkState
from clients.sdk.connection import Timing
from clients.sdk.http_api import list_rooms, sign_in
from server.protocol.codec import Codec
from server.protocol.codes import CloseCode, ProtocolError
from server.protocol.frames import Act, Beat, Limits, Shown
from tests.protocol.small_server import ROOM, SmallServer, http_front, small_server, until


class FakeTime:
    """A clock that stands where it is put, and waits that take no time but are written down.

    Waits of a heartbeat (recognised by `held_s`) do not return at all, so that only what a test is about moves.
    """

    def __init__(self, *, seed: int = 1, held_s: tuple[float, ...] = (7.5,)) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        self.held: list[float] = []
        self.held_s = held_s
        self.dice = random.Random(seed)

    async def sleep(self, seconds: float) -> None:
        if seconds in self.held_s:
            self.held.append(seconds)
            await asyncio.Event().wait()
        self.waits.append(seconds)
        await asyncio.sleep(0)

    @property
    def timing(self) -> Timing:
        return Timing(monotonic=lambda: self.now, sleep=self.sleep, uniform=self.dice.uniform)


@pytest.fixture
async def server() -> AsyncIterator[SmallServer]:
    async with small_server() as small:
        yield small


@pytest.mark.parametrize("codec", list(Codec))
async def test_a_message_is_acknowledged_and_comes_back_once(server: SmallServer, codec: Codec) -> None:
    """On both subprotocols a send returns its ack, and the message is among the room's messages."""
    async with Client(server.url, token="t", codec=codec, timing=FakeTime().timing) as client:
        room = await client.join(ROOM)
        ack = await room.send("hello")
        first = await anext(room.messages())
        assert (ack.state, ack.seq) == ("published", 1)
        assert (first.body, first.author) == ("hello", client.you)


async def test_a_cut_before_the_ack_posts_the_message_once(server: SmallServer) -> None:
    """Stored, then cut before the ack: the client sends again with the same client_id, and there is one message."""
    server.cut_before_ack = 3
    async with Client(server.url, token="t", timing=FakeTime().timing) as client:
        room = await client.join(ROOM)
        ack = await room.send("only once")
        assert ack.seq == 1
        assert [item.view.body for item in server.log if isinstance(item.view, Shown)] == ["only once"]
        assert len({send.client_id for send in server.sends}) == 1
        assert len(server.sends) == 4


async def test_unanswered_commands_are_resent_in_their_order(server: SmallServer) -> None:
    """Five sends are under way when the line goes dead; after the cut they arrive again in the order of writing."""
    async with Client(server.url, token="t", timing=FakeTime().timing) as client:
        room = await client.join(ROOM)
        server.is_deaf = True
        async with asyncio.TaskGroup() as tasks:
            for n in range(5):
                tasks.create_task(room.send(f"line {n}"))
            await asyncio.sleep(0)
            server.is_deaf = False
            server.sends.clear()
            server.cut_all()
    assert [send.body for send in server.sends][-5:] == [f"line {n}" for n in range(5)]


async def test_after_a_cut_nothing_is_missing_and_nothing_comes_twice(server: SmallServer) -> None:
    """Messages posted while the client was away are given once, in order, by a join from where it stood."""
    async with Client(server.url, token="t", timing=FakeTime().timing) as client:
        room = await client.join(ROOM)
        stream = room.messages()
        for n in range(30):
            await server.post(f"text {n}")
            if n % 7 == 3:
                server.cut_all()
                server.connections.clear()
        assert [(await anext(stream)).body for _ in range(30)] == [f"text {n}" for n in range(30)]
        assert all(join.after is not None for join in server.joins[1:])
        assert list(room.view.places) == list(range(1, 31))


async def test_a_skipped_event_is_fetched_and_a_doubled_one_dropped(server: SmallServer) -> None:
    """A server that loses every third event and sends the others twice changes nothing for the reader."""
    server.twice = True
    server.skip = set(range(3, 30, 3))
    async with Client(server.url, token="t", timing=FakeTime().timing) as client:
        room = await client.join(ROOM)
        stream = room.messages()
        for n in range(1, 32):
            await server.post(f"text {n}")
        assert [(await anext(stream)).body for _ in range(31)] == [f"text {n}" for n in range(1, 32)]


async def test_a_lost_last_event_is_found_by_the_heartbeat(server: SmallServer) -> None:
    """Nothing follows the lost event that could show the gap; the answer to the next beat does."""
    server.skip = {1}
    server.limits = Limits(beat_ms=2)
    async with Client(server.url, token="t") as client:
        room = await client.join(ROOM)
        await server.post("quiet")
        assert (await anext(room.messages())).body == "quiet"


async def test_a_slow_reader_pauses_the_feed_and_misses_nothing(server: SmallServer) -> None:
    """Far more messages than fit in the client's queue: it stops following, and resumes when there is room."""
    async with Client(server.url, token="t", news_bound=4, timing=FakeTime().timing) as client:
        room = await client.join(ROOM)
        stream = room.messages()
        await server.post("text 0")
        got = [(await anext(stream)).body]
        for n in range(1, 40):
            await server.post(f"text {n}")
        ack = await room.send("while it is paused")
        got += [(await anext(stream)).body for _ in range(40)]
        assert ack.seq == 41
        assert got == [f"text {n}" for n in range(40)] + ["while it is paused"]


async def test_a_program_that_never_reads_its_news_still_sees_the_room(server: SmallServer) -> None:
    """Without a reader the queue keeps the newest and the view goes on."""
    seen: list[int] = []
    async with Client(
        server.url, token="t", news_bound=4, timing=FakeTime().timing, on_event=lambda event: seen.append(event.seq)
    ) as client:
        room = await client.join(ROOM)
        for n in range(20):
            await server.post(f"text {n}")
        await until(lambda: room.view.last == 20)
        assert [message.body for message in room.view.messages] == [f"text {n}" for n in range(20)]
        assert seen == list(range(1, 21))


async def test_too_many_is_waited_for_and_sent_again(server: SmallServer) -> None:
    """`retry: later` is not an error for the program: the same command goes out again."""
    server.later = 2
    time = FakeTime()
    async with Client(server.url, token="t", timing=time.timing) as client:
        room = await client.join(ROOM)
        assert (await room.send("patient")).seq == 1
    assert len(server.sends) == 3
    assert len({send.client_id for send in server.sends}) == 1


async def test_a_refusal_is_raised_with_its_code(server: SmallServer) -> None:
    """`retry: never` raises, and the connection goes on."""
    async with Client(server.url, token="t", timing=FakeTime().timing) as client:
        with pytest.raises(CommandRefused) as refused:
            await client.join("room:other")
        assert refused.value.error.code == "not_found"
        assert (await client.help()).care == "none"
        assert (await client.act("c1", 3, "close", outcome="supported")).re


async def test_a_command_that_breaks_the_contract_is_not_sent(server: SmallServer) -> None:
    """A text over the bound is refused before it leaves, with the server's own code."""
    async with Client(server.url, token="t", timing=FakeTime().timing) as client:
        room = await client.join(ROOM)
        with pytest.raises(ProtocolError) as refused:
            await room.send("x" * 4_001)
        assert refused.value.code == "too_long"
        with pytest.raises(ProtocolError):
            await room.send("\ud800")
    assert server.sends == []


@pytest.mark.parametrize("code", [CloseCode.SLOW_CONSUMER, CloseCode.SERVICE_RESTART, CloseCode.HEARTBEAT_LOST, 4242])
async def test_it_comes_back_after_a_close_that_says_so(server: SmallServer, code: int) -> None:
    """Also after a code that it does not know."""
    async with Client(server.url, token="t", timing=FakeTime().timing) as client:
        room = await client.join(ROOM)
        await server.close_all(code)
        assert (await room.send("back")).seq == 1
    assert len(server.hellos) == 2


@pytest.mark.parametrize(
    ("code", "sign_in_first"), [(CloseCode.SESSION_ENDED, True), (CloseCode.FORBIDDEN, False), (4499, False)]
)
async def test_it_stays_away_after_a_close_that_says_so(server: SmallServer, code: int, sign_in_first: bool) -> None:
    """A reader is told why, and no other connection is made."""
    async with Client(server.url, token="t", timing=FakeTime().timing) as client:
        room = await client.join(ROOM)
        await server.close_all(code)
        with pytest.raises(ConnectionEnded) as ended:
            await anext(room.messages())
        assert (ended.value.close_code, ended.value.sign_in) == (code, sign_in_first)
        with pytest.raises(ConnectionEnded):
            await room.send("too late")
    assert len(server.hellos) == 1


async def test_a_server_that_accepts_and_closes_is_not_hammered(server: SmallServer) -> None:
    """Twelve connections that end right after hello: the waits grow to 30 s, and none is below half a second."""
    server.close_after_hello = [CloseCode.SERVICE_RESTART] * 12
    time = FakeTime()
    async with Client(server.url, token="t", timing=time.timing) as client:
        assert client.is_connected
    assert len(time.waits) == 12
    assert all(0.5 <= wait <= cap for wait, cap in zip(time.waits, [1, 2, 4, 8, 16, 30] + [30] * 6, strict=True))
    assert sum(time.waits[6:]) > 30


async def test_a_connection_that_proved_itself_starts_the_waits_again(server: SmallServer) -> None:
    """After 30 s of service the next wait is one of at most a second; before, it grows."""
    time = FakeTime()
    async with Client(server.url, token="t", timing=time.timing) as client:
        room = await client.join(ROOM)
        for _ in range(6):
            await server.close_all()
            await room.send("back")
        grown = len(time.waits)
        time.now += 31
        await server.close_all()
        await room.send("well again")
        assert time.waits[grown] <= 1.0


async def test_the_least_wait_of_a_close_code_is_kept(server: SmallServer) -> None:
    """4429 says that there are too many connections: 30 s at least."""
    server.close_after_hello = [CloseCode.TOO_MANY_CONNECTIONS]
    time = FakeTime()
    async with Client(server.url, token="t", timing=time.timing):
        assert time.waits[0] >= 30


async def test_drain_is_obeyed(server: SmallServer) -> None:
    """The client goes on for the time that it was given, then moves, and no text is lost on the way."""
    changes: list[LinkChange] = []
    time = FakeTime()
    async with Client(server.url, token="t", timing=time.timing, on_link=changes.append) as client:
        room = await client.join(ROOM)
        await server.drain(7_300)
        await until(lambda: len(server.hellos) == 2)
        assert (await room.send("moved")).seq == 1
    assert time.waits[0] == 7.3
    assert [change.state for change in changes][:3] == [LinkState.UP, LinkState.DOWN, LinkState.UP]


@pytest.mark.parametrize(("lasted_s", "waits"), [(31.0, False), (1.0, True)])
async def test_who_moves_at_the_given_moment_waits_no_longer(server: SmallServer, lasted_s: float, waits: bool) -> None:
    """The moments are spread already: the next connection is made at once, unless this one was young."""
    changes: list[LinkChange] = []
    time = FakeTime()
    async with Client(server.url, token="t", timing=time.timing, on_link=changes.append) as client:
        _ = await client.join(ROOM)
        time.now += lasted_s
        await server.drain(0)
        await until(lambda: len(server.hellos) == 2)
    downs = [change.wait_s for change in changes if change.state is LinkState.DOWN]
    assert (downs[0] >= 0.5) is waits


async def test_a_close_before_the_time_of_a_drain_waits_for_what_is_left(server: SmallServer) -> None:
    """The server was faster than it said: the client keeps to its own moment all the same."""
    time = FakeTime(held_s=(7.5, 20.0))
    async with Client(server.url, token="t", timing=time.timing) as client:
        room = await client.join(ROOM)
        await server.drain(20_000)
        await until(lambda: 20.0 in time.held)
        time.now += 1
        await server.close_all()
        await room.send("back")
    assert time.waits[0] == 19.0


async def test_a_dead_line_is_noticed_by_the_heartbeat(server: SmallServer) -> None:
    """Nothing is answered any more and nothing is closed: the client cuts the line itself and comes back."""
    server.limits = Limits(beat_ms=20)
    async with Client(server.url, token="t", timing=Timing(uniform=lambda low, high: 0.0)) as client:
        room = await client.join(ROOM)
        server.is_deaf = True
        await until(lambda: not client.is_connected)
        server.is_deaf = False
        assert (await room.send("alive")).seq == 1


async def test_the_beats_carry_what_was_applied(server: SmallServer) -> None:
    """A beat names each feed with its last applied seq."""
    server.limits = Limits(beat_ms=2)
    beats: list[Beat] = []
    answer = server.answer

    async def note(socket: object, session: object, command: object) -> None:
        if isinstance(command, Beat):
            beats.append(command)
        await answer(socket, session, command)  # type: ignore[arg-type]

    server.answer = note  # type: ignore[assignment]
    async with Client(server.url, token="t") as client:
        await client.join(ROOM)
        await server.post("one")
        await until(lambda: beats and beats[-1].at == {ROOM: 1})


async def test_leaving_the_client_ends_every_task_and_every_wait(server: SmallServer) -> None:
    """After `async with` no task of the client is left, and who still waits is told."""
    before = asyncio.all_tasks()
    async with Client(server.url, token="t", timing=FakeTime().timing) as client:
        room = await client.join(ROOM)
        server.is_deaf = True
        waiting = asyncio.ensure_future(room.send("never answered"))
        await asyncio.sleep(0)
    with pytest.raises(ConnectionEnded):
        await waiting
    await until(lambda: not server.connections)
    left = [task for task in asyncio.all_tasks() - before if "clients" in repr(task.get_coro())]
    assert left == []


async def test_an_error_in_the_body_comes_out_as_itself(server: SmallServer) -> None:
    """The client's own task group does not wrap what the program raised."""
    with pytest.raises(KeyError):
        async with Client(server.url, token="t", timing=FakeTime().timing):
            raise KeyError("mine")


async def test_a_server_that_is_not_there_ends_in_time(unused_tcp_port: int) -> None:
    """The first connection is tried again and again, within the time given."""
    client = Client(f"http://127.0.0.1:{unused_tcp_port}", token="t", connect_timeout_s=0.05)
    with pytest.raises(ConnectionEnded):
        async with client:
            pytest.fail("there is nothing to connect to")


async def test_the_same_client_id_is_not_used_for_two_commands_at_a_time(server: SmallServer) -> None:
    """Two commands under one name would get one answer: the second is refused here."""
    async with Client(server.url, token="t", timing=FakeTime().timing) as client:
        server.is_deaf = True
        act = Act(client_id="same-name-1", case="c1", version=1, act="claim")
        first = asyncio.ensure_future(client.call(act))
        await asyncio.sleep(0)
        with pytest.raises(Exception, match="client_id"):
            await client.call(act)
    with pytest.raises(ConnectionEnded):
        await first


async def test_signing_in_gives_a_token_that_no_repr_shows() -> None:
    """`sign_in` posts to /api/sign-in; the token is not in the result's text."""
    account = {"id": "a1", "name": "night-bot", "role": "member"}
    with http_front({"/api/sign-in": (200, {"token": "secret-token", "account": account})}) as (url, asked):
        signed_in = await sign_in(url, "night-bot", "a-long-pass-phrase")
    assert signed_in.token == "secret-token"
    assert "secret-token" not in repr(signed_in)
    assert asked == [("/api/sign-in", '{"pseudonym":"night-bot","password":"a-long-pass-phrase"}')]


async def test_a_refused_sign_in_is_raised_with_its_code() -> None:
    """The error of the HTTP API comes out with status and code."""
    refusal = {"code": "not_signed_in", "message": "No.", "field": None, "retry": "never", "request_id": "r"}
    with http_front({"/api/sign-in": (401, refusal)}) as (url, _), pytest.raises(HttpRefused) as refused:
        await sign_in(url, "night-bot", "wrong")
    assert (refused.value.status, refused.value.code) == (401, "not_signed_in")


async def test_rooms_are_listed_with_the_token() -> None:
    """The call carries the token in its header, and gives the rooms."""
    listed = {"feed": ROOM, "name": "Evenings", "kind": "community", "purpose": "", "open": True}
    with http_front({"/api/rooms": (200, {"rooms": [listed]})}) as (url, asked):
        rooms = await list_rooms(url, "t0")
    assert rooms[0].feed == ROOM
    assert asked == [("/api/rooms", "Bearer t0")]
