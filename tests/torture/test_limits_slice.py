"""A slice of the limits campaign: without room nobody is deceived, help goes on, and the same process is well again."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.torture.limits.campaign import run_limits

pytestmark = pytest.mark.timeout(300)


async def test_without_room_nobody_is_deceived_and_help_goes_on(tmp_path: Path) -> None:
    """No room on a disk or in a file, no descriptors: one clear code, help is called, well without a restart."""
    campaign = await run_limits(tmp_path, faults=3, seed=53, overdue_s=4.0)
    assert campaign.violations == [], str(campaign.facts())
    assert {"file_size", "open_files"} <= {lack.kind for lack in campaign.lacks}
    assert set(campaign.refused) == {"storage"}
    assert campaign.turned_away > 0
