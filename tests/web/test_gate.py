"""What every request goes through: host, origin, session, role, token; and what every answer carries."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus

import pytest

from server.auth.credentials import form_token
from server.auth.permissions import POLICY
from server.errors import Misconfigured
from server.web.app import ROUTES, build_app, demo_routes
from server.web.policy import Entry, route
from tests import harness
from tests.web.conftest import Site

PAGES = ("/", "/help", "/house-rules", "/sign-up", "/sign-in", "/recover", "/demo")
CRISIS = ("999", "116 123", "85258", "option 2")


def test_every_route_has_a_rule() -> None:
    """No route is served whose operation the policy does not name."""
    assert {entry.operation for entry in (*ROUTES, *demo_routes())} <= POLICY.keys()


async def test_a_route_without_a_rule_stops_the_start(site: Site) -> None:
    """An operation that nobody decided about is never served."""

    async def handler(visit: object) -> None:
        raise AssertionError("unreachable")

    with pytest.raises(Misconfigured):
        route(None, Entry("GET", "/x", "route.nobody_decided", handler))  # type: ignore[arg-type]


async def test_a_short_secret_stops_the_start(site: Site) -> None:
    """Form tokens are never signed with a secret that could be guessed."""
    with pytest.raises(Misconfigured):
        build_app(site.services, settings=replace(site.settings, secret=b"short"))


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_carries_the_security_headers(site: Site, path: str) -> None:
    """Policy, isolation, no sniffing, no storing: on every page, signed in or not."""
    async with site.client() as client:
        answer = await client.get(path)
    assert answer.status_code == HTTPStatus.OK
    policy = answer.headers["content-security-policy"]
    for rule in (
        "default-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "require-trusted-types-for 'script'",
    ):
        assert rule in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store, private"
    assert answer.headers["vary"] == "Cookie"
    assert len(answer.headers["x-request-id"]) == 26


@pytest.mark.parametrize("host", ["", "evil.example", "127.0.0.1", "localhost:1", "127.0.0.1:1", "x.127.0.0.1"])
async def test_another_host_is_not_answered(site: Site, host: str) -> None:
    """A request that names another host gets no page, and is still told whom to call."""
    async with site.client() as client:
        answer = await client.get("/", headers={"host": host})
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert "999" in answer.text


@pytest.mark.parametrize("variant", ["missing", "null", "suffix", "prefix", "case", "port", "scheme"])
async def test_only_the_exact_origin_changes_anything(site: Site, variant: str) -> None:
    """A form from anywhere else is refused before anything is looked at."""
    origin = {
        "null": "null",
        "suffix": site.origin + ".evil.example",
        "prefix": "http://evil.example/" + site.origin,
        "case": site.origin.replace("http", "HTTP"),
        "port": site.origin[:-1],
        "scheme": site.origin.replace("http", "https"),
    }.get(variant)
    async with site.client() as client:
        if origin is None:
            del client.headers["origin"]
        else:
            client.headers["origin"] = origin
        answer = await client.post("/sign-in", data={"pseudonym": "Bluebell", "password": harness.PASSWORD})
    assert answer.status_code == HTTPStatus.FORBIDDEN
    assert "set-cookie" not in answer.headers
    assert all(number in answer.text for number in CRISIS)


@pytest.mark.parametrize("token", ["", "0" * 64, "another session's"])
async def test_a_change_needs_the_token_of_its_own_session(site: Site, token: str) -> None:
    """A signed-in person's form without the right token changes nothing, and says how to get help."""
    if token == "another session's":
        token = form_token(site.settings.secret, "somebody")
    async with site.client("Bluebell") as client:
        fields = {"csrf": token, "client_id": "test-00001", "body": "hello there"}
        answer = await client.post(f"/rooms/{site.room}/send", data=fields)
        room = await client.get(f"/rooms/{site.room}")
    assert answer.status_code == HTTPStatus.FORBIDDEN
    assert "hello there" in answer.text
    assert "hello there" not in room.text


async def test_the_session_cookie_is_for_this_site_and_no_script(site: Site) -> None:
    """Signing in sets one cookie: HttpOnly, SameSite, for the whole host and nothing else."""
    async with site.client() as client:
        answer = await client.post("/sign-in", data={"pseudonym": "Bluebell", "password": harness.PASSWORD})
    cookie = answer.headers["set-cookie"].lower()
    assert answer.status_code == HTTPStatus.SEE_OTHER
    assert cookie.startswith("evenkeel=")
    assert all(part in cookie for part in ("httponly", "samesite=lax", "path=/"))
    assert "domain" not in cookie


async def test_by_tls_the_cookie_is_bound_to_the_host(site: Site) -> None:
    """Where browsers come by https the cookie is Secure and carries the __Host- name."""
    app = build_app(site.services, settings=replace(site.settings, tls=True))
    async with replace(site, app=app).client() as client:
        answer = await client.post("/sign-in", data={"pseudonym": "Bluebell", "password": harness.PASSWORD})
    assert answer.headers["set-cookie"].startswith("__Host-evenkeel=")
    assert "secure" in answer.headers["set-cookie"].lower()
    assert "max-age" in answer.headers["strict-transport-security"]


@pytest.mark.parametrize(
    ("name", "path", "status"),
    [
        (None, "/rooms", 401),
        (None, "/staff/console", 401),
        ("Bluebell", "/staff", 403),
        ("Bluebell", "/staff/console", 403),
        ("Bluebell", "/staff/cases/01ARZ3NDEKTSV4RRFFQ69G5FAV", 403),
        ("Bluebell", "/rooms/01ARZ3NDEKTSV4RRFFQ69G5FAV", 404),
        ("Sam", "/staff/cases/01ARZ3NDEKTSV4RRFFQ69G5FAV", 404),
        (None, "/nowhere", 404),
        (None, "/assets/x/../../texts.toml", 404),
        (None, "/rooms/x/send", 405),
    ],
)
async def test_every_refusal_shows_help(site: Site, name: str | None, path: str, status: int) -> None:
    """Whatever is refused, the crisis lines and the way to the team are on the screen."""
    async with site.client(name) as client:
        answer = await client.get(path)
    assert answer.status_code == status
    if not path.startswith("/assets"):
        assert all(number in answer.text for number in CRISIS)
        assert 'href="/help"' in answer.text


async def test_an_ended_session_is_told_so_and_its_cookie_goes(site: Site) -> None:
    """After the session ended elsewhere, the page says that it expired, keeps the words, and shows help."""
    async with site.client("Bluebell") as client:
        page = await client.get("/rooms")
        assert page.status_code == HTTPStatus.OK
        client.cookies.set(site.settings.cookie, "gone")
        answer = await client.post("/help", data={"csrf": "x", "client_id": "test-00001", "body": "please help me"})
    assert answer.status_code == HTTPStatus.UNAUTHORIZED
    assert "signed out" in answer.text
    assert "please help me" in answer.text
    assert all(number in answer.text for number in CRISIS)
    assert 'evenkeel=""' in answer.headers["set-cookie"]


async def test_a_failure_of_ours_shows_help_and_tells_nothing(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the database is gone the page still helps, and neither page nor log quotes what was written."""
    canary = "CANARY-7f3a"
    async with site.client("Bluebell") as client:
        monkeypatch.setattr(site.services, "store", None)
        answer = await client.post("/help", data={"csrf": "x", "client_id": "test-00001", "body": canary})
    assert answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
    assert all(number in answer.text for number in CRISIS)
    assert canary not in caplog.text
    assert "Traceback" not in answer.text
    assert answer.headers["x-request-id"] in caplog.text


@pytest.mark.parametrize(
    ("content", "media", "status"),
    [
        (b"pseudonym=a&password=b&extra=1", "application/x-www-form-urlencoded", 400),
        (b"pseudonym=a", "application/x-www-form-urlencoded", 400),
        (b"pseudonym=a&pseudonym=b&password=c", "application/x-www-form-urlencoded", 400),
        (b"pseudonym=%ff&password=c", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"f%d=1" % n for n in range(40)), "application/x-www-form-urlencoded", 400),
        (b"pseudonym=" + b"a" * 70_000, "application/x-www-form-urlencoded", 413),
        (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x", 415),
        (b"{}", "application/json", 415),
    ],
)
async def test_a_form_is_exactly_its_fields(site: Site, content: bytes, media: str, status: int) -> None:
    """Unknown, doubled, missing, unreadable or oversized fields are refused with a page, never with a failure."""
    async with site.client() as client:
        answer = await client.post("/sign-in", content=content, headers={"content-type": media})
    assert answer.status_code == status
    assert "999" in answer.text


async def test_the_numbers_are_for_this_machine_alone(site: Site) -> None:
    """A question that came through a proxy gets no metrics; health answers anybody."""
    async with site.client() as client:
        assert (await client.get("/metrics")).status_code == HTTPStatus.OK
        assert (
            await client.get("/metrics", headers={"x-forwarded-for": "10.0.0.1"})
        ).status_code == HTTPStatus.NOT_FOUND
        assert (await client.get("/healthz")).json() == {"alive": True}
        assert (await client.get("/readyz")).json() == {"ready": True}


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000"])
async def test_machines_may_ask_by_the_address_of_this_one(site: Site, host: str) -> None:
    """Whatever name browsers reach the service by, health and numbers answer here; pages do not, nor other names."""
    async with site.client() as client:
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await client.get(path, headers={"host": host})).status_code == HTTPStatus.OK
            for wrong in ("127.0.0.1.example.org", "elsewhere.example.org", "localhost.example.org:80"):
                assert (await client.get(path, headers={"host": wrong})).status_code == HTTPStatus.BAD_REQUEST
        assert (await client.get("/sign-in", headers={"host": host})).status_code == HTTPStatus.BAD_REQUEST


async def test_built_files_are_small_and_cached_for_ever(site: Site) -> None:
    """A room with everything it loads is under 150 KB on the wire, and the files never need asking again."""
    total = 0
    async with site.client("Bluebell") as client:
        page = await client.get(f"/rooms/{site.room}")
        total += len(page.content)
        digest = page.text.partition("/assets/")[2].partition("/")[0]
        for path in sorted((site.settings.web / "built" / digest).rglob("*")):
            if path.suffix not in (".js", ".css"):
                continue
            name = path.relative_to(site.settings.web / "built" / digest)
            request = client.build_request("GET", f"/assets/{digest}/{name}", headers={"accept-encoding": "gzip"})
            answer = await client.send(request, stream=True)
            total += sum([len(chunk) async for chunk in answer.aiter_raw()])
            await answer.aclose()
            assert "immutable" in answer.headers["cache-control"]
            assert answer.headers["content-encoding"] == "gzip"
    assert total < 150_000
