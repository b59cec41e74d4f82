"""The whole campaign against the audit: it takes seconds, so nothing is left out."""

from __future__ import annotations

from pathlib import Path

from ops.torture.tamper import KINDS, run_tampering


async def test_a_thousand_tamperings_are_all_found(tmp_path: Path) -> None:
    """Rows and heads changed, taken, put in, changed over and cut off by somebody without the key: each is found."""
    campaign = await run_tampering(tmp_path, tamperings=1_000, seed=20261124)
    assert campaign.missed == []
    assert campaign.tamperings.keys() == set(KINDS)
    assert campaign.facts()["detected"] == 1_000
