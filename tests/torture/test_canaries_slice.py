"""A slice of the canaries campaign: each path once on each kind of database, and nothing is found anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.torture.canaries.campaign import run_canaries

pytestmark = pytest.mark.timeout(300)


async def test_no_word_is_found_where_it_may_not_be(tmp_path: Path) -> None:
    """Words and secrets down every path, at DEBUG and with failing handlers: in no log, number, file, key or error."""
    campaign = await run_canaries(tmp_path, canaries=2, seed=54)
    assert campaign.violations == [], str(campaign.facts())
    assert len({canary.path for canary in campaign.canaries}) > 80
    assert len(campaign.secrets) > 20
    assert campaign.names_stored == sum(canary.is_name for canary in campaign.canaries)
    assert all(campaign.searched[place] for place in ("log", "numbers", "errors", "operator", "database", "redis"))
