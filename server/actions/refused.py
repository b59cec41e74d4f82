"""What becomes of a text that is refused before anybody has read it: over a limit, or after its session has ended.

Whoever wrote it is known, and may be in danger. So it is screened all the same, and where it needs a person it is kept
as a call for help. The refusal stands: nothing is posted, and the same command can still be sent again in time.
"""

from __future__ import annotations

import hashlib

from moderation.types import Level, TextKind
from server.actions.raising import concern_level
from server.actions.reports import ask_for_help
from server.actions.services import Services
from server.auth.requester import Requester
from server.protocol.frames import AnyCommand, Edit, Help, Report, Send


async def hear_refused(services: Services, requester: Requester, command: AnyCommand, request_id: str) -> None:
    """See whether a command that is about to be refused calls for somebody, and call them if it does.

    A call for help is one whatever it says, and is carried out under its own id.

    Raises:
        Unavailable: it could not be stored; the same command may be sent again.
    """
    if isinstance(command, Help):
        await ask_for_help(services, requester, command, request_id)
        return
    if not isinstance(command, Send | Edit | Report) or not command.body:
        return
    verdict = services.screening.screen(command.body, TextKind.MESSAGE, None, requester.role)
    if concern_level(verdict) >= Level.HIGH_NEED:
        # Not under the command's own id: the same command, sent again in time, is still to be carried out.
        call = Help(client_id=_risk_id(command.client_id), feed=command.feed, body=command.body)
        await ask_for_help(services, requester, call, request_id)


def _risk_id(client_id: str) -> str:
    """The id of the call for help that a refused command became; the same for the same command, as long as any id."""
    return f"{hashlib.blake2b(client_id.encode(), digest_size=16).hexdigest()}~risk"
