"""The pages as somebody without scripts uses them: links, forms, reloading."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus

import httpx2
import pytest
from sqlalchemy import select

from moderation.ladders import LadderPolicy, Side
from moderation.types import Level, Role, RoomKind
from server.actions.post_message import post_message
from server.actions.rooms import make_room
from server.ids import new_id
from server.protocol.frames import Send
from server.store.schema import audit
from server.web.texts import Texts
from tests import harness
from tests.path.scene import URGENT, belong
from tests.web.conftest import WEB, Site
from tests.web.corpus import CORPUS
from tests.web.reading import form_to, read

LOGO = "M0 0h38v15.5H0z"  # how the path of the service's lozenge begins in the design system's header


async def post(client: httpx2.AsyncClient, page: str, action: str, **fields: str) -> httpx2.Response:
    """Open `page`, fill in the form that posts to `action`, send it, and follow where it leads."""
    form = form_to((await client.get(page)).text, action)
    return await client.post(action, data={**form.fields, **fields}, follow_redirects=True)


@pytest.mark.parametrize("name", [None, "Bluebell", "Sam"])
async def test_every_page_has_the_same_ways_to_help_and_out(site: Site, name: str | None) -> None:
    """Skip link, help and the way out stand first on every page, in the same order, without any script."""
    paths = ["/", "/help", "/house-rules", "/sign-up", "/sign-in", "/recover", "/demo", "/nowhere"]
    if name is not None:
        paths += ["/rooms", f"/rooms/{site.room}"]
    if name == "Sam":
        paths += ["/staff", "/staff/console", "/staff/on-call"]
    async with site.client(name) as client:
        for path in paths:
            answer = await client.get(path)
            anchors = [given for tag, given in read(answer.text).tags if tag == "a"]
            main = [a for a in anchors if a.get("href") in ("#maincontent", "/help", site.settings.quick_exit_url)]
            assert [a["href"] for a in main[:3]] == ["#maincontent", "/help", site.settings.quick_exit_url], path
            assert "NHS England" not in answer.text
            assert LOGO not in answer.text
            assert "nhsuk-header" not in answer.text
            title = answer.text.partition("<title>")[2].partition("</title>")[0]
            assert not any(word in title.lower() for word in ("evening", "crisis", "therapy", "mental", "suicid")), (
                title
            )


async def test_joining_by_forms_alone(site: Site) -> None:
    """Somebody without scripts can join, is shown the codes once, and comes into a room."""
    async with site.client() as client:
        fields = {"pseudonym": "Marigold", "password": harness.PASSWORD, "accept": "yes"}
        welcome = await post(client, "/sign-up", "/sign-up", **fields)
        assert welcome.status_code == HTTPStatus.OK
        assert "only this once" in welcome.text
        room = await client.get(f"/rooms/{site.room}")
    assert "The evening room" in room.text


async def test_joining_needs_the_rules_and_an_age(site: Site) -> None:
    """Without the tick nobody is joined, the name stays in its box, and the error says what to do."""
    async with site.client() as client:
        answer = await post(client, "/sign-up", "/sign-up", pseudonym="Marigold", password=harness.PASSWORD)
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert "16 or over" in answer.text
    assert 'value="Marigold"' in answer.text
    assert "set-cookie" not in answer.headers


async def test_a_wrong_password_is_told_beside_the_form(site: Site) -> None:
    """The sign-in page comes back with the name and never with the password."""
    async with site.client() as client:
        answer = await post(client, "/sign-in", "/sign-in", pseudonym="Bluebell", password="not this one at all")
    assert answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN)
    assert 'value="Bluebell"' in answer.text
    assert "not this one" not in answer.text


async def test_a_message_is_posted_once_however_often_the_form_is_sent(site: Site) -> None:
    """The form carries its client id, so sending it twice posts one message that everybody reads."""
    async with site.client("Bluebell") as client:
        form = form_to((await client.get(f"/rooms/{site.room}")).text, f"/rooms/{site.room}/send")
        for _ in range(2):
            await client.post(form.action, data={**form.fields, "body": "I baked bread today"})
    async with site.client("Heron") as other:
        seen = await other.get(f"/rooms/{site.room}")
    assert read(seen.text).by_class["ek-row__body"] == ["I baked bread today"]


async def test_an_urgent_message_is_answered_at_once_and_truly(site: Site) -> None:
    """Its author sees their words, that nobody has opened it, and the lines; others see that something is checked."""
    async with site.client("Bluebell") as client:
        answer = await post(client, f"/rooms/{site.room}", f"/rooms/{site.room}/send", body=URGENT)
    page = read(answer.text)
    assert page.by_class["ek-row__body"] == [URGENT]
    assert "Nobody has opened it yet" in page.by_class["ek-handling"][0]
    assert "116 123" in page.by_class["ek-handling"][0]
    assert "You have done nothing wrong" in page.by_class["ek-row--held"][0]
    async with site.client("Heron") as other:
        seen = await other.get(f"/rooms/{site.room}")
    assert URGENT not in seen.text
    assert "being checked" in seen.text


async def test_a_moderator_works_a_case_by_forms(site: Site) -> None:
    """Open, take, answer, publish, close: by forms alone; the member sees who opened it and the private room."""
    async with site.client("Bluebell") as member, site.client("Sam") as sam:
        await post(member, f"/rooms/{site.room}", f"/rooms/{site.room}/send", body=URGENT)
        queue = await sam.get("/staff/console")
        link = next(g["href"] for tag, g in read(queue.text).tags if g.get("href", "").startswith("/staff/cases/"))
        case = await sam.get(link)
        assert read(case.text).by_class["ek-row__body"] == [URGENT]
        assert "Suicidal thoughts" in case.text
        mine = read((await member.get("/rooms")).text)
        assert "Sam, moderator, has opened it" in mine.by_class["ek-handling"][0]
        taken = next(f for f in read(case.text).forms if f.fields.get("act") == "claim")
        case = await sam.post(taken.action, data=taken.fields, follow_redirects=True)
        reply = next(f for f in read(case.text).forms if f.fields.get("act") == "reply")
        case = await sam.post(
            reply.action, data={**reply.fields, "body": "I am here. Can we talk?"}, follow_redirects=True
        )
        assert "I am here" in case.text
        mine = read((await member.get("/rooms")).text)
        assert "ek-private" in mine.by_class
        free = next(f for f in read(case.text).forms if f.fields.get("act") == "release_message")
        case = await sam.post(free.action, data=free.fields, follow_redirects=True)
        close = next(f for f in read(case.text).forms if f.fields.get("act") == "close")
        fields = {**close.fields, "outcome": "supported", "body": "Spoke for a while."}
        done = await sam.post(close.action, data=fields, follow_redirects=True)
        ended = (await sam.get(link)).text
        again = next(f for f in read(ended).forms if f.fields.get("act") == "reopen")
        reopened = (await sam.post(again.action, data=again.fields, follow_redirects=True)).text
    assert done.status_code == HTTPStatus.OK
    assert "Nothing is waiting" in done.text
    for page, said in ((ended, "Closed by Sam"), (reopened, "Closed before")):
        panel = read(page).by_class["ek-panel"][0]
        assert said in panel
        assert "Spoke with the person and they feel supported" in panel
        assert "Spoke for a while." in panel
        assert "First read by Sam" in read(page).text


async def test_a_room_that_staff_look_at_leaves_an_audit_row(site: Site) -> None:
    """A moderator's view of a room's page: one row, with the page's own request id; a member's leaves none."""
    async with site.client("Bluebell") as member, site.client("Sam") as sam:
        await post(member, f"/rooms/{site.room}", f"/rooms/{site.room}/send", body=URGENT)
        assert URGENT in (await member.get(f"/rooms/{site.room}")).text
        page = await sam.get(f"/rooms/{site.room}")
    assert read(page.text).by_class["ek-row__body"] == [URGENT]
    rows = await site.services.store.read(lambda c: c.execute(select(audit).where(audit.c.act == "room_read")).all())
    assert [(row.subject, row.detail, row.request_id) for row in rows] == [
        (site.room, "join", page.headers["x-request-id"])
    ]


async def test_a_facilitator_finds_the_cases_of_their_group_on_the_console(site: Site) -> None:
    """The console lists what is open in their own groups, and each opens; of the community it lists nothing."""
    feed = await make_room(site.services, RoomKind.GROUP, "Tuesdays", "A group")
    finn = await harness.staff_signed_in(site.services, "Finn", Role.FACILITATOR)
    robin = await harness.member(site.services, "Robin")
    for who in (robin, finn.requester):
        await belong(site.services, feed, who)
    site.tokens["Finn"] = finn.token
    await post_message(site.services, robin, Send(client_id="group-0001", feed=feed, body=URGENT))
    async with site.client("Bluebell") as member, site.client("Finn") as client:
        await post(member, f"/rooms/{site.room}", f"/rooms/{site.room}/send", body=URGENT)
        queue = read((await client.get("/staff/console")).text)
        (name,) = queue.by_class["ek-case__name"]
        (link,) = [given["href"] for _, given in queue.tags if given.get("href", "").startswith("/staff/cases/")]
        case = await client.get(link)
    assert name == "Robin"
    assert read(case.text).by_class["ek-row__body"] == [URGENT]


async def test_a_stale_act_says_so_and_keeps_the_words(site: Site) -> None:
    """Of two people who act at once the second is told, with what they wrote still on the screen."""
    async with site.client("Bluebell") as member, site.client("Sam") as sam:
        await post(member, f"/rooms/{site.room}", f"/rooms/{site.room}/send", body=URGENT)
        queue = await sam.get("/staff/console")
        link = next(g["href"] for tag, g in read(queue.text).tags if g.get("href", "").startswith("/staff/cases/"))
        taken = next(f for f in read((await sam.get(link)).text).forms if f.fields.get("act") == "claim")
        assert (await sam.post(taken.action, data=taken.fields)).status_code == HTTPStatus.SEE_OTHER
        stale = {**taken.fields, "client_id": "test-00009", "act": "reply", "body": "my long answer"}
        answer = await sam.post(taken.action, data=stale)
    assert answer.status_code == HTTPStatus.CONFLICT
    assert "my long answer" in answer.text


async def test_asking_for_help_from_the_crisis_page(site: Site) -> None:
    """One press tells the team, says so truly, and a repeat of the form tells them once."""
    async with site.client("Bluebell") as client:
        form = form_to((await client.get("/help")).text, "/help")
        for _ in range(2):
            answer = await client.post("/help", data=form.fields, follow_redirects=True)
    assert "Sent to the team on duty" in answer.text
    async with site.client("Sam") as sam:
        queue = read((await sam.get("/staff/console")).text)
    assert len(queue.by_class["ek-case"]) == 1


async def test_a_report_is_thanked_and_reaches_the_team(site: Site) -> None:
    """A member reports a message from its own page; the team has a case; the author is told nothing."""
    async with site.client("Heron") as heron, site.client("Bluebell") as member:
        await post(heron, f"/rooms/{site.room}", f"/rooms/{site.room}/send", body="Just an ordinary evening")
        room = read((await member.get(f"/rooms/{site.room}")).text)
        link = next(g["href"] for tag, g in room.tags if "/messages/" in g.get("href", ""))
        action = link.partition("?")[0] + "/report"
        answer = await post(member, link, action, reason="worried")
        theirs = await heron.get("/rooms")
    assert "Nobody is told" in answer.text
    assert "ek-handling" not in theirs.text
    async with site.client("Sam") as sam:
        assert len(read((await sam.get("/staff/console")).text).by_class["ek-case"]) == 1


async def test_one_changes_and_takes_away_one_s_own_message(site: Site) -> None:
    """The message page edits and removes by forms."""
    async with site.client("Bluebell") as client:
        await post(client, f"/rooms/{site.room}", f"/rooms/{site.room}/send", body="I had soup")
        room = read((await client.get(f"/rooms/{site.room}")).text)
        link = next(g["href"] for tag, g in room.tags if "/messages/" in g.get("href", ""))
        base = link.partition("?")[0]
        edited = await post(client, link, base + "/edit", body="I had leek soup")
        assert read(edited.text).by_class["ek-row__body"] == ["I had leek soup"]
        gone = await post(client, link, base + "/remove")
    assert "took this message away" in gone.text


async def test_hostile_text_stays_text(site: Site) -> None:
    """Every string of the corpus comes back as exactly that text, and adds nothing to the page but its own row."""
    assert len(CORPUS) >= 60
    shown: list[str] = []
    elements: set[frozenset[str]] = set()
    async with site.client("Bluebell") as client:
        form = form_to((await client.get(f"/rooms/{site.room}")).text, f"/rooms/{site.room}/send")
        for n, body in enumerate(CORPUS):
            fields = {**form.fields, "client_id": f"test-{n:05d}", "body": body}
            answer = await client.post(form.action, data=fields, follow_redirects=True)
            page = read(answer.text)
            shown += page.by_class.get("ek-row__body", [])[-1:]
            elements.add(frozenset(tag for tag, _ in page.tags))
            assert not any(name.startswith("on") for _, given in page.tags for name in given)
            assert not any("javascript:" in value for _, given in page.tags for value in given.values())
    assert set(shown) >= {body.strip() for body in CORPUS}
    known = frozenset().union(*elements)
    assert known.isdisjoint(
        {"img", "svg", "iframe", "object", "embed", "math", "video", "audio", "style", "template", "x"}
    )


async def test_the_api_signs_in_sends_and_lists(site: Site) -> None:
    """A program signs in, takes its token, and sends a command whose answer is a frame of the wire contract."""
    async with site.client() as client:
        me = (await client.post("/api/sign-in", json={"pseudonym": "Bluebell", "password": harness.PASSWORD})).json()
        client.headers["x-evenkeel-csrf"] = me["csrf"]
        join = {"t": "join", "client_id": new_id(), "feed": f"room:{site.room}"}
        joined = (await client.post("/api/commands", json=join)).json()
        command = {"t": "send", "client_id": new_id(), "feed": f"room:{site.room}", "body": "From a program"}
        first = (await client.post("/api/commands", json=command)).json()
        again = (await client.post("/api/commands", json=command)).json()
        listed = (await client.get("/api/rooms")).json()
        ticket = (await client.post("/api/ticket", json={})).json()["ticket"]
        wrong = await client.post("/api/commands", json={**command, "bdy": "x"})
        await client.post("/api/sign-out", json={})
        after = await client.get("/api/rooms")
    assert (joined["t"], joined["re"], joined["room"]["name"]) == ("joined", join["client_id"], "The evening room")
    assert first["t"] == "ack"
    assert again == first
    assert [room["name"] for room in listed["rooms"]] == ["The evening room"]
    assert len(ticket) >= 20
    assert wrong.status_code == HTTPStatus.BAD_REQUEST
    assert set(wrong.json()) == {"code", "message", "field", "retry", "request_id"}
    assert after.status_code == HTTPStatus.UNAUTHORIZED


async def test_the_demonstration_ticks_what_was_stored(site: Site) -> None:
    """The list starts empty, and ticks a step after it happened, from the staff's own feeds."""
    async with site.client() as visitor, site.client("Bluebell") as member:
        assert (await visitor.get("/demo/progress")).json() == {"seen": []}
        await post(member, f"/rooms/{site.room}", f"/rooms/{site.room}/send", body=URGENT)
        assert (await visitor.get("/demo/progress")).json() == {"seen": ["case_opened"]}
        entered = await visitor.post("/demo/enter", data={"door": "moderator"}, follow_redirects=True)
        assert entered.url.path == "/staff/console"


def test_what_taking_a_case_means_is_what_the_ladders_say() -> None:
    """The times in the console's hint are those of the table of times, on every side of the service."""
    texts, policy = Texts.load(WEB / "texts.toml"), LadderPolicy.load()
    for side in Side:
        urgent, worrying, grey = (
            policy.ladder_for(side, level) for level in (Level.URGENT, Level.HIGH_NEED, Level.GREY)
        )
        assert "for ten minutes" in texts("console.taking_3")
        assert urgent.acknowledge_for == timedelta(minutes=10)
        assert "for half an hour" in texts("console.taking_2")
        assert worrying.acknowledge_for == timedelta(minutes=30)
        assert "for four hours or more" in texts("console.taking_1")
        assert grey.acknowledge_for >= timedelta(hours=4)
