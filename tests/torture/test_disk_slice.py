"""A slice of the disk campaign: writes and syncs that fail cost no message that was acknowledged."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.torture.shortage import run_shortage

pytestmark = pytest.mark.timeout(120)


async def test_a_failing_disk_is_answered_for_and_outlived(tmp_path: Path) -> None:
    """While the disk fails nothing is acknowledged that is not stored, senders are told to try again, and may."""
    campaign = await run_shortage(tmp_path, faults=15, seed=41)
    assert campaign.violations == [], str(campaign.facts())
    assert campaign.errors > 15
    assert campaign.in_checkpoints > 1
    assert set(campaign.refused) == {"storage"}
    assert len(campaign.recovered_ms) > 5
