"""What staff do with a case: read it, take it, act on its messages, answer privately, close it.

Every act is compared and set on the case's version: of two people who act at once, one does and the other is told.
Every act is a line of the case's history and a row of the audit chain. Reading a case is both, too: its subject may be
told who has opened it, because that is true.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, select

from moderation.cases import Act, CaseState, Outcome, after
from moderation.ladders import Side
from moderation.types import Level, Role
from server.actions.case_page import acts_on, case_page, may_see, note_place
from server.actions.escalation import tell_page
from server.actions.messages import tell_message
from server.actions.post_message import post_message
from server.actions.raising import case_feeds, realm_of, tell_case
from server.actions.rendering import PAGE_CHANNEL
from server.actions.rooms import access_room_for_reading
from server.actions.services import Services
from server.actions.support import ensure_support_room
from server.auth.permissions import require
from server.auth.requester import Requester
from server.errors import BadRequest, Conflict, NotFound, Refused, Unavailable
from server.ids import inbox_feed
from server.protocol import frames
from server.rooms import MessageState, side_of
from server.store import cases, messages, rooms
from server.store.commands import first_answer, keep_answer, kept_answer
from server.store.keys import Retention
from server.store.schema import account, message
from server.store.unit import AuditEntry, Tx

NO_CASE = "There is no such case, or it is not yours to see."
CHANGED = "Somebody else has changed this case. Look at it again."
_MESSAGE_ACTS = frozenset({Act.RELEASE_MESSAGE, Act.REMOVE_MESSAGE, Act.HOLD_MESSAGE})


async def open_case(
    services: Services, requester: Requester, command: frames.OpenCase, request_id: str
) -> frames.CasePage:
    """A case with the conversation around it, for somebody who may see it; that it was read is recorded.

    Raises:
        NotFound: no such case on this person's side of the wall.
    """
    require(requester, "frame.open_case")
    subject, role, side = await services.store.read(lambda conn: _about(conn, requester, command.case))

    def unit(tx: Tx) -> None:
        row = _visible(tx.conn, requester, command.case, lock=True)
        tx.audit(AuditEntry("case_read", "case", row.id, request_id, requester.account))
        seen = any(
            line.act == "looked" and line.actor == requester.account and line.at >= row.raised_at
            for line in cases.history(tx.conn, row.id)
        )
        if not seen:
            cases.add_history(tx, row.id, "looked", actor=requester.account)
            tell_case(tx, row.id, role)

    await services.store.write(unit, case_feeds(subject, role, side))
    # Read after the unit: opening some eighty messages is no work for the writer, behind which every message waits.
    return await services.store.read(
        lambda conn: case_page(
            conn, services.store.keys, requester, _visible(conn, requester, command.case), command.client_id
        )
    )


async def act_on_case(services: Services, requester: Requester, command: frames.Act, request_id: str) -> frames.Done:
    """Carry out one act on a case and answer with its new version.

    Raises:
        NotFound: no such case for this person.
        Conflict: the case has changed since `version`; read it again.
        Refused: not allowed in this state or to this role.
    """
    require(requester, "frame.act")
    act = _act(command)
    subject, role, side = await services.store.read(lambda conn: _about(conn, requester, command.case))
    if act is Act.REPLY:
        earlier = await _reply(services, requester, command, subject)
        if earlier is not None:
            return earlier
    for _ in range(3):
        calls = await services.store.read(lambda conn: _calls(conn, command.case))
        feeds = {*case_feeds(subject, role, side), *(inbox_feed(who) for _, who in calls)}
        if act in _MESSAGE_ACTS:
            feeds.add(await services.store.read(lambda conn: _message_feed(conn, requester, command)))
        unit = partial(
            _carry_out,
            services=services,
            requester=requester,
            command=command,
            act=act,
            role=role,
            request_id=request_id,
            calls=calls,
        )
        answer = await services.store.write(unit, feeds)
        if answer is not None:
            services.wake_ladders()
            return answer
    raise Unavailable("This case is being called out just now. Send it again.", code="busy")


def _act(command: frames.Act) -> Act:
    try:
        act = Act(command.act)
    except ValueError:
        raise BadRequest("There is no such act. The case names those allowed.", field="act") from None
    if act is Act.REPLY and not command.body.strip():
        raise BadRequest("Write the reply first.", field="body")
    if act is Act.CLOSE and command.outcome not in set(Outcome):
        raise BadRequest(f"Choose an outcome: {', '.join(Outcome)}.", field="outcome")
    if act in _MESSAGE_ACTS and command.message is None:
        raise BadRequest("Say which message.", field="message")
    return act


def _carry_out(
    tx: Tx,
    services: Services,
    requester: Requester,
    command: frames.Act,
    act: Act,
    role: Role,
    request_id: str,
    calls: list[tuple[str, str]],
) -> frames.Done | None:
    """The unit of an act; None if calls were made meanwhile whose feeds are not locked."""
    earlier = first_answer(tx, requester.account, command.client_id, "act", frames.Done)
    if earlier is not None:
        return earlier
    row = _visible(tx.conn, requester, command.case, lock=True)
    mine = row.claimed_by == requester.account
    duty = cases.obligation_of(tx.conn, row.id, lock=True)
    if row.version != command.version and not _stands(row, duty, act, mine):
        raise Conflict(CHANGED, code="case_changed", retry="never")
    state = after(CaseState(row.state), act)
    if act is Act.REPLY and state is None:
        state = CaseState(row.state)  # it was said already, to somebody whose case another has let go meanwhile
    elif state is None or (act is not Act.REPLY and act not in acts_on(row, requester, mine)):
        raise Refused("This can not be done with the case as it is now.", code="act_refused", field="act")
    if duty is not None and set(cases.calls_of(tx.conn, duty.id, PAGE_CHANNEL)) - set(calls):
        return None
    changes: dict[str, Any] = {"state": state}
    if act in _MESSAGE_ACTS:
        _change_message(tx, services, row, act, command.message or "")
    if act in (Act.CLAIM, Act.ACKNOWLEDGE):
        changes |= {"claimed_by": requester.account, "claimed_at": tx.now}
    if act in (Act.RELEASE_CLAIM, Act.REOPEN):
        changes |= {"claimed_by": None, "claimed_at": None, "closed_by": None, "closed_at": None}
    if act is Act.ESCALATE:
        changes["clinical"] = 1
    if act is Act.REOPEN and cases.open_case_of(tx.conn, row.subject, Side(row.side)) is not None:
        raise Refused("There is an open case about this person already. Go on with that one.", code="act_refused")
    if act is Act.CLOSE:
        changes |= _closing(tx, services, requester, row, command)
    version = cases.update_case(tx, row, **changes)
    _move_timer(tx, services, row, duty, act, requester)
    about = command.message if act in _MESSAGE_ACTS else None
    cases.add_history(tx, row.id, act, actor=requester.account, detail=command.outcome or "", message=about)
    tx.audit(AuditEntry(f"case_{act}", "case", row.id, request_id, requester.account, command.outcome or ""))
    tell_case(tx, row.id, role)
    for notice_id, recipient in calls:
        tell_page(tx, notice_id, inbox_feed(recipient))
    done = frames.Done(re=command.client_id, version=version)
    keep_answer(tx, requester.account, command.client_id, "act", done)
    return done


def _stands(row: Row[Any], duty: Row[Any] | None, act: Act, mine: bool) -> bool:
    """Whether an act holds though the case has changed since it was looked at.

    Nobody is kept from taking a case because its ladder moved or its subject wrote again; only that somebody else has
    taken it is news. While a call rings nobody has taken it, so whoever is called may answer, whatever they last saw.
    A reply is recorded because it was said (`_reply` has compared the version before).
    """
    if act is Act.REPLY:
        return True
    if act is Act.ACKNOWLEDGE and duty is not None and duty.state == cases.RUNNING:
        return True
    return act in (Act.CLAIM, Act.ACKNOWLEDGE, Act.ESCALATE) and (mine or row.claimed_by is None)


def _move_timer(tx: Tx, services: Services, row: Row[Any], duty: Row[Any] | None, act: Act, by: Requester) -> None:
    """What an act does to the ladder: ownership stops it for a while, giving up or asking for more starts it."""
    ladder = services.ladders.ladder_for(Side(row.side), Level(duty.level if duty is not None else row.level))
    if act is Act.CLOSE:
        if duty is not None:
            cases.update_obligation(tx, duty, state=cases.MET, due_at=None)
            cases.answer_calls(tx, duty.id)
        return
    if after(CaseState(row.state), act) is None:
        return  # a reply to a case that was let go meanwhile: it calls nobody again, and stops no call
    if duty is None:
        cases.insert_obligation(tx, row.id, Side(row.side), row.level, tx.now + ladder.rungs[0].after)
        return
    if act is Act.ESCALATE:
        rung = next((n for n, step in enumerate(ladder.rungs) if "clinic" in step.audience), len(ladder.rungs) - 1)
        # From that rung on, as if the time until it had passed.
        opened_at = tx.now - ladder.rungs[rung].after
        cases.update_obligation(
            tx, duty, state=cases.RUNNING, opened_at=opened_at, next_rung=rung, due_at=tx.now, acknowledged_by=None
        )
        return
    if act in (Act.RELEASE_CLAIM, Act.REOPEN):
        due_at = tx.now + ladder.rungs[0].after
        cases.update_obligation(
            tx, duty, state=cases.RUNNING, opened_at=tx.now, next_rung=0, due_at=due_at, acknowledged_by=None
        )
        return
    cases.answer_calls(tx, duty.id)
    cases.update_obligation(
        tx,
        duty,
        state=cases.ACKNOWLEDGED,
        acknowledged_by=by.account,
        acknowledged_at=tx.now,
        due_at=tx.now + ladder.acknowledge_for,
    )


def _change_message(tx: Tx, services: Services, row: Row[Any], act: Act, message_id: str) -> None:
    """Release, remove or hold a message of the case's rooms; what is removed is resealed under the case's own key."""
    found = tx.conn.execute(select(message).where(message.c.id == message_id)).one_or_none()
    room = None if found is None else rooms.room_by_id(tx.conn, found.feed.partition(":")[2])
    if found is None or found.author != row.subject or room is None or side_of(room.kind) != row.side:
        raise NotFound("There is no such message in this case.", field="message")
    state = MessageState(found.state)
    if act is Act.RELEASE_MESSAGE:
        if state is not MessageState.HELD:
            raise Refused("Only a held message can be released.", code="not_held", field="message")
        messages.set_state(tx, message_id, MessageState.PUBLISHED)
        tell_message(tx, services, message_id, found.feed, "release")
    elif act is Act.HOLD_MESSAGE:
        if state is not MessageState.PUBLISHED:
            raise Refused("Only a published message can be held.", code="not_published", field="message")
        messages.set_state(tx, message_id, MessageState.HELD)
        cases.add_message(tx, row.id, message_id, found.level, cases.ACT)
        tell_message(tx, services, message_id, found.feed, "hold")
    else:
        if state is MessageState.REMOVED:
            raise Refused("This message was removed already.", code="removed", field="message")
        record = messages.records(tx.conn, services.store.keys, [message_id])[message_id]
        key = services.store.keys.create(tx, row.id, realm_of(row.side), Retention.GOVERNANCE)
        if record.body is not None:
            messages.reseal(tx, message_id, record.version, key, record.body)
        messages.reseal_versions(tx, services.store.keys, message_id, key)
        cases.add_message(tx, row.id, message_id, found.level, cases.ACT)
        messages.set_state(tx, message_id, MessageState.REMOVED, removed_by="moderator")
        tell_message(tx, services, message_id, found.feed, "remove")


def _closing(tx: Tx, services: Services, requester: Requester, row: Row[Any], command: frames.Act) -> dict[str, Any]:
    """What closing stores. Refused while a message of the case is held: nobody would ever look at it again."""
    held = [
        feed
        for feed in messages.feeds_with_held(tx.conn, row.subject)
        if (room := rooms.room_by_id(tx.conn, feed.partition(":")[2])) is not None and side_of(room.kind) == row.side
    ]
    if held:
        raise Refused("A message of this case is still held. Release or remove it first.", code="still_held")
    changes: dict[str, Any] = {"closed_by": requester.account, "closed_at": tx.now, "outcome": command.outcome}
    changes |= {"note": None, "note_key": None}  # the note of an earlier closing is not this one's
    if command.body:
        key = services.store.keys.create(tx, row.id, realm_of(row.side), Retention.GOVERNANCE)
        changes |= {"note": key.seal(note_place(row.id), command.body), "note_key": key.id}
    return changes


async def _reply(services: Services, requester: Requester, command: frames.Act, subject: str) -> frames.Done | None:
    """Post the private reply through the one message path; the act's own unit follows. Both are idempotent.

    Returns the first answer if this act was carried out before; then nothing is posted.
    """

    def check(conn: Connection) -> frames.Done | None:
        earlier = kept_answer(conn, requester.account, command.client_id, "act", frames.Done)
        if earlier is not None:
            return earlier
        row = _visible(conn, requester, command.case)
        if row.version != command.version and not _posted(conn, requester, command):
            raise Conflict(CHANGED, code="case_changed", retry="never")
        if Act.REPLY not in acts_on(row, requester, row.claimed_by == requester.account):
            raise Refused("Claim the case first: then the member knows who is answering.", code="act_refused")
        return None

    earlier = await services.store.read(check)
    if earlier is not None:
        return earlier
    feed = await ensure_support_room(services, subject)
    send = frames.Send(client_id=command.client_id, feed=feed, body=command.body)
    await post_message(services, requester, send)
    return None


def _posted(conn: Connection, requester: Requester, command: frames.Act) -> bool:
    """Whether this reply was posted before the connection was lost: then only its record is missing."""
    found = conn.execute(
        select(message.c.id).where(message.c.author == requester.account, message.c.client_id == command.client_id)
    )
    return found.first() is not None


def _about(conn: Connection, requester: Requester, case: str) -> tuple[str, Role, Side]:
    row = _visible(conn, requester, case)
    role = conn.execute(select(account.c.role).where(account.c.id == row.subject)).scalar_one_or_none()
    return row.subject, Role(role or Role.MEMBER), Side(row.side)


def _visible(conn: Connection, requester: Requester, case: str, *, lock: bool = False) -> Row[Any]:
    row = cases.case_by_id(conn, case, lock=lock)
    if row is None or not may_see(conn, requester, row):
        raise NotFound(NO_CASE, field="case")
    return row


def _calls(conn: Connection, case: str) -> list[tuple[str, str]]:
    duty = cases.obligation_of(conn, case)
    return [] if duty is None else cases.calls_of(conn, duty.id, PAGE_CHANNEL)


def _message_feed(conn: Connection, requester: Requester, command: frames.Act) -> str:
    """The room of the message that is acted on; a facilitator decides in their own rooms alone."""
    feed = conn.execute(select(message.c.feed).where(message.c.id == command.message)).scalar_one_or_none()
    if feed is None:
        raise NotFound("There is no such message in this case.", field="message")
    if requester.role is Role.FACILITATOR:
        access_room_for_reading(conn, requester, feed)
    return str(feed)
