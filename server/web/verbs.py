"""Every action that this edge calls, in one place, and the one table from a command to its action.

No rules of its own: a command over HTTP runs through the same action as the same command over a socket.
"""

from __future__ import annotations

import msgspec

from moderation.measuring import Estimate
from moderation.rota_policy import ON_ROTA
from moderation.types import Category, Level, Role
from moderation.wall import LONDON, instant_of
from server.actions import accounts, handovers, quality, reach, reviewing, rota, rota_view, sessions, swaps
from server.actions.dispatch import run
from server.actions.feeds import cases_of_own_groups, follow, history
from server.actions.replaying import Replay, replay_case
from server.actions.rooms import list_rooms
from server.actions.rota import Turns
from server.actions.services import Services
from server.actions.watching import overdue_s
from server.actions.wordlists import proposals, sheets, sources, trials, trying, viewing
from server.actions.wordlists.documents import Change
from server.actions.wordlists.documents import Kind as WordKind
from server.auth.permissions import LEADS
from server.auth.requester import Requester
from server.errors import BadRequest, TooLong
from server.protocol.frames import MAX_BODY_CHARS, AnyCommand, AnyReply
from server.store.rota import SwapState
from server.store.wordtrials import TrialKind
from watchwords.quality import Share

__all__ = [
    "LEADS",
    "LONDON",
    "ON_ROTA",
    "Category",
    "Change",
    "Estimate",
    "Level",
    "Replay",
    "Role",
    "Services",
    "Share",
    "SwapState",
    "TrialKind",
    "Turns",
    "WordKind",
    "accounts",
    "cases_of_own_groups",
    "check_reading",
    "follow",
    "handovers",
    "history",
    "instant_of",
    "list_rooms",
    "overdue_s",
    "proposals",
    "quality",
    "reach",
    "read_command",
    "replay_case",
    "reviewing",
    "rota",
    "rota_view",
    "run",
    "sessions",
    "sheets",
    "sources",
    "submit",
    "swaps",
    "trials",
    "trying",
    "viewing",
]

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


def check_reading(services: Services, requester: Requester) -> None:
    """Count one page of rooms or messages. The pages of people on duty and of help are never limited.

    Raises:
        TooFast: too many in a short time.
    """
    services.pace.check_reading(requester)


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
