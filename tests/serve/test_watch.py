"""The watch from another machine: what lasts is raised, louder with time, and said to be over; its silence shows."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ops.watch import AGAIN_S, Limits, Look, State, Watcher, check_url
from server.errors import BadRequest
from server.supervisor.alarm import Alarm
from tests.serve.support import ROOT, evenkeel, served, until

pytestmark = pytest.mark.timeout(120)
TOKEN = "a token of the watch, for tests"


class Heard:
    """Gives a watcher one look after the other, each so many seconds after the one before, and reads what it says."""

    def __init__(self, capfd: pytest.CaptureFixture[str], limits: Limits | None = None) -> None:
        self._watcher = Watcher(Alarm(), limits or Limits())
        self._capfd, self._now = capfd, 0.0

    def __call__(self, state: State, times: int = 1, step_s: float = 5.0) -> list[tuple[float, str, dict[str, Any]]]:
        """(when, event, facts) of everything that was said."""
        said = []
        for _ in range(times):
            self._watcher.judge(Look(state), self._now)
            for line in self._capfd.readouterr().err.splitlines():
                facts = json.loads(line)
                said.append((self._now, facts["event"], facts))
            self._now += step_s
        return said


def test_silence_is_raised_within_a_minute_and_louder_with_time(capfd: pytest.CaptureFixture[str]) -> None:
    """A service that says nothing is raised after twenty seconds, then at shorter intervals; its end is said too."""
    heard = Heard(capfd)
    assert heard(State.WELL, 5) == []
    said = heard(State.SILENT, 60)
    assert {event for _, event, _ in said} == {"service_silent"}
    times = [when - 25.0 for when, _, _ in said]
    assert times[0] == 20.0
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps[:4] == [*AGAIN_S, AGAIN_S[-1]]
    assert [facts["times"] for _, _, facts in said] == list(range(1, len(said) + 1))
    assert [event for _, event, _ in heard(State.WELL, 6)] == ["service_well_again"]


def test_every_second_look_that_fails_is_not_well(capfd: pytest.CaptureFixture[str]) -> None:
    """One of two workers that stands still is raised, though the other one answers in between."""
    heard = Heard(capfd)
    said = [line for _ in range(6) for line in heard(State.SILENT) + heard(State.WELL)]
    assert [event for _, event, _ in said] == ["service_silent"]
    assert [event for _, event, _ in heard(State.WELL, 3)] == ["service_well_again"]


def test_a_short_restart_is_not_raised_and_what_is_overdue_is_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    """Ten seconds of silence are a restart; an overdue obligation has been waited for, also in other trouble."""
    heard = Heard(capfd)
    assert heard(State.SILENT, 2) + heard(State.WELL, 4) == []
    assert [event for _, event, _ in heard(State.OVERDUE)] == ["obligation_overdue"]
    assert heard(State.UNREADY, 3) == []
    assert [event for _, event, _ in heard(State.UNREADY)] == ["service_unready"]


def lines(log: Path, event: str) -> Callable[[], list[dict[str, Any]]]:
    def find() -> list[dict[str, Any]]:
        said = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        return [line for line in said if line["event"] == event]

    return find


def test_a_machine_that_stands_still_is_raised_and_said_well_again(tmp_path: Path) -> None:
    """Worker and supervisor frozen: the operator's command is run; thawed, it is told so; the watch shows its life."""
    assert evenkeel(tmp_path, "init", "--json").returncode == 0
    log, told, beat = tmp_path / "watch.log", tmp_path / "told", tmp_path / "beat"
    script = "import os, sys; open(sys.argv[1], 'a').write(os.environ['EVENKEEL_ALARM'] + ' ')"
    with served(tmp_path, environ={"EVENKEEL_WATCH_TOKEN": TOKEN}) as running:
        pids = (running.process.pid, running.said("serving")["pid"])
        url = f"http://127.0.0.1:{running.port}"
        command = [sys.executable, "-m", "ops.cli", "watch", url, "--every=0.2", "--after=1", f"--beat-file={beat}"]
        command.append(f'--run="{sys.executable}" -c "{script}" "{told}"')
        with log.open("wb") as sink:
            watching = subprocess.Popen(
                command, cwd=ROOT, stderr=sink, env={**os.environ, "EVENKEEL_WATCH_TOKEN": TOKEN}
            )
        try:
            until(beat.exists, "a beat")
            assert lines(log, "watching")()[0]["sees_overdue"] == 1
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            until(lines(log, "service_silent"), "silence was raised")
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            until(lines(log, "service_well_again"), "it was said to be well again")
            watching.terminate()
            assert watching.wait(20) == 0
        finally:
            watching.kill()
            watching.wait()
        once = evenkeel(tmp_path, "watch", url, "--once", "--json")
        assert (once.returncode, json.loads(once.stdout)["state"]) == (0, "service_well")
        assert running.stop() == 0
    assert told.read_text().split() == ["service_silent", "service_well_again"]
    gone = evenkeel(tmp_path, "watch", url, "--every=0.1", "--after=0", "--exit")
    assert gone.returncode == 1
    assert "service_silent" in gone.stderr


@pytest.mark.parametrize("url", ["ftp://chat.example.org", "chat.example.org", "https://", "http://127.0.0.1:1/?q=1"])
def test_only_an_address_of_the_web_is_watched(url: str) -> None:
    """Anything but http or https with a host and no query is refused before the watch begins."""
    with pytest.raises(BadRequest):
        check_url(url)
