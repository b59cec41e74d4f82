"""Who is let in, over HTTP and over the socket: reliability 3.1, items 1 to 3 and 7, on real connections."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.actions.limits import FIRST_WAIT
from server.actions.rights import disable_account
from server.actions.sessions import sign_out
from server.auth.origins import client_address, cookie_value, is_program
from server.errors import Misconfigured
from server.main import EdgeLimits
from server.settings import load_settings
from tests import harness
from tests.harness import Edge, registered
from tests.security.support import (
    ROOT,
    Headers,
    answer_to,
    as_browser,
    as_program,
    host,
    post_ticket,
    request,
    upgrade,
)

ORIGINS = (
    "missing", "null", "suffix", "prefix", "subdomain", "case", "port", "no port", "scheme", "slash", "twice", "list",
)  # fmt: skip


def origin_headers(edge: Edge, variant: str) -> Headers:
    """The Origin headers of a variant that is not the allowed one."""
    url, name = edge.url, host(edge)
    written = {
        "missing": [],
        "null": ["null"],
        "suffix": [url + ".evil.example"],
        "prefix": [f"http://evil.example/{url}"],
        "subdomain": [f"http://x.{name}"],
        "case": [url.replace("http", "HTTP")],
        "port": [url.rpartition(":")[0] + ":1"],
        "no port": [url.rpartition(":")[0]],
        "scheme": [url.replace("http", "https")],
        "slash": [url + "/"],
        "twice": [url, url],
        "list": [f"{url}, {url}"],
    }
    return [("Origin", value) for value in written[variant]]


# --- item 1 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.7", "10.0.0.1", "example.org", ""])
def test_only_loopback_is_ever_bound(address: str) -> None:
    """A service without TLS of its own can not be told to listen to anything but this machine."""
    with pytest.raises(Misconfigured, match="HOST"):
        load_settings(host=address)


async def test_behind_tls_the_socket_knows_the_host_bound_cookie_only(database_url: str) -> None:
    """With an https origin the plain cookie opens nothing, and the plain origin is foreign."""
    async with harness.serving(database_url, origins=("https://chat.example.org",)) as edge:
        robin = await registered(edge.services, "Robin")
        base = [("Host", "chat.example.org"), ("Origin", "https://chat.example.org")]
        good = await answer_to(edge, upgrade([*base, ("Cookie", f"__Host-evenkeel={robin.token}")]))
        plain = await answer_to(edge, upgrade([*base, ("Cookie", f"evenkeel={robin.token}")]))
        origin = [("Host", "chat.example.org"), ("Origin", "http://chat.example.org")]
        downgraded = await answer_to(edge, upgrade([*origin, ("Cookie", f"__Host-evenkeel={robin.token}")]))
        here = await answer_to(edge, upgrade(as_browser(edge, robin.token)))
    assert (good.status, plain.status, downgraded.status, here.status) == (101, 401, 403, 400)


# --- item 2 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ORIGINS)
async def test_only_the_exact_origin_opens_a_socket(edge: Edge, variant: str) -> None:
    """Any other Origin beside a valid cookie is a 403 before the 101, even with everything else in order."""
    robin = await registered(edge.services, "Robin")
    cookie = [("Host", host(edge)), ("Cookie", f"evenkeel={robin.token}")]
    refused = await answer_to(edge, upgrade([*cookie, *origin_headers(edge, variant)]))
    malformed = variant == "twice"  # refused even earlier: no handshake has two
    assert (refused.status, refused.code) == ((400, "bad_request") if malformed else (403, "origin"))
    assert (await answer_to(edge, upgrade([*cookie, ("Origin", edge.url)]))).status == 101


CASES = {
    "a browser": 200,
    "a program": 200,
    **{f"origin {variant}": 403 for variant in ORIGINS},
    "no host": 400,
    "another host": 400,
    "host twice": 400,
    "host without port": 400,
    "no cookie": 401,
    "a wrong cookie": 401,
    "an empty cookie": 401,
    "the cookie twice": 401,
    "two cookie headers": 401,
    "a cookie among others": 200,
    "a bearer beside an origin": 401,
    "a bearer beside a foreign origin": 403,
    "a bearer beside a cookie": 403,
    "a bearer from a fetching page": 403,
    "a wrong bearer": 401,
    "two bearers": 401,
    "another scheme": 401,
    "the session's id": 401,
    "a forwarded address": 200,
}


def case_headers(edge: Edge, case: str, token: str, session: str) -> Headers:
    name, origin, cookie = ("Host", host(edge)), ("Origin", edge.url), ("Cookie", f"evenkeel={token}")
    bearer = ("Authorization", f"Bearer {token}")
    if case.startswith("origin "):
        return [name, cookie, *origin_headers(edge, case.removeprefix("origin "))]
    return {
        "a browser": [name, origin, cookie],
        "a program": [name, bearer],
        "no host": [origin, cookie],
        "another host": [("Host", "evil.example"), origin, cookie],
        "host twice": [name, name, origin, cookie],
        "host without port": [("Host", "127.0.0.1"), origin, cookie],
        "no cookie": [name, origin],
        "a wrong cookie": [name, origin, ("Cookie", "evenkeel=" + "a" * 43)],
        "an empty cookie": [name, origin, ("Cookie", "evenkeel=")],
        "the cookie twice": [name, origin, ("Cookie", f"evenkeel={'a' * 43}; evenkeel={token}")],
        "two cookie headers": [name, origin, cookie, ("Cookie", f"evenkeel={'a' * 43}")],
        "a cookie among others": [name, origin, ("Cookie", f"a=b; evenkeel={token}; c=d")],
        "a bearer beside an origin": [name, origin, bearer],
        "a bearer beside a foreign origin": [name, ("Origin", "https://evil.example"), bearer],
        "a bearer beside a cookie": [name, cookie, bearer],
        "a bearer from a fetching page": [name, bearer, ("Sec-Fetch-Site", "cross-site")],
        "a wrong bearer": [name, ("Authorization", "Bearer " + "a" * 43)],
        "two bearers": [name, bearer, bearer],
        "another scheme": [name, ("Authorization", f"Basic {token}")],
        "the session's id": [name, ("Authorization", f"Bearer {session}")],
        "a forwarded address": [name, origin, cookie, ("X-Forwarded-For", "203.0.113.9")],
    }[case]


@pytest.mark.parametrize("case", CASES)
async def test_http_and_socket_decide_alike(edge: Edge, case: str) -> None:
    """The same headers on a change by HTTP and on an upgrade: both are let in, or both refused for the same reason."""
    robin = await registered(edge.services, "Robin")
    headers = case_headers(edge, case, robin.token, robin.requester.session)
    by_http = await post_ticket(edge, headers, robin.requester.session)
    by_socket = await answer_to(edge, upgrade(headers))
    assert by_http.status == CASES[case]
    expected = {"origin twice": 400}.get(case, CASES[case])  # a handshake with two is malformed
    assert by_socket.status == {200: 101}.get(expected, expected)


async def test_a_limit_is_kept_by_the_address_behind_a_trusted_proxy(database_url: str) -> None:
    """From a named proxy the last address that it did not write itself counts; what a client wrote before does not.

    Eleven wrong passwords from one address behind the proxy make that address wait, and no other.
    """
    body = b'{"pseudonym":"Robin","password":"not the right one"}'
    own = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]

    async def attempt(edge: Edge, said: str) -> int:
        headers = [("Host", host(edge)), ("X-Forwarded-For", said), *own]
        return (await answer_to(edge, request("POST /api/sign-in HTTP/1.1", headers, body))).status

    async with harness.serving(database_url, trusted_proxies=("127.0.0.1", "10.0.0.2")) as edge:
        for n in range(10):
            assert await attempt(edge, f"198.51.100.{n}, 203.0.113.9, 10.0.0.2") == 401
        assert await attempt(edge, "198.51.100.77, 203.0.113.9, 10.0.0.2") == 429
        await harness.fast_forward(edge.services, FIRST_WAIT)
        assert await attempt(edge, "203.0.113.9") == 401  # it waited as it was told, under the same address
        assert await attempt(edge, "203.0.113.9") == 429


@given(st.text(max_size=40), st.text(max_size=40))
def test_nobody_else_is_believed_about_addresses(peer: str, said: str) -> None:
    """Law: a peer that is no named proxy is its own address, and a proxy's nonsense leaves the proxy's address."""
    assert client_address(peer, said, ()) == peer
    address = client_address("127.0.0.1", said, ("127.0.0.1",))
    assert address == "127.0.0.1" or address.replace(".", "").replace(":", "").isalnum()


@given(st.lists(st.text(max_size=30), max_size=4))
def test_no_cookie_header_breaks_the_reading(values: list[str]) -> None:
    """Law: any Cookie headers give one value or none, and whoever sends any is a browser."""
    found = cookie_value(values, "evenkeel")
    assert found is None or (found and f"evenkeel={found}" in ";".join(values))
    assert not is_program({"cookie", "host"})


# --- item 3 -----------------------------------------------------------------------------------------------------------


async def test_no_token_in_an_address_opens_anything(edge: Edge) -> None:
    """A session token or ticket in the query is not looked at: addresses end up in logs and histories."""
    robin = await registered(edge.services, "Robin")
    for name in ("token", "ticket", "access_token", "evenkeel"):
        path = f"/ws?{name}={robin.token}"
        assert (await answer_to(edge, upgrade([("Host", host(edge)), ("Origin", edge.url)], path))).status == 401
        line = f"GET /api/rooms?{name}={robin.token} HTTP/1.1"
        assert (await answer_to(edge, request(line, [("Host", host(edge))]))).status == 401


# --- item 7 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["signed out", "disabled", "idle"])
async def test_every_way_in_refuses_an_ended_session(edge: Edge, how: str) -> None:
    """Page, API with a cookie, API with a bearer, and socket: one end of a session ends all of them alike."""
    robin = await registered(edge.services, "Robin")
    ways = [as_browser(edge, robin.token), as_program(edge, robin.token)]
    session = robin.requester.session
    for headers in ways:
        assert (await post_ticket(edge, headers, session)).status == 200
        assert (await answer_to(edge, upgrade(headers))).status == 101
    if how == "signed out":
        await sign_out(edge.services, robin.requester)
    elif how == "disabled":
        await disable_account(edge.services, None, robin.requester.account)
    else:
        await harness.fast_forward(edge.services, edge.services.settings.session_idle)
    for headers in ways:
        assert (await post_ticket(edge, headers, session)).status == 401
        assert (await answer_to(edge, upgrade(headers))).status == 401


def test_there_is_one_function_that_knows_a_session_token() -> None:
    """No edge looks a token up by itself: both ask `sessions.authenticate` and nothing else reads sessions by token."""
    asked: dict[str, list[str]] = {"authenticate(": [], "session_by_token(": []}
    for path in sorted((ROOT / "server").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for call, found in asked.items():
            if f".{call}" in text:
                found.append(path.relative_to(ROOT).as_posix())
    assert asked["session_by_token("] == ["server/actions/sessions.py"]
    assert asked["authenticate("] == ["server/live/dispatch.py", "server/web/health.py", "server/web/policy.py"]


def test_limits_have_an_end() -> None:
    """What a running service allows by default is what is written down: nothing is unbounded."""
    limits = EdgeLimits()
    assert 0 < limits.head_s <= 10
    assert 0 < limits.body_s <= 30
    assert 0 < limits.seats.for_staff < limits.seats.altogether
    assert 0 < limits.seats.per_account < limits.seats.per_address < limits.seats.altogether
