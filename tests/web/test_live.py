"""The live pages over the real hub: two members, a moderator and a clinician in one room, each in their own browser."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from moderation.types import Role, RoomKind
from server.actions.services import Services
from server.ids import new_id
from server.main import serve_edges
from server.rooms import Room, RoomState
from server.store import rooms
from tests import harness
from tests.path.scene import URGENT, on_shift


@dataclass
class House:
    """A whole running service.

    Attributes:
        tokens: session token by name of the person.
    """

    services: Services
    origin: str
    room: str
    tokens: dict[str, str]
    browser: Browser

    async def open(self, name: str, path: str) -> Page:
        """The page as that person, connected."""
        context = await self.browser.new_context()
        await context.add_cookies([{"name": "evenkeel", "value": self.tokens[name], "url": self.origin}])
        page = await context.new_page()
        await page.goto(self.origin + path)
        await page.wait_for_selector("[data-announce=urgent]", state="attached")
        return page


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen()
        yield bound


@pytest.fixture
async def house(tmp_path: Path, built: Path, browser: Browser, listener: socket.socket) -> AsyncIterator[House]:
    port = listener.getsockname()[1]
    path = tmp_path / "evenkeel.db"
    harness.copy_sqlite_template(path)
    url = f"sqlite:///{path}"
    async with harness.open_services(url, port=port) as services:
        room = Room(new_id(), RoomKind.COMMUNITY, "The evening room", "For the end of the day.", RoomState.OPEN, None)
        await services.store.write(lambda tx: rooms.create_room(tx, room))
        tokens = {name: (await harness.registered(services, name)).token for name in ("Bluebell", "Heron")}
        for name, role in (("Sam", Role.MODERATOR), ("Dr Osei", Role.CLINICIAN)):
            entered = await harness.staff_signed_in(services, name, role)
            tokens[name] = entered.token
            await on_shift(services, entered.requester)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(serve_edges(services, listener, stop, drain_s=0.1))
            try:
                yield House(services, f"http://127.0.0.1:{port}", room.id, tokens, browser)
            finally:
                for context in browser.contexts:
                    with contextlib.suppress(Exception):
                        await context.close()
                stop.set()


async def say(page: Page, text: str) -> None:
    await page.fill("#body", text)
    await page.press("#body", "Enter")


async def test_what_one_writes_the_other_reads(house: House) -> None:
    """A message reaches the other member's open page without reloading, and its author has one row, acknowledged."""
    one = await house.open("Bluebell", f"/rooms/{house.room}")
    two = await house.open("Heron", f"/rooms/{house.room}")
    await say(one, "I baked bread today")
    await expect(two.locator(".ek-row__body")).to_have_text("I baked bread today")
    await expect(one.locator(".ek-row--shown.ek-row--mine .ek-row__body")).to_have_text(["I baked bread today"])
    await say(two, "Lovely. Which one?")
    await expect(one.locator(".ek-row__body")).to_have_text(["I baked bread today", "Lovely. Which one?"])
    await expect(one.locator("[data-announce=polite]")).to_contain_text("Heron: Lovely. Which one?")


@pytest.mark.timeout(120)
async def test_from_a_worrying_message_to_a_closed_case(house: House) -> None:
    """Author, moderator and other member each see their own true side of it, live, from the message to the end."""
    author = await house.open("Bluebell", f"/rooms/{house.room}")
    other = await house.open("Heron", f"/rooms/{house.room}")
    console = await house.open("Sam", "/staff/console")
    await say(author, URGENT)
    await expect(author.locator(".ek-row--held .ek-row__body")).to_have_text(URGENT)
    help_text = author.locator(".ek-handling:visible")
    await expect(help_text).to_contain_text("Sent to the team on duty. Nobody has opened it yet.")
    await expect(help_text).to_contain_text("116 123")
    await expect(other.locator(".ek-row--withheld")).to_be_visible()
    await expect(other.locator("main")).not_to_contain_text(URGENT)
    case = console.locator(".ek-case--3 a")
    await expect(case).to_contain_text("waiting 0:")
    await console.locator("h1").click()
    await console.keyboard.press("j")
    await console.keyboard.press("Enter")
    await expect(console.locator("[data-case-body] mark").first).to_be_visible()
    await expect(help_text).to_contain_text("Sam, moderator, has opened it and is reading.")
    await console.keyboard.press("c")
    await expect(console.locator("[data-case-body]")).to_contain_text("with Sam")
    await console.keyboard.press("r")
    await console.keyboard.type("I am here. Can we talk for a while?")
    await console.locator("[data-case-body] button", has_text="Send").click()
    await expect(author.locator("[data-private] a")).to_be_visible()
    await author.click("[data-private] a")
    await expect(author.locator(".ek-row--staff .ek-row__body")).to_have_text("I am here. Can we talk for a while?")
    await console.locator("[data-case-body] button", has_text="Publish the message").click()
    await expect(other.locator(".ek-row--shown .ek-row__body")).to_have_text(URGENT)
    await console.select_option("#case-outcome", "supported")
    await console.fill("#case-note", "Spoke for a while.")
    await console.locator("[data-case-body] button", has_text="Close the case").click()
    await expect(console.locator("[data-queue-empty]")).to_be_visible()


@pytest.mark.timeout(120)
async def test_a_lost_connection_is_said_and_made_good(house: House) -> None:
    """Offline, the page says so in ten seconds and keeps what is sent; back again it goes out once, nothing missed."""
    one = await house.open("Bluebell", f"/rooms/{house.room}")
    two = await house.open("Heron", f"/rooms/{house.room}")
    await say(one, "before")
    await expect(two.locator(".ek-row__body")).to_have_text(["before"])
    await two.context.set_offline(True)
    await expect(two.locator("[data-connection]")).to_contain_text("offline", timeout=10_000)
    await say(two, "written while away")
    await expect(two.locator(".ek-row--sending")).to_be_visible()
    await say(one, "meanwhile")
    await two.context.set_offline(False)
    await expect(two.locator(".ek-row--shown .ek-row__body")).to_have_text(
        ["before", "meanwhile", "written while away"], timeout=15_000
    )
    await expect(one.locator(".ek-row--shown .ek-row__body")).to_have_text(
        ["before", "meanwhile", "written while away"]
    )


async def test_the_clinician_is_rung_and_answers(house: House) -> None:
    """A case that is passed on rings on the open on-call page; one press answers it."""
    oncall = await house.open("Dr Osei", "/staff/on-call")
    console = await house.open("Sam", "/staff/console")
    author = await house.open("Bluebell", f"/rooms/{house.room}")
    await expect(oncall.locator("[data-oncall-state]")).to_have_text("Nobody is calling you.")
    await say(author, URGENT)
    await console.locator(".ek-case--3 a").click()
    await console.locator("[data-case-body] [data-act=escalate]").click()
    await expect(oncall.locator(".ek-page--ringing")).to_be_visible(timeout=15_000)
    await expect(oncall.locator("[data-announce=urgent]")).to_contain_text("You are being called")
    await oncall.locator(".ek-page--ringing button").click()
    await expect(oncall.locator("[data-pages]")).to_contain_text("Dr Osei is dealing with it")
    await expect(oncall.locator("[data-oncall-state]")).to_have_text("Nobody is calling you.")
