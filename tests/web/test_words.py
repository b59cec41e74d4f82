"""The pages of the watchword lists, by forms alone."""

from __future__ import annotations

from http import HTTPStatus

import httpx2
import pytest

from moderation.types import Role
from server.store import wordlists
from server.store.wordlists import FIRST, State
from tests import harness
from tests.flows.test_wordlists import ENTRY, WORDS
from tests.web.conftest import Site
from tests.web.reading import read

HERE = "/staff/watchwords"


@pytest.fixture
async def office(site: Site) -> Site:
    """The site with the two leads, and its lists in force."""
    await site.services.lists.start()
    for name, role in (("Mo", Role.MODERATOR_LEAD), ("Lea", Role.CLINICAL_LEAD)):
        site.tokens[name] = (await harness.staff_signed_in(site.services, name, role)).token
    return site


async def post(client: httpx2.AsyncClient, page: str, act: str, **fields: str) -> httpx2.Response:
    """Open `page`, fill in the form whose act, or kind, is that, send it, and follow where it leads."""
    forms = read((await client.get(page)).text).forms
    form = next(form for form in forms if act in (form.fields.get("act"), form.fields.get("kind"), form.action))
    return await client.post(form.action, data={**form.fields, **fields}, follow_redirects=True)


async def proposed(office: Site, name: str = "Sam") -> str:
    """The path of a proposal that somebody has just made by the page of a list."""
    async with office.client(name) as client:
        answer = await post(client, f"{HERE}/lists/crisis", "add", text=ENTRY, reason="Heard in rooms.")
    assert answer.status_code == HTTPStatus.OK
    return answer.url.path


async def test_a_change_goes_from_a_form_to_two_signatures_and_back(office: Site) -> None:
    """A moderator proposes, the leads sign, the lists are in force; one lead goes back in one step."""
    page = await proposed(office)
    async with office.client("Sam") as sam, office.client("Mo") as mo, office.client("Lea") as lea:
        seen = (await sam.get(page)).text
        assert "+id = &#34;c-turnip&#34;" in seen
        assert "Sign these lists" not in seen
        assert "Moderator lead: Mo" in (await post(mo, page, "sign")).text
        assert "Sign these lists" not in (await mo.get(page)).text
        assert "<strong>In force</strong>" in (await post(lea, page, "sign")).text
        found = office.services.screening.matcher.find(WORDS)
        assert [match.entry_id for match in found] == ["c-turnip"]
        first = f"{HERE}/versions/{FIRST}"
        refused = await post(lea, first, "roll_back", reason="")
        assert refused.status_code == HTTPStatus.BAD_REQUEST
        answer = await post(lea, first, "roll_back", reason="Too many alarms.")
    assert "Gone back to, Lea" in answer.text
    assert "Too many alarms." in answer.text
    assert office.services.screening.matcher.find(WORDS) == ()


async def test_a_bad_entry_is_told_beside_the_form_with_its_line(office: Site) -> None:
    """What was typed is still there, and the page says in which file, on which line, and what to do."""
    async with office.client("Sam") as client:
        text = ENTRY.replace("level = 2", "level = 9")
        answer = await post(client, f"{HERE}/lists/crisis", "add", text=text, reason="Heard in rooms.")
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert "crisis.toml:" in answer.text
    assert "level must be 0, 1, 2 or 3; correct it" in answer.text
    assert "squashed turnip" in answer.text
    rows = await office.services.store.read(lambda conn: wordlists.versions(conn, list(State), 9))
    assert [row.id for row in rows] == [FIRST]


@pytest.mark.parametrize("name", ["Bluebell", "Sam", "Dr Osei", None])
async def test_only_the_leads_decide(office: Site, name: str | None) -> None:
    """Whoever is no lead is turned away by the gate itself, whatever they post; members see no page of it."""
    page = await proposed(office)
    async with office.client(name) as client, office.client("Mo") as mo:
        form = next(f for f in read((await mo.get(page)).text).forms if f.fields.get("act") == "sign")
        answer = await client.post(f"{page}/decide", data=form.fields)
        seen = await client.get(HERE)
    assert answer.status_code in (HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED)
    assert seen.status_code == (HTTPStatus.OK if name in ("Sam", "Dr Osei") else answer.status_code)


async def test_a_text_is_tried_with_every_reading_and_why(office: Site) -> None:
    """The page shows what is found, what lowered it and how it was read; the database is as it was."""
    async with office.client("Sam") as client:
        before = await office.services.store.read(lambda conn: wordlists.activations(conn, 9))
        answer = await post(client, HERE, f"{HERE}/try", text="i dont want to k.i.l.l myself")
        after = await office.services.store.read(lambda conn: wordlists.activations(conn, 9))
    assert answer.status_code == HTTPStatus.OK
    shown = read(answer.text)
    assert "Every reading of it" in shown.text
    assert "i dont want to kill myself" in shown.by_class["ek-views"][0]
    assert "Lowered: it is said not to be so." in shown.text
    assert before == after


async def test_a_shadow_is_begun_and_stopped_by_forms(office: Site) -> None:
    """A lead runs a proposal in shadow, sees its counts, and stops it."""
    page = await proposed(office)
    async with office.client("Mo") as mo:
        running = await post(mo, page, "shadow", span="24")
        assert "New messages, in shadow" in running.text
        trial = next(
            given["href"] for tag, given in read(running.text).tags if tag == "a" and "/trials/" in given["href"]
        )
        assert "Nothing was found." in (await mo.get(trial)).text
        stopped = await post(mo, trial, f"{trial}/stop")
    assert "Stopped" in stopped.text


async def test_staff_are_told_that_the_filter_is_not_trusted(office: Site) -> None:
    """While a canary is missed every staff page of the lists, and the staff's first page, says so."""
    office.services.lists._troubles.add("canary_missed")
    async with office.client("Sam") as client:
        for path in ("/staff", HERE):
            assert "does not find a phrase that it must always find" in (await client.get(path)).text
