"""The numbers for the operator: they say what waits, on both databases, and name nobody."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from clients.sdk.client import Client
from moderation.types import RoomKind
from server.actions import gauges
from server.actions.feeds import move_read_cursor
from server.actions.rooms import make_room
from server.actions.services import Services
from server.clock import real_us
from server.ids import new_id
from server.jobs.lease import JOBS, LASTS_S
from server.numbers import FRESH_S, Numbers
from server.protocol.frames import Read
from server.store import leases
from tests import harness
from tests.harness import fast_forward
from tests.path.scene import CLEAN, URGENT, client_id, make_scene

# What a label may tell apart: kinds of things, never one person, room, message or case.
LABELS = {"kind", "outcome", "code", "level", "le", "implementation", "major", "minor", "patchlevel", "version"} | {
    "generation",
    "worker",
}


async def number(services: Services, name: str, **labels: str) -> float:
    await gauges.refresh(services)
    value = REGISTRY.get_sample_value(name, labels)
    assert value is not None
    return value


async def test_a_case_that_nobody_takes_grows_older_and_overdue(services: Services) -> None:
    """An urgent case nobody takes is seen in its level's age and as overdue; taken, it is neither."""
    scene = await make_scene(services)
    ages = [await number(services, "evenkeel_flag_oldest_unowned_seconds", level=level) for level in "123"]
    assert ages == [0, 0, 0]
    assert await number(services, "evenkeel_obligation_overdue_seconds") == 0
    await scene.say(scene.robin, URGENT)
    await fast_forward(services, timedelta(seconds=40))
    assert 40 <= await number(services, "evenkeel_flag_oldest_unowned_seconds", level="3") < 100
    assert await number(services, "evenkeel_flag_oldest_unowned_seconds", level="1") == 0
    assert await number(services, "evenkeel_obligation_overdue_seconds") >= 39
    (case,) = await scene.queue()
    await scene.act(scene.sam, case, "claim")
    assert await number(services, "evenkeel_flag_oldest_unowned_seconds", level="3") == 0
    assert await number(services, "evenkeel_obligation_overdue_seconds") == 0


async def test_what_no_staff_has_read_grows_older(services: Services) -> None:
    """A community message waits from when it was sent until somebody on the staff has read that far; members do not
    count."""
    scene = await make_scene(services)
    assert await number(services, "evenkeel_unread_oldest_seconds") == 0
    first = await scene.say(scene.robin, CLEAN)
    await fast_forward(services, timedelta(seconds=60))
    last = await scene.say(scene.wren, CLEAN)
    for who, upto, least, most in (
        (scene.wren, last.seq, 60, 120),
        (scene.sam, first.seq, 0, 59),
        (scene.sam, last.seq, 0, 0),
    ):
        await move_read_cursor(services, who, Read(client_id=client_id(), feed=scene.feed, seq=upto))
        assert least <= await number(services, "evenkeel_unread_oldest_seconds") <= most


async def test_the_duty_to_call_is_seen_to_run_out(services: Services) -> None:
    """Where several processes share a database, nobody holding the lease shows; a process alone always does."""
    if not services.store.is_shared:
        assert await number(services, "evenkeel_jobs_lease_left_seconds") == LASTS_S
        return
    assert await number(services, "evenkeel_jobs_lease_left_seconds") <= 0
    assert await leases.take(services.store, JOBS, "one", timedelta(seconds=LASTS_S))
    assert 0 < await number(services, "evenkeel_jobs_lease_left_seconds") <= LASTS_S
    await fast_forward(services, timedelta(seconds=LASTS_S + 1))
    assert await number(services, "evenkeel_jobs_lease_left_seconds") < 0


async def test_a_store_that_does_not_answer_is_a_number(tmp_path: Path) -> None:
    """Numbers are given all the same, and one of them says that the others mean nothing."""
    harness.copy_sqlite_template(tmp_path / "e.db")
    async with harness.open_services(f"sqlite:///{tmp_path / 'e.db'}") as services:
        assert await number(services, "evenkeel_store_answers") == 1
        await services.store.close()
        assert await number(services, "evenkeel_store_answers") == 0


def test_whoever_is_asked_answers_for_all_workers(tmp_path: Path) -> None:
    """Each worker's numbers are there once, under its own label, and the sum over them is right."""
    workers = []
    for n in range(3):
        registry = CollectorRegistry()
        Counter("said", "What was said.", ["kind"], registry=registry).labels("send").inc(n + 1)
        workers.append(Numbers(str(n), tmp_path, registry))
    for worker in workers:
        worker.write()
    for worker in workers:
        (said,) = [f for f in text_string_to_metric_families(worker.text().decode()) if f.name == "said"]
        values = {one.labels["worker"]: one.value for one in said.samples if one.name == "said_total"}
        assert values == {"0": 1.0, "1": 2.0, "2": 3.0}


def test_numbers_of_a_worker_that_is_gone_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody has written for a while, or can not be read, is not shown as if it were so."""
    registry = CollectorRegistry()
    Counter("said", "What was said.", registry=registry)
    Numbers("1", tmp_path, registry).write()
    asked = Numbers("0", tmp_path, registry)
    assert b'said_total{worker="1"}' in asked.text()
    later = real_us() + int(FRESH_S * 1e6) + 1
    monkeypatch.setattr("server.numbers.real_us", lambda: later)
    assert b'worker="1"' not in asked.text()
    (tmp_path / "1.numbers").write_bytes(b"\x93")
    with capture_logs() as logs:
        assert b'said_total{worker="0"}' in asked.text()
    assert [line["event"] for line in logs] == ["numbers_not_read"]


async def test_each_acknowledgement_is_timed_once(edge: harness.Edge) -> None:
    """A message that was acknowledged is one value of the histogram, a refused command none; and no label is a name."""
    robin = await harness.registered(edge.services, "Robin")
    feed = await make_room(edge.services, RoomKind.COMMUNITY, "The hall", "Quiet talk")
    counted = "evenkeel_live_ack_seconds_count"
    before = REGISTRY.get_sample_value(counted) or 0.0
    async with Client(edge.url, token=robin.token) as client:
        room = await client.join(feed)
        for _ in range(3):
            await room.send(CLEAN, client_id=new_id())
    async with httpx2.AsyncClient(base_url=edge.url) as browser:
        text = (await browser.get("/metrics")).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    (count,) = [sample.value for sample in samples if sample.name == counted]
    assert count == before + 3
    assert {name for sample in samples for name in sample.labels} <= LABELS
    assert all(len(value) < 20 for sample in samples for value in sample.labels.values())
