"""The supervisor: a worker that stops beating is replaced, a text that stalls is held, what is overdue is raised."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import sys
import urllib.request
from pathlib import Path

import asyncpg
import psutil
import pytest

from clients.sdk.client import Client
from clients.sdk.connection import Timing
from ops.trial import Trial, make_trial
from server.clock import real_us
from server.protocol.frames import MessageItem, Withheld
from server.supervisor.alarm import Alarm
from server.supervisor.overdue import OverdueWatch, reader_for
from server.supervisor.window import Window
from tests.serve.stalling_worker import ENDLESS
from tests.serve.support import supervisor
from tests.servers import PostgresServer, run_apart

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return run_apart(lambda: make_trial(tmp_path, f"sqlite:///{tmp_path / 'e.db'}", rooms=1, per_room=2, moderators=1))


def health(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
        return int(answer.status)


def test_a_killed_worker_is_replaced_on_the_same_port(tmp_path: Path, trial: Trial) -> None:
    """Whatever ends a worker, the port stays open and another answers on it; a stop is in order and leaves nobody."""
    with supervisor(tmp_path, trial.environ) as running:
        first = running.said("serving")
        assert health(running.port) == 200
        os.kill(first["pid"], signal.SIGKILL)
        with socket.create_connection(("127.0.0.1", running.port), timeout=5):
            second = running.said("serving", times=2)
        assert running.said("worker_ended")["status"] == -signal.SIGKILL
        assert health(running.port) == 200
        assert psutil.Process(running.process.pid).memory_info().rss < 32 << 20
        assert running.stop() == 0
        assert not psutil.pid_exists(second["pid"])


def test_a_worker_without_a_supervisor_stops(tmp_path: Path, trial: Trial) -> None:
    """When the supervisor is gone, however it went, its worker drains and ends: nobody would watch it."""
    with supervisor(tmp_path, trial.environ) as running:
        worker = psutil.Process(running.said("serving")["pid"])
        running.process.kill()
        running.process.wait()
    worker.wait(30)


async def test_a_text_that_stalls_is_held_at_the_third_time(tmp_path: Path, trial: Trial) -> None:
    """A check that never returns costs the worker, twice; then the text is held as unchecked, and staff are told."""
    environ = {**trial.environ, "EVENKEEL_STALL_S": "2.0"}
    with supervisor(tmp_path, environ, module="tests.serve.stalling") as running:
        url = f"http://127.0.0.1:{await asyncio.to_thread(lambda: running.port)}"
        quick = Timing(uniform=lambda low, high: 0.05)
        author, reader = trial.members[0]
        async with (
            Client(url, token=author.token, timing=quick) as one,
            Client(url, token=reader.token, timing=quick) as other,
        ):
            theirs = await other.join(trial.rooms[0])
            ours = await one.join(trial.rooms[0])
            ack = await asyncio.wait_for(ours.send(ENDLESS), 60)
            assert ack.state == "held"
            assert [said["times"] for said in running.lines("screening_stalled")] == [1, 2]
            assert len(running.lines("worker_stalled")) == 2
            item = await anext(aiter(theirs.events()))
            assert isinstance(item, MessageItem)
            assert isinstance(item.view, Withheld)
            assert (await ours.send("and now something else")).state == "published"
        assert running.stop() == 0
    with sqlite3.connect(tmp_path / "e.db") as database:
        stored = database.execute("SELECT count(*) FROM message WHERE state = 'held'").fetchone()[0]
        cases = database.execute("SELECT count(*) FROM case_message").fetchone()[0]
    database.close()
    assert (stored, cases) == (1, 1)


def test_wrong_settings_end_at_once_with_one_line(tmp_path: Path, trial: Trial) -> None:
    """A worker that can not ever serve is not started again and again."""
    environ = {**trial.environ, "EVENKEEL_KEY_FILE": str(tmp_path / "elsewhere.key")}
    with supervisor(tmp_path, environ) as running:
        assert running.process.wait(60) == 2
        assert "evenkeel init" in (tmp_path / "supervisor.log").read_text()


CASE = (
    "INSERT INTO review_case (id, side, subject, origin, level, categories, state, version, messages, care,"
    " clinical, opened_at, raised_at) VALUES ('C1', 'community', '{subject}', 'message', 3, 'S', 'open', 1, 1,"
    " 'urgent', 0, 0, 0)"
)
OBLIGATION = (
    'INSERT INTO obligation (id, "case", side, level, state, opened_at, next_rung, due_at, version)'
    " VALUES ('O1', 'C1', 'community', 3, 'running', 0, 0, {due_us}, 1)"
)


def obligation(database: Path, due_us: int) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute(CASE.format(subject="A1"))
        connection.execute(OBLIGATION.format(due_us=due_us))
    connection.close()


def test_what_is_overdue_is_raised_again_and_again(
    tmp_path: Path, trial: Trial, capfd: pytest.CaptureFixture[str]
) -> None:
    """An obligation that nobody moves on is raised loudly, counted, by the operator's command too, until it is met."""
    told = tmp_path / "told"
    script = (
        "import os, sys; open(sys.argv[1], 'a').write(os.environ['EVENKEEL_ALARM'] + os.environ['EVENKEEL_OBLIGATION'])"
    )
    now = [0.0]
    alarm = Alarm((sys.executable, "-c", script, str(told)))
    watch = OverdueWatch(reader_for(trial.environ["DATABASE_URL"]), alarm, clock=lambda: now[0])
    obligation(tmp_path / "e.db", real_us() - 14_000_000)
    watch.look()
    assert "obligation_overdue" not in capfd.readouterr().err
    with sqlite3.connect(tmp_path / "e.db") as connection:
        connection.execute("UPDATE obligation SET due_at = due_at - 5000000")
    connection.close()
    watch.look()
    watch.look()
    assert capfd.readouterr().err.count("obligation_overdue") == 1
    now[0] = 61.0
    watch.look()
    assert '"times": 2' in capfd.readouterr().err
    alarm.close()
    assert told.read_text() == "obligation_overdueO1" * 2
    with sqlite3.connect(tmp_path / "e.db") as connection:
        connection.execute("UPDATE obligation SET state = 'met', due_at = NULL")
    connection.close()
    now[0] = 200.0
    watch.look()
    assert "obligation_overdue" not in capfd.readouterr().err


def test_a_database_out_of_sight_is_raised(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A supervisor that can not look says so; it does not take silence for quiet."""
    now = [0.0]
    watch = OverdueWatch(reader_for(f"sqlite:///{tmp_path / 'none.db'}"), Alarm(), clock=lambda: now[0])
    for now[0] in (0.0, 10.0, 16.0, 20.0):
        watch.look()
    assert capfd.readouterr().err.count("database_out_of_sight") == 1


async def test_postgres_is_looked_at_by_the_same_rules(
    tmp_path: Path, database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """On either kind of database the supervisor's own look works and finds nothing in a service that is well."""
    await make_trial(tmp_path, database_url, rooms=1, per_room=1)
    watch = OverdueWatch(reader_for(database_url), Alarm(), after_s=0.0)
    await asyncio.to_thread(watch.look)
    assert capfd.readouterr().err == ""


async def test_lateness_is_judged_by_the_databases_clock(
    tmp_path: Path, postgres_server: PostgresServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """What is due in a quarter of an hour here is overdue where the database says that an hour has passed."""
    url = postgres_server.create_database()
    try:
        trial = await make_trial(tmp_path, url, rooms=1, per_room=1)
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            await connection.execute(CASE.format(subject=trial.members[0][0].account))
            await connection.execute(OBLIGATION.format(due_us=real_us() + 900_000_000))
            watch = OverdueWatch(reader_for(url), Alarm())
            await asyncio.to_thread(watch.look)
            assert capfd.readouterr().err == ""
            await connection.execute(
                "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS"
                " $$ SELECT pg_catalog.clock_timestamp() + interval '1 hour' $$"
            )
            await connection.execute(
                "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog',"
                " current_database()); END $$"
            )
        finally:
            await connection.close()
        await asyncio.to_thread(watch.look)
        said = json.loads(capfd.readouterr().err)
        assert (said["event"], said["obligation"]) == ("obligation_overdue", "O1")
        assert 2_690 <= said["late_s"] <= 2_760
    finally:
        postgres_server.drop_database(url)


def test_the_window_gives_back_what_was_laid_down() -> None:
    """Marks and counts pass through the shared page whole; of too many, the latest stay."""
    one = Window.make()
    other = Window(one.fd)
    stalls = {n.to_bytes(16, "big"): 1 + n % 3 for n in range(1, 500)}
    one.put_stalls(stalls)
    other.mark(b"x" * 16)
    assert one.marked() == b"x" * 16
    other.mark(None)
    assert one.marked() is None
    kept = other.stalls()
    assert kept.items() <= stalls.items()
    assert (499).to_bytes(16, "big") in kept
    os.close(one.fd)
