"""The change of the watchword lists that waits for the visitor: prepared by a moderator, and not a good idea as it is.

A word that tired people use in passing, at the level at which somebody is called: its back-test and its forecast say
so, and so do the alarms of whoever signs it all the same. Going back is one press.
"""

from __future__ import annotations

from typing import Final

import structlog

from moderation.types import Role
from server.actions.services import Services
from server.actions.wordlists import proposals
from server.actions.wordlists.documents import Change, Kind
from server.auth.credentials import name_key
from server.auth.requester import Requester
from server.errors import ServiceError
from server.ids import new_id
from server.store import accounts

PROPOSER: Final = "Sam"
LIST: Final = "crisis"
# What a visitor may write to hear the proposal answer; `ENTRY` finds it, and nothing that is in force does.
SAID: Final = "Awake again, the third night in a row. Anyone else up?"
REASON: Final = "People who had a bad night often said this first. Should somebody look each time?"
ENTRY: Final = f"""
id = "c-awake"
category = "C"
level = 2
phrases = ["awake"]
reason = "Can not sleep, and says so to the room."
source = "Noticed by the night team of this demonstration"
match = ["{SAID}"]
no_match = ["I woke up at seven and made toast"]
"""

log = structlog.get_logger()


async def prepare(services: Services) -> None:
    """Let a moderator propose the change, as soon as there are lists in force.

    It takes seconds in which everything else goes on: nobody waits for it, and without it the rest is as it was.
    """
    await services.lists.start()
    found = await services.store.read(lambda conn: accounts.account_by_key(conn, name_key(PROPOSER)))
    if found is None:
        raise LookupError("the demonstration's database lacks one of its people: start without --keep")
    who = Requester(found.id, PROPOSER, Role.MODERATOR, "")
    change = Change(Kind.ADD, LIST, text=ENTRY)
    try:
        await proposals.propose(services, who, new_id(), change, REASON, new_id())
    except ServiceError as error:
        log.warning("demonstration_without_proposal", error=error.error_code)
