"""The operator's commands while the service runs: through its admin socket, with the same checks and the same audit."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import signal
import socket
import stat
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from ops.admin import ask_service
from ops.doctor import look
from server.actions.operating import AddedPerson
from server.actions.services import Services
from server.admin.commands import AddPerson
from server.admin.listener import LONGEST, answering
from server.admin.place import operator_name, socket_place
from server.errors import ServiceError
from server.main import open_services
from server.settings import load_settings, make_key
from server.store.migrate import TEST, prepare_database
from server.store.schema import account, audit, rota_row
from tests import harness
from tests.serve.support import evenkeel, served, until
from tests.servers import PostgresServer, run_apart

pytestmark = pytest.mark.timeout(120)

ME = operator_name(os.geteuid())


def sign_in(port: int, name: str, password: str) -> dict[str, Any]:
    body = json.dumps({"pseudonym": name, "password": password}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/sign-in", body, {"Content-Type": "application/json", "Accept": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        said: dict[str, Any] = json.load(answer)
        return said


def acts(conn: Connection) -> list[tuple[str, str | None, str]]:
    """Who did what to whom by command, in no order."""
    rows = conn.execute(
        select(audit.c.act, audit.c.actor, account.c.name)
        .join(account, account.c.id == audit.c.subject)
        .where(audit.c.act.in_(["create_staff", "add_shift"]))
    )
    return sorted((row.act, row.actor, row.name) for row in rows)


def test_a_running_service_takes_on_people_and_shifts(tmp_path: Path, database_url: str) -> None:
    """While `serve` runs, `user add` and `shift add` work, the person signs in, and the audit names the operator."""
    assert evenkeel(tmp_path, "init", "--admin", "Ada Lark", "--json", url=database_url).returncode == 0
    settings = load_settings(database_url=database_url, key_file=tmp_path / "e.key")
    with served(tmp_path, database_url) as running:
        port = running.port
        until(socket_place(settings).exists, "an admin socket")
        assert stat.S_IMODE(socket_place(settings).stat().st_mode) == 0o600
        added = evenkeel(tmp_path, "user", "add", "--role", "moderator", "--name", "Morgan", "--json", url=database_url)
        assert added.returncode == 0, added.stdout + added.stderr
        duty = evenkeel(tmp_path, "shift", "add", "--name", "Morgan", "--hours", "2", "--json", url=database_url)
        assert duty.returncode == 0, duty.stdout + duty.stderr
        shown = evenkeel(tmp_path, "rota", "show", "--json", url=database_url)
        assert [one["name"] for one in json.loads(shown.stdout)["running"]] == ["Morgan"]
        signed_in = sign_in(port, "Morgan", json.loads(added.stdout)["password"])
        assert signed_in["account"]["role"] == "moderator"
        refused = evenkeel(
            tmp_path, "user", "add", "--role", "moderator", "--name", "morgan", "--json", url=database_url
        )
        assert refused.returncode == 2
        assert json.loads(refused.stdout)["error"] == "name_not_available"
        assert running.stop() == 0
    assert not socket_place(settings).exists()
    after = evenkeel(tmp_path, "shift", "add", "--name", "Ada Lark", "--hours", "1", url=database_url)
    assert after.returncode == 0, after.stderr
    found = run_apart(lambda: look(settings, acts))
    assert found == [
        ("add_shift", ME, "Ada Lark"),
        ("add_shift", ME, "Morgan"),
        ("create_staff", ME, "Ada Lark"),
        ("create_staff", ME, "Morgan"),
    ]
    on_duty = run_apart(lambda: look(settings, lambda conn: len(conn.execute(select(rota_row.c.id)).all())))
    assert on_duty == 2


def test_a_killed_worker_leaves_no_door_shut(tmp_path: Path) -> None:
    """The socket that a killed worker leaves behind is taken over by the next one."""
    assert evenkeel(tmp_path, "init", "--json").returncode == 0
    with served(tmp_path) as running:
        first = running.said("serving")
        until((tmp_path / "e.db.admin").exists, "an admin socket")
        os.kill(first["pid"], signal.SIGKILL)
        running.said("serving", times=2)
        added = evenkeel(tmp_path, "user", "add", "--role", "clinician", "--name", "Hughes", "--json")
        assert added.returncode == 0, added.stdout + added.stderr
        assert running.stop() == 0


# --- what is refused, on a socket in this process ---------------------------------------------------------------------


async def place_of(services: Services) -> Path:
    """Where the socket is, as soon as it is there."""
    place = socket_place(services.settings)
    await asyncio.to_thread(until, place.is_socket, "an admin socket")
    return place


async def told(place: Path, line: bytes) -> dict[str, Any]:
    """What is answered to a line of bytes."""
    reader, writer = await asyncio.open_unix_connection(place)
    try:
        writer.write(line)
        await writer.drain()
        said: dict[str, Any] = json.loads(await reader.readline())
        return said
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"hello\n", "bad_request"),
        (b"\xff\xfe\n", "bad_request"),
        (b"[" * 3_000 + b"\n", "bad_request"),
        (b'{"kind":"test","command":{"t":"drop_everything"}}\n', "bad_request"),
        (b'{"kind":"test","command":{"t":"add_person","role":"admin","name":"N","password":"x"}}\n', "bad_request"),
        (b'{"kind":"test","command":{"t":"add_person","role":"member","name":"Rowan"}}\n', "bad_request"),
        (b'{"kind":"production","command":{"t":"add_person","role":"moderator","name":"Rowan"}}\n', "wrong_kind"),
        (b'{"kind":"test","command":{"t":"add_shift","name":"Nobody Known","hours":2}}\n', "not_found"),
        (b'{"kind":"test","command":{"t":"add_shift","name":"Nobody Known","hours":1e300}}\n', "bad_request"),
        (
            b'{"kind":"test","command":{"t":"add_shift","name":"N","hours":2,"starts_at":"2026-12-01T09:00:00"}}\n',
            "bad_request",
        ),
        (b"x" * (2 * LONGEST), "too_long"),
        (b"", "too_slow"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_what_is_no_command_is_refused_by_name(services: Services, line: bytes, code: str) -> None:
    """Garbage, an unknown command, another kind of service, too long or too slow a line: a clear refusal each."""
    async with answering(services, read_s=0.3 if code == "too_slow" else 20.0):
        said = await told(await place_of(services), line)
    assert said["code"] == code
    assert said["message"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_another_account_is_not_listened_to(services: Services, tmp_path: Path) -> None:
    """Whoever connects without being the service's own account is refused before a word is read."""
    async with answering(services, users={os.geteuid() + 1}):
        place = await place_of(services)
        assert (await told(place, b""))["code"] == "not_the_operator"
        with pytest.raises(ServiceError) as refusal:
            await ask_service(services.settings, AddPerson("moderator", "Rowan"), AddedPerson)
        assert refusal.value.error_code == "not_the_operator"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_socket_open_to_others_is_given_no_command(services: Services) -> None:
    """A socket of the wrong mode, or a file in its place, is not trusted with a command; a stranger's file stays."""
    async with answering(services):
        place = await place_of(services)
        place.chmod(0o666)
        with pytest.raises(ServiceError) as refusal:
            await ask_service(services.settings, AddPerson("moderator", "Rowan"), AddedPerson)
        assert refusal.value.error_code == "unsafe_socket"
    place.write_text("not ours")
    place.chmod(0o600)
    async with answering(services):
        with pytest.raises(ServiceError) as refusal:
            await ask_service(services.settings, AddPerson("moderator", "Rowan"), AddedPerson)
        assert refusal.value.error_code == "unsafe_socket"
    assert place.read_text() == "not ours"


async def test_without_a_service_there_is_no_answer(tmp_path: Path) -> None:
    """Where no service runs, or one was killed and left its socket, the command is told so and is carried out here."""
    settings = load_settings(database_url=f"sqlite:///{tmp_path / 'e.db'}", key_file=tmp_path / "e.key", kind=TEST)
    assert await ask_service(settings, AddPerson("moderator", "Rowan"), AddedPerson) is None
    place = socket_place(settings)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(place))
        place.chmod(0o600)
    assert await ask_service(settings, AddPerson("moderator", "Rowan"), AddedPerson) is None


async def test_a_deep_folder_is_no_hindrance(tmp_path: Path) -> None:
    """A database may lie deeper than a socket's address is long."""
    folder = tmp_path / ("d" * 60) / ("e" * 60)
    folder.mkdir(parents=True)
    url = f"sqlite:///{folder / 'e.db'}"
    make_key(folder / "e.key")
    await prepare_database(url, TEST)
    settings = load_settings(
        database_url=url, key_file=folder / "e.key", kind=TEST, argon2_memory_kib=8, argon2_passes=1
    )
    async with open_services(settings) as services, answering(services):
        await place_of(services)
        made = await ask_service(settings, AddPerson("moderator", "Rowan"), AddedPerson)
    assert made is not None
    assert made.role == "moderator"


async def test_one_of_several_workers_answers_and_another_takes_over(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    """Over PostgreSQL any worker may answer; when the one that does ends, the next one takes the socket."""
    url = postgres_server.create_database(harness.postgres_template(postgres_server))
    try:
        place = tmp_path / "admin"
        async with (
            harness.open_services(url, admin_socket=place) as one,
            harness.open_services(url, admin_socket=place) as other,
        ):
            async with answering(one):
                await place_of(one)
                second = answering(other)
                await second.__aenter__()
                first = await ask_service(one.settings, AddPerson("moderator", "Rowan"), AddedPerson)
            try:
                await place_of(other)
                taken = await ask_service(other.settings, AddPerson("moderator", "Fern"), AddedPerson)
            finally:
                await second.__aexit__(None, None, None)
        assert first is not None
        assert taken is not None
    finally:
        postgres_server.drop_database(url)


def test_an_operator_has_a_name_that_fits() -> None:
    """Audit rows name the account, or its number where it has no name."""
    assert operator_name(os.geteuid()) == f"operator:{pwd.getpwuid(os.geteuid()).pw_name}"
    assert operator_name(4_000_000_000) == "operator:4000000000"
