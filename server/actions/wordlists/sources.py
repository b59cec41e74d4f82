"""Where a proposal comes from: a case that was no concern, or a message that was missed; and what its form begins with.

A form is filled in with ids and letters, never with a member's words: whoever proposes has read them where they may be
read, and writes what the lists are to say in their own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from moderation.types import Category, Level
from server.actions.case_page import may_see
from server.actions.services import Services
from server.actions.wordlists.viewing import ListLine, Overview, overview
from server.auth.permissions import require
from server.auth.requester import Requester
from server.errors import BadRequest, NotFound
from server.store import cases
from server.store.unit import AuditEntry

# What is found wholly inside an entry of this list is left out.
IDIOMS: Final = "idioms"
_ORIGIN: Final = re.compile(r"(?:case|message):[0-9A-HJKMNP-TV-Z]{26}")


@dataclass(frozen=True, slots=True)
class Blamed:
    """An entry in force that found something in a case, its list and its category."""

    entry: str
    list: str
    category: str


def checked_origin(given: str) -> str:
    """An origin as a proposal keeps it: "case:" or "message:" and an id, or "". Raises BadRequest."""
    if given and not _ORIGIN.fullmatch(given):
        raise BadRequest("That is not where a proposal can come from.", field="origin")
    return given


async def blamed_in(services: Services, requester: Requester, case: str, request_id: str) -> tuple[Blamed, ...]:
    """The entries in force that found something in a case's messages, for somebody who may see the case.

    What was found in somebody is a record of theirs: that it was looked at is recorded first.

    Raises:
        NotFound: no such case for this person.
    """
    require(requester, "route.words_propose")

    def read(conn: Connection) -> list[str]:
        row = cases.case_by_id(conn, case)
        if row is None or not may_see(conn, requester, row):
            raise NotFound("There is no such case, or it is not yours to see.", field="case")
        return cases.entries_in(conn, case)

    found = set(await services.store.read(read))
    entry = AuditEntry("case_words_read", "case", case, request_id, requester.account)
    await services.store.write(lambda tx: tx.audit(entry))
    lists = (await overview(services, requester)).lists
    return tuple(
        Blamed(entry, each.name, category) for each in lists for entry, category, _, _ in each.entries if entry in found
    )


def list_about(lists: Sequence[ListLine], category: Category) -> str:
    """The list that says most about a category."""
    counts = Counter(
        each.name for each in lists for _, letter, level, _ in each.entries if letter == category and level
    )
    return counts.most_common(1)[0][0] if counts else lists[0].name


async def list_for(services: Services, requester: Requester, category: Category) -> str:
    """The list in force to which a phrase of this category would be added."""
    found: Overview = await overview(services, requester)
    return list_about(found.lists, category)


def begun(category: Category, level: Level, *, reason: str = "", beginning: str = "") -> str:
    """An entry to be written: everything that the form needs, with its words left open."""
    return (
        f'id = "{beginning}"\ncategory = "{category}"\nlevel = {int(level)}\nphrases = [""]\n'
        f'reason = "{reason}"\nsource = "Seen in service"\nmatch = [""]\n'
    )
