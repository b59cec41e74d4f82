"""The bad network of campaigns and tests does what it is told to, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from ops.torture.proxy import FaultProxy, Way

SOON_S = 5.0
# Long enough to see that nothing comes: on loopback an answer takes well under a millisecond.
NOTHING_S = 0.2


@dataclass
class Scene:
    """A server that gives back what it reads, behind a proxy."""

    proxy: FaultProxy
    ends: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self, proxy: FaultProxy | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        port = int((proxy or self.proxy).url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self.writers.append(writer)
        return reader, writer

    def hang_up(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made: list[Scene] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        end = "end"
        try:
            while data := await reader.read(4096):
                writer.write(data)
                await writer.drain()
        except ConnectionResetError:
            end = "reset"
        made[0].ends.put_nowait(end)
        with contextlib.suppress(OSError):
            writer.write(b"bye")
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with FaultProxy(server.sockets[0].getsockname()[1]) as proxy:
        made.append(Scene(proxy))
        yield made[0]
        made[0].hang_up()
    server.close()


async def says_nothing(reader: asyncio.StreamReader) -> bool:
    try:
        return not await asyncio.wait_for(reader.read(1), NOTHING_S)
    except TimeoutError:
        return True


async def test_what_is_sent_arrives_whole_and_ends_in_order(scene: Scene) -> None:
    """Without a fault a mebibyte goes through both ways unchanged, and an end is an end."""
    reader, writer = await scene.connect()
    sent = bytes(range(256)) * 4096
    echoed = asyncio.create_task(reader.readexactly(len(sent)))
    writer.write(sent)
    assert await asyncio.wait_for(echoed, SOON_S) == sent
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), SOON_S) == b"bye"
    assert await scene.ends.get() == "end"
    assert scene.proxy.carried[Way.UP] == len(sent)
    assert scene.proxy.cuts == 0


@pytest.mark.parametrize("way", list(Way))
async def test_a_delay_holds_in_its_direction(scene: Scene, way: Way) -> None:
    """A delay makes an answer that much later, whichever direction has it; order stays."""
    loop = asyncio.get_running_loop()
    reader, writer = await scene.connect()
    scene.proxy.delay(0.15, way)
    began = loop.time()
    for n in range(5):
        writer.write(bytes([n]))
        await writer.drain()
    assert await asyncio.wait_for(reader.readexactly(5), SOON_S) == bytes(range(5))
    assert loop.time() - began >= 0.15


async def test_a_throttled_connection_carries_no_more_than_its_rate(scene: Scene) -> None:
    """2,000 bytes at 10,000 bytes a second take no less than 0.15 s."""
    loop = asyncio.get_running_loop()
    reader, writer = await scene.connect()
    scene.proxy.throttle(10_000, Way.DOWN)
    began = loop.time()
    writer.write(bytes(2_000))
    await asyncio.wait_for(reader.readexactly(2_000), SOON_S)
    assert loop.time() - began >= 0.15


@pytest.mark.parametrize("way", list(Way))
async def test_a_black_hole_swallows_one_direction_until_it_is_healed(scene: Scene, way: Way) -> None:
    """While one direction is held nothing is heard of it, not even the end; healed, all of it comes."""
    reader, writer = await scene.connect()
    scene.proxy.hold(way)
    writer.write(b"hello")
    assert await says_nothing(reader)
    writer.write_eof()
    assert await says_nothing(reader)
    assert scene.ends.empty() is (way is Way.UP)
    scene.proxy.heal()
    assert await asyncio.wait_for(reader.read(), SOON_S) == b"hellobye"


async def test_nobody_behind_a_black_hole_learns_that_the_other_is_gone(scene: Scene) -> None:
    """A client that is reset behind a black hole leaves the server with an open connection, until it is healed."""
    _, writer = await scene.connect()
    await scene.proxy.until_opened(1)
    scene.proxy.hold()
    writer.write(b"hello")
    writer.transport.abort()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(scene.ends.get(), NOTHING_S)
    scene.proxy.heal()
    assert await asyncio.wait_for(scene.ends.get(), SOON_S) in ("end", "reset")


async def test_a_reset_is_a_reset_on_both_sides(scene: Scene) -> None:
    """A reset connection raises at the client and at the server; the next one works."""
    reader, writer = await scene.connect()
    writer.write(b"a")
    assert await reader.readexactly(1) == b"a"
    scene.proxy.reset()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), SOON_S)
    assert await asyncio.wait_for(scene.ends.get(), SOON_S) == "reset"
    await scene.proxy.until_cut()
    again, writer = await scene.connect()
    writer.write(b"b")
    assert await asyncio.wait_for(again.readexactly(1), SOON_S) == b"b"


async def test_half_of_a_connection_may_end(scene: Scene) -> None:
    """Half-closed towards the client, the client reads the end, and what it sends still arrives."""
    reader, writer = await scene.connect()
    writer.write(b"a")
    assert await reader.readexactly(1) == b"a"
    scene.proxy.half_close(Way.DOWN)
    assert await asyncio.wait_for(reader.read(), SOON_S) == b""
    before = scene.proxy.carried[Way.UP]
    writer.write(b"more")
    writer.write_eof()
    assert await asyncio.wait_for(scene.ends.get(), SOON_S) == "end"
    assert scene.proxy.carried[Way.UP] == before + 4


@pytest.mark.parametrize("count", [0, 3, 100])
async def test_a_connection_is_cut_after_so_many_bytes(scene: Scene, count: int) -> None:
    """Exactly `count` bytes come down, then the reset; the other direction had everything."""
    reader, writer = await scene.connect()
    scene.proxy.cut_after(count)
    writer.write(bytes(101))
    assert await asyncio.wait_for(reader.readexactly(count), SOON_S) == bytes(count)
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), SOON_S)
    assert (scene.proxy.carried[Way.UP], scene.proxy.carried[Way.DOWN]) == (101, count)
    await scene.proxy.until_cut(1)


async def test_nobody_is_let_in_until_it_is_healed(scene: Scene) -> None:
    """A refused connection is reset before a byte is said; healed, the next one is carried."""
    scene.proxy.refuse()
    reader, writer = await scene.connect()
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), SOON_S) == b""
    assert scene.proxy.opened == 0
    scene.proxy.heal()
    reader, writer = await scene.connect()
    writer.write(b"a")
    assert await asyncio.wait_for(reader.readexactly(1), SOON_S) == b"a"


async def test_without_a_server_the_client_is_reset(scene: Scene) -> None:
    """Where nobody listens behind it, a connection is taken and reset, as by a balancer in front of nothing."""
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    async with FaultProxy(port) as proxy:
        reader, _ = await scene.connect(proxy)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), SOON_S) == b""
        await proxy.until_cut()


async def test_leaving_it_ends_every_connection(scene: Scene) -> None:
    """When the block ends nobody is left with a connection that looks alive, held or not."""
    async with FaultProxy(int(scene.proxy.url.rpartition(":")[2])) as outer:
        reader, writer = await scene.connect(outer)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        outer.hold()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), SOON_S)


async def test_new_connections_go_where_it_is_aimed(scene: Scene) -> None:
    """Another aim changes where the next connection goes, and moves none that is there."""
    reader, writer = await scene.connect()
    writer.write(b"a")
    assert await reader.readexactly(1) == b"a"
    async with FaultProxy(int(scene.proxy.url.rpartition(":")[2])) as other:
        scene.proxy.aim(int(other.url.rpartition(":")[2]))
        other.refuse()
        second, _ = await scene.connect()
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(second.read(), SOON_S) == b""
        writer.write(b"b")
        assert await reader.readexactly(1) == b"b"


async def test_an_end_is_noted_when_it_is_said_and_not_when_it_arrives(scene: Scene) -> None:
    """Behind a way that is shut, the line still knows who gave it up."""
    reader, writer = await scene.connect()
    writer.write(b"a")
    assert await reader.readexactly(1) == b"a"
    assert scene.proxy.ends == []
    scene.proxy.hold()
    writer.write_eof()
    assert await says_nothing(reader)
    assert [way for way, _ in scene.proxy.ends] == [Way.UP]


async def test_what_can_not_be_done_is_refused(scene: Scene) -> None:
    """A delay without end and a rate of nothing are mistakes of the caller."""
    with pytest.raises(ValueError, match="delay"):
        scene.proxy.delay(3_600)
    with pytest.raises(ValueError, match="hold"):
        scene.proxy.throttle(0)
