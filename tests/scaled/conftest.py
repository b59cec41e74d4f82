"""Three servers over one PostgreSQL and one Redis, started once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from ops.torture.cluster import Cluster
from ops.trial import Trial, make_trial
from tests.servers import PostgresServer, RedisServer, run_apart, running_redis

ROOMS = 12


@dataclass(frozen=True)
class Stage:
    """What a test plays on; each takes a room of its own."""

    cluster: Cluster
    redis: RedisServer
    trial: Trial


@pytest.fixture(scope="module")
def stage(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Three servers, their Redis, and people in rooms."""
    folder = tmp_path_factory.mktemp("scaled")
    url = postgres_server.create_database()
    with running_redis() as redis:
        trial = run_apart(lambda: make_trial(folder, url, rooms=ROOMS, per_room=3, moderators=2))
        cluster = Cluster(3, {**trial.environ, "REDIS_URL": redis.url}, folder)
        run_apart(cluster.__aenter__)
        try:
            yield Stage(cluster, redis, trial)
        finally:
            run_apart(lambda: cluster.__aexit__(None, None, None))
            postgres_server.drop_database(url)
