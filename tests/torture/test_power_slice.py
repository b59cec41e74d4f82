"""A slice of the power campaign: what was acknowledged before the power was cut is there afterwards, on SQLite."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from ops.torture.disk import Disk, Unkept
from ops.torture.driver import sqlite_on
from ops.torture.power import run_power
from server.store.engine import sync_url

pytestmark = pytest.mark.timeout(180)


async def test_nothing_acknowledged_is_lost_with_the_power(tmp_path: Path) -> None:
    """Over several power losses nothing that was acknowledged or delivered is lost, doubled or left without a case."""
    campaign = await run_power(tmp_path, cuts=8, seed=21)
    assert campaign.violations == [], str(campaign.facts())
    assert sum(campaign.cuts.values()) == 8
    assert campaign.acknowledged > 50
    assert campaign.delivered > 50


@pytest.mark.parametrize(("synchronous", "kept"), [("FULL", True), ("OFF", False)])
def test_the_disk_keeps_what_it_was_told_to_keep_and_nothing_else(tmp_path: Path, synchronous: str, kept: bool) -> None:
    """A row that was committed with a sync survives the cut; one that was committed without is gone."""
    after = tmp_path / "after"
    after.mkdir()
    disk = Disk()
    with sqlite_on(disk.name):
        engine = create_engine(sync_url(f"sqlite:///{tmp_path / 'e.db'}"), poolclass=NullPool)
        with engine.connect() as connection:
            for pragma in ("journal_mode=WAL", "synchronous=FULL"):
                connection.exec_driver_sql(f"PRAGMA {pragma}").close()
            connection.exec_driver_sql("CREATE TABLE t (n INTEGER)")
            connection.exec_driver_sql(f"PRAGMA synchronous={synchronous}")
            connection.exec_driver_sql("INSERT INTO t VALUES (1)")
            disk.cut_after(10_000, after, Unkept.NOTHING, random.Random(1))
            disk.cut_now()
            connection.exec_driver_sql("INSERT INTO t VALUES (2)")
    engine = create_engine(f"sqlite:///{after / 'e.db'}", poolclass=NullPool)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT n FROM t").scalars().all() == ([1] if kept else [])
