"""`evenkeel torture canaries`: words that nobody else says, sent down every path, and looked for where none may be.

Two services in turn, one on SQLite and one on PostgreSQL and Redis, each logging all that it can, with handlers and a
channel that fail with the words in their errors (`ops.torture.loud`). People sign up, talk, edit, report, call for help
and answer, by socket, by HTTP and by the forms of a browser without scripts; they do it wrongly too; the database goes
away under them. Afterwards each word, password, code, token and cookie is looked for in everything that the service
wrote, in its numbers, in every error that it answered, in what it said to its operator, in the files of its database
as bytes, and in all that passed through Redis.

A name is the exception: it is stored as it is (`account.name`, `account.name_key`) and told to others; in a log, a
number or an error it is not. There is no search in this service, and a draft never leaves the browser.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import random
import re
import socket
import string
import threading
import time
import urllib.parse
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import redis
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from clients.sdk import Client
from clients.sdk.errors import CommandRefused, ConnectionEnded
from ops.setup.postgres import PostgresServer, running_postgres
from ops.setup.redis import RedisServer, running_redis
from ops.torture.clients import URGENT
from ops.torture.cluster import Cluster
from ops.torture.history import Violation, outcome
from ops.torture.loud import BREAKS, LOUD
from ops.torture.people import settings_of
from ops.trial import PASSWORD, Trial, make_trial
from server.admin.place import short_name, socket_place
from server.protocol.frames import MAX_FRAME_BYTES, CaseItem
from server.settings import Settings

LETTERS: Final = 12
ANSWER_S: Final = 20.0
PATIENCE_S: Final = 2.0
_SUBPROTOCOL: Final = "evenkeel.v1.json"


@dataclass(frozen=True, slots=True)
class Canary:
    """A word that nobody else says, and the path it was sent down. `is_name`: the database holds it as it is."""

    word: str
    path: str
    is_name: bool = False


@dataclass
class CanaryCampaign:
    """What was sent and where it was found.

    Attributes:
        secrets: passwords, recovery codes, tokens, cookies, form tokens and tickets.
        searched: how many bytes were looked through, by place.
        names_stored: names that the database's files hold, which they may.
        echoed: paths on which an error gave back to somebody what they had just sent.
    """

    seed: int
    canaries: list[Canary] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)
    searched: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    names_stored: int = 0
    echoed: Counter[str] = field(default_factory=Counter)
    duration_s: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """The campaign as plain values; no canary is among them."""
        return {
            "campaign": "canaries",
            "seed": self.seed,
            "canaries": len(self.canaries),
            "paths": len({canary.path for canary in self.canaries}),
            "secrets": len(self.secrets),
            "bytes_searched": dict(self.searched),
            "answers": dict(self.answers),
            "names_in_the_database": self.names_stored,
            "given_back_to_their_senders": len(self.echoed),
            "duration_s": round(self.duration_s, 1),
            **outcome(self.violations),
        }


async def run_canaries(
    folder: Path, *, canaries: int, seed: int, progress: Callable[[int, str], None] = lambda done, what: None
) -> CanaryCampaign:
    """Send at least so many words, half of them on each kind of database, and look for all of them."""
    campaign = CanaryCampaign(seed)
    rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be kept secret
    began = time.monotonic()
    for kind, share in (("sqlite", (canaries + 1) // 2), ("scaled", canaries)):
        here = folder / kind
        here.mkdir()
        with contextlib.ExitStack() as stack:
            place = _Place(stack, here, kind)
            trial = await make_trial(here, place.database_url, rooms=1, per_room=2, moderators=1)
            cage = _Cage(campaign, rng)
            environ = {**trial.environ, **place.environ, LOUD: cage.word(f"{kind}: an error of a channel")}
            async with Cluster(1, environ, here) as cluster:
                house = _House(cluster.urls[0], trial, cage, settings_of(trial), here)
                rounds = 0
                while len(campaign.canaries) < share or not rounds:
                    await _round(house)
                    await place.fail_under(house)
                    rounds += 1
                    progress(len(campaign.canaries), kind)
                numbers = await house.http("GET", "/metrics")
                cage.heard["numbers"] += numbers.body
                await cluster.stop(0)
            cage.heard["log"] += cluster.log.read_bytes()
            for name, data in place.held().items():
                cage.heard[name] += data
            cage.search()
    campaign.duration_s = time.monotonic() - began
    return campaign


class _Cage:
    """Makes the canaries of one service, and keeps all that the service said where none may be.

    An error may hold what whoever is answered has just sent, so that a form is not lost with it, but for what they
    prove themselves with; and their own name, and the token of the form.

    Attributes:
        names: who has which cookie.
    """

    def __init__(self, campaign: CanaryCampaign, rng: random.Random) -> None:
        self._campaign, self._rng = campaign, rng
        self._first = len(campaign.canaries)
        self._secrets: set[str] = {PASSWORD}
        self._form_tokens: set[str] = set()
        self.names: dict[str, str] = {}
        self.heard: dict[str, bytes] = dict.fromkeys(("log", "numbers", "errors", "operator", "database", "redis"), b"")

    def word(self, path: str, *, is_name: bool = False) -> str:
        """A new word; letters only, so that a name may hold it."""
        word = "".join(self._rng.choices(string.ascii_lowercase, k=LETTERS))
        self._campaign.canaries.append(Canary(word, path, is_name))
        return word

    def secret(self, value: str) -> str:
        """Note what somebody proves themselves with."""
        self._secrets.add(value)
        return value

    def form_token(self, value: str) -> str:
        """Note the token of a person's forms."""
        self._form_tokens.add(value)
        return value

    def refused(self, place: str, sent: bytes, said: bytes) -> None:
        """Look into an answer that refuses something: whoever sent `sent` was told `said`."""
        campaign = self._campaign
        self.heard[place] += said
        for canary in campaign.canaries[self._first :]:
            if canary.word.encode() in said.lower():
                if canary.word.encode() in sent.lower():
                    campaign.echoed[canary.path] += 1
                else:
                    campaign.violations.append(Violation("leak", f"{canary.path}, in the {place} of somebody else"))
        if any(secret.encode() in said for secret in self._secrets):
            campaign.violations.append(Violation("secret", f"in the {place}"))

    def count(self, what: str) -> None:
        self._campaign.answers[what] += 1

    def search(self) -> None:
        """Look for everything everywhere; each find is a violation that names the path and the place, not the word."""
        campaign = self._campaign
        canaries = campaign.canaries[self._first :]
        secrets = self._secrets | self._form_tokens
        campaign.secrets |= secrets
        for place, data in self.heard.items():
            campaign.searched[place] += len(data)
            if place in ("errors", "operator"):
                continue  # each was looked into as it came
            lower = data.lower()
            for canary in canaries:
                if canary.word.encode() not in lower:
                    continue
                if canary.is_name and place == "database":
                    campaign.names_stored += 1
                else:
                    campaign.violations.append(Violation("leak", f"{canary.path}, in the {place}"))
            found = sum(secret.encode() in data for secret in secrets)
            if found:
                campaign.violations.append(Violation("secret", f"{found} secrets in the {place}"))
        for place in ("log", "numbers", "errors", "operator", "database"):
            if not self.heard[place]:
                campaign.violations.append(Violation("vain", f"nothing was ever said in the {place}"))
        if b"RuntimeError" not in self.heard["log"]:
            campaign.violations.append(Violation("vain", "no handler ever failed"))


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        with contextlib.suppress(ValueError):
            found = json.loads(self.body)
            if isinstance(found, dict):
                return found
        return {}


@dataclass(frozen=True)
class _House:
    """The service as its people reach it."""

    url: str
    trial: Trial
    cage: _Cage
    settings: Settings
    folder: Path

    async def http(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> _Answer:
        """One request. Whatever refuses is kept, head and all, and must hold no canary."""
        answer = await asyncio.to_thread(_ask, self.url, method, path, body, dict(headers or {}))
        self.cage.count(f"{answer.status // 100}xx")
        if answer.status >= 400:
            given = dict(headers or {})
            own_name = self.cage.names.get(given.get("cookie", ""), "")
            posted = urllib.parse.unquote_to_bytes((body or b"").replace(b"+", b" "))
            sent = f"{path} {given} {own_name} ".encode() + posted
            self.cage.refused("errors", sent, answer.body + str(dict(answer.headers)).encode())
        return answer

    async def post(self, path: str, given: Mapping[str, str] | bytes, token: str = "", **headers: str) -> _Answer:
        """A program's POST of JSON."""
        own = {"content-type": "application/json", **({"authorization": f"Bearer {token}"} if token else {})}
        body = given if isinstance(given, bytes) else json.dumps(given).encode()
        return await self.http("POST", path, body, {**own, **headers})

    async def command(self, token: str, **fields: Any) -> _Answer:
        return await self.post("/api/commands", {"client_id": str(uuid.uuid4()), **fields}, token)


def _ask(url: str, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> _Answer:
    there = http.client.HTTPConnection(url.partition("://")[2], timeout=ANSWER_S)
    try:
        there.request(method, path, body, headers)
        answer = there.getresponse()
        return _Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    except (OSError, http.client.HTTPException):
        return _Answer(0, {}, b"")
    finally:
        there.close()


async def _round(house: _House) -> None:
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


async def _sign_up(house: _House) -> None:
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


def _keep_secrets(cage: _Cage, answer: _Answer) -> None:
    said = answer.json()
    for name in ("token", "ticket"):
        if said.get(name):
            cage.secret(str(said[name]))
    if said.get("csrf"):
        cage.form_token(str(said["csrf"]))
    for code in said.get("recovery_codes", ()):
        cage.secret(str(code))


async def _talk(house: _House) -> None:
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


async def _by_http(house: _House, token: str) -> None:
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


async def _by_forms(house: _House) -> None:
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


async def _form(house: _House, path: str, fields: Mapping[str, str], headers: Mapping[str, str]) -> None:
    body = urllib.parse.urlencode(fields).encode()
    await house.http("POST", path, body, {**headers, "content-type": "application/x-www-form-urlencoded"})


async def _malformed(house: _House, token: str) -> None:
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


async def _operate(house: _House) -> None:
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


class _Place:
    """What a service stands on, and the bytes that it leaves there."""

    def __init__(self, stack: contextlib.ExitStack, folder: Path, kind: str) -> None:
        self._folder = folder
        self._postgres: PostgresServer | None = None
        self._monitor: _Monitor | None = None
        self.environ: dict[str, str] = {}
        if kind == "sqlite":
            self.database_url = f"sqlite:///{folder / 'canaries.db'}"
            return
        self._postgres = stack.enter_context(running_postgres(own=True))
        self.database_url = self._postgres.create_database()
        server = stack.enter_context(running_redis())
        self._monitor = stack.enter_context(_monitored(server))
        self.environ = {"REDIS_URL": server.url}

    async def fail_under(self, house: _House) -> None:
        """Let the database go away under somebody who talks, and come back."""
        if self._postgres is None or self._postgres.postmaster is None:
            return
        postmaster, cage = self._postgres.postmaster, house.cage
        robin, _ = house.trial.members[0]
        await asyncio.to_thread(postmaster.crash)
        feed = house.trial.rooms[0]
        await house.command(robin.token, t="send", feed=feed, body=cage.word("failing database: message"))
        await house.command(robin.token, t="help", body=cage.word("failing database: help"))
        given = {
            "pseudonym": cage.word("failing database: name"),
            "password": cage.secret(cage.word("failing database: password")),
        }
        await house.post("/api/sign-in", given)
        postmaster.spawn()
        await asyncio.to_thread(postmaster.until_ready)

    def held(self) -> dict[str, bytes]:
        """The files of the database, and all that passed through Redis and lies in it."""
        if self._postgres is None:
            return {
                "database": b"".join(
                    path.read_bytes() for path in sorted(self._folder.glob("canaries.db*")) if path.is_file()
                )
            }
        folder = Path(str(self._postgres.url.query["host"])).parent
        files = [path for path in sorted((folder / "data").rglob("*")) if path.is_file()]
        log = (folder / "log").read_bytes()
        assert self._monitor is not None
        return {"database": b"".join(path.read_bytes() for path in files), "log": log, "redis": self._monitor.end()}


class _Monitor:
    """Everything that a Redis is told, from a connection that it tells of all others."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._heard = bytearray()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(server.url.removeprefix("unix://"))
        self._socket.sendall(b"MONITOR\r\n")
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._socket.recv(65_536):
                self._heard += data

    def end(self) -> bytes:
        """What was heard, and what every key holds."""
        with redis.Redis.from_url(self._server.url) as there:
            kept = b"".join(key + (there.dump(key) or b"") for key in there.scan_iter())
        self.close()
        return bytes(self._heard) + kept

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@contextlib.contextmanager
def _monitored(server: RedisServer) -> Iterator[_Monitor]:
    monitor = _Monitor(server)
    try:
        yield monitor
    finally:
        monitor.close()
