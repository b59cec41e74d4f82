"""Every path that words can go, rightly and wrongly: sign-up, sockets, HTTP, forms, broken frames, the operator."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import urllib.parse
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from clients.sdk import Client
from clients.sdk.errors import CommandRefused, ConnectionEnded
from ops.torture.canaries.cage import LETTERS, Cage
from ops.torture.canaries.house import ANSWER_S, Answer, House
from ops.torture.clients import URGENT
from ops.torture.loud import BREAKS
from server.admin.place import short_name, socket_place
from server.protocol.frames import MAX_FRAME_BYTES, CaseItem

PATIENCE_S: Final = 2.0
_SUBPROTOCOL: Final = "evenkeel.v1.json"


async def say_everything(house: House) -> None:
    """Everything that can be said, once, with new words."""
    robin, wren = house.trial.members[0]
    (sam,) = house.trial.moderators
    for token in (robin.token, wren.token, sam.token):
        house.cage.secret(token)
    await _sign_up(house)
    await _talk(house)
    await _by_http(house, robin.token)
    await _by_forms(house)
    await _malformed(house, robin.token)
    await _operate(house)
    # Somebody else looks where nothing is theirs.
    for path in ("/staff/console", "/staff/cases/none", "/api/commands", "/watch", f"/rooms/{uuid.uuid4().hex}"):
        await house.http("GET", path, headers={"authorization": f"Bearer {wren.token}"})


async def _sign_up(house: House) -> None:
    """Accounts: made, refused, entered, recovered, by a program."""
    cage, rules = house.cage, house.settings.rules_version

    def secret(path: str) -> str:
        return cage.secret(f"{cage.word(path)} and more")

    name, password = f"Wren {cage.word('sign-up: name', is_name=True)}", secret("sign-up: password")
    given = {"pseudonym": name, "password": password, "rules_version": rules, "client_id": str(uuid.uuid4())}
    made = await house.post("/api/register", given)
    if made.status == 201:
        _keep_secrets(cage, made)
    again = {**given, "client_id": str(uuid.uuid4())}
    for fields in (
        {**again, "password": secret("sign-up: name that is taken")},
        {**given, "rules_version": cage.word("sign-up: other rules")},
        {**given, "pseudonym": f"<{cage.word('sign-up: bad name')}>"},
        {**given, "pseudonym": cage.word("sign-up: long name") * 9},
        {**given, "pseudonym": "Kit Two", "password": cage.word("sign-up: short password")[:7]},
        {**given, cage.word("sign-up: field"): cage.word("sign-up: value of a field")},
    ):
        await house.post("/api/register", fields)
    for fields in (
        {"pseudonym": name, "password": secret("sign-in: wrong password")},
        {"pseudonym": cage.word("sign-in: wrong name"), "password": secret("sign-in: of nobody")},
        {"pseudonym": name, "password": password, cage.word("sign-in: field"): "x"},
    ):
        await house.post("/api/sign-in", fields)
    entered = await house.post("/api/sign-in", {"pseudonym": name, "password": password})
    _keep_secrets(cage, entered)
    code = next(iter(made.json().get("recovery_codes", [])), "")
    for used in (cage.secret(cage.word("recovery: wrong code")), code):
        fresh = secret("recovery: new password")
        _keep_secrets(cage, await house.post("/api/recover", {"pseudonym": name, "code": used, "new_password": fresh}))
    token = str(entered.json().get("token", ""))
    if token:
        _keep_secrets(cage, await house.post("/api/ticket", {}, token))
        await house.post("/api/sign-out", {}, token)


def _keep_secrets(cage: Cage, answer: Answer) -> None:
    said = answer.json()
    for name in ("token", "ticket"):
        if said.get(name):
            cage.secret(str(said[name]))
    if said.get("csrf"):
        cage.form_token(str(said["csrf"]))
    for code in said.get("recovery_codes", ()):
        cage.secret(str(code))


async def _talk(house: House) -> None:
    """A member and a moderator over sockets; handlers that fail with the words that they were given."""
    cage, feed = house.cage, house.trial.rooms[0]
    robin, wren = house.trial.members[0]
    (sam,) = house.trial.moderators
    async with (
        Client(house.url, token=robin.token) as member,
        Client(house.url, token=sam.token, features=("console",)) as staff,
    ):
        room, queue = await member.join(feed), await staff.join("staff:moderation")
        ack = await room.send(f"I baked bread today {cage.word('socket: message')}")
        await room.edit(ack.message, f"I baked bread today {cage.word('socket: edit')}")
        urgent = await room.send(f"{URGENT} {cage.word('socket: urgent message')}")
        await member.help(cage.word("socket: help"))
        async with Client(house.url, token=wren.token) as other:
            await (await other.join(feed)).report(ack.message, "worried", cage.word("socket: report"))
        case = await _case(staff, queue)
        if case is not None:
            page = await staff.open_case(case.id)
            version = page.case.version
            for act, more in (
                ("claim", {}),
                ("reply", {"body": f"Hello {cage.word('socket: private reply')}"}),
                ("release_message", {"message": urgent.message}),
                ("close", {"outcome": "supported", "body": cage.word("socket: closing note")}),
            ):
                with contextlib.suppress(CommandRefused):
                    done = await staff.act(case.id, version, act, **more)
                    version = done.version or version
        await room.remove(ack.message)
        tries = (
            lambda: room.edit(ack.message, cage.word("socket: edit of what is removed")),
            lambda: room.send(f"{BREAKS} {cage.word('socket: failing handler, message')}"),
            lambda: room.edit(urgent.message, f"{BREAKS} {cage.word('socket: failing handler, edit')}"),
            lambda: room.report(urgent.message, "other", f"{BREAKS} {cage.word('socket: failing handler, report')}"),
            lambda: member.help(f"{BREAKS} {cage.word('socket: failing handler, help')}"),
        )
        for attempt in tries:
            # A client tries again for as long as it is told to.
            with contextlib.suppress(CommandRefused, ConnectionEnded, TimeoutError, ValueError):
                async with asyncio.timeout(PATIENCE_S):
                    await attempt()


async def _case(staff: Client, queue: Any) -> CaseItem | None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ANSWER_S):
            async for item in queue.events():
                if isinstance(item, CaseItem) and item.state == "open":
                    return item
    return None


async def _by_http(house: House, token: str) -> None:
    """Commands of a program without a socket, right and wrong."""
    cage, feed = house.cage, house.trial.rooms[0]
    sent = await house.command(token, t="send", feed=feed, body=f"It rained {cage.word('HTTP: message')}")
    message = str(sent.json().get("message", ""))
    for fields in (
        {"t": "edit", "feed": feed, "message": message, "body": f"It rained {cage.word('HTTP: edit')}"},
        {"t": "report", "feed": feed, "message": message, "reason": "other", "body": cage.word("HTTP: report")},
        {"t": "help", "body": cage.word("HTTP: help")},
        {"t": "history", "feed": feed, "before": 10},
        {"t": "history", "feed": f"room:{cage.word('HTTP: history of no room')}", "before": 10},
        {"t": "send", "feed": f"room:{cage.word('HTTP: no room')}", "body": cage.word("HTTP: message to no room")},
        {"t": "send", "feed": feed, "body": cage.word("HTTP: too long") * 300},
        {"t": "send", "feed": feed, "body": f"a\u0000b {cage.word('HTTP: a zero byte')}"},
        {"t": "send", "feed": feed, "body": f"{BREAKS} {cage.word('HTTP: failing handler, message')}"},
        {"t": "help", "body": f"{BREAKS} {cage.word('HTTP: failing handler, help')}"},
        {"t": "act", "case": "none", "version": 1, "act": "reply", "body": cage.word("HTTP: act that is not theirs")},
        {"t": cage.word("HTTP: unknown command"), "body": cage.word("HTTP: body of an unknown command")},
        {"t": "send", "feed": feed, "body": "x", cage.word("HTTP: field"): cage.word("HTTP: value of a field")},
        {"t": "report", "feed": feed, "message": cage.word("HTTP: no message"), "reason": cage.word("HTTP: no reason")},
    ):
        await house.command(token, **fields)
    for body in (
        f'{{"t": "send", "body": "{cage.word("HTTP: half a JSON")}'.encode(),
        f'{{"t": "send", "client_id": "12345678", "body": "\\ud800{cage.word("HTTP: half a pair")}"}}'.encode(),
        b"\xff\xfe" + cage.word("HTTP: no UTF-8").encode(),
        ("[" * 500 + cage.word("HTTP: too deep")).encode(),
    ):
        await house.post("/api/commands", body, token)
    for name in (
        "cookie",
        "authorization",
        "x-forwarded-for",
        "user-agent",
        "referer",
        "origin",
        "host",
        "x-evenkeel-csrf",
    ):
        word = cage.word(f"HTTP: header {name}")
        value = {"cookie": f"evenkeel={word}", "authorization": f"Bearer {word}", "origin": f"https://{word}.example"}
        await house.http("GET", "/api/rooms", headers={name: value.get(name, word)})
    await house.http("GET", f"/{cage.word('HTTP: path')}?{cage.word('HTTP: query')}=x")
    await house.http("GET", f"/rooms/{cage.word('HTTP: room in a path')}", headers={"authorization": f"Bearer {token}"})


async def _by_forms(house: House) -> None:
    """What a browser without scripts posts."""
    cage, room = house.cage, house.trial.rooms[0].partition(":")[2]
    name = f"Finch {cage.word('forms: name', is_name=True)}"
    password = cage.secret(f"{cage.word('forms: password')} and more")
    origin = {"origin": house.url}
    given = {
        "pseudonym": name, "password": password, "rules_version": house.settings.rules_version,
        "client_id": str(uuid.uuid4()),
    }  # fmt: skip
    await _form(house, "/sign-up", {**given, "accept": ""}, origin)
    made = await house.post("/api/register", given, **origin)
    csrf = cage.form_token(str(made.json()["csrf"]))
    cookie = made.headers.get("set-cookie", "").partition(";")[0]
    if "=" in cookie:
        cage.secret(cookie.partition("=")[2])
        cage.names[cookie] = name
    browser = {**origin, "cookie": cookie}

    def fields(**more: str) -> dict[str, str]:
        return {"csrf": csrf, "client_id": str(uuid.uuid4()), **more}

    rooms = await house.http("GET", f"/rooms/{room}", headers=browser)
    token_field = re.search(rb'name="(\w+)" value="' + csrf.encode(), rooms.body)
    named = token_field[1].decode() if token_field else "csrf"
    for path, body in (
        (f"/rooms/{room}/send", cage.word("forms: message")),
        (f"/rooms/{room}/send", cage.word("forms: too long") * 300),
        (f"/rooms/{room}/send", f"{BREAKS} {cage.word('forms: failing handler')}"),
        ("/help", cage.word("forms: help")),
        ("/help", f"{BREAKS} {cage.word('forms: failing handler, help')}"),
        (f"/rooms/{room}/messages/none/edit", cage.word("forms: edit of nothing")),
        (f"/rooms/{room}/messages/none/report", cage.word("forms: report of nothing")),
        ("/staff/cases/none/act", cage.word("forms: act that is not theirs")),
    ):
        posted = fields(body=body)
        posted[named] = posted.pop("csrf")
        await _form(house, path, posted, browser)
    without = fields(body=cage.word("forms: without a token"))
    del without["csrf"]
    await _form(house, f"/rooms/{room}/send", without, browser)
    await _form(
        house, "/sign-in", {"pseudonym": name, "password": cage.secret(cage.word("forms: wrong password"))}, origin
    )
    wrong = {"pseudonym": name, "code": cage.secret(cage.word("forms: wrong code")), "password": password}
    await _form(house, "/recover", wrong, origin)
    await _form(house, "/sign-in", {cage.word("forms: field"): cage.word("forms: value of a field")}, origin)


async def _form(house: House, path: str, fields: Mapping[str, str], headers: Mapping[str, str]) -> None:
    body = urllib.parse.urlencode(fields).encode()
    await house.http("POST", path, body, {**headers, "content-type": "application/x-www-form-urlencoded"})


async def _malformed(house: House, token: str) -> None:
    """Sockets that are asked for wrongly, and frames that are none; what is answered is an error."""
    cage, feed = house.cage, house.trial.rooms[0]
    place = house.url.replace("http", "ws", 1) + "/ws"
    hello = json.dumps({"t": "hello", "client_id": "hello-0001", "client": cage.word("frames: name of a client")})
    frames: tuple[str | bytes, ...] = (
        f'{{"t": "send", "body": "{cage.word("frames: half a JSON")}',
        json.dumps({"t": cage.word("frames: unknown command"), "client_id": "12345678"}),
        json.dumps({"t": "send", "client_id": cage.word("frames: bad client id") + "!", "feed": feed, "body": "x"}),
        json.dumps({"t": "join", "client_id": "12345678", "feed": f"room:{cage.word('frames: no room')}"}),
        json.dumps({"t": "send", "client_id": "12345679", "feed": feed, "body": "x", cage.word("frames: field"): 1}),
        cage.word("frames: binary where text belongs").encode(),
        json.dumps({"t": "send", "client_id": "12345680", "feed": feed, "body": cage.word("frames: too long") * 300}),
        cage.word("frames: too large") * (MAX_FRAME_BYTES // LETTERS + 1),
    )
    own = {"authorization": f"Bearer {token}"}
    for address, headers, said in (
        (place, own, frames),
        (place, own, (json.dumps({"t": "hello", "client_id": "12345678", "ticket": cage.word("frames: ticket")}),)),
        (f"{place}?{cage.word('sockets: query')}=1", own, ()),
        (place, {"authorization": f"Bearer {cage.word('sockets: wrong token')}"}, ()),
        (place, {"cookie": f"evenkeel={cage.word('sockets: wrong cookie')}", "origin": house.url}, ()),
        (place, {**own, "origin": f"https://{cage.word('sockets: wrong origin')}.example"}, ()),
    ):
        with contextlib.suppress(OSError, WebSocketException, TimeoutError):
            async with connect(address, additional_headers=headers, subprotocols=[_SUBPROTOCOL], proxy=None) as there:  # type: ignore[list-item]
                for frame in (hello, *said) if said is frames else said:
                    await there.send(frame)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(PATIENCE_S / 4):
                            heard = await there.recv()
                            data = heard if isinstance(heard, bytes) else heard.encode()
                            if b'"error"' in data:
                                cage.refused("errors", frame if isinstance(frame, bytes) else frame.encode(), data)


async def _operate(house: House) -> None:
    """What is no command, to the operator's socket."""
    cage = house.cage
    place = socket_place(house.settings.model_copy(update={"key_file": Path(house.trial.environ["EVENKEEL_KEY_FILE"])}))
    for line in (
        f'{{"kind": "test", "command": {{"t": "add_person", "name": "Kit", "role": "{cage.word("operator: role")}"}}}}',
        f'{{"kind": "test", "command": {{"t": "{cage.word("operator: no command")}"}}}}',
        f'{{"kind": "{cage.word("operator: no kind")}", "command": {{"t": "drain"}}}}',
        f'{{"kind": "test", "{cage.word("operator: half a JSON")}',
    ):
        with contextlib.suppress(OSError, TimeoutError), short_name(place) as name:
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await asyncio.open_unix_connection(name)
                writer.write(line.encode() + b"\n")
                cage.refused("operator", line.encode(), await reader.readline())
                writer.close()
