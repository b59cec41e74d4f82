"""What one client can take from the others: reliability 3.3, items 19 to 22, on the real service."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

import msgspec
import pytest

from moderation.types import Role
from server.actions.accounts import Registered
from server.live.seats import SeatLimits, Seats
from server.main import EdgeLimits
from server.protocol.codec import Codec
from server.protocol.frames import Beat, BeatReply, Error
from tests import harness
from tests.harness import Edge, registered, staff_signed_in
from tests.live.support import masked
from tests.security.support import (
    CRISIS,
    answer_to,
    as_program,
    ask,
    hear_until,
    host,
    port,
    raw_socket,
    request,
    upgrade,
)

SHORT = EdgeLimits(head_s=0.3, body_s=0.3)


# --- items 19 to 21 ---------------------------------------------------------------------------------------------------


def nested(depth: int, codec: Codec) -> bytes:
    if codec.is_text:
        return b'{"t":"send","body":' + b"[" * depth + b"]" * depth + b"}"
    return b"\x82\xa1t\xa4send\xa4body" + b"\x91" * depth + b"\xc0"


BOMBS: dict[str, Callable[[Codec], bytes | str]] = {
    "deep": lambda codec: nested(30_000, codec),
    "4 GiB text": lambda codec: b"\xdb\xff\xff\xff\xff" if not codec.is_text else b'"' * 3,
    "4 GiB list": lambda codec: b"\xdd\xff\xff\xff\xff" if not codec.is_text else b"[" * 3,
    "4 GiB map": lambda codec: b"\xdf\xff\xff\xff\xff" if not codec.is_text else b"{" * 3,
    "4 GiB extension": lambda codec: b"\xc9\xff\xff\xff\xff\x01" if not codec.is_text else b"\\" * 3,
    "huge number": lambda codec: (
        b'{"t":"read","seq":' + b"9" * 30_000 + b"}" if codec.is_text else b"\xcf" + b"\xff" * 8
    ),
    "huge exponent": lambda codec: b'{"t":"read","seq":1e999999999}' if codec.is_text else b"\xcb" + b"\x7f" * 8,
    "many keys": lambda codec: (json.dumps if codec.is_text else msgspec.msgpack.encode)(
        {f"k{n}": n for n in range(5_000)}
    ),
}


@pytest.mark.parametrize("codec", Codec)
async def test_no_bomb_stops_the_connection_or_the_service(edge: Edge, codec: Codec) -> None:
    """Deep nesting, lengths of 4 GiB and huge numbers are answered at once as broken, and the next frame is served."""
    robin = await registered(edge.services, "Robin")
    async with raw_socket(edge, robin, codec) as raw:
        for name, make in BOMBS.items():
            bomb = make(codec)
            data = bomb.encode() if isinstance(bomb, str) else bomb
            before = time.monotonic()
            raw.writer.write(masked(data, opcode=1 if codec.is_text else 2))
            assert isinstance(await hear_until(raw, Error, codec), Error), name
            assert time.monotonic() - before < 1, name
        assert isinstance(await ask(raw, Beat(), BeatReply, codec), BeatReply)


@pytest.mark.parametrize("path", ["/api/commands", "/api/sign-in"])
async def test_no_bomb_by_http_is_more_than_a_bad_request(edge: Edge, path: str) -> None:
    """The same over HTTP: 400 for what is deep or huge, 413 for what is long, never a failure."""
    robin = await registered(edge.services, "Robin")
    for body, status in (
        (nested(30_000, Codec.JSON), 400),
        (b'{"t":"read","seq":' + b"9" * 30_000 + b"}", 400),
        (b'"\xed\xa0\x80"', 400),
        (b"\x00" * 100, 400),
        (b"[" * 70_000, 413),
    ):
        own = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        data = request(f"POST {path} HTTP/1.1", [*as_program(edge, robin.token), *own], body)
        assert (await answer_to(edge, data)).status == status


async def test_a_compressed_frame_is_refused(edge: Edge) -> None:
    """Compression is never agreed, so nothing can be inflated: a frame that claims to be compressed ends the socket."""
    robin = await registered(edge.services, "Robin")
    offer = [("Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=15")]
    async with raw_socket(edge, robin, headers=offer) as raw:
        assert b"permessage-deflate" not in raw.head
        raw.writer.write(masked(b"\x00" * 100, rsv=4))
        assert await raw.close_code() == 1002


async def test_a_frame_over_a_mebibyte_ends_the_connection_unread(edge: Edge) -> None:
    """A claim of a gigabyte is answered with 1009 from the frame's head alone; its body is never waited for."""
    robin = await registered(edge.services, "Robin")
    async with raw_socket(edge, robin) as raw:
        raw.writer.write(b"\x82\xff" + (1 << 30).to_bytes(8, "big") + b"mask")
        assert await raw.close_code() == 1009


async def test_a_flood_of_control_frames_ends_the_connection(edge: Edge) -> None:
    """A thousand pings at once are closed with 1008."""
    robin = await registered(edge.services, "Robin")
    async with raw_socket(edge, robin) as raw:
        raw.writer.write(masked(b"x", opcode=9) * 1_000)
        async with asyncio.timeout(10):
            while True:
                opcode, payload = await raw.frame()
                if opcode == 8:
                    break
        assert int.from_bytes(payload[:2], "big") == 1008


# --- item 22: slow clients --------------------------------------------------------------------------------------------


async def slowly(edge: Edge, beginning: bytes, drip: bytes) -> tuple[bytes, float]:
    """What came back, and after how many seconds, when `drip` is sent byte by byte behind `beginning`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port(edge))
    begin = time.monotonic()

    async def go_on() -> None:
        writer.write(beginning)
        for n in range(1_000):
            writer.write(drip[n % len(drip) : n % len(drip) + 1])
            await asyncio.sleep(0.02)

    dripping = asyncio.create_task(go_on())
    try:
        got = b""
        async with asyncio.timeout(10):
            try:
                while data := await reader.read(4096):
                    got += data
            except ConnectionResetError:
                pass
        return got, time.monotonic() - begin
    finally:
        dripping.cancel()
        writer.transport.abort()


@pytest.mark.parametrize(
    ("beginning", "drip"),
    [
        (b"", b"\r\n"),
        (b"GET / HTTP/1.1\r\n", b"X-Slow: 1\r\n"),
        (b"GET / HTTP/1.1\r\nHost: HOST\r\nX: ", b"abcdefgh"),
        (b"GET /", b"a"),
        (b"GET /ws HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", b"Cookie: a\r\n"),
        (b"POST /sign-in HTTP/1.1\r\nHost: HOST\r\nOrigin: http://HOST\r\nContent-Length: 9999\r\n"
         b"Content-Type: application/x-www-form-urlencoded\r\n\r\n", b"a"),
        (b"GET /healthz HTTP/1.1\r\nHost: HOST\r\n\r\n", b"\r\n"),
        (b"GET /healthz HTTP/1.1\r\nHost: HOST\r\n\r\n", b"GET / HTTP/1.1\r\nX: y\r\n"),
    ],
    ids=["empty lines", "headers", "one header", "address", "upgrade", "body", "lines after", "second request"],
)  # fmt: skip
async def test_whoever_speaks_too_slowly_is_cut(database_url: str, beginning: bytes, drip: bytes) -> None:
    """A request that never becomes whole ends at its deadline, however steadily its bytes come."""
    async with harness.serving(database_url, SHORT) as edge:
        got, took = await slowly(edge, beginning.replace(b"HOST", host(edge).encode()), drip)
    assert took < 3
    assert b"408" in got or b"200 OK" in got or got == b""


async def test_an_idle_connection_is_cut(database_url: str) -> None:
    """Whoever connects and says nothing is gone after the same deadline."""
    async with harness.serving(database_url, SHORT) as edge:
        reader, writer = await asyncio.open_connection("127.0.0.1", port(edge))
        async with asyncio.timeout(5):
            assert b"408" in await reader.read()
        writer.close()


async def test_endless_headers_are_cut(edge: Edge) -> None:
    """Headers without end are refused with 431 long before they fill the memory."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port(edge))
    writer.write(b"GET / HTTP/1.1\r\n")
    got = b""
    try:
        async with asyncio.timeout(10):
            for _ in range(2_000):
                writer.write(b"X-More: " + b"a" * 1_000 + b"\r\n")
                await writer.drain()
            got = await reader.read()
    except ConnectionError:
        got = await _what_is_left(reader)
    finally:
        writer.transport.abort()
    assert got == b"" or b"431" in got


@pytest.mark.parametrize(
    ("status", "data"),
    [
        (400, b"this is no request\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nContent-Length: some\r\n\r\n"),
        (400, b"POST /sign-in HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnot a size\r\n"),
        (408, b"GET / HTTP/1.1\r\nHost: x"),
        (431, b"GET / HTTP/1.1\r\nX-Long: " + b"a" * 33 * 1024),
    ],
    ids=["no request", "no length", "no chunk", "late", "long"],
)
async def test_what_is_no_request_is_told_where_help_is(database_url: str, status: int, data: bytes) -> None:
    """No page is drawn for what can not be read, but the answer names the lines to call, as plain text."""
    async with harness.serving(database_url, SHORT) as edge:
        answer = await answer_to(edge, data)
    assert answer.status == status
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["connection"] == "close"
    assert "Need help now?" in answer.body
    assert all(number in answer.body for number in CRISIS)


async def _what_is_left(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def test_a_patient_answer_is_not_cut(database_url: str) -> None:
    """The deadlines are the client's, not the service's: requests in a row on one connection are all answered."""
    async with harness.serving(database_url, SHORT) as edge:
        reader, writer = await asyncio.open_connection("127.0.0.1", port(edge))
        for _ in range(20):
            writer.write(request("GET /healthz HTTP/1.1", [("Host", host(edge))]))
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
            await asyncio.sleep(0.03)
        writer.close()


async def test_a_socket_without_hello_ends_after_five_seconds(edge: Edge) -> None:
    """After the 101 the first frame must come within 5 s (a real clock, so this takes as long)."""
    robin = await registered(edge.services, "Robin")
    async with raw_socket(edge, robin, hello=False) as raw:
        before = time.monotonic()
        assert await raw.close_code() == 4408
    assert 4 < time.monotonic() - before < 8


# --- item 22: how many ------------------------------------------------------------------------------------------------


def seats(**limits: int) -> EdgeLimits:
    everything = {"per_account": 50, "per_address": 60, "altogether": 100, "for_staff": 10}
    return EdgeLimits(seats=SeatLimits(**(everything | limits)))


async def test_an_account_has_so_many_sockets_and_no_more(database_url: str) -> None:
    """The third of two is a 429 before the 101; when one is closed, the next is let in; nobody else notices."""
    async with harness.serving(database_url, seats(per_account=2)) as edge:
        robin, wren = await registered(edge.services, "Robin"), await registered(edge.services, "Wren")
        async with raw_socket(edge, robin):
            async with raw_socket(edge, robin):
                refused = await answer_to(edge, upgrade(as_program(edge, robin.token)))
                assert (refused.status, refused.code, refused.headers["retry-after"]) == (429, "too_many", "30")
                async with raw_socket(edge, wren):
                    pass
            await until_free(edge, robin)


async def until_free(edge: Edge, who: Registered) -> None:
    """Until the service has seen that a connection is gone, one more is refused; then it is let in."""
    async with asyncio.timeout(10):
        while (await answer_to(edge, upgrade(as_program(edge, who.token)))).status != 101:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_an_address_has_so_many_sockets_and_no_more(database_url: str) -> None:
    """Behind a named proxy each address is counted by itself, and this machine's own address is not counted."""
    async with harness.serving(database_url, seats(per_address=1), trusted_proxies=("127.0.0.1",)) as edge:
        robin = await registered(edge.services, "Robin")
        one, two = [("X-Forwarded-For", "203.0.113.9")], [("X-Forwarded-For", "203.0.113.10")]
        async with raw_socket(edge, robin, headers=one):
            refused = await answer_to(edge, upgrade([*as_program(edge, robin.token), *one]))
            assert refused.status == 429
            async with raw_socket(edge, robin, headers=two), raw_socket(edge, robin), raw_socket(edge, robin):
                pass


async def test_staff_have_seats_that_members_can_not_take(database_url: str) -> None:
    """With every seat of members taken, a moderator still gets in; beyond all seats nobody does."""
    async with harness.serving(database_url, seats(altogether=3, for_staff=1, per_account=2)) as edge:
        robin = await registered(edge.services, "Robin")
        entered = await staff_signed_in(edge.services, "Sam", Role.MODERATOR)
        sam = Registered(entered.token, entered.requester, ())
        async with raw_socket(edge, robin), raw_socket(edge, robin):
            wren = await registered(edge.services, "Wren")
            assert (await answer_to(edge, upgrade(as_program(edge, wren.token)))).status == 429
            async with raw_socket(edge, sam):
                assert (await answer_to(edge, upgrade(as_program(edge, sam.token)))).status == 429


def test_seats_given_back_are_free_and_nothing_is_remembered() -> None:
    """A thousand people come and go: no count is left over."""
    all_seats = Seats(SeatLimits(per_account=2, per_address=5, altogether=50, for_staff=5))
    held = [all_seats.take(f"a{n % 20}", f"203.0.113.{n % 30}", is_staff=False) for n in range(40)]
    for seat in held:
        all_seats.leave(seat)
    assert all_seats.taken == 0
    for n in range(1_000):
        all_seats.leave(all_seats.take(f"a{n}", f"2001:db8::{n:x}", is_staff=False))
    assert all_seats.taken == 0
