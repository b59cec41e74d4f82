"""The framing of one connection, on real sockets: what is accepted, what is passed over, what ends it."""

from __future__ import annotations

import asyncio
import json
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.errors import Refused, TooMany
from server.live.socket import Phase, SocketLimits, WebSocket
from server.live.verbs import Upgrade
from server.protocol.codec import Codec
from server.protocol.frames import Ack, Beat, BeatReply, Error, Hello, Send, Welcome
from tests.live.support import ROOM, Raw, Stage, masked

BEAT = Codec.MSGPACK.encode(Beat())


def send(n: int, size: int = 1) -> bytes:
    return Codec.MSGPACK.encode(Send(client_id=f"send-{n:04}", feed=ROOM, body="x" * size))


# --- before the 101 ---


async def test_the_request_is_decided_on_before_it_is_answered(stage: Stage) -> None:
    """The service sees path, headers, peer, scheme and offers of the upgrade request."""
    async with stage.client("ann", headers={"X-Probe": "1"}, path="/live?a=b"):
        ((upgrade,),) = stage.service.called("open_connection")
        assert isinstance(upgrade, Upgrade)
        assert (upgrade.path, upgrade.scheme, upgrade.offered) == ("/live?a=b", "ws", ("evenkeel.v1.msgpack",))
        assert ("x-probe", "1") in upgrade.headers
        assert upgrade.peer is not None
        assert upgrade.peer[0] == "127.0.0.1"


async def answer(stage: Stage, request: bytes) -> tuple[str, dict[str, str], dict[str, object]]:
    """(status line, headers, body) of the HTTP answer to `request`, after which the server must have closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    writer.write(request)
    data = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    return lines[0], headers, json.loads(body)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Refused("Not from there.", field="Origin"), "403 Forbidden", "refused"),
        (TooMany("Too many.", retry_after_ms=2500), "429 Too Many Requests", "too_many"),
    ],
)
async def test_a_refusal_is_an_http_answer(stage: Stage, error: Exception, status: str, code: str) -> None:
    """An error of the service becomes its status, with the same fields as an error frame."""

    async def refuse(upgrade: Upgrade) -> None:
        raise error

    stage.service.hooks["open_connection"] = refuse
    line, headers, body = await answer(stage, Raw.request())
    assert line == f"HTTP/1.1 {status}"
    assert set(body) == {"code", "message", "field", "retry", "request_id"}
    assert body["code"] == code
    assert headers["cache-control"] == "no-store"
    if code == "too_many":
        assert headers["retry-after"] == "3"


async def test_an_unknown_path_and_a_missing_session_are_refused(stage: Stage) -> None:
    """404 and 401, as the service says."""
    assert (await answer(stage, Raw.request(path="/other")))[0] == "HTTP/1.1 404 Not Found"
    without = Raw.request().replace(b"Authorization", b"X-Nothing")
    line, _, body = await answer(stage, without)
    assert (line, body["code"]) == ("HTTP/1.1 401 Unauthorized", "not_signed_in")


@pytest.mark.parametrize("offer", [None, "chat", "evenkeel.v9.json"])
async def test_one_of_our_subprotocols_must_be_offered(stage: Stage, offer: str | None) -> None:
    """Otherwise 400, and the text names those to offer; the service is not asked."""
    line, _, body = await answer(stage, Raw.request(offer))
    assert line == "HTTP/1.1 400 Bad Request"
    assert "evenkeel.v1.msgpack" in str(body["message"])
    assert "evenkeel.v1.json" in str(body["message"])
    assert stage.service.called("open_connection") == []


async def test_a_wrong_handshake_is_refused(stage: Stage) -> None:
    """Another version of WebSocket is a 400."""
    line, _, body = await answer(stage, Raw.request().replace(b"Version: 13", b"Version: 8"))
    assert line == "HTTP/1.1 400 Bad Request"
    assert body["code"] == "bad_request"


async def test_an_unexpected_failure_is_a_500_without_its_text(stage: Stage) -> None:
    """What went wrong inside is never sent."""

    async def fail(upgrade: Upgrade) -> None:
        raise ValueError("secret of the store")

    stage.service.hooks["open_connection"] = fail
    line, _, body = await answer(stage, Raw.request())
    assert line == "HTTP/1.1 500 Internal Server Error"
    assert body["code"] == "internal"
    assert "secret" not in json.dumps(body)


async def test_compression_is_never_agreed(stage: Stage) -> None:
    """An offered extension is not in the answer."""
    request = Raw.request().replace(b"Upgrade: web", b"Sec-WebSocket-Extensions: permessage-deflate\r\nUpgrade: web")
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101")
    assert b"Extensions" not in head
    writer.transport.abort()


async def test_frames_sent_before_the_101_are_kept(stage: Stage) -> None:
    """Bytes that come while the request is being decided on are acted on after the answer."""
    asked, decided = asyncio.Event(), asyncio.Event()

    async def wait(upgrade: Upgrade) -> None:
        asked.set()
        await decided.wait()

    stage.service.hooks["open_connection"] = wait
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    writer.write(Raw.request())
    await asked.wait()
    raw = Raw(reader, writer)
    raw.say(Hello(client_id="hello-01", client="early"))
    probe, probe_writer = await asyncio.open_connection("127.0.0.1", stage.port)
    probe_writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (await probe.read()).startswith(b"HTTP/1.1 200")  # by now the bytes above were read
    decided.set()
    await reader.readuntil(b"\r\n\r\n")
    assert isinstance(await raw.hear(), Welcome)
    writer.transport.abort()
    probe_writer.close()


# --- messages ---


async def test_many_frames_in_one_read_and_one_frame_in_many(stage: Stage) -> None:
    """How the bytes are cut makes no difference."""
    async with Raw.open(stage) as raw:
        raw.writer.write(b"".join(masked(send(n)) for n in range(5)))
        assert [(await raw.hear()).re for _ in range(5)] == [f"send-{n:04}" for n in range(5)]
        for byte in masked(send(5, 200)):
            raw.writer.write(bytes((byte,)))
            await raw.writer.drain()
            await asyncio.sleep(0)
        assert (await raw.hear()).re == "send-0005"


class Nowhere(asyncio.Transport):
    """A transport to nowhere, for the parser alone."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass


class _NoState:
    connections: ClassVar[set[object]] = set()


class _NoOwner:
    now = 0.0
    limits = SocketLimits()

    def watch(self, socket: WebSocket, at: float) -> None:
        pass


class Kept(WebSocket):
    """Keeps its messages."""

    owner = _NoOwner()  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(None, _NoState(), None)
        self.messages: list[bytes] = []

    def message(self, payload: bytes, is_text: bool) -> None:
        self.messages.append(payload)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_cut_of_any_frames_gives_the_same_messages(data: st.DataObject) -> None:
    """Property: messages in any fragmentation, with pings between, cut anywhere, arrive whole and in order."""
    bodies = data.draw(st.lists(st.integers(0, 3000), min_size=1, max_size=6))
    stream = b""
    for n, size in enumerate(bodies):
        whole = send(n, size + 1)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=4)))
        parts = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        for k, part in enumerate(parts):
            stream += masked(part, opcode=2 if k == 0 else 0, fin=k == len(parts) - 1)
            if data.draw(st.booleans()):
                stream += masked(b"p", opcode=9)
    points = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))

    kept = Kept()
    kept.connection_made(Nowhere())
    kept.phase = Phase.OPEN
    for a, b in zip([0, *points], [*points, len(stream)], strict=True):
        kept.data_received(stream[a:b])
    assert kept.messages == [send(n, size + 1) for n, size in enumerate(bodies)]
    assert kept.phase is Phase.OPEN


async def test_a_message_over_64_kib_is_answered_and_the_connection_stays(stage: Stage) -> None:
    """It is passed over without being kept, whole or in fragments, and what follows is carried out."""
    async with Raw.open(stage) as raw:
        raw.writer.write(masked(b"x" * (64 * 1024 + 1)) + masked(send(1)))
        error = await raw.hear()
        assert (error.code, error.retry) == ("too_big", "never")
        assert (await raw.hear()).re == "send-0001"
        part = b"y" * 40_000
        raw.writer.write(masked(part, fin=False) + masked(part, 0, fin=False) + masked(part, 0) + masked(send(2)))
        assert (await raw.hear()).code == "too_big"
        assert (await raw.hear()).re == "send-0002"


async def test_a_message_of_64_kib_is_read(stage: Stage) -> None:
    """The bound itself is allowed: only its content is wrong here."""
    async with Raw.open(stage) as raw:
        raw.writer.write(masked(b"\xc1" + b"x" * (64 * 1024 - 1)))
        assert (await raw.hear()).code == "malformed"


@pytest.mark.parametrize("in_fragments", [False, True])
async def test_over_1_mib_ends_the_connection(stage: Stage, in_fragments: bool) -> None:
    """1009, told before the rest was read."""
    async with Raw.open(stage) as raw:
        if in_fragments:
            raw.writer.write(masked(b"x" * 600_000, fin=False) + masked(b"x" * 600_000, 0))
            assert (await raw.hear()).code == "too_big"
        else:
            raw.writer.write(masked(b"x" * (1 << 20) + b"x"))
        assert await raw.close_code() == 1009


async def test_too_many_fragments_end_the_connection() -> None:
    """The number of fragments of one message is bounded."""
    async with Stage(limits=SocketLimits(fragments=10)) as stage, Raw.open(stage) as raw:
        raw.writer.write(masked(b"a", fin=False) + masked(b"a", 0, fin=False) * 10)
        assert await raw.close_code() == 1008


async def test_a_message_that_never_ends_ends_the_connection(stage: Stage) -> None:
    """Fragments may take ten seconds, a partial frame thirty, though a byte of it comes now and then."""
    async with Raw.open(stage) as raw, Raw.open(stage, account="ben") as partial:
        raw.writer.write(masked(b"a", fin=False) + masked(b"", opcode=9))
        *most, next_to_last, _ = masked(send(1))
        partial.writer.write(masked(b"", opcode=9) + bytes(most))
        assert await raw.frame() == (10, b"")
        assert await partial.frame() == (10, b"")
        stage.fast_forward(9)
        raw.writer.write(masked(b"", opcode=9))
        assert await raw.frame() == (10, b"")
        stage.fast_forward(2)
        assert await raw.close_code() == 1008
        stage.fast_forward(9)
        partial.writer.write(bytes((next_to_last,)))
        await stage.until(lambda: stage.connection("ben").heard_at == stage.hub.now)
        stage.fast_forward(20)
        assert (await partial.frame())[0] == 9  # the server's ping
        assert await partial.close_code() == 1008


async def test_a_malformed_frame_is_answered_and_the_connection_stays(stage: Stage) -> None:
    """Bytes that are no command, unknown fields and a wrong frame kind are errors of that frame alone."""
    async with Raw.open(stage) as raw:
        raw.writer.write(masked(b"\xc1\xc1") + masked(b"text", opcode=1))
        raw.writer.write(masked(b"\x82\xa1t\xa5leave\xa5extra\x01") + masked(send(1)))
        assert [(await raw.hear()).code for _ in range(3)] == ["malformed", "malformed", "unknown_field"]
        assert (await raw.hear()).re == "send-0001"


async def test_no_end_of_malformed_frames_ends_the_connection(stage: Stage) -> None:
    """A client that only sends broken frames is sent away."""
    async with Raw.open(stage) as raw:
        raw.writer.write(masked(b"\xc1") * 200)
        for _ in range(30):
            assert (await raw.hear()).code == "malformed"
        assert await raw.close_code() == 1008


# --- protocol errors ---


@pytest.mark.parametrize(
    ("bytes_", "code"),
    [
        (bytes((0x82, 0x01)) + b"x", 1002),  # not masked
        (masked(b"x", rsv=4), 1002),
        (masked(b"x", opcode=3), 1002),
        (masked(b"x", opcode=11), 1002),
        (masked(b"x", opcode=0), 1002),  # continues nothing
        (masked(b"x", fin=False) + masked(b"x"), 1002),  # begins anew within a message
        (masked(b"x", opcode=9, fin=False), 1002),
        (masked(b"x" * 126, opcode=9), 1002),
        (masked(b"\xff", opcode=1), 1007),
        (masked("€".encode()[:2], opcode=1, fin=False) + masked(b"", opcode=0), 1007),
        (masked(b"\x03", opcode=8), 1002),  # half a close code
        (masked(b"\x03\xec", opcode=8), 1002),  # 1004 may not be sent
        (masked(b"\x03\xe8\xff", opcode=8), 1007),
        (bytes((0x82, 0xFF)) + b"\xff" * 12, 1002),  # a length of 2**64 - 1
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "bytes",  # the masks are random
)
async def test_what_breaks_the_protocol_ends_the_connection(stage: Stage, bytes_: bytes, code: int) -> None:
    """Each breach has its close code, and the TCP connection ends."""
    async with Raw.open(stage) as raw:
        raw.writer.write(bytes_)
        assert await raw.close_code() == code
    assert stage.hub.delivery.followed() == []


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x0f\xa0bye"])
async def test_a_close_is_answered_with_the_same(stage: Stage, payload: bytes) -> None:
    """The client's close is echoed and the TCP connection ends; nothing after it is read."""
    async with Raw.open(stage) as raw:
        raw.writer.write(masked(payload, opcode=8) + masked(send(1)))
        assert await raw.frame() == (8, payload)
        assert await raw.reader.read() == b""
    assert stage.service.called("run") == []


async def test_a_close_between_fragments_is_a_close(stage: Stage) -> None:
    """A message begun and not ended does not make a close an error."""
    async with Raw.open(stage) as raw:
        raw.writer.write(masked(b"x", fin=False) + masked(b"\x03\xe8", opcode=8) + masked(b"x", opcode=0))
        assert await raw.close_code() == 1000


async def test_pings_are_answered_in_order_also_within_a_message(stage: Stage) -> None:
    """Each ping gets its payload back."""
    async with Raw.open(stage) as raw:
        whole = send(1)
        raw.writer.write(masked(whole[:5], fin=False) + masked(b"one", 9) + masked(b"", 10) + masked(b"two", 9))
        raw.writer.write(masked(whole[5:], 0))
        assert await raw.frame() == (10, b"one")
        assert await raw.frame() == (10, b"two")
        assert isinstance(await raw.hear(), Ack)


async def test_a_flood_of_pings_ends_the_connection(stage: Stage) -> None:
    """Control frames are bounded as well."""
    async with Raw.open(stage) as raw:
        raw.writer.write(masked(b"", opcode=9) * 500)
        for _ in range(60):
            assert await raw.frame() == (10, b"")
        assert await raw.close_code() == 1008


async def test_a_client_that_does_not_end_its_side_is_cut(stage: Stage) -> None:
    """After the server's close the TCP connection ends within two seconds, whatever the client does."""
    async with Raw.open(stage) as raw:
        raw.writer.write(masked(b"x", opcode=3))
        assert (await raw.frame())[0] == 8
        assert len(stage.state.connections) == 1
        stage.fast_forward(3)
        await stage.until(lambda: not stage.state.connections)


async def test_json_is_spoken_in_text_frames(stage: Stage) -> None:
    """Somebody with a plain WebSocket tool can read and write."""
    async with Raw.open(stage, Codec.JSON) as raw:
        raw.writer.write(masked(b'{"t":"beat"}', opcode=1))
        opcode, payload = await raw.frame()
        assert opcode == 1
        assert json.loads(payload)["t"] == "beat"


async def test_the_first_frame_must_be_hello(stage: Stage) -> None:
    """Anything else is an error that says so; hello may still follow, once."""
    async with Raw.open(stage, hello=False) as raw:
        raw.say(Beat())
        assert (await raw.hear()).code == "hello_first"
        raw.say(Hello(client_id="hello-01", client="x"))
        assert isinstance(await raw.hear(), Welcome)
        raw.say(Hello(client_id="hello-02", client="x"))
        error = await raw.hear()
        assert isinstance(error, Error)
        assert (error.code, error.re) == ("hello_twice", "hello-02")
        raw.say(Beat())
        assert isinstance(await raw.hear(), BeatReply)
