"""Slices of the campaigns of several processes: three servers, one PostgreSQL, one Redis, and faults under load."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.torture.outages import run_kill_scaled, run_postgres, run_redis
from ops.torture.revoke import KINDS, run_revoke

pytestmark = pytest.mark.timeout(240)


async def test_killed_processes_take_nothing_with_them(tmp_path: Path) -> None:
    """Servers, Redis and PostgreSQL are killed in turn: nothing is lost, doubled, reordered, leaked or forgotten."""
    campaign = await run_kill_scaled(tmp_path, kills=5, seed=31)
    assert campaign.violations == [], str(campaign.facts())
    assert len(campaign.outages) == 5
    assert campaign.acknowledged > 20


async def test_without_redis_nothing_is_lost_or_late(tmp_path: Path) -> None:
    """Redis is killed, frozen and cut: everything arrives within six seconds, and all hear again within ten."""
    campaign = await run_redis(tmp_path, faults=3, seed=32)
    assert campaign.violations == [], str(campaign.facts())
    assert len(campaign.outages) == 3
    assert len(campaign.delivered_outage) > 20


async def test_a_crashed_postgres_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """PostgreSQL crashes and comes back: nothing acknowledged is lost, and no call that was made is made again."""
    campaign = await run_postgres(tmp_path, restarts=2, seed=33)
    assert campaign.violations == [], str(campaign.facts())
    assert len(campaign.outages) == 2
    assert campaign.acknowledged > 10


async def test_who_may_not_hear_any_more_hears_nothing(tmp_path: Path) -> None:
    """Rights taken away on one process end on the others within two seconds (six without Redis), for good."""
    campaign = await run_revoke(tmp_path, revocations=2 * len(KINDS), seed=34)
    assert campaign.violations == [], str(campaign.facts())
    assert {one.kind for one in campaign.done} == set(KINDS)
    assert {one.redis_away for one in campaign.done} == {True, False}
