"""Several workers under one supervisor: none suffers for another, and whoever can not start says so."""

from __future__ import annotations

import os
import signal
import socket
from collections import Counter
from pathlib import Path

import httpx2
import psutil
import pytest

from ops.doctor import examine
from ops.trial import make_trial
from server.settings import load_settings
from server.supervisor.window import Window
from tests.scaled.stand_in import DYING, TEMPORARY
from tests.serve.support import Supervisor, supervisor, until
from tests.servers import PostgresServer, run_apart, running_redis

pytestmark = pytest.mark.timeout(180)
STAND_IN = "tests.scaled.stand_in"


def asked(port: int) -> str:
    """Which worker answers."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as there:
        return there.recv(8).decode()


def pids(running: Supervisor) -> dict[int, int]:
    """The worker that serves in each place now."""
    return {said["worker"]: said["pid"] for said in running.lines("serving")}


def serving(running: Supervisor, count: int) -> dict[int, int]:
    running.said("serving", times=count)
    return pids(running)


def environ(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"DATABASE_URL": f"sqlite:///{tmp_path / 'none.db'}", "EVENKEEL_WORKERS": "3", **more}


def test_one_worker_is_replaced_and_the_others_never_notice(tmp_path: Path) -> None:
    """A worker that is killed, and one that stands still, are replaced; all others live on; a stop ends all."""
    with supervisor(tmp_path, environ(tmp_path, EVENKEEL_STALL_S="1.5"), module=STAND_IN) as running:
        before = serving(running, 3)
        os.kill(before[1], signal.SIGKILL)
        after = serving(running, 4)
        assert running.said("worker_ended")["worker"] == 1
        os.kill(after[2], signal.SIGSTOP)
        assert running.said("worker_stalled")["worker"] == 2
        last = serving(running, 5)
        assert last[0] == before[0]
        assert last[1] == after[1]
        assert len(set(last.values()) | set(before.values())) == 5
        assert running.stop() == 0
        assert not any(psutil.pid_exists(pid) for pid in last.values())


def told_of_numbers(running: Supervisor) -> list[bool]:
    """Whether each worker was given a folder for its numbers."""
    return [
        any(word.startswith("--numbers=") for word in psutil.Process(pid).cmdline()) for pid in pids(running).values()
    ]


def test_a_worker_alone_leaves_its_numbers_for_nobody(tmp_path: Path) -> None:
    """One worker is given no folder to write to every few seconds, and none is made; two share one, gone with them."""
    for workers in (1, 2):
        made = tmp_path / f"temporary-{workers}"
        made.mkdir()
        given = environ(tmp_path, EVENKEEL_WORKERS=str(workers), **{TEMPORARY: str(made)})
        with supervisor(tmp_path, given, module=STAND_IN) as running:
            serving(running, workers)
            assert told_of_numbers(running) == [workers > 1] * workers
            assert len(list(made.iterdir())) == workers - 1
            assert running.stop() == 0
        assert list(made.iterdir()) == []


def test_without_room_for_numbers_the_workers_serve(tmp_path: Path) -> None:
    """Where no temporary folder can be made one line says so, and every worker starts and answers for itself."""
    given = environ(tmp_path, EVENKEEL_WORKERS="2", **{TEMPORARY: str(tmp_path / "none")})
    with supervisor(tmp_path, given, module=STAND_IN) as running:
        serving(running, 2)
        assert told_of_numbers(running) == [False, False]
        (said,) = running.lines("numbers_not_shared")
        assert (said["level"], said["error"]) == ("warning", "FileNotFoundError")
        assert "/metrics" in said["advice"]
        assert running.stop() == 0


def test_connections_are_dealt_out_to_all_workers(tmp_path: Path) -> None:
    """On one port every worker is given its share of the connections; a second service can not slip in beside them."""
    with supervisor(tmp_path, environ(tmp_path), module=STAND_IN) as running:
        serving(running, 3)
        answers = Counter(asked(running.port) for _ in range(120))
        assert set(answers) == {"0", "1", "2"}
        assert min(answers.values()) >= 15
        beside = tmp_path / "beside"
        beside.mkdir()
        with supervisor(beside, environ(tmp_path), module=STAND_IN, port=running.port) as second:
            assert second.process.wait(30) == 2
        assert "Stop what uses it" in (beside / "supervisor.log").read_text()


def test_a_worker_that_never_serves_is_said_so_and_given_no_connections(tmp_path: Path) -> None:
    """A worker that dies at its start again and again waits longer each time, and says so; others take its part."""
    with supervisor(tmp_path, environ(tmp_path, **{DYING: "1"}), module=STAND_IN) as running:
        said = running.said("worker_never_serves", times=2)
        assert (said["worker"], said["status"], said["times"]) == (1, 3, 4)
        assert "evenkeel doctor" in said["advice"]
        waits = [line["again_in_s"] for line in running.lines("worker_ended")]
        waits += [line["again_in_s"] for line in running.lines("worker_never_serves")]
        assert waits[:4] == [0.2, 0.4, 0.8, 1.6]
        assert {asked(running.port) for _ in range(40)} == {"0", "2"}
        assert running.stop() == 0


def test_the_service_manager_is_told(tmp_path: Path) -> None:
    """systemd hears READY once, then a sign of life again and again, and STOPPING before the end."""
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(20)
        with supervisor(tmp_path, environ(tmp_path, NOTIFY_SOCKET=str(address)), module=STAND_IN) as running:
            heard = [manager.recv(64) for _ in range(4)]
            assert running.stop() == 0
        manager.setblocking(False)
        while heard[-1] != b"STOPPING=1":
            heard.append(manager.recv(64))
    assert heard.count(b"READY=1") == 1
    assert heard[:2] == [b"READY=1", b"WATCHDOG=1"]


def test_what_stalled_one_worker_is_known_to_all() -> None:
    """A count laid down while a worker runs is seen by it at its next screening."""
    theirs = Window.make()
    worker = Window(theirs.fd)
    assert worker.stalled(b"x" * 16) == 0
    theirs.put_stalls({b"y" * 16: 1, b"x" * 16: 2})
    assert worker.stalled(b"x" * 16) == 2
    assert worker.stalled(b"z" * 16) == 0
    os.close(theirs.fd)


def test_real_workers_serve_one_port_and_drain(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """`--workers 2` over PostgreSQL and Redis: both serve, one is replaced under its name, a stop drains both."""
    url = postgres_server.create_database()
    with running_redis() as redis:
        trial = run_apart(lambda: make_trial(tmp_path, url, rooms=1, per_room=1, moderators=1))
        given = {**trial.environ, "REDIS_URL": redis.url, "EVENKEEL_WORKERS": "2"}
        with supervisor(tmp_path, given) as running:
            first = serving(running, 2)
            os.kill(first[0], signal.SIGKILL)
            second = serving(running, 3)
            assert second[1] == first[1]
            until(lambda: _heard(running.port), "an answer")
            until(lambda: _numbered(running.port) == {"0", "1"}, "the numbers of both")
            assert running.stop() == 0
            assert not any(psutil.pid_exists(pid) for pid in second.values())
    postgres_server.drop_database(url)


def test_the_doctor_looks_at_redis(tmp_path: Path) -> None:
    """Where processes rely on Redis, `doctor` says its version, or what to do; one process needs none."""
    shared = "postgresql+asyncpg://nobody@127.0.0.1:1/none"
    with running_redis() as redis:
        settings = load_settings(database_url=shared, redis_url=redis.url, key_file=tmp_path / "none")
        well = {finding.name: finding for finding in examine(settings)}["redis"]
        redis.stop()
        gone = {finding.name: finding for finding in examine(settings)}["redis"]
    alone = load_settings(database_url=f"sqlite:///{tmp_path / 'none.db'}", key_file=tmp_path / "none")
    unused = {finding.name: finding for finding in examine(alone)}["redis"]
    assert (well.ok, gone.ok, unused.ok) == (True, False, True)
    assert well.found.startswith("version ")
    assert "REDIS_URL" in gone.advice


def _numbered(port: int) -> set[str]:
    """The workers whose open sockets are told by whoever answers."""
    page = httpx2.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    lines = [line for line in page.splitlines() if line.startswith("evenkeel_live_connections{")]
    return {line.partition('worker="')[2].partition('"')[0] for line in lines}


def _heard(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as there:
        there.sendall(f"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
        return there.recv(64).startswith(b"HTTP/1.1 200")
