"""A slice of the soak campaign: whoever left leaves nothing behind; and the arithmetic of growth."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.torture.soak import growth, run_soak

pytestmark = pytest.mark.timeout(120)


async def test_whoever_left_leaves_no_task_and_no_descriptor(tmp_path: Path) -> None:
    """People come, are cut off, come back and leave beside others who talk: what is held is what was held before."""
    campaign = await run_soak(tmp_path, minutes=0, seed=7, seconds=8.0, rate=100.0)
    assert campaign.violations == [], str(campaign.facts())
    assert campaign.messages > 0
    assert campaign.comings >= 80
    assert min(*campaign.held_before, *campaign.held_after) > 0


def test_growth_is_told_from_the_last_two_thirds() -> None:
    """What is loaded in the first third is no growth; what is added after it is, in megabytes an hour."""
    assert growth([1.0, 2.0]) is None
    assert growth([100.0] * 20 + [150.0] * 40, every_s=5.0) == 0.0
    steady = [100.0 + n / 720 for n in range(60)]  # one megabyte an hour, looked at every five seconds
    assert growth(steady, every_s=5.0) == pytest.approx(1.0, abs=0.01)
