"""Slices of the campaigns about the way between people and servers: cut, crowded, slow, or open in one direction."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.torture.acks import run_acks
from ops.torture.hops import run_hops
from ops.torture.oneway import run_oneway
from ops.torture.slow import run_slow
from ops.torture.storm import run_storm
from ops.torture.writers import run_writers

pytestmark = pytest.mark.timeout(120)


async def test_a_message_whose_ack_was_cut_off_is_stored_once(tmp_path: Path) -> None:
    """Sent again on any server after its ack was lost, a message is stored once and keeps the place it was given."""
    campaign = await run_acks(tmp_path, messages=240, seed=41, senders=8)
    assert campaign.violations == [], str(campaign.facts())
    assert campaign.rows == campaign.acknowledged == 240
    assert campaign.after_commit > 40
    assert campaign.hops > 20


async def test_everybody_reads_every_room_in_its_one_order(tmp_path: Path) -> None:
    """Writers on three servers write in the same rooms: each is told each room as the database has it."""
    campaign = await run_writers(tmp_path, messages=60, seed=42, per_server=2, rooms=4)
    assert campaign.violations == [], str(campaign.facts())
    assert campaign.rows == campaign.acknowledged == 240
    assert campaign.told == 6 * 240


async def test_who_comes_back_is_given_what_they_missed_or_told_to_read_up(tmp_path: Path) -> None:
    """Cut off and back at another server, or after a restore: every event that was missed, or an express resync."""
    campaign = await run_hops(tmp_path, disconnects=32, seed=43, readers=8, away_s=(0.1, 10.0))
    assert campaign.violations == [], str(campaign.facts())
    assert campaign.disconnects == 32
    assert campaign.hops.exact > 10
    assert campaign.hops.at_another > 5
    assert campaign.hops.resyncs == {"epoch": 8}


async def test_a_way_that_is_open_in_one_direction_only_is_noticed_by_both_sides(tmp_path: Path) -> None:
    """Four times as fast: both sides give the dead connection up in time, and the open message is stored once."""
    campaign = await run_oneway(tmp_path, faults=4, seed=44, hurry=4.0)
    assert campaign.violations == [], str(campaign.facts())
    assert campaign.faults == {"up": 2, "down": 2}
    assert campaign.sent == campaign.acknowledged > 4


@pytest.mark.parametrize("opening", [False, True])
async def test_everybody_at_once_keeps_nobody_out(tmp_path: Path, opening: bool) -> None:
    """Cut at once, or come at once: all are live within a minute, whoever was there hears on, and nobody has a gap."""
    campaign = await run_storm(tmp_path, sockets=120, seed=45, opening=opening, measured=False)
    assert campaign.violations == [], str(campaign.facts())
    assert len(campaign.live_s) == 120
    assert campaign.acks
    assert campaign.deliveries
    assert campaign.pongs


async def test_who_reads_nothing_is_let_go_and_comes_back_exactly(tmp_path: Path) -> None:
    """Four times as fast: those who read nothing are closed in time, cost little, and miss nothing in the end."""
    campaign = await run_slow(
        tmp_path, rounds=1, seed=46, readers=40, sleepers=10, quiet_s=1.0, hurry=4.0, measured=False
    )
    assert campaign.violations == [], str(campaign.facts())
    assert len(campaign.closed_s) == 10
    assert campaign.told > 1_000
