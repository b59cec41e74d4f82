"""The three settings in which one contract is held: one process, several, and one behind a bad network.

A setting is started once for each worker of the test run. A test is given a room that nobody else uses, and doors: the
addresses of the service, each as good as any other. Its clock is a test's own and runs SPEED times as fast.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from ops.torture.cluster import Cluster
from ops.torture.proxy import FaultProxy
from ops.trial import Trial, TrialPerson, make_trial
from server.clock import ClockMapping, real_us
from server.settings import read_key
from server.store.store import open_store
from tests.servers import PostgresServer, run_apart, running_redis

SETTINGS = ("embedded", "scaled", "faults")
SPEED = 10.0
ROOMS = 36
# What a train or a weak phone does to every byte of the third setting, both ways.
MILD_DELAY_S = 0.015
MILD_BYTES_PER_S = 2_000_000.0


@dataclass(frozen=True)
class Room:
    """A room and its three members, for one test alone."""

    feed: str
    members: tuple[TrialPerson, ...]


@dataclass
class House:
    """A running service of one setting, as its operator sees it."""

    setting: str
    cluster: Cluster
    trial: Trial
    fronts: list[socket.socket]
    places: Iterator[int] = field(default_factory=itertools.count)

    @property
    def size(self) -> int:
        return len(self.cluster.urls)

    async def jump(self, step: timedelta) -> None:
        """Stop every process in order, set the clock by `step`, and start again."""
        for n in range(self.size):
            assert await self.cluster.stop(n) == 0
        await set_clock(self.trial, step)
        for n in range(self.size):
            self.cluster.start(n)
        for n in range(self.size):
            await self.cluster.until_ready(n)


@dataclass(frozen=True)
class Stage:
    """What a test plays on."""

    house: House
    doors: tuple[str, ...]
    proxies: tuple[FaultProxy, ...] = ()

    def door(self, n: int) -> str:
        """An address of the service; those of different numbers lead to different processes where there are several."""
        return self.doors[n % len(self.doors)]

    def room(self) -> Room:
        """A room that no other test uses."""
        n = next(self.house.places)
        return Room(self.house.trial.rooms[n], self.house.trial.members[n])

    @property
    def moderators(self) -> tuple[TrialPerson, ...]:
        """Two people on duty."""
        return self.house.trial.moderators


async def set_clock(trial: Trial, step: timedelta) -> None:
    """Let the clock of a service that does not run go on at SPEED from `step` further on."""
    environ = trial.environ
    key = read_key(Path(environ["EVENKEEL_KEY_FILE"]))
    store = await open_store(environ["DATABASE_URL"], key, kind=environ["EVENKEEL_KIND"])
    try:
        now = store.clock.now_us() + step // timedelta(microseconds=1)
        real = real_us()
        await store.set_clock(ClockMapping(origin_us=real, offset_us=now - real, speed=SPEED))
    finally:
        await store.close()


@pytest.fixture(scope="session", params=SETTINGS)
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A service of each setting in turn, started once for all tests of a worker."""
    setting: str = request.param
    folder = tmp_path_factory.mktemp(setting)
    with contextlib.ExitStack() as stack:
        more: dict[str, str] = {}
        if setting == "scaled":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            url = server.create_database()
            stack.callback(server.drop_database, url)
            more = {"REDIS_URL": stack.enter_context(running_redis()).url}
        else:
            url = f"sqlite:///{folder / 'contract.db'}"
        trial = run_apart(lambda: make_trial(folder, url, rooms=ROOMS, per_room=3, moderators=2))
        run_apart(lambda: set_clock(trial, timedelta(0)))
        # One front for the doors of the third setting, one for a network of a test's own.
        fronts = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        origins = [f"http://127.0.0.1:{front.getsockname()[1]}" for front in fronts]
        cluster = Cluster(3 if setting == "scaled" else 1, {**trial.environ, **more}, folder, origins)
        run_apart(cluster.__aenter__)
        stack.callback(lambda: run_apart(lambda: cluster.__aexit__(None, None, None)))
        yield House(setting, cluster, trial, fronts)


@pytest.fixture
async def stage(house: House) -> AsyncIterator[Stage]:
    """A setting as its members reach it."""
    if house.setting != "faults":
        yield Stage(house, house.cluster.urls)
        return
    async with FaultProxy(port_of(house.cluster.urls[0]), house.fronts[0]) as proxy:
        proxy.delay(MILD_DELAY_S)
        proxy.throttle(MILD_BYTES_PER_S)
        yield Stage(house, (proxy.url,), (proxy,))


@pytest.fixture
async def network(house: House) -> AsyncIterator[FaultProxy]:
    """A network of this test's own before the first process, without faults yet."""
    async with FaultProxy(port_of(house.cluster.urls[0]), house.fronts[1]) as proxy:
        yield proxy


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])
