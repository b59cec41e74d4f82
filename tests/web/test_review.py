"""Blind review and the figures, by forms alone."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus

import pytest
from sqlalchemy import select

from moderation.types import Role
from server.actions import reviewing
from server.actions.accounts import sign_in
from server.store.schema import review_item, review_judgement
from tests import harness
from tests.flows.test_reviews import MISSED, PLAIN
from tests.path.scene import URGENT
from tests.web.conftest import Site
from tests.web.reading import read
from tests.web.test_pages import post

HERE = "/staff/review"
FIGURES = "/staff/watchwords/quality"


@pytest.fixture
async def office(site: Site) -> Site:
    """The site with the two leads, and a day in which three things were said, drawn."""
    await drawn(site)
    for name, role in (("Mo", Role.MODERATOR_LEAD), ("Lea", Role.CLINICAL_LEAD)):
        site.tokens[name] = (await harness.staff_signed_in(site.services, name, role)).token
    return site


async def drawn(site: Site) -> None:
    """Let three things be said and a day go by, draw them, and let everybody sign in again."""
    await site.services.lists.start()
    site.services.review = replace(site.services.review, second=0.0)
    room = f"/rooms/{site.room}"
    async with site.client("Bluebell") as client:
        for text in (PLAIN, MISSED, URGENT):
            await post(client, room, f"{room}/send", body=text)
    await harness.fast_forward(site.services, timedelta(hours=25))
    for name in site.tokens:
        entered = await sign_in(site.services, harness.origin(), name, harness.PASSWORD)
        site.tokens[name] = entered.token
    await reviewing.draw_shifts(site.services)


async def shown(site: Site) -> dict[str, tuple[str, str]]:
    """(path, page) of each message that was drawn, by its text, as a moderator opens it."""
    rows = await site.services.store.read(lambda conn: conn.execute(select(review_item.c.id)).all())
    found: dict[str, tuple[str, str]] = {}
    async with site.client("Sam") as client:
        for row in rows:
            page = (await client.get(f"{HERE}/{row.id}")).text
            found[read(page).by_class["ek-row__body"][0]] = (f"{HERE}/{row.id}", page)
    return found


async def test_nothing_on_the_page_tells_what_the_filter_said(office: Site) -> None:
    """But for the text and for ids, the page of an urgent message is that of one in which nothing was found."""
    pages = await shown(office)
    assert set(pages) == {PLAIN, MISSED, URGENT}
    alike = set()
    for text, (_, page) in pages.items():
        without = page.replace(html.escape(text), "TEXT").replace(text, "TEXT")
        alike.add(re.sub(r"[0-9A-HJKMNP-TV-Z]{26}", "ID", without))
        assert "Bluebell" not in page
    assert len(alike) == 1


async def test_a_miss_leads_from_the_form_to_a_case(office: Site) -> None:
    """A moderator judges a message that was missed, is told that a case was opened, and goes to it."""
    path, _ = (await shown(office))[MISSED]
    async with office.client("Sam") as client:
        assert "3 messages wait for you." in read((await client.get(HERE)).text).text
        answer = await post(client, path, path, level="2", main="S", also_C="1")
        assert answer.url.path == HERE
        page = read(answer.text)
        assert "The filter had found nothing in this message." in page.text
        assert "2 messages wait for you." in page.text
        case = next(given["href"] for tag, given in page.tags if tag == "a" and "/staff/cases/" in given["href"])
        assert "by a blind review" in (await client.get(case)).text
        assert (await client.get(path)).status_code == HTTPStatus.NOT_FOUND


async def test_a_message_that_was_flagged_is_judged_without_a_word_of_it(office: Site) -> None:
    """After the judgement of a flagged message no case is opened anew, and the next one waits."""
    path, _ = (await shown(office))[URGENT]
    async with office.client("Sam") as client:
        answer = read((await post(client, path, path, level="3", main="S")).text)
    assert "Your judgement is kept." in answer.text
    assert not [given for tag, given in answer.tags if tag == "a" and "/staff/cases/" in given.get("href", "")]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "Choose one of the five answers."),
        ({"level": "2"}, "Choose what it is about."),
        ({"level": "9"}, "Choose one of the five answers."),
        ({"level": "2", "main": "Z"}, "We could not read that."),
    ],
)
async def test_half_a_judgement_is_told_beside_the_form(office: Site, fields: dict[str, str], words: str) -> None:
    """What is missing is said above the message, what was chosen is still chosen, and nothing is kept."""
    path, _ = (await shown(office))[MISSED]
    async with office.client("Sam") as client:
        answer = await post(client, path, path, **fields)
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    page = read(answer.text)
    assert words in page.text
    assert page.by_class["ek-row__body"] == [MISSED]
    if fields == {"level": "2"}:
        assert any(form.fields.get("level") == "2" for form in page.forms)
    kept = await office.services.store.read(lambda conn: conn.execute(select(review_judgement)).all())
    assert kept == []


@pytest.mark.parametrize(
    ("name", "reviews", "figures"),
    [
        ("Sam", HTTPStatus.OK, HTTPStatus.FORBIDDEN),
        ("Dr Osei", HTTPStatus.OK, HTTPStatus.FORBIDDEN),
        ("Mo", HTTPStatus.OK, HTTPStatus.OK),
        ("Lea", HTTPStatus.OK, HTTPStatus.OK),
        ("Bluebell", HTTPStatus.FORBIDDEN, HTTPStatus.FORBIDDEN),
        (None, HTTPStatus.UNAUTHORIZED, HTTPStatus.UNAUTHORIZED),
    ],
)
async def test_who_may_open_which_page(
    office: Site, name: str | None, reviews: HTTPStatus, figures: HTTPStatus
) -> None:
    """Whoever moderates reads blind, the figures are for the leads, and a clinician reads nothing of the community."""
    path, _ = (await shown(office))[PLAIN]
    async with office.client(name) as client:
        assert (await client.get(HERE)).status_code == reviews
        assert (await client.get(FIGURES)).status_code == figures
        if name == "Dr Osei":
            assert (await client.get(path)).status_code == HTTPStatus.NOT_FOUND


async def test_the_figures_are_drawn_and_stand_in_a_table(office: Site) -> None:
    """Each share is a line and a mark of an SVG made by the server, and the same in words beside it."""
    pages = await shown(office)
    async with office.client("Sam") as sam, office.client("Mo") as mo:
        for text, level in ((PLAIN, "0"), (MISSED, "2"), (URGENT, "3")):
            path = pages[text][0]
            await post(sam, path, path, level=level, main="S" if level != "0" else "")
        answer = await mo.get(FIGURES)
        page = read(answer.text)
        assert "3 messages were drawn from, 3 of them read" in page.text
        assert "50% (" in page.text
        assert "Suicidal thoughts" in page.text
        kinds = [tag for tag, _ in page.tags]
        assert kinds.count("svg") == 2
        assert kinds.count("circle") >= 4
        assert "style" not in kinds
        assert [given["href"] for tag, given in page.tags if tag == "a" and "entry=s-kill-myself" in given["href"]]
        assert not any(text in answer.text for text in pages)
        empty = await mo.get(FIGURES, params={"from": "2020-01-01", "to": "2020-01-31"})
        assert "Nothing was judged in this time." in empty.text
        for wrong in ({"from": "2020-02-01", "to": "2020-01-31"}, {"from": "yesterday"}):
            assert (await mo.get(FIGURES, params=wrong)).status_code == HTTPStatus.BAD_REQUEST


async def test_a_miss_becomes_a_proposal_in_one_press(office: Site) -> None:
    """The form begins with the judged category and level and the message's id, and with none of its words."""
    path, _ = (await shown(office))[MISSED]
    async with office.client("Sam") as client:
        answer = read((await post(client, path, path, level="3", main="S")).text)
        link = next(given["href"] for tag, given in answer.tags if tag == "a" and "origin=message:" in given["href"])
        page = await client.get(link)
        assert link.startswith("/staff/watchwords/lists/suicide?")
        (form,) = [form for form in read(page.text).forms if form.fields.get("kind") == "add"]
        assert MISSED not in page.text
        assert 'category = "S"\nlevel = 3\n' in html.unescape(page.text)
        text = (
            's-chair"\ncategory = "S"\nlevel = 2\nphrases = ["my chair would stay empty"]\nreason = "Said of not being'
        )
        text = f'id = "{text} there."\nsource = "Written for this test"\nmatch = ["soon my chair would stay empty"]\n'
        kept = await client.post(
            form.action, data={**form.fields, "text": text, "reason": "A reader found it."}, follow_redirects=True
        )
    assert kept.status_code == HTTPStatus.OK
    assert f"Proposed from a message that was missed: {link.rpartition(':')[2]}" in " ".join(
        read(kept.text).text.split()
    )


async def test_a_false_flag_becomes_a_proposal_in_one_press(office: Site) -> None:
    """From the case to each entry that found something, filled in, or to an idiom beside it; the case is its origin."""
    async with office.client("Sam") as client:
        queue = (await client.get("/staff/console")).text
        case = queue.partition('href="/staff/cases/')[2].partition('"')[0]
        assert f"/staff/cases/{case}/words" in (await client.get(f"/staff/cases/{case}")).text
        page = read((await client.get(f"/staff/cases/{case}/words")).text)
        links = [given["href"] for tag, given in page.tags if tag == "a" and f"origin=case:{case}" in given["href"]]
        change = next(link for link in links if "entry=s-kill-myself" in link)
        beside = next(link for link in links if "beside=s-kill-myself" in link)
        changed, added = (await client.get(change)).text, (await client.get(beside)).text
        wrong = await client.get(f"{change}x")
    forms = {form.fields["kind"]: form for form in read(changed).forms if "kind" in form.fields}
    assert (forms["change"].fields["entry"], forms["change"].fields["origin"]) == ("s-kill-myself", f"case:{case}")
    assert 'id = "s-kill-myself"' in html.unescape(changed)
    assert 'reason = "Not what s-kill-myself is about."' in html.unescape(added)
    assert wrong.status_code == HTTPStatus.BAD_REQUEST
    async with office.client("Dr Osei") as clinician:
        assert (await clinician.get(f"/staff/cases/{case}/words")).status_code == HTTPStatus.NOT_FOUND
