"""`evenkeel replay`: a case by the command line, beside a running service and without one, and its signed export."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from sqlalchemy import select

from ops.replay import export, is_export, replay, signature_of, verify_export
from server.actions.escalation import climb
from server.errors import BadRequest, NotFound, Refused
from server.settings import Settings
from server.store.schema import account
from server.store.seals import AuditKey
from tests import harness
from tests.path.scene import URGENT, make_scene, on_shift
from tests.serve.support import evenkeel

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def looked_back(tmp_path: Path, database_url: str) -> tuple[Settings, str, list[str]]:
    """The settings of a service that was stopped, its one case, and the names of everybody in it."""
    if database_url.startswith("sqlite"):
        harness.copy_sqlite_template(tmp_path / "evenkeel.db")
    else:
        await harness.prepare_database(database_url, "test")
    key = tmp_path / "e.key"
    key.touch(mode=0o600)
    key.write_bytes(harness.WRAPPING_KEY)
    async with harness.open_services(database_url) as services:
        scene = await make_scene(services)
        await on_shift(services, scene.sam)
        await scene.say(scene.robin, URGENT)
        await climb(services)
        (case,) = await scene.queue()
        await scene.act(scene.sam, case, "claim")
        await scene.act(scene.sam, case, "reply", body="Hello, this is somebody who reads.")
        names = list(await services.store.read(lambda conn: conn.execute(select(account.c.name)).scalars()))
    settings = Settings.model_validate({"database_url": database_url, "key_file": key, "kind": "test"})
    return settings, case.id, names


async def test_an_operator_replays_by_ids_alone_and_it_is_recorded(
    looked_back: tuple[Settings, str, list[str]],
) -> None:
    """The replay holds no word and no name of anybody, and the audit says who asked for it."""
    settings, case, names = looked_back
    found = await asyncio.to_thread(replay, settings, case)
    assert found.names == found.bodies == found.words == {}
    assert not any(name in repr(found) for name in (*names, URGENT))
    async with harness.open_services(settings.database_url) as services:
        ((actor, subject, how),) = await harness.audited(services, "case_replayed")
    assert (actor or "").startswith("operator:")
    assert (subject, how) == (case, "command")
    with pytest.raises(NotFound):
        await asyncio.to_thread(replay, settings, "01M00000000000000000000000")


async def test_an_export_is_checked_by_its_signature_its_head_and_itself(
    looked_back: tuple[Settings, str, list[str]], tmp_path: Path
) -> None:
    """What was exported holds; with any part of it changed, or by another key, it does not."""
    settings, case, names = looked_back
    place = tmp_path / "case.json"
    await asyncio.to_thread(export, settings, case, place)
    public = AuditKey(harness.WRAPPING_KEY).public
    assert is_export(place)
    assert verify_export(place, public).faults == ()
    text = place.read_text()
    assert not any(f'"{name}"' in text for name in names)
    assert URGENT not in text
    said = json.loads(text)
    assert said["audit_head"] is not None
    assert len(verify_export(place, AuditKey(bytes(32)).public).faults) == 2
    place.write_text(text.replace(case, case[::-1], 1))
    assert len(verify_export(place, public).faults) == 1
    said["states"][-1]["case"]["owner"] = None
    place.write_text(json.dumps(said))
    assert any("does not follow" in fault for fault in verify_export(place, public).faults)
    said["events"][0]["event"] = "nothing"
    place.write_text(json.dumps(said))
    assert verify_export(place, public).faults
    with pytest.raises(Refused):
        await asyncio.to_thread(export, settings, case, place)
    signature_of(place).unlink()
    with pytest.raises(BadRequest):
        verify_export(place, public)


def test_the_command_says_what_was_known(tmp_path: Path) -> None:
    """By the command line: an unknown case, a wrong instant and a file that is there are one line and status 2."""
    assert evenkeel(tmp_path, "init", "--admin", "Ada Lark").returncode == 0
    (tmp_path / "there.json").write_text("{}")
    for arguments in (["X"], ["X", "--at", "noon"], ["X", "--export", str(tmp_path / "there.json")]):
        refused = evenkeel(tmp_path, "replay", *arguments, "--json")
        assert refused.returncode == 2, refused.stderr
        assert json.loads(refused.stdout)["message"]
