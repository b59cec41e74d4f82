"""The live pages over the real hub: two members, a moderator and a clinician in one room, each in their own browser."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.path.scene import URGENT
from tests.web.conftest import House


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
    await expect(author.locator("[data-care]")).to_contain_text("The team has finished with this.")
    await expect(author.locator("[data-handling] .ek-handling")).to_have_count(0)


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
    call = oncall.locator(".ek-page--ringing")
    for said in ("Called as: duty clinician", "ringing for 0:", "Bluebell · The evening room"):
        await expect(call).to_contain_text(said)
    await oncall.locator(".ek-page--ringing button").click()
    await expect(oncall.locator("[data-pages]")).to_contain_text("Dr Osei is dealing with it")
    await expect(oncall.locator("[data-oncall-state]")).to_have_text("Nobody is calling you.")


@pytest.mark.parametrize("size", [(1100, 900), (360, 740)])
async def test_help_is_in_sight_beside_an_urgent_message(house: House, size: tuple[int, int]) -> None:
    """The answer to an urgent message is on the screen at once, also on a phone scrolled down to the composer."""
    author = await house.open("Bluebell", f"/rooms/{house.room}")
    await author.set_viewport_size({"width": size[0], "height": size[1]})
    for n in range(12):
        await say(author, f"It is a long evening, part {n}")
    await expect(author.locator(".ek-row--shown")).to_have_count(12)
    await author.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    await say(author, URGENT)
    panel = author.locator(".ek-handling:visible").first
    await expect(panel).to_be_in_viewport(ratio=0.95)
    await expect(author.locator(".ek-row--held")).to_be_in_viewport()
    assert await author.evaluate("document.documentElement.scrollHeight < 2 * innerHeight")


@pytest.mark.parametrize("size", [(1100, 900), (360, 740)])
async def test_a_case_opens_with_its_name_and_buttons_in_sight(house: House, size: tuple[int, int]) -> None:
    """Opening a case shows whom it is about and the one way to take it; a wide page stays where it was."""
    author = await house.open("Bluebell", f"/rooms/{house.room}")
    console = await house.open("Sam", "/staff/console")
    await console.set_viewport_size({"width": size[0], "height": size[1]})
    await say(author, URGENT)
    await console.locator(".ek-case--3 a").click()
    await expect(console.locator("[data-act=claim]")).to_be_in_viewport()
    await expect(console.locator("[data-case-heading]")).to_be_in_viewport()
    await expect(console.locator("[data-act=acknowledge]")).to_have_count(0)
    await expect(console.locator(".ek-case-hint")).to_contain_text("stops the calls for ten minutes")
    assert size[0] < 600 or await console.evaluate("scrollY") == 0
