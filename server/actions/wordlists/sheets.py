"""A list as a table for somebody who works in a spreadsheet: handed out as CSV, and taken back as a proposal.

What is stored is TOML. Of a table that comes back, each entry that says what it said keeps its text, comments included,
so that the difference that people sign shows what was changed and nothing else. Whatever is wrong with the table is
told with its own line.
"""

from __future__ import annotations

import re

from server.actions.services import Services
from server.actions.wordlists import proposals
from server.actions.wordlists.documents import Change, Faulty, Kind, split
from server.actions.wordlists.viewing import entry_text
from server.auth.requester import Requester
from watchwords.exchange import (
    WrittenList,
    entry_lines,
    entry_to_toml,
    from_csv,
    from_toml,
    to_csv,
    to_toml,
)
from watchwords.lexicon import LexiconError


async def sheet(services: Services, requester: Requester, name: str) -> str:
    """A list in force as CSV. Raises NotFound."""
    return to_csv(from_toml(await entry_text(services, requester, name, ""), f"{name}.toml"))


async def propose_sheet(
    services: Services, requester: Requester, client_id: str, name: str, text: str, reason: str, request_id: str
) -> str:
    """Propose a whole list that is given as CSV; returns the proposal's id.

    Raises:
        Faulty: the table can not be read, is another list's, or says something that no list may; with its line.
        NotFound, Conflict: as `proposals.propose`.
    """
    document = await entry_text(services, requester, name, "")
    change = Change(Kind.DOCUMENT, name, text=taken_back(document, name, text))
    try:
        return await proposals.propose(services, requester, client_id, change, reason, request_id)
    except Faulty as error:
        raise Faulty(_in_table(error.text, name, change.text, text), field="text") from error


def taken_back(document: str, name: str, table: str) -> str:
    """The list of a table as TOML, in the words of `document` wherever both say the same.

    Raises:
        Faulty: with the line of the table.
    """
    try:
        given, known = from_csv(table, f"{name}.csv"), from_toml(document, f"{name}.toml")
    except LexiconError as error:
        raise Faulty(str(error), field="text") from error
    if given.header.name != name:
        raise Faulty(
            f"{name}.csv:2: this is the list {given.header.name!r}; open that list's page, or correct the name"
        )
    head, entries = split(document, name)
    if (given.header, given.fragments) != (known.header, known.fragments):
        head = to_toml(WrittenList(given.header, given.fragments, ()))
    written = {str(entry.get("id")): (entry, text) for entry, (_, text) in zip(known.entries, entries, strict=True)}
    parts: list[str] = []
    for entry in given.entries:
        before, text = written.get(str(entry.get("id")), ({}, ""))
        parts.append(text if before == entry else f"{entry_to_toml(entry)}\n")
    return head + "".join(parts)


def _in_table(said: str, name: str, document: str, table: str) -> str:
    """What was said of a line of the TOML, as it is said of the line of the table that the TOML came from."""
    found = re.match(rf"{re.escape(name)}\.toml:(\d+): ", said)
    if found is None:
        return said
    places = [number for number, line in enumerate(document.splitlines(), 1) if line.strip() == "[[entry]]"]
    above = sum(place <= int(found[1]) for place in places)
    line = entry_lines(table)[above - 1] if above else 2
    return f"{name}.csv:{line}: {said[found.end() :]}"
