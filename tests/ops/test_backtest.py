"""`evenkeel watchwords backtest` as it is asked and answered: with a service, without one, and without a database."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from moderation.types import Role
from ops.doctor import look
from server.actions.accounts import create_staff
from server.actions.wordlists import proposals
from server.actions.wordlists.documents import Change, Kind, shipped
from server.admin.place import operator_name, socket_place
from server.auth.requester import Requester
from server.ids import new_id
from server.main import open_services
from server.settings import Settings, load_settings
from server.store.schema import audit
from tests.serve.support import evenkeel, served, until
from tests.servers import run_apart

# Lists are compiled by one process after the other.
pytestmark = pytest.mark.timeout(240)

# Found in several harmless messages of the corpus, and in too few to be refused as too broad.
ENTRY = """
id = "c-bus"
category = "C"
level = 2
phrases = ["on the bus"]
reason = "For a test: harmless words."
source = "Written for this test"
match = ["i sat on the bus"]
"""


async def propose(settings: Settings) -> str:
    async with open_services(settings) as services:
        await services.lists.start()
        account = await create_staff(services, "Ben", Role.MODERATOR, "three quiet green boats")
        who = Requester(account, "Ben", Role.MODERATOR, "")
        change = Change(Kind.ADD, "crisis", text=ENTRY)
        return await proposals.propose(services, who, "test-00000001", change, "Heard in rooms.", new_id())


def test_a_proposal_is_tried_by_the_running_service_or_here(tmp_path: Path) -> None:
    """Counts of the corpus, and of stored messages by the service; the audit names the operator either way."""
    assert evenkeel(tmp_path, "init", "--json").returncode == 0
    settings = load_settings(database_url=f"sqlite:///{tmp_path / 'e.db'}", key_file=tmp_path / "e.key")
    version = run_apart(lambda: propose(settings))
    here = evenkeel(tmp_path, "watchwords", "backtest", "--corpus", "--json")
    assert here.returncode == 0, here.stderr
    with served(tmp_path) as running:
        until(socket_place(settings).exists, "an admin socket")
        there = evenkeel(tmp_path, "watchwords", "backtest", version, "--days", "7")
        assert running.stop() == 0
    first = json.loads(here.stdout)
    assert (first["version"], first["state"], first["lost"]) == (version, "done", 0)
    assert first["new"] >= 6
    assert first["done"] == first["total"] > 4000
    assert there.returncode == 0, there.stderr
    assert "workload: too few messages to say" in there.stdout

    asked = run_apart(
        lambda: look(settings, lambda conn: conn.execute(audit.select().where(audit.c.act == "words_trial")).all())
    )
    me = operator_name(os.geteuid())
    assert [(row.actor, row.detail) for row in asked] == [(me, "corpus"), (me, "stored 7")]


def test_lists_in_a_folder_are_tried_without_any_service(tmp_path: Path) -> None:
    """One list in another wording, on the corpus: what it loses is counted, and a bad one is told with its line."""
    head, *entries = shipped()["overdose"].split("\n[[entry]]\n")
    path = tmp_path / "overdose.toml"
    path.write_text("\n[[entry]]\n".join([head, *entries[:1]]), encoding="utf-8")
    answer = evenkeel(tmp_path, "watchwords", "backtest", "--lists", str(path), "--json")
    assert answer.returncode == 0, answer.stderr
    figures = json.loads(answer.stdout)
    assert figures["lost"] > 20
    assert figures["forecast"] is None
    path.write_text(head + "\n[[entry]]\nid = 7\n", encoding="utf-8")
    bad = evenkeel(tmp_path, "watchwords", "backtest", "--lists", str(path))
    assert bad.returncode == 2
    assert "overdose.toml:" in bad.stderr
