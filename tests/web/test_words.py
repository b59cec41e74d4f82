"""The pages of the watchword lists, by forms alone."""

from __future__ import annotations

import csv
import io
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


async def sent_table(client: httpx2.AsyncClient, page: str, table: str) -> httpx2.Response:
    """Paste a table into the form for spreadsheets of a list's page, and follow where it leads."""
    form = next(form for form in read((await client.get(page)).text).forms if form.fields.get("form") == "csv")
    fields = {**form.fields, "text": table, "reason": "Corrected in a spreadsheet."}
    return await client.post(form.action, data=fields, follow_redirects=True)


async def test_a_list_goes_out_as_a_table_and_comes_back_as_a_proposal(office: Site) -> None:
    """Of the table that comes back only what was changed is in the difference; untouched, it changes nothing."""
    page = f"{HERE}/lists/suicide"
    async with office.client("Sam") as client:
        table = await client.get(f"{page}/csv")
        assert table.headers["content-disposition"] == 'attachment; filename="suicide.csv"'
        same = await sent_table(client, page, table.text)
        assert "This changes nothing." in same.text
        rows = list(csv.DictReader(io.StringIO(table.text, newline="")))
        at = next(n for n, row in enumerate(rows) if row["kind"] == "entry")
        rows[at]["reason"] = "Said more plainly, with a comma."
        answer = await sent_table(client, page, spelt(rows))
    assert answer.status_code == HTTPStatus.OK, answer.text
    diff = [line for line in read(answer.text).by_class["ek-diff"][0].splitlines() if line.startswith("+")]
    assert '+reason = "Said more plainly, with a comma."' in diff
    assert len(diff) < 30


def spelt(rows: list[dict[str, str]]) -> str:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("level", "many", "level is &#39;many&#39;; write a number"),
        ("level", "9", "level must be 0, 1, 2 or 3; correct it"),
        ("match", "i baked bread", "match example 1 is not found"),
    ],
    ids=["no number", "no level", "example"],
)
async def test_what_is_wrong_with_a_table_is_told_with_its_own_line(
    office: Site, column: str, value: str, says: str
) -> None:
    """The line is that of the table, whoever found the fault, and what was pasted is still there."""
    page = f"{HERE}/lists/violence"
    async with office.client("Sam") as client:
        rows = list(csv.DictReader(io.StringIO((await client.get(f"{page}/csv")).text, newline="")))
        at = next(n for n, row in enumerate(rows) if row["kind"] == "entry" and row["match"]) + 1
        rows[at][column] = value
        table = spelt(rows)
        answer = await sent_table(client, page, table)
    reader = csv.reader(io.StringIO(table, newline=""))
    for _ in range(at + 2):
        next(reader)
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert f"violence.csv:{reader.line_num}: " in answer.text
    assert says in answer.text
    assert rows[at]["id"] in read(answer.text).text


async def test_the_longest_list_can_be_proposed_whole(office: Site) -> None:
    """A list is downloaded as it stands and may be sent back as it stands, also one longer than any message."""
    page = f"{HERE}/lists/suicide"
    async with office.client("Sam") as client:
        text = (await client.get(f"{page}/toml")).text
        assert len(text) > 64 * 1024
        form = next(form for form in read((await client.get(page)).text).forms if form.fields.get("kind") == "document")
        fields = {**form.fields, "text": f"# Looked through by two people.\n{text}", "reason": "A note."}
        answer = await client.post(form.action, data=fields, follow_redirects=True)
        nothing = await client.get(f"{page}/xls")
    assert "+# Looked through by two people." in answer.text
    assert nothing.status_code == HTTPStatus.NOT_FOUND


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
    assert "The text around it says that it is not so, which lowers it." in shown.text
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
