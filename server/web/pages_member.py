"""A member's pages: the rooms, one room, one message. Everything works by forms and by reloading."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from server.errors import BadRequest, NotFound
from server.ids import room_feed
from server.protocol.frames import PAGE_SIZE, Ack, Edit, History, Remove, Report, ReportReason, RoomItem, Send
from server.web import rows, verbs
from server.web.forms import strict
from server.web.visit import MEMBER_TEXTS, STAFF_TEXTS, Visit, see_other


async def rooms_page(visit: Visit) -> Response:
    verbs.check_reading(visit.services, visit.who)
    rooms = await verbs.list_rooms(visit.services, visit.who)
    inbox = (await verbs.follow(visit.services, visit.who, "inbox", None)).joined.items
    private = rows.private_rooms(inbox)
    hidden = {room.id for room in private}
    return visit.page(
        "rooms.jinja",
        here="rooms",
        rooms=[room for room in rooms if room.id not in hidden],
        private_rooms=private,
        handling_items=rows.handling(inbox, visit.texts),
    )


async def room_page(visit: Visit) -> Response:
    """The newest page of a room, or the one before `?before=`; with the reader's own states beside it."""
    verbs.check_reading(visit.services, visit.who)
    room_id, who, texts = visit.path("room"), visit.who, visit.texts
    feed = room_feed(room_id)
    joined = (await verbs.follow(visit.services, who, feed, None, visit.request_id)).joined
    items, more = joined.items, joined.more
    before = whole_number(visit, "before")
    if before:
        page = await verbs.history(visit.services, who, _history(visit, feed, before, PAGE_SIZE), visit.request_id)
        items, more = page.items, page.more
    drawn = rows.rows(items, who.account, texts)
    inbox = (await verbs.follow(visit.services, who, "inbox", None)).joined.items
    states = rows.handling(inbox, texts)
    care = visit.request.query_params.get("care", "")
    return visit.page(
        "room.jinja",
        feed=feed,
        room=joined.room or RoomItem(id=room_id, name="", room_kind=""),
        rows=drawn,
        more=more,
        earliest=drawn[0].place if drawn else 0,
        handling_items=states,
        private_rooms=rows.private_rooms(inbox, room_id),
        care=care if care == "notice" or (care == "urgent" and not states) else "",
        reported=visit.request.query_params.get("reported") == "yes",
        client_texts=texts.sections(*(STAFF_TEXTS if who.is_staff else MEMBER_TEXTS)),
    )


async def send(visit: Visit) -> Response:
    fields = strict(visit.fields, "client_id", "body")
    body = fields["body"].strip()
    if not body:
        return see_other(_room_url(visit))
    command = Send(client_id=fields["client_id"], feed=room_feed(visit.path("room")), body=body)
    ack = await verbs.submit(visit.services, visit.who, command, visit.request_id)
    care = ack.care if isinstance(ack, Ack) else "none"
    query = f"?care={care}" if care != "none" else ""
    return see_other(f"{_room_url(visit)}{query}#newest")


async def message_page(visit: Visit) -> Response:
    """One message, with what this reader may do about it; `?at=` says where in the room it stands."""
    verbs.check_reading(visit.services, visit.who)
    at = whole_number(visit, "at")
    feed = room_feed(visit.path("room"))
    page = await verbs.history(visit.services, visit.who, _history(visit, feed, at + 1, 1), visit.request_id)
    drawn = [r for r in rows.rows(page.items, visit.who.account, visit.texts) if r.id == visit.path("message")]
    if not drawn:
        raise NotFound(visit.texts("error.not_found"))
    reasons = [
        {"value": code, "text": text} for code, text in visit.texts.section("report").items() if code != "thanks"
    ]
    return visit.page(
        "message.jinja", room=RoomItem(id=visit.path("room"), name="", room_kind=""), r=drawn[0], reasons=reasons
    )


async def edit(visit: Visit) -> Response:
    fields = strict(visit.fields, "client_id", "body")
    return await _act(
        visit,
        Edit(
            client_id=fields["client_id"],
            feed=room_feed(visit.path("room")),
            message=visit.path("message"),
            body=fields["body"].strip(),
        ),
    )


async def remove(visit: Visit) -> Response:
    fields = strict(visit.fields, "client_id")
    return await _act(
        visit, Remove(client_id=fields["client_id"], feed=room_feed(visit.path("room")), message=visit.path("message"))
    )


async def report(visit: Visit) -> Response:
    fields = strict(visit.fields, "client_id", optional=("reason", "body"))
    try:
        reason: ReportReason = msgspec.convert(fields["reason"], ReportReason)
    except msgspec.ValidationError as error:
        raise BadRequest("Please go back and choose a reason.", field="reason") from error
    command = Report(
        client_id=fields["client_id"],
        feed=room_feed(visit.path("room")),
        message=visit.path("message"),
        reason=reason,
        body=fields["body"].strip(),
    )
    await verbs.submit(visit.services, visit.who, command, visit.request_id)
    return see_other(f"{_room_url(visit)}?reported=yes")


async def _act(visit: Visit, command: Edit | Remove) -> Response:
    answer = await verbs.submit(visit.services, visit.who, command, visit.request_id)
    care = getattr(answer, "care", "none")
    return see_other(_room_url(visit) + (f"?care={care}" if care != "none" else ""))


def whole_number(visit: Visit, name: str) -> int:
    """A query's number, 0 where there is none.

    Raises:
        BadRequest: it is not a whole number below 2**53.
    """
    text = visit.request.query_params.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise BadRequest(visit.texts("error.bad_request"))
    return int(text)


def _history(visit: Visit, feed: str, before: int, limit: int) -> History:
    return History(client_id=f"p-{visit.request_id}", feed=feed, before=before, limit=limit)


def _room_url(visit: Visit) -> str:
    return f"/rooms/{visit.path('room')}"
