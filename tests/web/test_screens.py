"""Every screen in a real browser, wide and narrow: open to everybody, as wide as the window, asking no other host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Request

from moderation.types import Role
from server.actions.escalation import climb
from tests import harness
from tests.path.scene import URGENT
from tests.web.conftest import WEB, Site
from tests.web.reading import read
from tests.web.test_pages import post
from tests.web.test_review import drawn
from tests.web.test_rota import lived_in as rota_lived_in

AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SHOTS = os.environ.get("TEST_SCREENSHOTS")

SCREENS = (
    ("landing", None, "/"),
    ("help", "Bluebell", "/help"),
    ("rules", None, "/house-rules"),
    ("sign-up", None, "/sign-up"),
    ("sign-in", None, "/sign-in"),
    ("recover", None, "/recover"),
    ("rooms", "Bluebell", "/rooms"),
    ("room", "Bluebell", "/rooms/{room}"),
    ("room-staff", "Sam", "/rooms/{room}"),
    ("message", "Heron", "/rooms/{room}/messages/{message}?at={place}"),
    ("staff", "Sam", "/staff"),
    ("console", "Sam", "/staff/console"),
    ("case", "Sam", "/staff/cases/{case}"),
    ("case-closed", "Sam", "/staff/cases/{closed}"),
    ("replay", "Mo", "/staff/cases/{closed}/replay"),
    ("replay-called", "Mo", "/staff/cases/{case}/replay"),
    ("on-call", "Dr Osei", "/staff/on-call"),
    ("review", "Sam", "/staff/review"),
    ("review-item", "Sam", "/staff/review/{item}"),
    ("quality", "Mo", "/staff/watchwords/quality"),
    ("rota", "Sam", "/staff/rota"),
    ("rota-other", "Kit", "/staff/rota"),
    ("rota-book", "Mo", "/staff/rota/book"),
    ("staff-lead", "Mo", "/staff"),
    ("demo", None, "/demo"),
    ("refusal", "Bluebell", "/staff"),
)


async def lived_in(site: Site) -> dict[str, str]:
    """A few messages, one of them urgent; a case edited and closed before; and the ids to reach them by."""
    room = f"/rooms/{site.room}"
    closed = await closed_case(site)
    site.tokens["Mo"] = (await harness.staff_signed_in(site.services, "Mo", Role.MODERATOR_LEAD)).token
    site.tokens["Kit"] = (await harness.staff_signed_in(site.services, "Kit", Role.MODERATOR)).token
    item = await judged_one(site)
    await rota_lived_in(site)
    async with site.client("Bluebell") as one, site.client("Heron") as two, site.client("Sam") as sam:
        await post(one, room, f"{room}/send", body="I baked bread today and it went quite well")
        await post(two, room, f"{room}/send", body="That sounds lovely. I managed a short walk before the rain came.")
        await post(sam, room, f"{room}/send", body="Good evening, both. I am here until eleven.")
        await post(one, room, f"{room}/send", body=URGENT)
        await climb(site.services)
        page = (await two.get(room)).text
        queue = (await sam.get("/staff/console")).text
    message, _, place = page.rpartition("/messages/")[2].partition('"')[0].partition("?at=")
    case = queue.partition('href="/staff/cases/')[2].partition('"')[0]
    return {"room": site.room, "message": message, "place": place, "case": case, "closed": closed, "item": item}


async def judged_one(site: Site) -> str:
    """What was said yesterday is drawn and one message of it judged; returns the id of the next."""
    await drawn(site)
    async with site.client("Sam") as sam:
        link = (await sam.get("/staff/review")).text.partition('href="/staff/review/')[2].partition('"')[0]
        await post(sam, f"/staff/review/{link}", f"/staff/review/{link}", level="3", main="S")
        return (await sam.get("/staff/review")).text.partition('href="/staff/review/')[2].partition('"')[0]


async def closed_case(site: Site) -> str:
    """A case of Heron's whose message was edited, and which Sam closed with a note."""
    room = f"/rooms/{site.room}"
    async with site.client("Heron") as heron, site.client("Sam") as sam:
        await post(heron, room, f"{room}/send", body="I have been thinking about suicide a lot lately")
        found = (await heron.get(room)).text.partition("/messages/")[2].partition('"')[0]
        message = found.partition("?")[0]
        where = f"{room}/messages/{message}"
        await post(heron, f"{room}/messages/{found}", f"{where}/edit", body="It is a hard evening")
        case = (await sam.get("/staff/console")).text.partition('href="/staff/cases/')[2].partition('"')[0]
        page = f"/staff/cases/{case}"
        for act, more in (("claim", {}), ("close", {"outcome": "supported", "body": "Talked for a while."})):
            form = next(f for f in read((await sam.get(page)).text).forms if f.fields.get("act") == act)
            await sam.post(form.action, data={**form.fields, **more})
    return case


async def check(page: Page, where: str) -> None:
    await page.add_script_tag(path=AXE)
    found = await page.evaluate("rules => axe.run({runOnly: {type: 'tag', values: rules}})", RULES)
    bad = [(v["id"], [node["target"] for node in v["nodes"]]) for v in found["violations"]]
    assert not bad, (where, bad)
    wide = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1], (where, wide)
    small = await page.evaluate(
        """() => [...document.querySelectorAll('a[data-quick-exit], a.ek-help-link, button')]
            .filter(e => e.offsetParent && e.getBoundingClientRect().height < 24).map(e => e.textContent)"""
    )
    assert not small, (where, small)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("width", [1100, 360])
async def test_no_screen_shuts_anybody_out(browser: Browser, served: Site, width: int) -> None:
    """Every screen passes every automatic accessibility check, fits its window, and loads from this host alone."""
    ids = await lived_in(served)
    asked: list[str] = []
    broken: list[str] = []

    def note(request: Request) -> None:
        if not request.url.startswith((served.origin, "data:")):
            asked.append(request.url)

    for name, who, path in SCREENS:
        context = await browser.new_context(viewport={"width": width, "height": 800}, bypass_csp=True)
        if who is not None:
            await served.enter(context, who)
        page = await context.new_page()
        page.on("request", note)
        page.on("pageerror", lambda error: broken.append(str(error)))
        await page.goto(served.origin + path.format(**ids))
        await page.wait_for_selector("body.js-enabled")
        if SHOTS:
            await page.screenshot(path=Path(SHOTS) / f"{name}-{width}.png", full_page=True)
        await check(page, f"{name} at {width}")
        await context.close()
    assert not asked
    assert not broken


async def test_the_strict_policy_lets_our_own_modules_run(browser: Browser, served: Site) -> None:
    """Under the real policy, Trusted Types included, a room's modules start and nothing is blocked."""
    context = await browser.new_context()
    await served.enter(context, "Bluebell")
    page = await context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    await page.goto(f"{served.origin}/rooms/{served.room}")
    await page.wait_for_selector("body.js-enabled")
    await page.wait_for_selector("[data-announce=urgent]", state="attached")
    await page.goto(f"{served.origin}/sign-up")
    await page.wait_for_selector("button.nhsuk-password-input__toggle", state="visible")
    assert not [line for line in said if "Content Security Policy" in line or "TrustedHTML" in line]
    await context.close()


async def test_not_connected_is_said_within_ten_seconds(browser: Browser, served: Site) -> None:
    """Where no socket can be had the room says so, keeps the draft over a reload, and still sends by the form."""
    context = await browser.new_context()
    await served.enter(context, "Bluebell")
    page = await context.new_page()
    await page.goto(f"{served.origin}/rooms/{served.room}")
    await page.wait_for_selector("[data-connection]:not([hidden])", timeout=10_000)
    assert "Not connected" in await page.inner_text("[data-connection]")
    await page.fill("#body", "half a thought")
    await page.reload()
    await page.wait_for_selector("[data-announce=urgent]", state="attached")
    assert await page.input_value("#body") == "half a thought"
    await page.press("#body", "Enter")
    assert "Sending" in await page.inner_text(".ek-row--sending")
    await page.reload()
    await context.close()


async def test_the_way_out_forgets_and_leaves_no_way_back(browser: Browser, served: Site) -> None:
    """One press clears what the tab kept and replaces the page, so that going back does not return to it."""
    context = await browser.new_context()
    await served.enter(context, "Bluebell")
    page = await context.new_page()
    await page.goto(f"{served.origin}/house-rules")
    await page.goto(f"{served.origin}/rooms/{served.room}")
    await page.wait_for_selector("[data-announce=urgent]", state="attached")
    await page.fill("#body", "half a thought")
    assert await page.evaluate("sessionStorage.length") == 1
    neutral = f"{served.origin}/healthz"
    await page.evaluate("url => { document.querySelector('[data-quick-exit]').href = url }", neutral)
    await page.click("[data-quick-exit]")
    await page.wait_for_url(neutral)
    assert await page.evaluate("sessionStorage.length") == 0
    await page.go_back()
    assert page.url.endswith("/house-rules")
    await context.close()


async def test_without_scripts_the_way_out_is_a_link(browser: Browser, served: Site) -> None:
    """With scripts off the way out is a link, a room reads and posts, and help shows the numbers and tells the team."""
    context = await browser.new_context(java_script_enabled=False)
    await served.enter(context, "Bluebell")
    page = await context.new_page()
    await page.goto(f"{served.origin}/rooms/{served.room}")
    assert await page.get_attribute("[data-quick-exit]", "href") == served.settings.quick_exit_url
    await page.fill("#body", "Hello from a plain form")
    await page.click(".ek-send")
    assert await page.inner_text(".ek-row__body") == "Hello from a plain form"
    await page.click(".ek-help-link")
    assert "116 123" in await page.inner_text("main")
    await page.click("main form button")
    assert "Sent to the team on duty. Nobody has opened it yet." in await page.inner_text("main")
    await context.close()
