"""The rota by forms alone: own shifts, the question, swaps, hand-overs, and writing it."""

from __future__ import annotations

from datetime import datetime, timedelta
from http import HTTPStatus

import pytest
from httpx2 import AsyncClient, Response
from playwright.async_api import expect

from moderation.types import Role
from moderation.wall import LONDON
from server.jobs.duty import look
from server.store import cases
from server.store.duty import insert_shift, open_checks
from tests import harness
from tests.path.scene import on_shift
from tests.web.conftest import House, Site
from tests.web.reading import Form, form_to, read
from tests.web.test_pages import post

HERE, BOOK = "/staff/rota", "/staff/rota/book"
GREY = "what is the point anymore"
HOUR = timedelta(hours=1)


@pytest.fixture
async def office(site: Site) -> Site:
    """The site with a lead of the moderators, an administrator and a second moderator."""
    for name, role in (("Mo", Role.MODERATOR_LEAD), ("Ada", Role.ADMIN), ("Kit", Role.MODERATOR)):
        site.tokens[name] = (await harness.staff_signed_in(site.services, name, role)).token
    return site


def wall(at: datetime, name: str) -> dict[str, str]:
    """A moment as a form writes it."""
    local = at.astimezone(LONDON)
    return {f"{name}_day": f"{local:%Y-%m-%d}", f"{name}_time": f"{local:%H:%M}"}


async def lead(site: Site, what: str, **fields: str) -> Response:
    """Mo sends one of the forms of the book."""
    async with site.client("Mo") as client:
        return await post(client, BOOK, f"{BOOK}/{what}", **fields)


async def account(site: Site, name: str) -> str:
    """The account behind a name, as the book's own choices have it."""
    async with site.client("Mo") as client:
        page = (await client.get(BOOK)).text
    before = page.partition(f">{name}, ")[0]
    return before.rpartition('value="')[2].rpartition('"')[0]


async def turns(site: Site, *people: str, **more: str) -> Response:
    """A rotation of whole days from tomorrow on."""
    tomorrow = (site.services.clock.now() + timedelta(days=1)).astimezone(LONDON)
    plain = {
        "rotation_name": "All day", "role": "moderator", "begins": "08:00", "ends": "08:00",
        "first": f"{tomorrow:%Y-%m-%d}", "each": "1", "need": "1", "people": "\n".join(people),
    }  # fmt: skip
    return await lead(site, "rotation", **{**plain, **more})


def questions(page: str) -> list[Form]:
    return [form for form in read(page).forms if form.action.startswith(f"{HERE}/checks/")]


async def test_a_lead_begins_a_rotation_and_its_people_see_their_shifts(office: Site) -> None:
    """What Mo writes is on Sam's page, with the days on which it is Sam's turn, and in Sam's calendar."""
    answer = await turns(office, "Sam", "Kit")
    assert (answer.status_code, answer.url.path) == (HTTPStatus.OK, BOOK)
    assert "All day" in read(answer.text).text
    async with office.client("Sam") as client:
        page = read((await client.get(HERE)).text).text
        file = await client.get(f"{HERE}/rota.ics")
    assert "You have no shifts" not in page
    assert file.headers["content-type"].startswith("text/calendar")
    assert 13 <= file.text.count("BEGIN:VEVENT") <= 28


async def test_what_is_refused_is_told_and_stays_in_its_form(office: Site) -> None:
    """A name that nobody has: the summary leads to the field, and everything that was typed is still there."""
    answer = await turns(office, "Sam", "Nobody Known", rotation_name="Round the clock", skill="")
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    page = read(answer.text)
    assert "Line 2: Nobody on the staff" in page.text
    assert ("a", {"href": "#people"}) in page.tags
    assert any(tag == "textarea" and given.get("id") == "people" for tag, given in page.tags)
    form = form_to(answer.text, f"{BOOK}/rotation")
    assert (form.fields["rotation_name"], form.fields["begins"]) == ("Round the clock", "08:00")
    assert "Nobody Known" in page.text


@pytest.mark.parametrize(
    ("what", "fields", "words"),
    [
        ("extra", {"from_day": "soon"}, "Write a day"),
        ("leave", {"from_time": "late"}, "Write a time"),
        ("extra", {"name": ""}, "Nobody on the staff"),
        ("rotation", {"each": "many"}, "Write a whole number"),
    ],
)
async def test_a_field_that_can_not_be_read_is_named(
    office: Site, what: str, fields: dict[str, str], words: str
) -> None:
    """A day, a time, a number or a person that is none is told in words, and nothing is written."""
    now = office.services.clock.now()
    plain = {"name": await account(office, "Sam"), **wall(now + HOUR, "from"), **wall(now + 2 * HOUR, "to")}
    answer = await (turns(office, "Sam", **fields) if what == "rotation" else lead(office, what, **{**plain, **fields}))
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert words in read(answer.text).text


async def test_only_those_who_write_the_rota_see_its_book(office: Site) -> None:
    """A moderator sees the rota and not the book; an administrator sees both; a member and a visitor neither."""
    for name, sees, writes in (("Sam", 200, 403), ("Ada", 200, 200), ("Mo", 200, 200), ("Bluebell", 403, 403)):
        async with office.client(name) as client:
            assert ((await client.get(HERE)).status_code, (await client.get(BOOK)).status_code) == (sees, writes)
    async with office.client() as client:
        assert (await client.get(HERE)).status_code == HTTPStatus.UNAUTHORIZED


async def asked(site: Site) -> None:
    """Sam's shift begins in twenty minutes, and the jobs have looked."""
    now = site.services.clock.now()
    begins = now + timedelta(minutes=20)
    sam = await account(site, "Sam")
    await site.services.store.write(lambda tx: insert_shift(tx, sam, Role.MODERATOR, begins, begins + 8 * HOUR))
    await look(site.services)


async def test_a_question_is_answered_by_a_press_and_never_by_opening_a_page(office: Site) -> None:
    """Both pages show it; opening them a hundred times answers nothing; one press does; Kit's press is refused."""
    await asked(office)
    async with office.client("Sam") as sam, office.client("Kit") as kit:
        for path in (HERE, "/staff/on-call"):
            assert len(questions((await sam.get(path)).text)) == 1
        for _ in range(50):
            await sam.get(HERE)
        (form,) = questions((await sam.get("/staff/on-call")).text)
        assert (await sam.get(form.action)).status_code == HTTPStatus.METHOD_NOT_ALLOWED
        assert "has not answered" not in (await sam.get(HERE)).text
        theirs = form_to((await kit.get("/staff")).text, "/sign-out").fields["csrf"]
        refused = await kit.post(form.action, data={**form.fields, "csrf": theirs})
        assert refused.status_code == HTTPStatus.NOT_FOUND
        assert len(questions((await sam.get(HERE)).text)) == 1
        assert (await sam.post(form.action, data=form.fields)).status_code == HTTPStatus.SEE_OTHER
        assert questions((await sam.get(HERE)).text) == []


async def test_a_swap_goes_from_question_to_yes(office: Site) -> None:
    """Sam asks Kit to serve a shift; Kit accepts on Kit's page, and the shift is on Kit's list and not on Sam's."""
    await asked(office)
    async with office.client("Sam") as sam, office.client("Kit") as kit:
        page = (await sam.get(HERE)).text
        form = form_to(page, f"{HERE}/swaps")
        shift = page.partition('name="shift"><option value="')[2].partition('"')[0]
        sent = await sam.post(form.action, data={**form.fields, "shift": shift, "other": await account(office, "Kit")})
        assert sent.status_code == HTTPStatus.SEE_OTHER
        yes = next(f for f in read((await kit.get(HERE)).text).forms if f.fields.get("state") == "accepted")
        assert (await kit.post(yes.action, data=yes.fields)).status_code == HTTPStatus.SEE_OTHER
        assert "You have no shifts" in (await sam.get(HERE)).text
        assert "You have no shifts" not in (await kit.get(HERE)).text
        again = await kit.post(yes.action, data={**yes.fields, "client_id": "another-one"})
        assert again.status_code == HTTPStatus.CONFLICT


async def offered(site: Site, client: AsyncClient) -> Form:
    """The form of the one case that is to be handed over."""
    page = read((await client.get(HERE)).text)
    (form,) = [form for form in page.forms if form.action.startswith(f"{HERE}/handovers/")]
    return form


async def leaving(site: Site) -> None:
    """Sam holds a case of Heron's and goes in ten minutes; Kit is on duty until tomorrow."""
    room = f"/rooms/{site.room}"
    now = site.services.clock.now()
    sam, kit = await account(site, "Sam"), await account(site, "Kit")
    soon = timedelta(minutes=10)
    await site.services.store.write(lambda tx: insert_shift(tx, sam, Role.MODERATOR, now - HOUR, now + soon))
    await site.services.store.write(lambda tx: insert_shift(tx, kit, Role.MODERATOR, now - HOUR, now + 8 * HOUR))
    async with site.client("Heron") as heron, site.client("Sam") as client:
        await post(heron, room, f"{room}/send", body=GREY)
        case = (await client.get("/staff/console")).text.partition('href="/staff/cases/')[2].partition('"')[0]
        page = f"/staff/cases/{case}"
        form = next(f for f in read((await client.get(page)).text).forms if f.fields.get("act") == "claim")
        await client.post(form.action, data=form.fields)
    await look(site.services)


async def test_a_hand_over_is_words_here_and_a_name_there(office: Site) -> None:
    """Sam writes words, Kit reads them with the facts and accepts; then neither page offers anything."""
    await leaving(office)
    async with office.client("Sam") as sam, office.client("Kit") as kit:
        mine = await offered(office, sam)
        await sam.post(mine.action, data={**mine.fields, "words": "Wrote to Heron; look again at ten."})
        page = (await kit.get(HERE)).text
        assert "Wrote to Heron; look again at ten." in page
        assert "level 1" in page
        assert GREY not in page
        theirs = await offered(office, kit)
        assert (await kit.post(theirs.action, data=theirs.fields)).status_code == HTTPStatus.SEE_OTHER
        for client in (sam, kit):
            assert "/staff/rota/handovers/" not in (await client.get(HERE)).text
    kits = await account(office, "Kit")
    assert await office.services.store.read(
        lambda conn: [row.claimed_by for row in cases.open_cases(conn, ["community"], clinical_only=False)]  # type: ignore[list-item]
    ) == [kits]


async def test_a_silent_yes_is_refused_on_the_page(office: Site) -> None:
    """Sam wrote nothing, and Kit neither: Kit's page says that somebody has to."""
    await leaving(office)
    async with office.client("Kit") as kit:
        form = await offered(office, kit)
        refused = await kit.post(form.action, data=form.fields)
        assert refused.status_code == HTTPStatus.BAD_REQUEST
        assert "Write in a sentence" in refused.text


async def test_the_staff_page_warns_of_a_gap_that_comes_near(office: Site) -> None:
    """With nobody on the rota, each role is warned of on the staff page, until somebody serves."""
    async with office.client("Sam") as client:
        assert (await client.get("/staff")).text.count(": nobody is on the rota") == 3
    async with office.client("Mo") as client:
        shift = await lead(
            office, "extra", name=await account(office, "Sam"),
            **wall(office.services.clock.now() - HOUR, "from"), **wall(office.services.clock.now() + 20 * HOUR, "to"),
        )  # fmt: skip
        assert shift.status_code == HTTPStatus.OK
        page = read((await client.get("/staff")).text).text
    assert page.count("Moderator: nobody is on the rota") == 1
    assert "24 hours before, or less" in page


async def test_what_was_entered_is_taken_back(office: Site) -> None:
    """Leave that Mo entered is listed with its end, and one press takes it back."""
    now = office.services.clock.now()
    name = await account(office, "Sam")
    answer = await lead(office, "leave", name=name, **wall(now + HOUR, "from"), **wall(now + 9 * HOUR, "to"))
    assert "Sam is on leave" in read(answer.text).text
    back = await lead(office, "withdraw")
    assert "Sam is on leave" not in read(back.text).text


async def test_the_question_rings_on_an_open_page_and_one_press_answers(house: House) -> None:
    """The page on call, which is open, shows the question as it is asked; a press answers it; it rings no more."""
    begins = house.services.clock.now() + timedelta(minutes=20)
    entered = await harness.staff_signed_in(house.services, "Kit", Role.MODERATOR)
    house.tokens["Kit"], who = entered.token, entered.requester.account
    page = await house.open("Kit", "/staff/on-call")
    await house.services.store.write(lambda tx: insert_shift(tx, who, Role.MODERATOR, begins, begins + HOUR))
    await look(house.services)
    button = page.get_by_role("button", name="I am here")
    await expect(button).to_be_visible()
    await button.click()
    await expect(page.get_by_text("Thank you. Your shift begins at its hour.")).to_be_visible()
    await expect(button).to_have_count(0)
    assert await house.services.store.read(lambda conn: open_checks(conn, who)) == []


async def lived_in(site: Site) -> None:
    """A rota as full as it gets: a rotation, a question, a swap, a hand-over, leave; for the screens."""
    await on_shift(site.services, await harness.staff(site.services, "Dr Ito", Role.CLINICIAN))
    await leaving(site)
    begins = site.services.clock.now() + timedelta(minutes=25)
    kit, sam = await account(site, "Kit"), await account(site, "Sam")
    await site.services.store.write(lambda tx: insert_shift(tx, sam, Role.MODERATOR, begins, begins + 8 * HOUR))
    await turns(site, "Kit")
    await lead(site, "leave", name=kit, **wall(begins + 90 * HOUR, "from"), **wall(begins + 99 * HOUR, "to"))
    await look(site.services)
    async with site.client("Sam") as client:
        page = (await client.get(HERE)).text
        form = form_to(page, f"{HERE}/swaps")
        shift = page.partition('name="shift"><option value="')[2].partition('"')[0]
        await client.post(form.action, data={**form.fields, "shift": shift, "other": kit})
