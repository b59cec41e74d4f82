"""The way from the listening socket to a connection: a few in each turn, and never given up."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import pytest
import uvloop

from server.edges import ACCEPTS_A_TURN, Doorman

CROWD = 20


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Greeter(asyncio.Protocol):
    """Says good day to each who comes."""

    def __init__(self, came: list[Greeter]) -> None:
        self._came = came

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._came.append(self)
        transport.write(b"good day")
        transport.close()


class Troubled(socket.socket):
    """A listening socket that fails to accept, so many times; at first for want of descriptors."""

    failures = 0
    trouble = errno.EMFILE

    def accept(self) -> tuple[socket.socket, Any]:
        if self.failures:
            self.failures -= 1
            raise OSError(self.trouble, "in a test")
        return super().accept()


@pytest.fixture
async def listener() -> AsyncIterator[Troubled]:
    with Troubled(socket.AF_INET, socket.SOCK_STREAM) as made:
        made.bind(("127.0.0.1", 0))
        made.listen(2 * CROWD)
        yield made


@contextmanager
def crowd(listener: socket.socket) -> Iterator[list[socket.socket]]:
    """Clients whose connections wait to be accepted."""
    clients = [socket.create_connection(listener.getsockname()) for _ in range(CROWD)]
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


async def heard(client: socket.socket) -> bytes:
    client.setblocking(False)
    async with asyncio.timeout(10):
        return await asyncio.get_running_loop().sock_recv(client, 100)


async def test_a_crowd_is_let_in_a_few_at_a_time(listener: Troubled) -> None:
    """No turn of the loop takes more than a few of those who wait, and all of them are let in."""
    came: list[Greeter] = []
    with crowd(listener) as clients, closing(Doorman(listener, lambda: Greeter(came))):
        before, steps = 0, []
        async with asyncio.timeout(10):
            while len(came) < CROWD:
                await asyncio.sleep(0)
                steps.append(len(came) - before)
                before = len(came)
        assert max(steps) <= ACCEPTS_A_TURN
        assert {await heard(client) for client in clients} == {b"good day"}


async def test_people_are_let_in_again_when_descriptors_come_back(listener: Troubled) -> None:
    """Running out of descriptors is waited out: nobody who waits meanwhile is turned away."""
    listener.failures = 2
    with crowd(listener) as clients, closing(Doorman(listener, lambda: Greeter([]))):
        assert {await heard(client) for client in clients} == {b"good day"}
        assert not listener.failures


@pytest.mark.parametrize("trouble", [errno.ENETDOWN, errno.EPROTO, errno.ECONNABORTED, errno.EPERM])
async def test_one_whose_network_failed_keeps_nobody_else_out(listener: Troubled, trouble: int) -> None:
    """Linux answers accept with the trouble of the one who came: that is no trouble of ours, and the next is let in."""
    listener.failures, listener.trouble = 3, trouble
    raised: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: raised.append(context))
    with crowd(listener) as clients, closing(Doorman(listener, lambda: Greeter([]))):
        assert {await heard(client) for client in clients} == {b"good day"}
        assert not listener.failures
    assert not raised


async def test_a_connection_that_can_not_be_made_is_closed_and_said(
    listener: Troubled, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fault of ours in making a connection ends that one, with a line in the log, and no other."""
    made = iter([False] + [True] * CROWD)

    def make() -> asyncio.Protocol:
        if not next(made):
            raise RuntimeError("planned by the test")
        return Greeter([])

    with crowd(listener) as clients, closing(Doorman(listener, make)):
        said = [await heard(client) for client in clients]
    assert sorted(said) == [b""] + [b"good day"] * (CROWD - 1)
    assert "hand_over_failed" in capsys.readouterr().out


async def test_nobody_is_let_in_once_it_is_closed(listener: Troubled) -> None:
    """After `close`, whoever comes waits for another process that listens on the same socket."""
    came: list[Greeter] = []
    Doorman(listener, lambda: Greeter(came)).close()
    with crowd(listener):
        for _ in range(100):
            await asyncio.sleep(0)
        assert not came
        with closing(Doorman(listener, lambda: Greeter(came))):
            async with asyncio.timeout(10):
                while len(came) < CROWD:  # noqa: ASYNC110 - any step of the loop may let somebody in
                    await asyncio.sleep(0)
