"""The program: set up, run, refuse and answer in the way that an operator or a script can use."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from server.store.migrate import DEMO, prepare_database
from tests.serve.support import ROOT, evenkeel, served
from tests.servers import run_apart

pytestmark = pytest.mark.timeout(120)


def test_a_new_service_is_set_up_and_found_well(tmp_path: Path) -> None:
    """`init` makes a key that is its owner's alone, a database and the first people; then `doctor` finds all well."""
    before = evenkeel(tmp_path, "doctor", "--json")
    assert before.returncode == 1
    missing = {check["name"]: check for check in json.loads(before.stdout)["checks"] if not check["ok"]}
    assert {"key", "database", "people to call"} <= missing.keys()
    assert "evenkeel init" in missing["key"]["do"]

    made = evenkeel(tmp_path, "init", "--admin", "Ada Lark", "--moderator", "Morgan", "--json")
    assert made.returncode == 0, made.stderr
    people = json.loads(made.stdout)["people"]
    assert [person["role"] for person in people] == ["admin", "moderator"]
    assert len({person["password"] for person in people}) == 2
    assert stat.S_IMODE((tmp_path / "e.key").stat().st_mode) == 0o600

    after = evenkeel(tmp_path, "doctor", "--json")
    assert after.returncode == 0, after.stdout
    on_duty = evenkeel(tmp_path, "shift", "add", "--name", "Morgan", "--hours", "2", "--json")
    assert on_duty.returncode == 0, on_duty.stderr
    again = evenkeel(tmp_path, "init", "--json")
    assert json.loads(again.stdout)["key_made"] is False


def test_the_rota_is_shown_at_any_moment_and_its_gaps_end_with_1(tmp_path: Path) -> None:
    """`rota show` tells who is on now and who will be then; `rota gaps` ends with 1 while a warning has come."""
    assert evenkeel(tmp_path, "init", "--admin", "Ada Lark", "--moderator", "Morgan", "--json").returncode == 0
    added = json.loads(evenkeel(tmp_path, "shift", "add", "--name", "Morgan", "--hours", "2", "--json").stdout)
    shown = json.loads(evenkeel(tmp_path, "rota", "show", "--json").stdout)
    assert [(one["name"], one["role"], one["begun"]) for one in shown["running"]] == [("Morgan", "moderator", True)]
    after = evenkeel(tmp_path, "rota", "show", "--at", added["ends_at"])
    assert (after.returncode, "nobody" in after.stdout) == (0, True)
    gaps = evenkeel(tmp_path, "rota", "gaps", "--json")
    assert gaps.returncode == 1
    found = json.loads(gaps.stdout)["gaps"]
    assert {(one["role"], one["lack"], one["within_h"]) for one in found} == {
        (role, "nobody", 2) for role in ("moderator", "clinician", "clinical_lead")
    }
    naive = evenkeel(tmp_path, "rota", "show", "--at", "2026-12-01T09:00", "--json")
    assert (naive.returncode, json.loads(naive.stdout)["field"]) == (2, "at")


def test_serve_refuses_in_one_line(tmp_path: Path) -> None:
    """Without a key, on an open address, or on a demonstration's database, `serve` says what to do and ends with 2."""
    for arguments, url, word in (
        (["serve"], None, "evenkeel init"),
        (["serve", "--host", "0.0.0.0"], None, "loopback"),
    ):
        refused = evenkeel(tmp_path, *arguments, url=url)
        assert refused.returncode == 2
        assert word in refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1
    demo = f"sqlite:///{tmp_path / 'demo.db'}"
    assert evenkeel(tmp_path, "init", "--json").returncode == 0
    run_apart(lambda: prepare_database(demo, DEMO))
    refused = evenkeel(tmp_path, "serve", "--json", url=demo)
    assert refused.returncode == 2
    assert json.loads(refused.stdout)["error"] == "wrong_kind"


def test_a_real_service_is_served_and_stopped(tmp_path: Path) -> None:
    """`serve` becomes the supervisor in the same process, serves, and stops in order when it is told to."""
    assert evenkeel(tmp_path, "init", "--admin", "Ada Lark", "--json").returncode == 0
    with served(tmp_path) as serving:
        assert serving.port
        assert serving.stop() == 0


def test_the_base_install_says_what_is_missing(tmp_path: Path) -> None:
    """Without the server's packages the program names the extra to install, and shows no traceback."""
    blocker = "import sys; sys.modules['typer'] = None; from ops.cli import main; main()"
    said = subprocess.run(
        [sys.executable, "-c", blocker], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert said.returncode == 2
    assert "evenkeel[server]" in said.stderr
    assert "Traceback" not in said.stderr


def test_a_text_is_screened_without_being_kept(tmp_path: Path) -> None:
    """`watchwords screen` gives the verdict that a message would get."""
    clean = evenkeel(tmp_path, "watchwords", "screen", "the beans have come up", "--json")
    assert json.loads(clean.stdout) | {"lists": ""} == {
        "level": 0,
        "disposition": "publish",
        "complete": True,
        "lists": "",
        "findings": [],
    }
    urgent = json.loads(
        evenkeel(tmp_path, "watchwords", "screen", "I am going to kill myself tonight", "--json").stdout
    )
    assert urgent["level"] == 3
    assert urgent["findings"]


def test_the_figures_of_the_filter_are_asked_for_from_outside(tmp_path: Path) -> None:
    """`watchwords quality` reads the database beside the service; of nothing read it claims nothing."""
    assert evenkeel(tmp_path, "init", "--json").returncode == 0
    told = evenkeel(tmp_path, "watchwords", "quality", "--from", "2026-01-01", "--to", "2026-02-01", "--json")
    assert told.returncode == 0, told.stderr
    facts = json.loads(told.stdout)
    assert (facts["from"], facts["messages"], facts["sensitivity"]["value"]) == ("2026-01-01T00:00:00+00:00", 0, None)
    refused = evenkeel(tmp_path, "watchwords", "quality", "--from", "2026-02-01", "--to", "2026-01-01", "--json")
    assert json.loads(refused.stdout)["field"] == "to"
