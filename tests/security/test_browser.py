"""What a browser is given: reliability 3.4, items 27 to 31, and "I need help now" on whatever is answered."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx2
import pytest
from playwright.async_api import Browser, Request
from sqlalchemy import Select, select

from moderation.types import Role, RoomKind
from server.actions.rights import disable_account
from server.actions.rooms import make_room
from server.auth.credentials import form_token
from server.errors import Unavailable
from server.ids import new_id
from server.rooms import RoomState
from server.store.schema import account as account_table
from server.store.schema import room as room_table
from server.store.unit import Tx
from server.store.wordlists import FIRST
from server.web.app import ROUTES
from server.web.policy import Entry
from tests.harness import PASSWORD, Edge, fast_forward, registered, staff_signed_in
from tests.path.scene import CLEAN, URGENT, belong
from tests.security.support import CRISIS, ROOT, answer_to, host, request
from tests.web.corpus import CORPUS, MARK
from tests.web.reading import read

POLICY = {
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self' data:",
    "font-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'",
    "require-trusted-types-for 'script'", "trusted-types 'none'",
}  # fmt: skip
SPEAKING = ("crisis", "therap", "mental", "suicid", "depress", "self-harm", "evening", "bluebell")


@dataclass
class Town:
    """A service that has been lived in: two members, a moderator, an urgent message and its case."""

    edge: Edge
    tokens: dict[str, str]
    sessions: dict[str, str]
    ids: dict[str, str]

    def client(self, name: str | None = None) -> httpx2.AsyncClient:
        client = httpx2.AsyncClient(base_url=self.edge.url, headers={"origin": self.edge.url})
        if name is not None:
            client.cookies.set("evenkeel", self.tokens[name])
        return client

    def csrf(self, name: str) -> str:
        return form_token(self.edge.services.secret, self.sessions[name])

    def path(self, entry: Entry) -> str:
        return re.sub(r"\{(\w+)(:path)?\}", lambda found: self.ids[found[1]], entry.path)


@pytest.fixture
async def town(edge: Edge) -> Town:
    services = edge.services
    feed = await make_room(services, RoomKind.COMMUNITY, "The evening room", "For the end of the day.")
    tokens, sessions = {}, {}
    for name in ("Bluebell", "Heron"):
        made = await registered(services, name)
        await belong(services, feed, made.requester)
        tokens[name], sessions[name] = made.token, made.requester.session
    entered = await staff_signed_in(services, "Sam", Role.MODERATOR)
    tokens["Sam"], sessions["Sam"] = entered.token, entered.requester.session
    here = Town(edge, tokens, sessions, {"room": feed.partition(":")[2]})
    here.ids |= {
        "digest": "x",
        "name": "crisis",
        "version": FIRST,
        "trial": "x",
        "ref": "y",
        "item": "x",
        "form": "toml",
        "check": "x",
        "swap": "x",
        "handover": "x",
    }
    async with here.client("Bluebell") as client:
        client.headers["x-evenkeel-csrf"] = here.csrf("Bluebell")
        for body in (CLEAN, URGENT):
            command = {"t": "send", "client_id": new_id(), "feed": feed, "body": body}
            answer = (await client.post("/api/commands", json=command)).json()
            here.ids.setdefault("message", answer["message"])
    async with here.client("Sam") as client:
        queue = (await client.get("/staff/console")).text
    here.ids["case"] = queue.partition('href="/staff/cases/')[2].partition('"')[0]
    return here


def helps(answer: httpx2.Response) -> bool:
    """Whether the screen shows the crisis lines and the way to the team."""
    return all(number in answer.text for number in CRISIS) and 'href="/help"' in answer.text


# --- item 27 ----------------------------------------------------------------------------------------------------------


async def test_hostile_text_stays_text_wherever_staff_read_it(town: Town) -> None:
    """Every string of the corpus as report, call for help, room name and reply is text in the case and the console."""
    services, feed = town.edge.services, f"room:{town.ids['room']}"
    shown = ""
    for n, text in enumerate(CORPUS[:40]):
        await make_room(services, RoomKind.COMMUNITY, text[:60], text[:60])
        async with town.client("Heron") as heron:
            heron.headers["x-evenkeel-csrf"] = town.csrf("Heron")
            if n % 2:
                command: dict[str, str] = {"t": "help", "feed": feed, "body": text}
            else:
                command = {"t": "report", "feed": feed, "message": town.ids["message"], "reason": "other", "body": text}
            answer = await heron.post("/api/commands", json={**command, "client_id": new_id()})
            assert answer.status_code in (200, 429), answer.text
    async with town.client("Sam") as sam:
        queue = (await sam.get("/staff/console")).text
        cases = set(re.findall(r'href="/staff/cases/(\w+)"', queue))
        assert len(cases) >= 2
        for case in cases:
            shown += (await sam.get(f"/staff/cases/{case}")).text
    async with town.client("Bluebell") as member:
        rooms = (await member.get("/rooms")).text
        for page in (shown, queue, rooms):
            found = read(page)
            assert not any(name.startswith("on") for _, given in found.tags for name in given)
            assert not any("javascript:" in value for _, given in found.tags for value in given.values())
            assert {tag for tag, _ in found.tags}.isdisjoint({"img", "svg", "iframe", "object", "embed", "math", "x"})
            assert f"<script>{MARK}" not in page
    assert MARK in read(shown).text
    assert MARK in read(rooms).text


# --- items 28 and 31 --------------------------------------------------------------------------------------------------


async def test_every_route_answers_with_the_policy_and_is_not_stored(town: Town) -> None:
    """The whole table, as nobody, member and moderator, by GET and POST, whatever the answer: T23 and item 28."""
    walked = 0
    for name in (None, "Bluebell", "Sam"):
        async with town.client(name) as client:
            for entry in ROUTES:
                for method in ("GET", "POST"):
                    if entry.path in ("/sign-out", "/sign-out-everywhere", "/api/sign-out") and method == "POST":
                        continue  # refused here for want of a token; but the walk must not end its own session
                    answer = await client.request(method, town.path(entry))
                    given = set(answer.headers["content-security-policy"].split("; "))
                    assert given == POLICY, entry.path
                    assert answer.headers["cache-control"] == "no-store, private", entry.path
                    assert answer.headers["vary"] == "Cookie", entry.path
                    assert answer.headers["x-content-type-options"] == "nosniff"
                    assert answer.headers["referrer-policy"] in ("same-origin", "no-referrer")
                    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
                    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
                    assert "server" not in answer.headers
                    walked += 1
    assert walked > 180


async def test_every_page_has_help_a_way_out_and_a_title_that_tells_nothing(town: Town) -> None:
    """Every page of the table that can be opened, as nobody, member and moderator: item 31 and hazard H17."""
    opened = 0
    for name in (None, "Bluebell", "Sam"):
        async with town.client(name) as client:
            for entry in ROUTES:
                if entry.method != "GET" or entry.kind != "page":
                    continue
                answer = await client.get(town.path(entry) + ("?at=1" if "{message}" in entry.path else ""))
                page = read(answer.text)
                assert any(given.get("href") == "/help" for tag, given in page.tags if tag == "a"), entry.path
                assert "I need help now" in page.text, entry.path
                assert any("data-quick-exit" in given for tag, given in page.tags if tag == "a"), entry.path
                title = answer.text.partition("<title>")[2].partition("</title>")[0].lower()
                assert title
                assert not [word for word in SPEAKING if word in title], (entry.path, title)
                opened += answer.status_code == 200
    assert opened >= 20


@pytest.mark.timeout(120)
async def test_no_page_asks_another_host(browser: Browser, town: Town) -> None:
    """In a real browser every page of the table loads from this service alone, and the policy blocks nothing."""
    asked: list[str] = []
    said: list[str] = []

    def note(sent: Request) -> None:
        if not sent.url.startswith((town.edge.url, town.edge.url.replace("http", "ws", 1), "data:")):
            asked.append(sent.url)

    for name in (None, "Bluebell", "Sam"):
        async with AsyncExitStack() as stack:
            context = await browser.new_context()
            stack.push_async_callback(context.close)
            if name is not None:
                await context.add_cookies([{"name": "evenkeel", "value": town.tokens[name], "url": town.edge.url}])
            page = await context.new_page()
            page.on("request", note)
            page.on("console", lambda message: said.append(message.text))
            for entry in ROUTES:
                if entry.method == "GET" and entry.kind == "page":
                    await page.goto(town.edge.url + town.path(entry), wait_until="load")
    assert not asked
    assert not [line for line in said if "Content Security Policy" in line or "Trusted" in line]


# --- items 29 and 30 --------------------------------------------------------------------------------------------------


async def test_every_change_needs_origin_and_token(town: Town) -> None:
    """Each POST of the table: without the exact Origin 403, and within a session without its form token 403."""
    for entry in ROUTES:
        if entry.method != "POST":
            continue
        form = {"content-type": "application/json" if entry.kind == "json" else "application/x-www-form-urlencoded"}
        body = b"{}" if entry.kind == "json" else b""
        async with town.client("Sam") as client:
            client.headers["origin"] = "https://evil.example"
            foreign = await client.post(town.path(entry), content=body, headers=form)
            assert foreign.status_code == 403, entry.path
            client.headers["origin"] = town.edge.url
            if entry.operation not in ("route.sign_up", "route.sign_in", "route.recover"):
                for wrong in ({}, {"x-evenkeel-csrf": town.csrf("Bluebell")}):
                    assert (await client.post(town.path(entry), content=body, headers=form | wrong)).status_code == 403
    async with town.client("Sam") as client:
        assert (await client.get("/rooms")).status_code == 200  # nothing above signed anybody out


async def test_the_api_takes_json_and_nothing_else(town: Town) -> None:
    """What a foreign page's plain form could send (three content types) is refused by every JSON route: 415."""
    async with town.client("Bluebell") as client:
        client.headers["x-evenkeel-csrf"] = town.csrf("Bluebell")
        for entry in ROUTES:
            if entry.kind == "json" and entry.method == "POST":
                for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
                    answer = await client.post(entry.path, content=b"{}", headers={"content-type": kind})
                    assert answer.status_code == 415, (entry.path, kind)


def test_the_service_fetches_nothing_that_a_text_names() -> None:
    """No module of the service can make an HTTP request, so that no link is ever followed (item 30)."""
    clients = re.compile(
        r"^\s*(?:import|from) (?:httpx2?|requests|aiohttp|urllib\.request|http\.client)\b", re.MULTILINE
    )
    for folder in ("server", "moderation", "watchwords"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not clients.search(path.read_text(encoding="utf-8")), path.name


# --- refusals ---------------------------------------------------------------------------------------------------------


async def refusal(town: Town, kind: str, monkeypatch: pytest.MonkeyPatch) -> tuple[httpx2.Response, int]:
    """Provoke a refusal; the answer and the status that it should have."""
    services, room = town.edge.services, f"/rooms/{town.ids['room']}"
    form = {"csrf": town.csrf("Bluebell"), "client_id": new_id(), "body": CLEAN}
    async with town.client("Bluebell") as me, town.client() as nobody:
        match kind:
            case "400":
                return await me.post(f"{room}/send", data={**form, "more": "x"}), 400
            case "401":
                return await nobody.get("/rooms"), 401
            case "403":
                return await me.get("/staff/console"), 403
            case "csrf":
                return await me.post(f"{room}/send", data={**form, "csrf": "x"}), 403
            case "origin":
                return await me.post(f"{room}/send", data=form, headers={"origin": "null"}), 403
            case "404":
                return await me.get(f"/rooms/{new_id()}"), 404
            case "no page":
                return await nobody.get("/no/such/page"), 404
            case "405":
                return await me.get(f"{room}/send"), 405
            case "413":
                return await me.post(f"{room}/send", data={**form, "body": "a" * 4_001}), 413
            case "form too long":
                return await me.post(f"{room}/send", data={**form, "body": "a" * 70_000}), 413
            case "415":
                return await me.post(f"{room}/send", content=b"{}", headers={"content-type": "text/plain"}), 415
            case "429":
                fields = {"pseudonym": "Bluebell", "password": "not the right one"}
                for _ in range(10):
                    await nobody.post("/sign-in", data=fields)
                return await nobody.post("/sign-in", data=fields), 429
            case "500" | "503":
                error: Exception = RuntimeError("x") if kind == "500" else Unavailable("Busy just now.")

                async def fail(*args: object) -> None:
                    raise error

                monkeypatch.setattr("server.web.verbs.list_rooms", fail)
                return await me.get("/rooms"), int(kind)
            case "closed room":
                feed = f"room:{town.ids['room']}"

                def close(tx: Tx) -> None:
                    tx.conn.execute(room_table.update().values(state=RoomState.CLOSED.value))
                    tx.bump_version(feed)

                await services.store.write(close, [feed])
                return await me.post(f"{room}/send", data=form), 403
            case "disabled account":
                who = await services.store.read(lambda conn: str(conn.execute(_ids("Bluebell")).scalar_one()))
                await disable_account(services, None, who)
                return await nobody.post("/sign-in", data={"pseudonym": "Bluebell", "password": PASSWORD}), 403
            case "disabled in a session":
                who = await services.store.read(lambda conn: str(conn.execute(_ids("Bluebell")).scalar_one()))
                await disable_account(services, None, who)
                return await me.get(room), 401
            case "expired session":
                await fast_forward(services, services.settings.session_idle)
                return await me.get(room), 401
            case _:
                fields = {"pseudonym": "Bluebell", "password": "not the right one"}
                return await nobody.post("/sign-in", data=fields), 401


def _ids(name: str) -> Select[tuple[str]]:
    return select(account_table.c.id).where(account_table.c.name == name)


REFUSALS = (
    "400", "401", "403", "csrf", "origin", "404", "no page", "405", "413", "form too long", "415", "429", "500", "503",
    "closed room", "disabled account", "disabled in a session", "expired session", "wrong password",
)  # fmt: skip


@pytest.mark.parametrize("kind", REFUSALS)
async def test_help_is_on_every_refusal(town: Town, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is refused, and why: the crisis lines, the way to the team, the way out, and the same headers (H17)."""
    answer, status = await refusal(town, kind, monkeypatch)
    assert answer.status_code == status
    assert helps(answer), answer.text[:2_000]
    assert "data-quick-exit" in answer.text
    assert answer.headers["cache-control"] == "no-store, private"
    assert set(answer.headers["content-security-policy"].split("; ")) == POLICY


async def test_help_needs_no_session_and_no_script(town: Town) -> None:
    """The crisis page is open to anybody, also with a cookie that is worth nothing, and holds no inline script."""
    for cookie in ("", "evenkeel=gone"):
        answer = await answer_to(
            town.edge, request("GET /help HTTP/1.1", [("Host", host(town.edge)), ("Cookie", cookie)])
        )
        assert answer.status == 200
        assert all(number in answer.body for number in CRISIS)


async def test_another_host_is_told_whom_to_call(town: Town) -> None:
    """Even a request that is not for this service is answered with the numbers."""
    answer = await answer_to(town.edge, request("GET / HTTP/1.1", [("Host", "evil.example")]))
    assert answer.status == 400
    assert "999" in answer.body
