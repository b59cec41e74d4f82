"""Changing one's own message: an edit goes through the filter like a new one, a removal leaves a tombstone.

An edit that is held takes the message out of the room until a moderator has looked; the text before it is kept for
governance and never shown again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from moderation.ladders import Side
from moderation.types import Role, TextKind
from server.actions.post_message import key_of
from server.actions.raising import Concern, case_feeds, concern_level, is_concern, raise_case, tell_case
from server.actions.rendering import message_event, message_kind
from server.actions.rooms import access_room_for_posting, access_room_for_reading
from server.actions.services import Services
from server.auth.permissions import require
from server.auth.requester import Requester
from server.errors import NotFound, Refused
from server.protocol.frames import Ack, Change, Done, Edit, Remove
from server.rooms import MessageState, care_for, side_of, state_for
from server.store import cases, messages
from server.store.commands import first_answer, keep_answer
from server.store.keys import message_place
from server.store.unit import AuditEntry, Tx

EDIT_WITHIN = timedelta(minutes=10)
NO_MESSAGE = "There is no such message of yours."


async def edit_message(services: Services, requester: Requester, command: Edit) -> Ack:
    """Put a new text in place of one's own message, screened like any other.

    Raises:
        NotFound: no such message of this author.
        Refused: older than EDIT_WITHIN, removed, or the room is closed to them.
    """
    require(requester, "frame.edit")
    access = await services.store.read(lambda conn: access_room_for_posting(conn, requester, command.feed))
    room = access.room
    verdict = services.screening.screen(command.body, TextKind.MESSAGE, room.kind, requester.role)
    flagged = is_concern(verdict, requester.role)
    key = await key_of(services, room, requester.account)

    def unit(tx: Tx) -> Ack:
        earlier = first_answer(tx, requester.account, command.client_id, "edit", Ack)
        if earlier is not None:
            return earlier
        if tx.head(command.feed).version != access.version:
            access_room_for_posting(tx.conn, requester, command.feed)
        row = _own_row(tx, requester, command.feed, command.message)
        if tx.now - row.at > EDIT_WITHIN:
            raise Refused(
                "A message can be edited for ten minutes. Ask a moderator if it must change.", code="too_late"
            )
        version = row.version + 1
        sealed = key.seal(message_place(row.id, version), command.body)
        messages.replace_body(tx, row, version, sealed, key.id, verdict)
        # What is held stays held: an edit never publishes what nobody has looked at.
        held = row.state == MessageState.HELD or state_for(verdict.disposition) is MessageState.HELD
        state = MessageState.HELD if held else MessageState.PUBLISHED
        messages.set_state(tx, row.id, state)
        if flagged:
            concern = Concern(
                subject=requester.account,
                subject_role=requester.role,
                side=side_of(room.kind),
                origin="edit",
                level=concern_level(verdict),
                categories=verdict.categories,
                feed=command.feed,
                message=row.id,
                care=care_for(verdict),
                pressing=held or verdict.is_unreadable,
                said=verdict,
            )
            raise_case(tx, services, concern)
        elif requester.role is Role.MEMBER:
            _tell_edit(tx, requester, side_of(room.kind), row.id)
        seq, epoch = tell_message(tx, services, row.id, command.feed, "edit")
        ack = Ack(
            re=command.client_id,
            feed=command.feed,
            epoch=epoch,
            seq=seq,
            message=row.id,
            at=tx.now_us // 1000,
            state=state,
            care=care_for(verdict),
        )
        keep_answer(tx, requester.account, command.client_id, "edit", ack)
        return ack

    feeds = [command.feed, *case_feeds(requester.account, requester.role, side_of(room.kind))]
    ack = await services.store.write(unit, feeds)
    if flagged:
        services.wake_ladders()
    return ack


def _tell_edit(tx: Tx, requester: Requester, side: Side, message: str) -> None:
    """A message of an open case reads differently now: whoever acts on it must look again first."""
    case = cases.open_case_of(tx.conn, requester.account, side)
    if case is not None and cases.holds_message(tx.conn, case.id, message):
        cases.update_case(tx, case)
        cases.add_history(tx, case.id, "edited", message=message)
        tell_case(tx, case.id, requester.role)


async def remove_message(services: Services, requester: Requester, command: Remove, request_id: str) -> Done:
    """Take one's own message away for everybody; the original stays with its case, if it has one."""
    require(requester, "frame.remove")
    await services.store.read(lambda conn: access_room_for_reading(conn, requester, command.feed))

    def unit(tx: Tx) -> Done:
        earlier = first_answer(tx, requester.account, command.client_id, "remove", Done)
        if earlier is not None:
            return earlier
        row = _own_row(tx, requester, command.feed, command.message)
        messages.set_state(tx, row.id, MessageState.REMOVED, removed_by="author")
        tx.audit(AuditEntry("message_remove", "message", row.id, request_id, requester.account))
        tell_message(tx, services, row.id, command.feed, "remove")
        done = Done(re=command.client_id)
        keep_answer(tx, requester.account, command.client_id, "remove", done)
        return done

    return await services.store.write(unit, [command.feed])


def tell_message(tx: Tx, services: Services, message: str, feed: str, change: Change) -> tuple[int, int]:
    """Log a change of a message and tell it as it is now. Returns (seq, epoch) of the event."""
    head = tx.append(feed, message_kind(change), message)
    record = messages.records(tx.conn, services.store.keys, [message])[message]
    tx.tell(message_event(record, change, head.epoch, head.seq))
    return head.seq, head.epoch


def _own_row(tx: Tx, requester: Requester, feed: str, message: str) -> Any:
    row = messages.row_of(tx.conn, message, feed)
    if row is None or row.author != requester.account:
        raise NotFound(NO_MESSAGE, field="message")
    if row.state == MessageState.REMOVED:
        raise Refused("This message was removed already.", code="removed", field="message")
    return row
