"""A slice of the clock campaign: a clock that is set back stops no ladder, and both nights of the change pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.torture.clocks.campaign import run_clock
from ops.torture.clocks.nights import NIGHTS

pytestmark = pytest.mark.timeout(300)


async def test_clocks_that_jump_delay_no_call_and_double_none(tmp_path: Path) -> None:
    """Clocks of the database and of a process jump, both nights pass: calls come once and in time."""
    campaign = await run_clock(tmp_path, jumps=3, seed=52, kinds=("database -1 h", "process +1 day", "database +1 h"))
    assert campaign.violations == [], str(campaign.facts())
    assert campaign.acknowledged > 50
    assert campaign.numbers > 50
    assert set(campaign.nights) == set(NIGHTS)
    assert campaign.times_shown > 10
