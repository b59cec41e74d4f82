"""How much one account may say, by whichever way it comes in: reliability 3.3, item 23, on the real service."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import msgspec
import pytest
from sqlalchemy import func, select

from moderation.types import Role, RoomKind
from server.actions.accounts import Registered
from server.actions.pace import MEMBER, STAFF, Pace
from server.actions.rooms import make_room
from server.auth.credentials import form_token
from server.auth.requester import Requester
from server.ids import new_id
from server.protocol.frames import Ack, Act, AnyCommand, Done, Edit, Error, Help, OpenCase, Report, Send
from server.store.schema import case_report, message, review_case
from tests.harness import Edge, registered, staff_signed_in
from tests.path.scene import CLEAN, URGENT, belong, client_id
from tests.security.support import CRISIS, Answer, answer_to, as_browser, as_program, ask, raw_socket, request

BURST = MEMBER["say"].burst


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(edge: Edge) -> Clock:
    """The clock of the pace of this test's service."""
    made = Clock()
    edge.services.pace = Pace(made)
    return made


async def a_room(edge: Edge) -> str:
    return await make_room(edge.services, RoomKind.COMMUNITY, "The kitchen table", "Everyday talk")


async def somebody(edge: Edge, name: str, feed: str) -> Registered:
    """A new member who belongs to the room."""
    who = await registered(edge.services, name)
    await belong(edge.services, feed, who.requester)
    return who


def say(feed: str, body: str = CLEAN) -> Send:
    return Send(client_id=client_id(), feed=feed, body=body)


async def command(edge: Edge, who: Registered, said: AnyCommand) -> Answer:
    """One command by the API, as a program."""
    body = msgspec.json.encode(said)
    own = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    return await answer_to(edge, request("POST /api/commands HTTP/1.1", [*as_program(edge, who.token), *own], body))


async def form(edge: Edge, who: Registered, path: str, **fields: str) -> Answer:
    """A form, as a browser without scripts posts it."""
    fields["csrf"] = form_token(edge.services.secret, who.requester.session)
    body = urlencode(fields).encode()
    own = [("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", str(len(body)))]
    return await answer_to(edge, request(f"POST {path} HTTP/1.1", [*as_browser(edge, who.token), *own], body))


async def counts(edge: Edge) -> tuple[int, int, int]:
    """How many messages, cases, and texts kept with a case there are."""
    return await edge.services.store.read(
        lambda conn: tuple(  # type: ignore[arg-type]
            conn.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (message, review_case, case_report)
        )
    )


async def test_what_a_socket_used_up_is_used_up_for_http(edge: Edge, clock: Clock) -> None:
    """Twenty sends by socket, and the API and the form answer 429: when to come back, and where help is meanwhile."""
    feed = await a_room(edge)
    robin = await somebody(edge, "Robin", feed)
    async with raw_socket(edge, robin) as raw:
        for _ in range(BURST):
            await ask(raw, say(feed), Ack)
        refused = await ask(raw, say(feed), Error)
        assert (refused.code, refused.retry, refused.retry_after_ms) == ("too_many", "later", 501)
    by_api = await command(edge, robin, say(feed))
    assert (by_api.status, by_api.code, by_api.headers["retry-after"]) == (429, "too_many", "1")
    shown = json.loads(by_api.body)
    assert shown["retry"] == "later"
    assert "116 123" in shown["message"]
    room = feed.partition(":")[2]
    by_form = await form(edge, robin, f"/rooms/{room}/send", client_id=client_id(), body="So this is <kept>")
    assert (by_form.status, by_form.headers["retry-after"]) == (429, "1")
    assert "So this is &lt;kept&gt;" in by_form.body
    assert all(number in by_form.body for number in CRISIS)
    clock.now += 0.501
    assert (await command(edge, robin, say(feed))).status == 200
    assert (await counts(edge))[0] == BURST + 1


async def test_what_http_used_up_is_used_up_for_every_socket(edge: Edge, clock: Clock) -> None:
    """Sends by API, by form and by two sockets come out of one bucket; edits too; another account has its own."""
    feed = await a_room(edge)
    robin = await somebody(edge, "Robin", feed)
    wren = await somebody(edge, "Wren", feed)
    room = feed.partition(":")[2]
    async with raw_socket(edge, robin) as one, raw_socket(edge, robin) as two, raw_socket(edge, wren) as other:
        for _ in range(BURST // 4):
            assert (await command(edge, robin, say(feed))).status == 200
            answer = await form(edge, robin, f"/rooms/{room}/send", client_id=client_id(), body=CLEAN)
            assert answer.status == 303
            await ask(one, say(feed), Ack)
            ack = await ask(two, say(feed), Ack)
        edit = Edit(client_id=client_id(), feed=feed, message=ack.message, body="Something else")
        for raw in (one, two):
            assert (await ask(raw, say(feed), Error)).code == "too_many"
            assert (await ask(raw, edit, Error)).code == "too_many"
        assert (await command(edge, robin, edit)).status == 429
        await ask(other, say(feed), Ack)
        assert (await command(edge, wren, say(feed))).status == 200


async def test_reports_come_out_of_one_bucket_too(edge: Edge, clock: Clock) -> None:
    """Reports by socket leave none for HTTP, and leave sending alone."""
    feed = await a_room(edge)
    robin = await somebody(edge, "Robin", feed)
    wren = await somebody(edge, "Wren", feed)
    async with raw_socket(edge, wren) as raw:
        message_id = (await ask(raw, say(feed), Ack)).message
    async with raw_socket(edge, robin) as raw:
        for _ in range(MEMBER["report"].burst):
            report = Report(client_id=client_id(), feed=feed, message=message_id, reason="other")
            await ask(raw, report, Done)
    again = Report(client_id=client_id(), feed=feed, message=message_id, reason="other")
    assert (await command(edge, robin, again)).status == 429
    assert (await command(edge, robin, say(feed))).status == 200


@pytest.mark.parametrize("way", ["socket", "api", "form"])
async def test_a_risky_text_over_the_limit_calls_somebody(edge: Edge, clock: Clock, way: str) -> None:
    """It is refused, nothing is posted, and it is kept as a call for help; sent again in time it is posted."""
    feed = await a_room(edge)
    robin = await somebody(edge, "Robin", feed)
    async with raw_socket(edge, robin) as raw:
        for _ in range(BURST):
            await ask(raw, say(feed), Ack)
        risky = say(feed, URGENT)
        if way == "socket":
            assert (await ask(raw, risky, Error)).code == "too_many"
        elif way == "api":
            assert (await command(edge, robin, risky)).status == 429
        else:
            path = f"/rooms/{feed.partition(':')[2]}/send"
            assert (await form(edge, robin, path, client_id=risky.client_id, body=URGENT)).status == 429
        assert await counts(edge) == (BURST, 1, 1)
        clock.now += 1
        await ask(raw, risky, Ack)
    assert await counts(edge) == (BURST + 1, 1, 1)


async def test_help_is_never_limited(edge: Edge, clock: Clock) -> None:
    """With everything else used up, sixty calls at once by socket and more by API and form are all taken."""
    feed = await a_room(edge)
    robin = await somebody(edge, "Robin", feed)
    async with raw_socket(edge, robin) as raw:
        for _ in range(BURST):
            await ask(raw, say(feed), Ack)
        for _ in range(60):
            raw.say(Help(client_id=client_id()))
        for _ in range(60):
            assert isinstance(await raw.hear(), Done)
    assert (await command(edge, robin, Help(client_id=client_id()))).status == 200
    answer = await form(edge, robin, "/help", client_id=client_id(), body="")
    assert (answer.status, answer.headers["location"]) == (303, "/help?asked=yes")


async def test_pages_of_rooms_are_counted_and_help_is_not(edge: Edge, clock: Clock) -> None:
    """Reading by pages and by commands comes out of one bucket; the page for help is there whatever was read."""
    feed = await a_room(edge)
    robin = await somebody(edge, "Robin", feed)
    room = f"/rooms/{feed.partition(':')[2]}"
    for _ in range(MEMBER["read"].burst - 1):
        edge.services.pace.check_reading(robin.requester)

    async def get(path: str) -> Answer:
        return await answer_to(edge, request(f"GET {path} HTTP/1.1", as_browser(edge, robin.token)))

    assert (await get(room)).status == 200
    for path in (room, "/rooms", "/api/rooms"):
        refused = await get(path)
        assert refused.status == 429, path
        assert "116 123" in refused.body
    assert (await get("/help")).status == 200


async def test_the_people_on_duty_are_never_limited_in_their_work(edge: Edge, clock: Clock) -> None:
    """Opening a case, acting on it, and the pages of the console and the calls: however often."""
    entered = await staff_signed_in(edge.services, "Sam", Role.MODERATOR)
    sam = Registered(entered.token, entered.requester, ())
    for _ in range(STAFF["read"].burst):
        edge.services.pace.check_reading(sam.requester)
    for path in ("/staff/console", "/staff/on-call"):
        answer = await answer_to(edge, request(f"GET {path} HTTP/1.1", as_browser(edge, sam.token)))
        assert answer.status == 200, path
    async with raw_socket(edge, sam) as raw:
        for _ in range(50):
            for work in (
                OpenCase(client_id=client_id(), case=new_id()),
                Act(client_id=client_id(), case=new_id(), version=1, act="claim"),
            ):
                assert (await ask(raw, work, Error)).code == "not_found"


def test_work_on_cases_and_help_have_no_family() -> None:
    """However many, none is counted."""
    pace, sam = Pace(lambda: 0.0), Requester("A1", "Sam", Role.MODERATOR, "S1")
    for _ in range(10_000):
        pace.check(sam, Help(client_id="help-0001"))
        pace.check(sam, OpenCase(client_id="open-0001", case="C1"))
        pace.check(sam, Act(client_id="act-00001", case="C1", version=1, act="claim"))
    assert len(pace) == 0
