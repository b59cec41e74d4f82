"""The parts of the Autobahn run that need no suite: the server that it is run against, and how a report is read."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from ops.torture.autobahn import read_report, run_suite
from ops.torture.campaigns import CAMPAIGNS
from ops.torture.echo import echo_server
from ops.torture.results import Ran, write_result
from server.errors import Misconfigured


async def test_the_server_of_the_suite_sends_back_what_it_gets() -> None:
    """Text as text, bytes as bytes, in any fragments; the port is open before the suite is started."""
    async with echo_server() as port, connect(f"ws://127.0.0.1:{port}/", compression=None) as socket:
        for message in ("a text", b"bytes", "x" * 65_536):
            await socket.send(message)
            assert await asyncio.wait_for(socket.recv(), 10) == message
        await socket.send(["in ", "three ", "parts"])
        assert await asyncio.wait_for(socket.recv(), 10) == "in three parts"


def test_a_report_is_read_strictly() -> None:
    """A case fails by what it did or by how it closed; strict, late and informational ones pass; none is no success."""
    cases = {
        "1.1.1": {"behavior": "OK", "behaviorClose": "OK"},
        "6.4.1": {"behavior": "NON-STRICT", "behaviorClose": "OK"},
        "7.1.6": {"behavior": "INFORMATIONAL", "behaviorClose": "INFORMATIONAL"},
    }
    assert read_report(json.dumps({"evenkeel": cases})).facts()["ok"]
    cases["7.1.5"] = {"behavior": "FAILED", "behaviorClose": "OK"}
    cases["10.1.1"] = {"behavior": "OK", "behaviorClose": "FAILED"}
    cases["2.1"] = {"behavior": "UNIMPLEMENTED", "behaviorClose": "OK"}
    run = read_report(json.dumps({"evenkeel": cases}))
    assert run.failed == ["2.1", "7.1.5", "10.1.1"]
    assert not run.facts()["ok"]
    assert not read_report("{}").facts()["ok"]


async def test_a_suite_that_does_not_run_is_no_green_run(tmp_path: Path) -> None:
    """A program that can not be started, or that leaves no report, is said in one line."""
    with pytest.raises(Misconfigured, match="can not be run"):
        await run_suite(tmp_path)
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\necho no module\n")
    silent.chmod(0o755)
    with pytest.raises(Misconfigured, match="no module"):
        await run_suite(silent)


async def test_a_suite_that_is_not_installed_is_not_said_to_be_green(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among all campaigns it is written down as not measured, and fails nobody's run."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("EVENKEEL_WSTEST", raising=False)
    facts = await CAMPAIGNS["autobahn"].run(tmp_path, 1, 7, lambda done, what: None)
    write_result(tmp_path / "RESULTS.md", "autobahn", facts, Ran("2026-11-23", 7, 1, None, 0.1, (0.0, 0.0)))
    written = (tmp_path / "RESULTS.md").read_text()
    assert "## autobahn: not measured" in written
    assert "every promise kept" not in written
    assert facts["ok"]
