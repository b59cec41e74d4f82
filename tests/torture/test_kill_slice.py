"""A slice of the kill campaign: each named place, on both databases, against the whole delivery contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.torture.kill import Campaign, run_campaign
from server import killpoints

pytestmark = pytest.mark.timeout(180)


def show(campaign: Campaign) -> str:
    return str(campaign.facts())


@pytest.mark.parametrize("place", killpoints.ALL)
async def test_nothing_promised_is_lost_on_sqlite(tmp_path: Path, place: str) -> None:
    """Servers killed at a named place lose, double, leak and forget nothing that they had promised."""
    campaign = await run_campaign(tmp_path, f"sqlite:///{tmp_path / 'e.db'}", kills=2, seed=11, places=(place,))
    assert campaign.violations == [], show(campaign)
    assert campaign.acknowledged > 0
    assert sum(campaign.hits.values()) == 2


async def test_nothing_promised_is_lost_on_postgres(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The same contract where the database is a server of its own."""
    server = request.getfixturevalue("postgres_server")
    url = server.create_database()
    try:
        campaign = await run_campaign(tmp_path, url, kills=3, seed=12)
        assert campaign.violations == [], show(campaign)
        assert campaign.acknowledged > 0
    finally:
        server.drop_database(url)
