"""`evenkeel audit`: verify, head and export, beside a running service and without one."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from ops.audit import export_audit, verify_database, verify_file
from server.settings import load_settings
from server.store.audit import PUBLISHED
from tests.serve.support import evenkeel, served, until

pytestmark = pytest.mark.timeout(120)


def test_the_audit_of_a_running_service_is_verified_signed_and_exported(tmp_path: Path, database_url: str) -> None:
    """Beside `serve`: a head at the start, another by command, a check of the database and of a file, all sound."""
    assert evenkeel(tmp_path, "init", "--admin", "Ada Lark", url=database_url).returncode == 0
    heads = tmp_path / "e.heads"
    with served(tmp_path, database_url) as running:
        until(lambda: heads.is_dir() and list(heads.glob("audit-head-000001-*.json")), "a head at the start")
        signed = evenkeel(tmp_path, "audit", "head", "--json", url=database_url)
        assert signed.returncode == 0, signed.stderr
        assert json.loads(signed.stdout)["n"] == 2
        beside = evenkeel(tmp_path, "audit", "verify", "--json", url=database_url)
        assert beside.returncode == 0, beside.stdout + beside.stderr
        exported = evenkeel(tmp_path, "audit", "export", str(tmp_path / "audit.jsonl"), "--json", url=database_url)
        assert exported.returncode == 0, exported.stderr
        assert running.stop() == 0
    found = json.loads(beside.stdout)
    assert (found["ok"], found["heads"], found["published"], found["breaks"]) == (True, 2, 2, [])
    alone = evenkeel(tmp_path, "audit", "verify", url=database_url)
    assert alone.returncode == 0
    assert "Every row, link, seal and head holds." in alone.stdout
    elsewhere = evenkeel(
        tmp_path,
        "audit",
        "verify",
        str(tmp_path / "audit.jsonl"),
        "--key",
        found["key"],
        "--json",
        url="sqlite:///none",
    )
    assert elsewhere.returncode == 0, elsewhere.stdout + elsewhere.stderr
    assert json.loads(elsewhere.stdout)["rows"] == json.loads(exported.stdout)["rows"]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a service on SQLite with a head, which is stopped."""
    folder = tmp_path_factory.mktemp("stopped")
    assert evenkeel(folder, "init", "--admin", "Ada Lark").returncode == 0
    assert evenkeel(folder, "audit", "head").returncode == 0
    return folder


@pytest.fixture
def served_once(stopped: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoilt."""
    return Path(shutil.copytree(stopped, tmp_path / "service"))


def test_a_broken_audit_is_said_with_its_place_and_what_to_do(served_once: Path) -> None:
    """A row changed on the disk ends the check with 1, names the place and says what comes next."""
    with sqlite3.connect(served_once / "e.db") as raw:
        (writer,) = raw.execute("SELECT writer FROM audit WHERE act = 'create_staff'").fetchone()
        raw.execute("UPDATE audit SET detail = 'moderator' WHERE act = 'create_staff'")
    raw.close()
    found = evenkeel(served_once, "audit", "verify")
    assert found.returncode == 1
    assert f"First broken place: chain {writer}, 1, from the beginning" in found.stdout
    assert "Change nothing." in found.stdout
    told = evenkeel(served_once, "audit", "verify", "--json")
    assert told.returncode == 1
    assert json.loads(told.stdout)["breaks"][0] == {"chain": writer, "n": 1, "what": "hash", "sound_until": None}


def test_a_copy_of_the_heads_kept_elsewhere_shows_a_database_that_was_set_back(served_once: Path) -> None:
    """Who replaces the database and its folder of heads by older ones does not reach the copy that is elsewhere."""
    settings = load_settings(database_url=f"sqlite:///{served_once / 'e.db'}", key_file=served_once / "e.key")
    older = served_once / "older.db"
    shutil.copyfile(served_once / "e.db", older)
    assert evenkeel(served_once, "audit", "head").returncode == 0
    kept = served_once / "kept elsewhere"
    shutil.copytree(served_once / "e.heads", kept)
    shutil.copyfile(older, served_once / "e.db")
    shutil.rmtree(served_once / "e.heads")
    assert verify_database(settings, None).report.breaks == ()
    (found,) = verify_database(settings, kept).report.breaks
    assert (found.writer, found.n, found.what) == (PUBLISHED, 2, "unknown")


def test_a_file_that_was_changed_or_cut_does_not_hold(served_once: Path) -> None:
    """Any line of an exported audit changed, taken out or put in is found, and so is a file that ends early."""
    settings = load_settings(database_url=f"sqlite:///{served_once / 'e.db'}", key_file=served_once / "e.key")
    place, changed = served_once / "a.jsonl", served_once / "changed.jsonl"
    export_audit(settings, place)
    public = verify_file(place, None, None).key
    lines = place.read_text().splitlines(keepends=True)
    assert verify_file(place, public, None).report.breaks == ()
    for n in range(1, len(lines)):
        for made in (
            lines[:n] + lines[n + 1 :],
            [*lines[:n], lines[n], *lines[n:]],
            lines[:n],
            [
                *lines[:n],
                lines[n].replace("create_staff", "create_stuff").replace('"heads":1', '"heads":2'),
                *lines[n + 1 :],
            ],
        ):
            if made == lines:
                continue
            changed.write_text("".join(made))
            assert verify_file(changed, public, None).report.breaks, (n, len(made))


def test_a_file_that_is_no_audit_is_refused_plainly(tmp_path: Path) -> None:
    """Another file, none, or a key that is none is one line and status 2."""
    other = tmp_path / "other.json"
    other.write_text("{}")
    for arguments in ([str(other)], [str(tmp_path / "none")], [str(other), "--key", "xyz"]):
        refused = evenkeel(tmp_path, "audit", "verify", *arguments, "--json")
        assert refused.returncode == 2
        assert json.loads(refused.stdout)["message"]
