"""A slice of the kill campaign: each named place, on both databases, against the whole delivery contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.torture.kill import Campaign, run_campaign
from server import killpoints
from tests.servers import PostgresServer

pytestmark = pytest.mark.timeout(180)


def show(campaign: Campaign) -> str:
    return str(campaign.facts())


@pytest.mark.parametrize("place", killpoints.ALL)
async def test_nothing_promised_is_lost_on_sqlite(tmp_path: Path, place: str) -> None:
    """A server killed at a named place loses, doubles, leaks and forgets nothing that it had promised."""
    campaign = await run_campaign(tmp_path, f"sqlite:///{tmp_path / 'e.db'}", kills=8, seed=11, until_hit=[place])
    assert campaign.violations == [], show(campaign)
    assert campaign.acknowledged > 0
    assert campaign.hits[place] == 1, "no server died at the named place"


async def test_nothing_promised_is_lost_on_postgres(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """The same contract where the database is a server of its own: one campaign, in which servers die at each place."""
    url = postgres_server.create_database()
    try:
        campaign = await run_campaign(tmp_path, url, kills=24, seed=12, until_hit=killpoints.ALL)
        assert campaign.violations == [], show(campaign)
        assert campaign.acknowledged > 0
        assert {place: campaign.hits[place] for place in killpoints.ALL} == dict.fromkeys(killpoints.ALL, 1)
    finally:
        postgres_server.drop_database(url)
