"""The end of the process: everybody is told, what runs is finished, and uvicorn gets its exit."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
import uvicorn
from websockets.exceptions import InvalidStatus

from server.errors import Misconfigured
from server.live.handover import check_handover
from server.protocol.frames import Ack, Drain, Help, Send
from tests.live.support import ROOM, Stage


async def test_draining_tells_everybody_their_own_delay_and_closes(stage: Stage) -> None:
    """Each client is told a moment of its own; who stays is closed with 1012; newcomers are refused."""
    delays = iter((0.25, 0.75))
    stage.hub._chance = lambda: next(delays)
    async with stage.client("ann") as ann, stage.client("ben") as ben:
        drained = asyncio.create_task(stage.hub.drain(0.4))
        told = [await ann.hear_as(Drain), await ben.hear_as(Drain)]
        assert sorted(drain.after_ms for drain in told) == [50, 150]
        with pytest.raises(InvalidStatus) as refused:
            async with stage.client("cat", hello=False):
                pass
        assert refused.value.response.status_code == 503
        assert await ann.close_code() == 1012
        assert await ben.close_code() == 1012
        await asyncio.wait_for(drained, 5)


async def test_draining_ends_as_soon_as_everybody_left(stage: Stage) -> None:
    """Nobody waits for the deadline when there is nobody to wait for."""
    async with stage.client("ann") as ann:
        drained = asyncio.create_task(stage.hub.drain(3_600))
        await ann.hear_as(Drain)
    await asyncio.wait_for(drained, 5)


async def test_a_running_command_is_finished_before_its_connection_is_closed(stage: Stage) -> None:
    """A message under way is stored and acknowledged, then comes 1012."""
    reached, opened = asyncio.Event(), asyncio.Event()

    async def wait(*_: Any) -> None:
        reached.set()
        await opened.wait()

    stage.service.hooks["run"] = wait
    async with stage.client("ann") as ann, stage.client("ben") as ben:
        await ann.say(Send(client_id="send-0001", feed=ROOM, body="x"))
        await reached.wait()
        drained = asyncio.create_task(stage.hub.drain(2))
        await ann.hear_as(Drain)
        assert await ben.close_code() == 1012  # had nothing running
        assert not drained.done()
        opened.set()
        await ann.hear_as(Ack)
        assert await ann.close_code() == 1012
        await asyncio.wait_for(drained, 5)


async def test_stopping_ends_every_task(stage: Stage) -> None:
    """After `stop` nothing of the hub runs, not even a command that would never have ended."""
    reached = asyncio.Event()

    async def forever(*_: Any) -> None:
        reached.set()
        await asyncio.Event().wait()

    stage.service.hooks["run"] = forever
    stage.hub.start()
    async with stage.client("ann") as ann:
        await ann.say(Help(client_id="help-0001"))
        await reached.wait()
        await stage.hub.stop()
        assert stage.hub._tasks == set()


async def test_uvicorn_serves_http_beside_it_and_stops_with_it() -> None:
    """A whole uvicorn server: HTTP on the same port, and its shutdown closes sockets with 1012 and returns."""
    stage = Stage()
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    stage.port = sock.getsockname()[1]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"plain"})

    config = uvicorn.Config(app, ws=stage.hub.protocol, log_config=None, lifespan="off", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    async with stage.client("ann", join=(ROOM,)) as ann:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"plain\r\n0\r\n\r\n")
        writer.close()
        server.should_exit = True
        assert await ann.close_code() == 1012
        await asyncio.wait_for(serving, 10)
    await stage.hub.stop()


@pytest.mark.parametrize("http", ["httptools", "h11"])
async def test_this_uvicorn_hands_over_as_expected(http: str) -> None:
    """The check at start passes with the pinned version, for both of its HTTP parsers."""
    check_handover(http)


async def test_another_uvicorn_is_refused_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the version to install."""
    monkeypatch.setattr(uvicorn, "__version__", "0.1")
    with pytest.raises(Misconfigured, match=r"0\.54\.0"):
        check_handover()


async def test_a_changed_hand_over_is_refused_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """If uvicorn hands over in another way, the service does not start silently deaf."""
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    monkeypatch.setattr(HttpToolsProtocol, "handle_websocket_upgrade", lambda self: None)
    with pytest.raises(Misconfigured, match="hand"):
        check_handover()
