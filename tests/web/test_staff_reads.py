"""Every way by which staff see a member's words, case or place in a queue leaves its row of the audit.

`WAYS` is the table; `SHOWS_NOTHING` names every other page that staff may open. A new page fails the test of this file
until it is in one of the two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import get_args

import pytest
from sqlalchemy import insert, select

from moderation.types import Role, RoomKind
from server.actions import reviewing
from server.actions.accounts import create_staff, sign_in
from server.actions.rooms import make_room
from server.auth.credentials import form_token
from server.auth.permissions import POLICY
from server.auth.requester import Requester
from server.ids import STAFF_CLINICAL, STAFF_MODERATION, new_id
from server.protocol.frames import AnyCommand
from server.store.schema import audit, handover, review_item, word_fire, word_trial, word_version
from server.store.unit import Tx
from server.web.app import ROUTES
from server.web.security import CSRF_HEADER
from tests import harness
from tests.path.scene import URGENT, Scene, belong, client_id
from tests.web.conftest import Site

Row = tuple[str, str, str]


@dataclass
class Ward:
    """A site at which there is something to read: a case, an item of a blind review, a text of a trial."""

    site: Site
    case: str
    group_case: str
    message: str
    item: str
    trial: str
    people: dict[str, Requester]


@dataclass(frozen=True)
class Way:
    """One way to read, by page or command, and the rows that it leaves.

    `route`: the template of its page, and `ask` its address; or `command`, and `ask` its fields.
    """

    name: str
    who: str
    ask: Callable[[Ward], str | dict[str, object]]
    rows: Callable[[Ward], list[Row]]
    route: str = ""
    command: str = ""


def _feed(ward: Ward) -> str:
    return f"room:{ward.site.room}"


WAYS = [
    Way(
        "room",
        "Sam",
        lambda w: f"/rooms/{w.site.room}",
        lambda w: [("room_read", w.site.room, "join")],
        route="/rooms/{room}",
    ),
    Way(
        "older page of a room",
        "Sam",
        lambda w: f"/rooms/{w.site.room}?before=2",
        lambda w: [("room_read", w.site.room, "join"), ("room_read", w.site.room, "history")],
        route="/rooms/{room}",
    ),
    Way(
        "message",
        "Sam",
        lambda w: f"/rooms/{w.site.room}/messages/{w.message}?at=1",
        lambda w: [("room_read", w.site.room, "history")],
        route="/rooms/{room}/messages/{message}",
    ),
    Way(
        "console of a moderator",
        "Sam",
        lambda w: "/staff/console",
        lambda w: [("queue_read", STAFF_MODERATION, "")],
        route="/staff/console",
    ),
    Way(
        "console of a clinician",
        "Dr Osei",
        lambda w: "/staff/console",
        lambda w: [("queue_read", STAFF_CLINICAL, "")],
        route="/staff/console",
    ),
    Way(
        "console of a facilitator",
        "Finn",
        lambda w: "/staff/console",
        lambda w: [("queue_read", "own groups", "")],
        route="/staff/console",
    ),
    Way(
        "case",
        "Sam",
        lambda w: f"/staff/cases/{w.case}",
        lambda w: [("case_read", w.case, "")],
        route="/staff/cases/{case}",
    ),
    Way(
        "case of an own group",
        "Finn",
        lambda w: f"/staff/cases/{w.group_case}",
        lambda w: [("case_read", w.group_case, "")],
        route="/staff/cases/{case}",
    ),
    Way(
        "what was found in a case",
        "Sam",
        lambda w: f"/staff/cases/{w.case}/words",
        lambda w: [("case_words_read", w.case, "")],
        route="/staff/cases/{case}/words",
    ),
    Way(
        "replay of a case",
        "Lena",
        lambda w: f"/staff/cases/{w.case}/replay",
        lambda w: [("case_replayed", w.case, "")],
        route="/staff/cases/{case}/replay",
    ),
    Way(
        "what is handed over",
        "Sam",
        lambda w: "/staff/rota",
        lambda w: [("handover_read", w.case, "")],
        route="/staff/rota",
    ),
    Way(
        "message read blind",
        "Sam",
        lambda w: f"/staff/review/{w.item}",
        lambda w: [("review_text_read", w.message, "review")],
        route="/staff/review/{item}",
    ),
    Way(
        "text of a trial",
        "Lena",
        lambda w: f"/staff/watchwords/trials/{w.trial}/texts/{w.message}",
        lambda w: [("words_text_read", w.message, "word_trial")],
        route="/staff/watchwords/trials/{trial}/texts/{ref}",
    ),
    Way(
        "join of a room",
        "Sam",
        lambda w: {"feed": _feed(w)},
        lambda w: [("room_read", w.site.room, "join")],
        command="join",
    ),
    Way(
        "history of a room",
        "Sam",
        lambda w: {"feed": _feed(w), "before": 9},
        lambda w: [("room_read", w.site.room, "history")],
        command="history",
    ),
    Way(
        "join of the queue",
        "Sam",
        lambda w: {"feed": STAFF_MODERATION},
        lambda w: [("queue_read", STAFF_MODERATION, "")],
        command="join",
    ),
    Way(
        "case by command",
        "Sam",
        lambda w: {"case": w.case},
        lambda w: [("case_read", w.case, "")],
        command="open_case",
    ),
]
# Pages that staff may open and that show nothing of a member: rooms by name, counts, lists, the reader's own calls.
SHOWS_NOTHING = {
    "/rooms",
    "/staff",
    "/staff/on-call",
    "/staff/review",
    "/staff/rota/book",
    "/staff/rota/rota.ics",
    "/staff/watchwords",
    "/staff/watchwords/quality",
    "/staff/watchwords/lists/{name}",
    "/staff/watchwords/lists/{name}/{form}",
    "/staff/watchwords/versions/{version}",
    "/staff/watchwords/trials/{trial}",
    "/api/rooms",
}
# Commands whose answer holds nothing of a member: what they do has a row of its own where it is a decision.
ANSWERS_NOTHING = {"hello", "leave", "send", "edit", "remove", "read", "report", "help", "act", "beat"}


@pytest.fixture
async def ward(site: Site) -> Ward:
    services = site.services
    bluebell = await harness.member(services, "Fern")
    group = await make_room(services, RoomKind.GROUP, "Tuesdays", "A group")
    for who in (bluebell, await harness.staff(services, "Finn", Role.FACILITATOR)):
        await belong(services, group, who)
    scene = Scene(services, f"room:{site.room}", bluebell, bluebell, bluebell, [])
    await belong(services, scene.feed, bluebell)
    said = await scene.say(bluebell, URGENT)
    await scene.say(bluebell, URGENT, feed=group)
    await harness.fast_forward(services, timedelta(hours=25))
    await reviewing.draw_shifts(services)
    await create_staff(services, "Lena", Role.MODERATOR_LEAD, harness.PASSWORD)
    await services.lists.start()
    people = {name: await _signed_in(site, name) for name in ("Sam", "Dr Osei", "Finn", "Lena")}
    queue = {case.feed: case.id for case in await scene.queue(people["Sam"])}
    message = said.message
    item, trial = await _item(site, message), await _trial(site, message)
    await _offer(site, queue[scene.feed], people["Finn"])
    return Ward(site, queue[scene.feed], queue[group], message, item, trial, people)


async def _signed_in(site: Site, name: str) -> Requester:
    """Somebody with a session of now: a day has passed since those of the site began."""
    entered = await sign_in(site.services, harness.origin(), name, harness.PASSWORD)
    site.tokens[name] = entered.token
    return entered.requester


async def _item(site: Site, message: str) -> str:
    query = select(review_item.c.id).where(review_item.c.message == message)
    return str(await site.services.store.read(lambda conn: conn.execute(query).scalar_one()))


async def _trial(site: Site, message: str) -> str:
    """A back-test that found something in a message, as its rows."""

    def unit(tx: Tx) -> str:
        conn, now = tx.conn, tx.now
        version = conn.execute(select(word_version.c.id).limit(1)).scalar_one()
        trial = {"id": new_id(), "word_version": version, "digest": "x", "against": version, "kind": "stored"}
        counts = {"days": 1, "done": 1, "total": 1, "unreadable": 0}
        times = {"asked_at": now, "until": now}
        conn.execute(insert(word_trial).values(state="done", asked_by=version, **trial, **counts, **times))
        fire = {"trial": trial["id"], "ref": message, "text_version": 1, "entry_id": "e", "category": "C"}
        conn.execute(insert(word_fire).values(live=0, proposed=2, **fire))
        return str(trial["id"])

    return await site.services.store.write(unit)


async def _offer(site: Site, case: str, leaver: Requester) -> None:
    """A case that somebody who leaves has to hand over, as its row."""

    def unit(tx: Tx) -> None:
        offer = {"id": new_id(), "case": case, "leaver": leaver.account, "role": leaver.role, "state": "offered"}
        tx.conn.execute(insert(handover).values(ends_at=tx.now, offered_at=tx.now, **offer))

    await site.services.store.write(unit)


async def _rows(site: Site) -> list[tuple[str | None, str, str, str, str]]:
    query = select(audit).order_by(audit.c.n)
    rows = await site.services.store.read(lambda conn: conn.execute(query).all())
    return [(row.actor, row.act, row.subject, row.detail, row.request_id) for row in rows]


async def test_every_way_of_reading_leaves_its_row(ward: Ward) -> None:
    """Each page and command of the table: exactly its rows, with who read, in the name of that request."""
    for way in WAYS:
        who = ward.people[way.who]
        before = len(await _rows(ward.site))
        asked = way.ask(ward)
        async with ward.site.client(way.who) as client:
            if isinstance(asked, str):
                answer = await client.get(asked)
            else:
                client.headers[CSRF_HEADER] = form_token(ward.site.settings.secret, who.session)
                command = {"t": way.command, "client_id": client_id(), **asked}
                answer = await client.post("/api/commands", json=command)
        assert answer.status_code == HTTPStatus.OK, (way.name, answer.text)
        left = (await _rows(ward.site))[before:]
        assert [row[1:4] for row in left] == way.rows(ward), way.name
        assert {row[0] for row in left} == {who.account}, way.name
        assert {row[4] for row in left} == {answer.headers["x-request-id"]}, way.name


def test_every_page_that_staff_may_open_is_in_the_table() -> None:
    """A page or command is known to leave a row, or to show nothing of a member; a new one is neither yet."""
    open_to_staff = {
        entry.path
        for entry in ROUTES
        if entry.method == "GET" and (POLICY[entry.operation].roles or frozenset()) - {Role.MEMBER}
    }
    assert open_to_staff == {way.route for way in WAYS if way.route} | SHOWS_NOTHING
    commands = {str(of.__struct_config__.tag) for of in get_args(AnyCommand)}
    assert commands == {way.command for way in WAYS if way.command} | ANSWERS_NOTHING
