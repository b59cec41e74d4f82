"""The one way from a command to its action; the socket and HTTP both go through it. No rules of its own."""

from __future__ import annotations

from msgspec.structs import replace

from server.actions.cases import act_on_case, open_case
from server.actions.feeds import follow, history, move_read_cursor
from server.actions.messages import edit_message, remove_message
from server.actions.post_message import post_message
from server.actions.refused import hear_refused
from server.actions.reports import ask_for_help, report_message
from server.actions.services import Services
from server.auth.requester import Requester
from server.errors import BadRequest, TooFast
from server.protocol import frames


async def run(services: Services, requester: Requester, command: frames.AnyCommand, request_id: str) -> frames.AnyReply:
    """Carry one command out and return its answer.

    Raises:
        TooFast: over what the account may say in that time; its text was screened all the same.
        ServiceError: whatever the action refuses with; BadRequest for a command that only makes sense on a socket.
    """
    try:
        services.pace.check(requester, command)
    except TooFast:
        await hear_refused(services, requester, command, request_id)
        raise
    match command:
        case frames.Send():
            return await post_message(services, requester, command)
        case frames.Edit():
            return await edit_message(services, requester, command)
        case frames.Remove():
            return await remove_message(services, requester, command, request_id)
        case frames.Report():
            return await report_message(services, requester, command, request_id)
        case frames.Help():
            return await ask_for_help(services, requester, command, request_id)
        case frames.Act():
            return await act_on_case(services, requester, command, request_id)
        case frames.OpenCase():
            return await open_case(services, requester, command, request_id)
        case frames.History():
            return await history(services, requester, command, request_id)
        case frames.Read():
            return await move_read_cursor(services, requester, command)
        case frames.Join() if command.after is None:
            following = await follow(services, requester, command.feed, None, request_id)
            return replace(following.joined, re=command.client_id)
        case _:
            raise BadRequest("That command needs a socket.", code="needs_socket")
