"""A slice of the stop campaign: what stands still is raised by something else, and calls go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.torture.stop.campaign import run_stops

pytestmark = pytest.mark.timeout(300)


async def test_what_stands_still_is_raised_and_calls_go_on(tmp_path: Path) -> None:
    """The process that calls people is stopped, and the watch: both are raised, another calls within ten seconds."""
    campaign = await run_stops(tmp_path, stops=2, seed=51, kinds=("holder", "watch"))
    assert campaign.violations == [], str(campaign.facts())
    assert [stop.by for stop in campaign.stops] == ["supervisor", "beat file"]
    assert all(stop.calls for stop in campaign.stops)
