"""A planned stop: refused while an urgent case is open and nobody else could call; then a drain like any other."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from ops.admin import ask_service
from server.actions.draining import Draining, allow_drain
from server.actions.services import Services
from server.admin.commands import Drain, Running
from server.admin.listener import answering
from server.admin.place import operator_name, socket_place
from server.errors import ServiceError
from server.store import standing
from tests import harness
from tests.path.scene import URGENT, make_scene
from tests.serve.support import evenkeel, served, until
from tests.servers import PostgresServer

pytestmark = pytest.mark.timeout(120)
LASTS = timedelta(seconds=60)


async def is_refused(services: Services, service: str, reason: str = "") -> str:
    """The code with which a planned stop is refused."""
    with pytest.raises(ServiceError) as refusal:
        await allow_drain(services, "operator:test", service, reason)
    return refusal.value.error_code


async def test_the_only_caller_is_not_stopped_under_an_urgent_case(services: Services, tmp_path: Path) -> None:
    """With an urgent case open a drain is refused and stops nothing; with a reason it is done, and in the audit."""
    stopped: list[str] = []
    settings = services.settings.model_copy(update={"admin_socket": tmp_path / "admin"})
    services.settings = settings
    async with answering(services, Running("one", lambda: stopped.append("one"))):
        await asyncio.to_thread(until, socket_place(settings).is_socket, "an admin socket")
        scene = await make_scene(services)
        await scene.say(scene.robin, URGENT)
        for reason, code in (("", "urgent_open"), ("Because I must", "bad_request")):
            with pytest.raises(ServiceError) as refusal:
                await ask_service(settings, Drain(reason), Draining)
            assert refusal.value.error_code == code
        assert stopped == []
        assert await ask_service(settings, Drain("change-2041"), Draining) == Draining(urgent=1, others=False)
        assert stopped == ["one"]
    assert await harness.audited(services, "drain") == [(operator_name(os.geteuid()), "one", "change-2041")]


async def test_beside_another_service_a_drain_is_free_but_not_for_the_last(postgres_server: PostgresServer) -> None:
    """While another service can call, one may be stopped under an urgent case; of two at once the second may not.

    Workers of one supervisor stop together, so that they are no company for each other.
    """
    url = postgres_server.create_database(harness.postgres_template(postgres_server))
    try:
        async with harness.open_services(url) as services:
            scene = await make_scene(services)
            await scene.say(scene.robin, URGENT)
            for process, service in (("a-0", "a"), ("a-1", "a")):
                await standing.stand(services.store, process, service, LASTS)
            assert await is_refused(services, "a") == "urgent_open"
            await standing.stand(services.store, "b-0", "b", LASTS)
            assert await allow_drain(services, "operator:test", "a", "") == Draining(urgent=1, others=True)
            await standing.stand(services.store, "a-0", "a", LASTS)
            assert await is_refused(services, "b") == "urgent_open"
            await standing.stand_down(services.store, "b-0")
            assert await is_refused(services, "c") == "urgent_open"
    finally:
        postgres_server.drop_database(url)


def test_the_command_ends_the_supervisor_in_order(tmp_path: Path) -> None:
    """`evenkeel drain` stops the whole service as SIGTERM does; without a service it says so."""
    assert evenkeel(tmp_path, "init", "--json").returncode == 0
    with served(tmp_path) as running:
        running.said("serving")
        until((tmp_path / "e.db.admin").exists, "an admin socket")
        done = evenkeel(tmp_path, "drain", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout) == {"urgent": 0, "others": False}
        assert running.process.wait(30) == 0
        assert running.said("stopped")["status"] == 0
    assert json.loads(evenkeel(tmp_path, "drain", "--json").stdout)["error"] == "not_running"
