"""The HTTP API: what a program needs before it has a socket, and every command for one that has none.

Bodies are JSON objects with exactly the named fields. A refusal is `{code, message, field, retry, request_id}`.
"""

from __future__ import annotations

import msgspec
from starlette.responses import JSONResponse, Response

from server.auth.credentials import form_token
from server.auth.requester import Requester
from server.errors import BadRequest
from server.ids import room_feed
from server.web import verbs
from server.web.policy import is_program
from server.web.security import clear_session_cookie, set_session_cookie
from server.web.visit import Visit


class RegisterBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pseudonym: str
    password: str
    rules_version: str
    client_id: str


class SignInBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pseudonym: str
    password: str


class RecoverBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pseudonym: str
    code: str
    new_password: str


def _entered(visit: Visit, requester: Requester, token: str, status: int = 200, **more: object) -> Response:
    """The answer to whoever has just signed in: a program is given its token, a browser a cookie that it can not read.

    `csrf` is what a browser's further requests carry in `x-evenkeel-csrf`.
    """
    answer: dict[str, object] = {
        "account": {"id": requester.account, "name": requester.name, "role": requester.role.value},
        **more,
    }
    if is_program(visit.request):
        return JSONResponse(answer | {"token": token}, status)
    response = JSONResponse(answer | {"csrf": form_token(visit.settings.secret, requester.session)}, status)
    set_session_cookie(response, visit.settings, token)
    return response


def _bad(error: Exception) -> BadRequest:
    refusal = BadRequest("That is not the JSON object that belongs here.")
    refusal.__cause__ = error
    return refusal


async def register(visit: Visit) -> Response:
    try:
        body = msgspec.json.decode(visit.body, type=RegisterBody)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _bad(error) from error
    origin = verbs.accounts.Origin(visit.address)
    joined = await verbs.accounts.register(
        visit.services, origin, body.pseudonym, body.password, body.rules_version, body.client_id
    )
    return _entered(visit, joined.requester, joined.token, 201, recovery_codes=list(joined.recovery_codes))


async def sign_in(visit: Visit) -> Response:
    try:
        body = msgspec.json.decode(visit.body, type=SignInBody)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _bad(error) from error
    origin = verbs.accounts.Origin(visit.address)
    entered = await verbs.accounts.sign_in(visit.services, origin, body.pseudonym, body.password)
    return _entered(visit, entered.requester, entered.token)


async def recover(visit: Visit) -> Response:
    try:
        body = msgspec.json.decode(visit.body, type=RecoverBody)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _bad(error) from error
    origin = verbs.accounts.Origin(visit.address)
    entered = await verbs.accounts.recover(visit.services, origin, body.pseudonym, body.code, body.new_password)
    return _entered(visit, entered.requester, entered.token)


async def sign_out(visit: Visit) -> Response:
    await verbs.sessions.sign_out(visit.services, visit.who)
    response = JSONResponse({})
    clear_session_cookie(response, visit.settings)
    return response


async def ticket(visit: Visit) -> Response:
    """A one-time ticket for the socket's `hello`."""
    return JSONResponse({"ticket": await verbs.sessions.issue_ticket(visit.services, visit.who)})


async def rooms(visit: Visit) -> Response:
    verbs.check_reading(visit.services, visit.who)
    found = await verbs.list_rooms(visit.services, visit.who)
    listed = [
        {"feed": room_feed(r.id), "name": r.name, "kind": r.room_kind, "purpose": r.purpose, "open": r.open}
        for r in found
    ]
    return JSONResponse({"rooms": listed})


async def commands(visit: Visit) -> Response:
    """One command frame of the wire contract, answered with its reply frame."""
    reply = await verbs.run(visit.services, visit.who, verbs.read_command(visit.body), visit.request_id)
    return Response(msgspec.json.encode(reply), media_type="application/json")
