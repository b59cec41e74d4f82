"""A slice of the filter campaign: whatever fails while a text is screened, no member is shown it unchecked."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.torture.faulty_filter import KINDS, run_filter

pytestmark = pytest.mark.timeout(120)


async def test_a_filter_that_fails_shows_nobody_what_it_did_not_check(tmp_path: Path) -> None:
    """Exceptions at any call, no memory, no time, no entry, no automaton, a text that stalled: held, and then well."""
    campaign = await run_filter(tmp_path, faults=60, seed=54)
    assert campaign.violations == [], str(campaign.facts())
    assert set(campaign.faults) == set(KINDS)
    assert campaign.held > 45
    assert campaign.well >= 60
