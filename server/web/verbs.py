"""Every action that this edge calls, in one place, and the one table from a command to its action.

No rules of its own: a command over HTTP runs through the same action as the same command over a socket.
"""

from __future__ import annotations

import msgspec

from server.actions import accounts
from server.actions.cases import act_on_case, open_case
from server.actions.feeds import follow, history, move_read_cursor
from server.actions.messages import edit_message, remove_message
from server.actions.post_message import post_message
from server.actions.reports import ask_for_help, report_message
from server.actions.rooms import list_rooms
from server.actions.services import Services
from server.auth.requester import Requester
from server.errors import BadRequest, TooLong
from server.protocol.frames import (
    MAX_BODY_CHARS,
    Act,
    AnyCommand,
    AnyReply,
    Edit,
    Help,
    History,
    Join,
    OpenCase,
    Read,
    Remove,
    Report,
    Send,
)

__all__ = ["Services", "accounts", "follow", "history", "list_rooms", "read_command", "run", "submit"]

_DECODER: msgspec.json.Decoder[AnyCommand] = msgspec.json.Decoder(AnyCommand)


def read_command(body: bytes) -> AnyCommand:
    """One command frame from JSON.

    Raises:
        BadRequest: it is not one; the text names no value that was given.
    """
    try:
        return _DECODER.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadRequest("That is not a command of version 1.") from error


async def run(services: Services, requester: Requester, command: AnyCommand, request_id: str) -> AnyReply:
    """Carry one command out and return its answer.

    Raises:
        ServiceError: whatever the action refuses with; BadRequest for a command that only makes sense on a socket.
    """
    match command:
        case Send():
            return await post_message(services, requester, command, request_id)
        case Edit():
            return await edit_message(services, requester, command, request_id)
        case Remove():
            return await remove_message(services, requester, command, request_id)
        case Report():
            return await report_message(services, requester, command, request_id)
        case Help():
            return await ask_for_help(services, requester, command, request_id)
        case Act():
            return await act_on_case(services, requester, command, request_id)
        case OpenCase():
            return await open_case(services, requester, command, request_id)
        case History():
            return await history(services, requester, command)
        case Read():
            return await move_read_cursor(services, requester, command)
        case Join() if command.after is None:
            following = await follow(services, requester, command.feed, None)
            return msgspec.structs.replace(following.joined, re=command.client_id, feed=command.feed)
        case _:
            raise BadRequest("That command needs a socket.")


async def submit(services: Services, requester: Requester, command: AnyCommand, request_id: str) -> AnyReply:
    """Carry out a command that was put together from a form, held to the same bounds as one from the wire.

    Raises:
        TooLong: its text is over MAX_BODY_CHARS.
        BadRequest: any other bound.
        ServiceError: whatever the action refuses with.
    """
    if len(getattr(command, "body", "")) > MAX_BODY_CHARS:
        raise TooLong(
            f"That is too long: at most {MAX_BODY_CHARS} characters fit. You could send it in parts.", field="body"
        )
    return await run(services, requester, read_command(msgspec.json.encode(command)), request_id)
