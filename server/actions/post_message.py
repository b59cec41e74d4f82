"""The life of a message, from a decoded command to the person on duty. Read it from top to bottom.

    decode -> who is this -> may they post here -> screen -> store (one transaction) -> acknowledge -> fan out
    -> escalate

The first two are done when this is called (`live.socket`, `web.api`). Message, findings, case, obligation and the feed
log are one transaction; the acknowledgement follows its commit; the fan-out follows the acknowledgement; the ladder job
acts from the obligation's row, and would from that row alone after a crash.
"""

from __future__ import annotations

from moderation.types import Role, RoomKind, TextKind, Verdict
from server.actions.raising import Concern, case_feeds, concern_level, is_concern, raise_case
from server.actions.rendering import message_event, message_kind
from server.actions.room_cache import Access
from server.actions.rooms import access_room_for_posting
from server.actions.services import Services
from server.auth.permissions import require
from server.auth.requester import Requester
from server.errors import BadRequest
from server.ids import new_id
from server.protocol.frames import Ack, Person, Send
from server.rooms import MessageRecord, MessageState, Room, care_for, side_of, state_for
from server.store.feeds import heads
from server.store.keys import DataKey, Realm, Retention, message_place
from server.store.messages import NewMessage, Posted, feed_of, insert_message, repeated
from server.store.unit import Tx


async def post_message(services: Services, requester: Requester, command: Send) -> Ack:
    """Store, screen and acknowledge one message; whoever should see it or act on it will.

    The same `client_id` from the same author is answered with the first acknowledgement, whatever its text.

    Raises:
        NotFound: no such room for this person.
        BadRequest: `reply_to` names no message of this room.
        Refused: they may not write there now.
        Unavailable: nothing was stored; the same command may be sent again.
    """
    # May they post here?
    require(requester, "frame.send")
    access = await _access(services, requester, command.feed)
    room = access.room

    # Screen: microseconds, in the loop, every room and every role alike.
    verdict = services.screening.screen(command.body, TextKind.MESSAGE, room.kind, requester.role)
    flagged = is_concern(verdict, requester.role)

    # Seal, so that no transaction and no log ever holds the text.
    key = await key_of(services, room, requester.account)
    new = NewMessage(
        id=new_id(),
        feed=command.feed,
        author=requester.account,
        client_id=command.client_id,
        state=state_for(verdict.disposition),
        key_id=key.id,
        verdict=verdict,
        verdict_json=verdict.to_json(),
        reply_to=command.reply_to,
    )
    sealed = key.seal(message_place(new.id, 1), command.body)

    # Store: one transaction.
    def unit(tx: Tx) -> Ack:
        now = tx.head(command.feed)
        if not insert_message(tx, new, sealed, now.seq + 1):
            earlier = repeated(tx, requester.account, command.client_id)
            return _ack(command.client_id, heads(tx.conn, [earlier.feed])[earlier.feed].epoch, earlier)
        # Whatever is raised from here on undoes the insert.
        if now.version != access.version:
            services.room_cache.drop(command.feed, requester.account)  # rights have changed since: ask again
            access_room_for_posting(tx.conn, requester, command.feed)
        if command.reply_to is not None and feed_of(tx, command.reply_to) != command.feed:
            raise BadRequest("The message that this answers is not in this room.", field="reply_to")
        head = tx.append(command.feed, message_kind("new"), new.id)
        case = None
        if flagged:
            case = raise_case(tx, services, concern_of(requester, room, verdict, "message", new))
        record = MessageRecord(
            id=new.id,
            feed=command.feed,
            seq=head.seq,
            author=Person(requester.account, requester.name, requester.role),
            client_id=command.client_id,
            body=command.body,
            state=new.state,
            version=1,
            at=tx.now_us // 1000,
            verdict=verdict,
            reply_to=command.reply_to,
            case=case,
        )
        tx.tell(message_event(record, "new", head.epoch, head.seq))
        posted = Posted(new.id, command.feed, head.seq, new.state, verdict, tx.now_us)
        return _ack(command.client_id, head.epoch, posted)

    feeds = [command.feed]
    if flagged:
        feeds += case_feeds(requester.account, requester.role, side_of(room.kind))
    ack = await services.store.write(unit, feeds)

    # Acknowledged by returning; the writer tells the followers next. Escalate: the row is there, this only makes it
    # prompt.
    if flagged:
        services.wake_ladders()
    return ack


async def _access(services: Services, requester: Requester, feed: str) -> Access:
    access = services.room_cache.get(feed, requester.account)
    if access is None:
        access = await services.store.read(lambda conn: access_room_for_posting(conn, requester, feed))
        services.room_cache.put(feed, requester.account, access)
    return access


async def key_of(services: Services, room: Room, author: str) -> DataKey:
    """The key that seals what is said in `room`: the author's in the community, the member's own elsewhere."""
    if room.kind is RoomKind.THERAPY:
        subject, realm, retention = room.subject or author, Realm.CARE, Retention.CARE_RECORD
    else:
        subject = room.subject or author
        realm, retention = Realm.COMMUNITY, Retention.COMMUNITY_POST
    known = services.store.keys.of(subject, realm, retention)
    if known is not None:
        return known
    return await services.store.read(services.store.keys.load(subject, realm, retention))


def concern_of(requester: Requester, room: Room, verdict: Verdict, origin: str, new: NewMessage) -> Concern:
    """What a flagged text asks of the people on duty."""
    return Concern(
        subject=requester.account,
        subject_role=requester.role,
        side=side_of(room.kind),
        origin=origin,
        level=concern_level(verdict),
        categories=verdict.categories,
        feed=new.feed,
        message=new.id,
        care=care_for(verdict) if requester.role is Role.MEMBER else "none",
        pressing=new.state is MessageState.HELD or verdict.is_unreadable,
        said=verdict,
    )


def _ack(client_id: str, epoch: int, posted: Posted) -> Ack:
    return Ack(
        re=client_id,
        feed=posted.feed,
        epoch=epoch,
        seq=posted.seq,
        message=posted.id,
        at=posted.at_us // 1000,
        state=posted.first_state,
        care=care_for(posted.verdict),
    )
