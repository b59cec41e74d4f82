"""One id leads from an answer to the rows of the audit that it left, whichever way the request came in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, select

from moderation.types import Role, RoomKind
from server.actions.accounts import Registered
from server.actions.rooms import make_room
from server.protocol.frames import Ack, AnyCommand, Done, Help, Remove, Report, Send
from server.store.schema import audit
from tests.harness import PASSWORD, Edge, registered, staff_signed_in
from tests.path.scene import CLEAN, belong, client_id
from tests.security.support import Answer, answer_to, as_program, ask, host, raw_socket, request


async def trail(edge: Edge) -> Sequence[Row[Any]]:
    """(act, actor, subject kind, detail, request id) of what members have done, in order."""
    query = (
        select(audit.c.act, audit.c.actor, audit.c.subject_kind, audit.c.detail, audit.c.request_id)
        .where(audit.c.act.in_(["message_remove", "report", "help", "staff_sign_in"]))
        .order_by(audit.c.n)
    )
    return await edge.services.store.read(lambda conn: conn.execute(query).all())


async def command(edge: Edge, who: Registered, said: AnyCommand) -> Answer:
    body = msgspec.json.encode(said)
    own = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    return await answer_to(edge, request("POST /api/commands HTTP/1.1", [*as_program(edge, who.token), *own], body))


async def test_what_members_decide_leaves_a_row_under_the_id_of_its_answer(edge: Edge) -> None:
    """A removal, a report and a call for help are each in the audit with who did it, and no word of what was said."""
    feed = await make_room(edge.services, RoomKind.COMMUNITY, "The kitchen table", "Everyday talk")
    robin, wren = await registered(edge.services, "Robin"), await registered(edge.services, "Wren")
    for who in (robin, wren):
        await belong(edge.services, feed, who.requester)
    async with raw_socket(edge, robin) as raw:
        said = (await ask(raw, Send(client_id=client_id(), feed=feed, body=CLEAN), Ack)).message
    report = Report(client_id=client_id(), feed=feed, message=said, reason="unkind", body="They were")
    remove = Remove(client_id=client_id(), feed=feed, message=said)
    answers = [await command(edge, wren, report), await command(edge, robin, remove)]
    answers.append(await command(edge, robin, Help(client_id=client_id(), body="please")))
    assert [answer.status for answer in answers] == [200] * 3
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert [tuple(row) for row in await trail(edge)] == [
        ("report", wren.requester.account, "case", "unkind", ids[0]),
        ("message_remove", robin.requester.account, "message", "", ids[1]),
        ("help", robin.requester.account, "case", "", ids[2]),
    ]


async def test_a_repeat_leaves_no_second_row(edge: Edge) -> None:
    """The same call sent twice by socket was one decision."""
    robin = await registered(edge.services, "Robin")
    call = Help(client_id=client_id())
    async with raw_socket(edge, robin) as raw:
        await ask(raw, call, Done)
        await ask(raw, call, Done)
    assert [row.act for row in await trail(edge)] == ["help"]


async def test_signing_in_leaves_a_row_under_the_id_of_its_answer(edge: Edge) -> None:
    """Also where no command carries the id: what the accounts do takes it from the request."""
    await staff_signed_in(edge.services, "Sam", Role.MODERATOR)
    body = msgspec.json.encode({"pseudonym": "Sam", "password": PASSWORD})
    own = [("Host", host(edge)), ("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    answer = await answer_to(edge, request("POST /api/sign-in HTTP/1.1", own, body))
    assert answer.status == 200
    assert (await trail(edge))[-1].request_id == answer.headers["x-request-id"]
