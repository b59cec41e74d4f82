"""What a service manager that waits for `Type=notify` and `WatchdogSec=` is told, on a real socket of that kind."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from ops.trial import make_trial
from tests.serve.support import PATIENCE_S, evenkeel, served, supervisor
from tests.servers import run_apart

pytestmark = pytest.mark.timeout(120)


@dataclass(frozen=True)
class Told:
    """One datagram: what it says, and the process that sent it, as the kernel saw it."""

    state: str
    pid: int


class Manager:
    """The receiving end, as systemd has it (sd_notify(3))."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(address)

    def close(self) -> None:
        self._socket.close()

    def drop(self) -> None:
        """Forget what has come so far."""
        while select.select([self._socket], [], [], 0)[0]:
            self._socket.recv(4096)

    def until(self, state: str) -> list[Told]:
        """Everything told up to the first `state`, that one included."""
        told: list[Told] = []
        deadline = time.monotonic() + PATIENCE_S
        while not told or told[-1].state != state:
            readable, _, _ = select.select([self._socket], [], [], max(0.0, deadline - time.monotonic()))
            assert readable, f"never told {state}, only {told}"
            data, ancillary, _, _ = self._socket.recvmsg(4096, 1024)
            (sender,) = (
                struct.unpack("3i", payload)[0] for _, kind, payload in ancillary if kind == socket.SCM_CREDENTIALS
            )
            told.append(Told(data.decode(), sender))
        return told


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment of a small service that is set up."""
    return run_apart(lambda: make_trial(tmp_path, f"sqlite:///{tmp_path / 'e.db'}", rooms=1, per_room=1)).environ


def test_the_service_manager_is_told_when_it_serves_lives_and_stops(tmp_path: Path) -> None:
    """READY once and only when it answers, WATCHDOG all the while, STOPPING once; all from the main process."""
    assert evenkeel(tmp_path, "init", "--json").returncode == 0
    listening = Manager(str(tmp_path / "notify"))
    try:
        with served(tmp_path, environ={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as running:
            told = listening.until("READY=1")
            assert [said.state for said in told] == ["READY=1"]
            with socket.create_connection(("127.0.0.1", running.port), timeout=5):
                told += listening.until("WATCHDOG=1") + listening.until("WATCHDOG=1")
            running.process.send_signal(signal.SIGTERM)
            told += listening.until("STOPPING=1")
            assert running.process.wait(30) == 0
    finally:
        listening.close()
    states = [said.state for said in told]
    assert (states.count("READY=1"), states.count("STOPPING=1")) == (1, 1)
    assert {said.pid for said in told} == {running.process.pid}


def test_the_watchdog_is_fed_while_a_worker_is_replaced(tmp_path: Path, environ: dict[str, str]) -> None:
    """A worker that dies is the supervisor's business: the service manager, at an address without a file, hears on."""
    named = f"evenkeel-{os.getpid()}-{tmp_path.name}"
    listening = Manager(f"\0{named}")
    try:
        with supervisor(tmp_path, {**environ, "NOTIFY_SOCKET": f"@{named}"}) as running:
            listening.until("READY=1")
            os.kill(running.said("serving")["pid"], signal.SIGKILL)
            running.said("worker_ended")
            listening.drop()
            assert {said.state for said in listening.until("WATCHDOG=1")} == {"WATCHDOG=1"}
            assert running.stop() == 0
    finally:
        listening.close()


def test_a_manager_that_does_not_read_holds_nothing_up(tmp_path: Path, environ: dict[str, str]) -> None:
    """With its socket full to the brim, workers are still started, replaced and stopped."""
    listening = Manager(str(tmp_path / "notify"))
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.connect(str(tmp_path / "notify"))
            with contextlib.suppress(BlockingIOError):
                while sender.send(b"WATCHDOG=1"):
                    pass
        with supervisor(tmp_path, {**environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}) as running:
            os.kill(running.said("serving")["pid"], signal.SIGKILL)
            running.said("serving", times=2)
            assert running.stop() == 0
    finally:
        listening.close()
