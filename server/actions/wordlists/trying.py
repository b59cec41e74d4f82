"""What the lists say of a text that somebody types in, and why: every reading, every finding, what lowered it.

Nothing of the text is stored, logged or counted; it lives as long as the answer is drawn.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from moderation.types import UNREADABLE
from server.actions.services import Services
from server.auth.permissions import require
from server.auth.requester import Requester
from server.errors import NotFound, TooLong
from server.protocol.frames import MAX_BODY_CHARS
from server.store import wordlists
from watchwords.context import plainly
from watchwords.matcher import Matcher

# With this the entry id of a finding begins that is the model's own.
_MODEL: Final = "model:"


@dataclass(frozen=True, slots=True)
class Hit:
    """One entry found. `words` is the part of the text; `own` the entry's level before context lowered it to `level`.

    `view` names the reading in which it was found; `why` says in plain words what is meant, and what stands around it.
    """

    entry: str
    category: str
    level: int
    own: int
    words: str
    view: str
    why: str


@dataclass(frozen=True, slots=True)
class Tried:
    """The whole answer. `views` are (name, text); `left_out` the ids of what was found and does not count.

    That is an idiom itself, or what lies inside one or is excepted. `raised` are (words, level, why) of what the model
    makes of the whole, where that is more than the lists say; `other` the reasons of the other checks.
    """

    list_version: str
    views: tuple[tuple[str, str], ...]
    hits: tuple[Hit, ...]
    left_out: tuple[str, ...]
    raised: tuple[tuple[str, int, str], ...]
    other: tuple[str, ...]
    level: int
    disposition: str
    complete: bool


async def try_text(services: Services, requester: Requester, text: str, version: str = "") -> Tried:
    """Everything that the lists in use, or those of a stored version, say of a text.

    Raises:
        TooLong: over MAX_BODY_CHARS.
        NotFound: no such version.
    """
    require(requester, "route.words_try")
    if len(text) > MAX_BODY_CHARS:
        raise TooLong(f"At most {MAX_BODY_CHARS} characters can be tried at once.", field="text")
    matcher = services.lists.matcher
    if version:
        row = await services.store.read(lambda conn: wordlists.version_by_id(conn, version))
        if row is None:
            raise NotFound("There is no such version of the lists.")
        matcher = await services.lists.build(version, row.digest)
    return await asyncio.to_thread(_tried, services, matcher, text)


def _tried(services: Services, matcher: Matcher, text: str) -> Tried:
    verdict = services.screening.as_if(matcher, text)
    reading = matcher.read(text)
    levels = {entry.id: entry.level for entry in matcher.lexicon.entries}
    hits = tuple(
        Hit(
            match.entry_id,
            match.category,
            match.level,
            levels[match.entry_id],
            text[match.start : match.end],
            match.view,
            f"{matcher.reason(match.entry_id)} {plainly(match.adjustments)}".rstrip(),
        )
        for match in reading.matches
    )
    counted = {hit.entry for hit in hits}
    return Tried(
        list_version=matcher.version,
        views=tuple((view.name, view.text) for view in reading.views),
        hits=hits,
        left_out=tuple(sorted(matcher.entries_in(text) - counted)),
        raised=tuple(
            (text[f.start : f.end], int(f.level), f.reason) for f in verdict.findings if f.entry_id.startswith(_MODEL)
        ),
        other=tuple(f.reason for f in verdict.findings if f.entry_id in ("", UNREADABLE)),
        level=int(verdict.level),
        disposition=verdict.disposition,
        complete=verdict.complete,
    )
