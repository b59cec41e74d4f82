"""Nothing that anybody wrote, is called or proves themselves with is in a log line, an error or a number (item 33)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import structlog

from clients.sdk import Client
from clients.sdk.errors import CommandRefused
from moderation.types import Role, RoomKind
from server.actions.rooms import make_room
from server.errors import Unavailable
from server.ids import new_id
from server.protocol.frames import CaseItem
from tests import harness
from tests.harness import Edge, registered, staff_signed_in
from tests.live.support import masked
from tests.path.scene import URGENT, on_shift
from tests.security.support import raw_socket

# Letters only, so that a name may hold one; none of them is a word.
CANARIES = {
    name: f"zqx{name}vk"
    for name in (
        "message", "urgent", "edit", "report", "help", "note", "reply", "pseudonym", "wrongname", "password",
        "wrongpassword", "cookie", "bearer", "query", "field", "clientid", "feed", "broken", "failing", "forwarded",
    )
}  # fmt: skip


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Everything logged, through structlog as the worker prints it, by every library at DEBUG, and on both outputs."""
    lines: list[str] = []

    class Keep:
        def msg(self, message: str) -> None:
            lines.append(message)

        log = debug = info = warning = warn = error = critical = fatal = exception = msg

    before = structlog.get_config()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=lambda *args: Keep(),
        cache_logger_on_first_use=False,
    )
    with caplog.at_level(logging.DEBUG):
        for name in ("uvicorn.error", "uvicorn.access", "uvicorn", "websockets", "asyncio"):
            logging.getLogger(name).setLevel(logging.DEBUG)
        yield lines
        for name in ("uvicorn.error", "uvicorn.access", "uvicorn", "websockets", "asyncio"):
            logging.getLogger(name).setLevel(logging.NOTSET)
    structlog.configure(**before)


async def talk(edge: Edge, secrets: list[str]) -> None:
    """A member and a moderator say everything that can be said; all of it is refused or carried out as usual."""
    services, c = edge.services, CANARIES
    feed = await make_room(services, RoomKind.COMMUNITY, "The porch", "Quiet talk")
    robin = await registered(services, c["pseudonym"])
    entered = await staff_signed_in(services, "Sam", Role.MODERATOR)
    await on_shift(services, entered.requester)
    secrets += [robin.token, entered.token, *robin.recovery_codes, harness.PASSWORD]
    async with Client(edge.url, token=robin.token) as member, Client(edge.url, token=entered.token) as sam:
        room = await member.join(feed)
        queue = await sam.join("staff:moderation")
        ack = await room.send(f"I baked bread today {c['message']}")
        await room.edit(ack.message, f"I baked bread today {c['edit']}")
        urgent = await room.send(f"{URGENT} {c['urgent']}")
        await member.help(c["help"])
        await (await sam.join(feed)).report(ack.message, "worried", c["report"])
        case = await anext(i async for i in queue.events() if isinstance(i, CaseItem))
        page = await sam.open_case(case.id)
        claimed = await sam.act(case.id, page.case.version, "claim")
        assert claimed.version is not None
        replied = await sam.act(case.id, claimed.version, "reply", body=f"Hello {c['reply']}")
        assert replied.version is not None
        released = await sam.act(case.id, replied.version, "release_message", message=urgent.message)
        assert released.version is not None
        await sam.act(case.id, released.version, "close", outcome="supported", body=c["note"])
        for refused in (member.act(case.id, 1, "claim"), room.edit(urgent.message, "a" * 10), room.edit(new_id(), "x")):
            try:
                await refused
            except CommandRefused:
                continue


async def go_wrong(edge: Edge, secrets: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is malformed, foreign, too much, or fails inside."""
    c = CANARIES
    robin = await registered(edge.services, "Robin")
    secrets.append(robin.token)
    async with httpx2.AsyncClient(base_url=edge.url, headers={"origin": edge.url}) as client:
        for fields in (
            {"pseudonym": c["wrongname"], "password": c["wrongpassword"]},
            {"pseudonym": c["wrongname"], "password": c["wrongpassword"], c["field"]: "x"},
        ):
            await client.post("/sign-in", data=fields)
            await client.post("/api/sign-in", json=fields)
        await client.post("/api/sign-in", content=f'{{"pseudonym": {c["broken"]}'.encode())
        await client.get("/rooms", headers={"cookie": f"evenkeel={c['cookie']}"})
        await client.get(f"/nowhere?{c['query']}={c['query']}")
        await client.get(f"/rooms/{c['feed']}", headers={"x-forwarded-for": c["forwarded"]})
        register = {
            "pseudonym": "Wren Two", "password": f"{c['password']} and more",
            "rules_version": edge.services.settings.rules_version, "client_id": c["clientid"],
        }  # fmt: skip
        assert (await client.post("/api/register", json=register)).status_code == 201
    async with httpx2.AsyncClient(base_url=edge.url) as program:
        program.headers["authorization"] = f"Bearer {c['bearer']}"
        await program.get("/api/rooms")
    async with raw_socket(edge, robin) as raw:
        raw.writer.write(masked(b"\x81" + c["broken"].encode()))
        await raw.hear()

    async def fail(*args: object, **more: object) -> None:
        raise RuntimeError(f"could not store {c['failing']} {args!r}")

    async def busy(*args: object, **more: object) -> None:
        raise Unavailable("Busy.") from RuntimeError(c["failing"])

    for broken in (fail, busy):
        monkeypatch.setattr("server.actions.dispatch.post_message", broken)
        async with Client(edge.url, token=robin.token) as member:
            feed = await make_room(edge.services, RoomKind.COMMUNITY, "The hall", "Quiet talk")
            room = await member.join(feed)
            with pytest.raises((CommandRefused, TimeoutError)):
                async with asyncio.timeout(0.5):  # a program tries again as long as it is told to
                    await room.send(f"{c['failing']} {c['message']}")


async def test_no_canary_is_in_a_log_an_output_or_a_number(
    database_url: str, tmp_path: Path, said: list[str], caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Twenty kinds of canary and every token, through use, refusals and failures at DEBUG, with the numbers read."""
    secrets: list[str] = []
    async with harness.serving(database_url) as edge:
        await talk(edge, secrets)
        await go_wrong(edge, secrets, monkeypatch)
        async with httpx2.AsyncClient(base_url=edge.url) as client:
            numbers = await client.get("/metrics")
            assert numbers.status_code == 200
    out, err = capfd.readouterr()
    # The test's own clients log what they send; the service uses none of these libraries' loggers.
    clients = ("httpx2", "httpcore2", "httpcore")
    ours = [record for record in caplog.records if record.name.split(".")[0] not in clients]
    logged = "\n".join(
        [*said, *(record.getMessage() + str(record.exc_text or "") for record in ours), out, err, numbers.text]
    )
    assert "command_failed" in logged  # the failure above was logged at all
    for canary in (*CANARIES.values(), *secrets):
        assert canary not in logged, logged[max(0, logged.find(canary) - 300) : logged.find(canary) + 60]
