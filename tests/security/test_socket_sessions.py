"""Sessions and rights on live sockets: reliability 3.1, items 5 and 6, and 3.2, items 13 to 17."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from moderation.types import Role, RoomKind
from server.actions.accounts import Registered, change_password, recover, sign_in
from server.actions.post_message import post_message
from server.actions.rights import disable_account, set_role
from server.actions.rooms import make_room, remove_from_room
from server.actions.services import Revocations
from server.actions.sessions import authenticate, sign_out, sign_out_everywhere
from server.auth.requester import Requester
from server.errors import NotSignedIn
from server.ids import new_id
from server.live.dispatch import LiveVerbs
from server.protocol.codec import Codec
from server.protocol.frames import (
    Ack,
    Act,
    AnyCommand,
    Beat,
    BeatReply,
    Edit,
    Error,
    Event,
    Help,
    History,
    Join,
    Joined,
    OpenCase,
    Read,
    Remove,
    Report,
    Send,
)
from server.store import feeds
from server.store.schema import review_case
from tests.harness import PASSWORD, Edge, fast_forward, member, origin, registered, staff_signed_in
from tests.live.support import masked
from tests.path.scene import CLEAN, URGENT, belong, client_id
from tests.security.support import answer_to, as_program, ask, hear_until, host, raw_socket, request

NEW = "seven lamps on a hill"


async def a_room(edge: Edge) -> str:
    return await make_room(edge.services, RoomKind.COMMUNITY, "The kitchen table", "Everyday talk")


async def a_writer(edge: Edge, feed: str) -> Requester:
    """Wren, who belongs to the room."""
    wren = await member(edge.services, "Wren")
    await belong(edge.services, feed, wren)
    return wren


# --- item 5 -----------------------------------------------------------------------------------------------------------


async def test_a_clock_that_is_set_back_makes_no_session_live_longer(edge: Edge) -> None:
    """What was found before the clock was set back is asked for again, not believed until the clock comes there."""
    feed, robin = await a_room(edge), await registered(edge.services, "Robin")
    verbs = LiveVerbs(edge.services)
    await verbs.follow(robin.requester, feed, None)
    await fast_forward(edge.services, -timedelta(hours=1))
    await sign_out(edge.services, robin.requester)
    with pytest.raises(NotSignedIn):
        await verbs.follow(robin.requester, feed, None)


@pytest.mark.parametrize("end", ["idle", "absolute"])
async def test_a_frame_after_the_end_of_its_session_is_not_carried_out(edge: Edge, end: str) -> None:
    """The first frame after the session's end is refused before anything is done, and the socket is closed."""
    feed, robin = await a_room(edge), await registered(edge.services, "Robin")
    settings = edge.services.settings
    step = settings.session_idle if end == "idle" else settings.session_idle - timedelta(minutes=1)
    async with raw_socket(edge, robin) as raw:
        await ask(raw, Join(client_id="join-00001", feed=feed), Joined)
        passed = timedelta(0)
        while end == "absolute" and passed + step < settings.session_absolute:
            await fast_forward(edge.services, step)
            passed += step
            await authenticate(edge.services, robin.token)  # used all the time, by another tab
        await fast_forward(edge.services, step if end == "idle" else settings.session_absolute - passed)
        refused = await ask(raw, Send(client_id="send-00001", feed=feed, body=CLEAN), Error)
        assert (refused.code, refused.re) == ("expired", "send-00001")
        assert await raw.close_code() == 4401
    wren = await a_writer(edge, feed)
    ack = await post_message(edge.services, wren, Send(client_id="send-00002", feed=feed, body=CLEAN))
    assert ack.seq == 1


@pytest.mark.parametrize("end", ["idle", "role", "disabled"])
async def test_a_risk_in_what_is_said_after_the_end_calls_somebody(edge: Edge, end: str) -> None:
    """The frame is refused and posts nothing, but somebody in danger is not lost with it: a case is opened."""
    feed, robin = await a_room(edge), await registered(edge.services, "Robin")
    await belong(edge.services, feed, robin.requester)
    edge.services.revoked = Revocations()  # as if another process had ended it: this one finds out from the row
    async with raw_socket(edge, robin) as raw:
        await ask(raw, Join(client_id="join-00001", feed=feed), Joined)
        if end == "role":
            await set_role(edge.services, None, robin.requester.account, Role.MODERATOR)
        elif end == "disabled":
            await disable_account(edge.services, None, robin.requester.account)
        idle = edge.services.settings.session_idle
        await fast_forward(edge.services, idle if end == "idle" else timedelta(minutes=1))
        for n, body in enumerate((CLEAN, URGENT)):
            raw.say(Send(client_id=f"send-0000{n}", feed=feed, body=body))
        refused = await hear_until(raw, Error)
        assert (refused.code, refused.re) == ("expired", "send-00000")
        assert await raw.close_code() == 4401
    async with asyncio.timeout(10):
        while not (found := await origins(edge)):  # noqa: ASYNC110 - it is heard in a task of its own
            await asyncio.sleep(0)
    assert found == ["help"]
    assert await edge.services.store.read(lambda conn: feeds.heads(conn, [feed])[feed].seq) == 0


async def test_a_call_for_help_after_the_end_is_a_call_for_help(edge: Edge) -> None:
    """It opens its case before the refusal is answered."""
    robin = await registered(edge.services, "Robin")
    async with raw_socket(edge, robin) as raw:
        await fast_forward(edge.services, edge.services.settings.session_idle)
        refused = await ask(raw, Help(client_id="help-00001"), Error)
        assert (refused.code, await origins(edge)) == ("expired", ["help"])
        assert await raw.close_code() == 4401


async def origins(edge: Edge) -> list[str]:
    """What opened each case."""
    return await edge.services.store.read(lambda conn: list(conn.execute(select(review_case.c.origin)).scalars()))


async def test_a_silent_socket_is_closed_after_the_end_of_its_session(edge: Edge) -> None:
    """A socket that says nothing but beats is found by the look at the sessions, within its five seconds."""
    robin = await registered(edge.services, "Robin")
    async with raw_socket(edge, robin) as raw:
        await fast_forward(edge.services, edge.services.settings.session_idle)
        before = time.monotonic()
        raw.say(Beat())
        while (await raw.frame())[0] != 8:
            pass
    assert time.monotonic() - before < 6.5


# --- item 6 -----------------------------------------------------------------------------------------------------------


Ending = Callable[[Edge, Registered], Awaitable[object]]
ENDINGS: dict[str, Ending] = {
    "sign out": lambda edge, who: sign_out(edge.services, who.requester),
    "sign out everywhere": lambda edge, who: sign_out_everywhere(edge.services, who.requester),
    "new password": lambda edge, who: change_password(edge.services, origin(), who.requester, PASSWORD, NEW),
    "recovery": lambda edge, who: recover(edge.services, origin(), who.requester.name, who.recovery_codes[0], NEW),
    "another role": lambda edge, who: set_role(edge.services, None, who.requester.account, Role.MODERATOR),
    "disabled": lambda edge, who: disable_account(edge.services, None, who.requester.account),
}


@pytest.mark.parametrize("how", ENDINGS)
async def test_what_ends_a_session_closes_its_sockets_within_two_seconds(edge: Edge, how: str) -> None:
    """Every socket of the session is closed with 4401, and nothing said after the end is shown to it (ASVS 7.4)."""
    feed, robin = await a_room(edge), await registered(edge.services, "Robin")
    wren = await a_writer(edge, feed)
    async with raw_socket(edge, robin) as one, raw_socket(edge, robin, Codec.JSON) as two:
        await ask(one, Join(client_id="join-00001", feed=feed), Joined)
        await ask(two, Join(client_id="join-00002", feed=feed), Joined, Codec.JSON)
        before = time.monotonic()
        await ENDINGS[how](edge, robin)
        await post_message(edge.services, wren, Send(client_id="send-00001", feed=feed, body=CLEAN))
        assert await one.close_code() == 4401
        assert await two.close_code() == 4401
    assert time.monotonic() - before < 2


async def test_signing_out_here_leaves_the_other_device_alone(edge: Edge) -> None:
    """One session's end is not another's: the socket of the second sign-in goes on."""
    robin = await registered(edge.services, "Robin")
    other = await sign_in(edge.services, origin(), "Robin", PASSWORD)
    async with raw_socket(edge, robin) as one, raw_socket(edge, Registered(other.token, other.requester, ())) as two:
        await sign_out(edge.services, robin.requester)
        assert await one.close_code() == 4401
        assert isinstance(await ask(two, Beat(), BeatReply), BeatReply)


# --- item 13 ----------------------------------------------------------------------------------------------------------


async def test_several_removed_in_the_middle_of_a_fan_out_see_nothing_behind(edge: Edge) -> None:
    """Ten people are taken out one after another while others keep writing: none gets an event behind their own."""
    feed = await a_room(edge)
    writer = await a_writer(edge, feed)
    people = [await registered(edge.services, f"Robin {n}") for n in range(10)]
    last: dict[str, int] = {}
    removed: dict[str, int] = {}

    async def listen(who: Registered, joined: asyncio.Event) -> None:
        async with raw_socket(edge, who) as raw:
            await ask(raw, Join(client_id="join-00001", feed=feed), Joined)
            joined.set()
            asked = False
            while True:
                frame = await raw.hear()
                if isinstance(frame, Event) and frame.feed == feed:
                    last[who.requester.account] = frame.seq
                    if frame.item.__struct_config__.tag == "access":
                        removed[frame.item.account] = frame.seq  # type: ignore[union-attr]
                elif isinstance(frame, BeatReply) and who.requester.account in removed:
                    return
                if who.requester.account in removed and not asked:
                    # The answer to a beat comes behind everything that was still on its way.
                    await done.wait()
                    raw.say(Beat())
                    asked = True

    async def say(n: int) -> None:
        command = Send(client_id=f"send-{n:05d}", feed=feed, body=CLEAN)
        await post_message(edge.services, writer, command)

    done = asyncio.Event()
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        ready = [asyncio.Event() for _ in people]
        for who, event in zip(people, ready, strict=True):
            tasks.create_task(listen(who, event))
        for event in ready:
            await event.wait()
        for n, who in enumerate(people):
            await asyncio.gather(
                say(3 * n), remove_from_room(edge.services, who.requester.account, feed), say(3 * n + 1), say(3 * n + 2)
            )
        done.set()
    assert len(removed) == len(people)
    for who in people:
        assert last[who.requester.account] == removed[who.requester.account]


async def test_every_frame_of_somebody_removed_is_checked_anew(edge: Edge) -> None:
    """On the same open socket each command about the room is refused after the removal, as if there were no room."""
    feed, robin = await a_room(edge), await registered(edge.services, "Robin")
    async with raw_socket(edge, robin) as raw:
        await ask(raw, Join(client_id="join-00001", feed=feed), Joined)
        ack = await ask(raw, Send(client_id="send-00001", feed=feed, body=CLEAN), Ack)
        await remove_from_room(edge.services, robin.requester.account, feed)
        commands: list[AnyCommand] = [
            Send(client_id="send-00002", feed=feed, body=CLEAN),
            Edit(client_id="edit-00001", feed=feed, message=ack.message, body="Something else"),
            Remove(client_id="remove-001", feed=feed, message=ack.message),
            Report(client_id="report-001", feed=feed, message=ack.message, reason="other"),
            History(client_id="history-01", feed=feed, before=99),
            Read(client_id="read-00001", feed=feed, seq=1),
            Join(client_id="join-00002", feed=feed),
        ]
        for command in commands:
            refused = await ask(raw, command, Error)
            assert refused.code in ("not_found", "refused"), command


# --- item 14 and 15 ---------------------------------------------------------------------------------------------------


def about(feed: str, message: str, case: str, own_feed: str) -> list[AnyCommand]:
    """Every command that takes an id, about these; the message also as if it stood in a room of one's own."""
    return [
        Edit(client_id=client_id(), feed=own_feed, message=message, body="Something else"),
        Remove(client_id=client_id(), feed=own_feed, message=message),
        Report(client_id=client_id(), feed=own_feed, message=message, reason="other"),
        Join(client_id=client_id(), feed=feed),
        Join(client_id=client_id(), feed=feed.replace("room:", "inbox:")),
        Send(client_id=client_id(), feed=feed, body=CLEAN),
        History(client_id=client_id(), feed=feed, before=99),
        Read(client_id=client_id(), feed=feed, seq=1),
        Edit(client_id=client_id(), feed=feed, message=message, body="Something else"),
        Remove(client_id=client_id(), feed=feed, message=message),
        Report(client_id=client_id(), feed=feed, message=message, reason="other"),
        OpenCase(client_id=client_id(), case=case),
        Act(client_id=client_id(), case=case, version=1, act="claim"),
    ]


@pytest.mark.parametrize("role", [Role.MEMBER, Role.THERAPIST, Role.MODERATOR, Role.FACILITATOR, Role.ADMIN])
async def test_a_foreign_id_and_an_invented_one_are_answered_alike(edge: Edge, role: Role) -> None:
    """For every command that takes an id: what is another's is answered word for word like what does not exist.

    The room is somebody's therapy room, the message and the case are from there: neither other members nor the
    community's staff nor another therapist may learn that they exist (3.2, items 14 and 15).
    """
    services = edge.services
    robin = await member(services, "Robin")
    open_room = await a_room(edge)
    room = await make_room(services, RoomKind.THERAPY, "Tuesdays", "One to one", robin.account)
    ack = await post_message(services, robin, Send(client_id=client_id(), feed=room, body=URGENT))
    cases = await services.store.read(lambda conn: list(conn.execute(select(review_case.c.id)).scalars()))
    assert len(cases) == 1
    if role is Role.MEMBER:
        other = await registered(services, "Wren")
    else:
        entered = await staff_signed_in(services, "Sam Other", role)
        other = Registered(entered.token, entered.requester, ())
    foreign = about(room, ack.message, cases[0], open_room)
    invented = about(f"room:{new_id()}", new_id(), new_id(), open_room)
    async with raw_socket(edge, other) as raw:
        for one, two in zip(foreign, invented, strict=True):
            first, second = await ask(raw, one, Error), await ask(raw, two, Error)
            assert (first.code, first.message, first.field) == (second.code, second.message, second.field), one
            assert first.code in ("not_found", "refused", "not_joined"), one


async def test_pages_about_foreign_ids_are_not_found(edge: Edge) -> None:
    """By HTTP the same: another's room, message and an invented one give one 404."""
    services = edge.services
    robin, wren = await member(services, "Robin"), await registered(services, "Wren")
    room = await make_room(services, RoomKind.THERAPY, "Tuesdays", "One to one", robin.account)
    ack = await post_message(services, robin, Send(client_id=client_id(), feed=room, body=CLEAN))
    own, other = room.partition(":")[2], new_id()
    pages: list[list[str]] = []
    for one in (own, other):
        message = ack.message if one is own else new_id()
        bodies = []
        for path in (f"/rooms/{one}", f"/rooms/{one}/messages/{message}?at=1"):
            headers = [("Host", host(edge)), ("Cookie", f"evenkeel={wren.token}")]
            found = await answer_to(edge, request(f"GET {path} HTTP/1.1", headers))
            assert found.status == 404
            shown = found.body.replace(found.headers["x-request-id"], "")
            for changing in (one, message):
                shown = shown.replace(changing, "")
            bodies.append(shown.partition("<h1")[2].partition("crisis")[0])
        pages.append(bodies)
    assert pages[0] == pages[1]


# --- item 16 and 17 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [{"$ne": None}, {"$gt": ""}, ["room:x"], 7, True, None, 1.5])
async def test_an_object_in_the_place_of_a_text_is_refused_on_every_way_in(edge: Edge, value: object) -> None:
    """Socket, command API and sign-in refuse every other type by name, and nothing is looked up with it."""
    robin = await registered(edge.services, "Robin")
    async with raw_socket(edge, robin, Codec.JSON) as raw:
        for name in ("feed", "body", "client_id"):
            frame = {"t": "send", "client_id": "send-00001", "feed": "room:x", "body": "hello", name: value}
            raw.writer.write(masked(json.dumps(frame).encode(), opcode=1))
            refused = await hear_until(raw, Error, Codec.JSON)
            assert refused.code == "bad_field"
    for path, body in (
        ("/api/sign-in", {"pseudonym": value, "password": PASSWORD}),
        ("/api/sign-in", {"pseudonym": "Robin", "password": value}),
        ("/api/commands", {"t": "history", "client_id": "history-01", "feed": value, "before": 9}),
    ):
        data = json.dumps(body).encode()
        own = [("Content-Type", "application/json"), ("Content-Length", str(len(data)))]
        answer = await answer_to(edge, request(f"POST {path} HTTP/1.1", [*as_program(edge, robin.token), *own], data))
        assert answer.status == 400, (path, answer.body)
