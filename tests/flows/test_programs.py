"""A program's way in over HTTP, as PROTOCOL.md section 11 says it."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from clients.sdk import Client, http_api
from clients.sdk.errors import HttpRefused
from moderation.types import RoomKind
from server.actions.rooms import make_room
from tests.harness import PASSWORD, Edge
from tests.path.scene import CLEAN


async def test_a_program_registers_lists_rooms_talks_and_signs_out(edge: Edge) -> None:
    """From nothing to a message in a room and out again, by the SDK alone."""
    feed = await make_room(edge.services, RoomKind.COMMUNITY, "The porch", "Quiet talk")
    entered = await http_api.register(
        edge.url, "Robin", PASSWORD, rules_version=edge.services.settings.rules_version, client_id="register-01"
    )
    (room,) = await http_api.list_rooms(edge.url, entered.token)
    assert (room.feed, room.name) == (feed, "The porch")
    async with asyncio.timeout(20), Client(edge.url, token=entered.token) as robin:
        assert (await (await robin.join(feed)).send(CLEAN)).seq == 1
    await http_api.sign_out(edge.url, entered.token)
    with pytest.raises(HttpRefused) as refused:
        await http_api.list_rooms(edge.url, entered.token)
    assert refused.value.status == 401


async def test_a_browser_is_given_a_cookie_and_never_its_token(edge: Edge) -> None:
    """With an Origin the token rides in an HttpOnly cookie alone; without the form token no change goes through."""
    async with httpx2.AsyncClient(base_url=edge.url, headers={"origin": edge.url}) as browser:
        body = {
            "pseudonym": "Wren",
            "password": PASSWORD,
            "rules_version": edge.services.settings.rules_version,
            "client_id": "register-02",
        }
        answer = await browser.post("/api/register", json=body)
        assert answer.status_code == 201
        assert "token" not in answer.json()
        cookie = answer.headers["set-cookie"]
        assert "httponly" in cookie.lower()
        assert "samesite=lax" in cookie.lower()
        refused = await browser.post("/api/ticket", json={})
        assert refused.json()["code"] == "csrf"
        given = await browser.post("/api/ticket", json={}, headers={"x-evenkeel-csrf": answer.json()["csrf"]})
        assert given.json()["ticket"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:1"])
async def test_another_page_changes_nothing(edge: Edge, origin: str) -> None:
    """A foreign, missing-port or null origin is refused before anything else is looked at."""
    async with httpx2.AsyncClient(base_url=edge.url, headers={"origin": origin}) as browser:
        answer = await browser.post("/api/sign-in", json={"pseudonym": "Robin", "password": PASSWORD})
        assert answer.json()["code"] == "bad_origin"


async def test_a_bearer_token_beside_a_cookie_is_not_a_program(edge: Edge) -> None:
    """Whatever carries a cookie or an Origin came from a browser and is held to a browser's rules."""
    entered = await http_api.register(
        edge.url, "Robin", PASSWORD, rules_version=edge.services.settings.rules_version, client_id="register-03"
    )
    async with httpx2.AsyncClient(base_url=edge.url) as browser:
        headers = {"authorization": f"Bearer {entered.token}", "cookie": "evenkeel=x"}
        answer = await browser.post("/api/ticket", json={}, headers=headers)
        assert answer.json()["code"] == "bad_origin"
