"""What people do with the watchword lists: propose, change a proposal, sign, refuse, roll back.

A word change is a clinical change: it comes into force when a moderator lead and a clinical lead, two different people,
have signed the same content. Going back to what was in force before needs one of them and a reason, since it undoes.
Each act is compared and set on the version's number, and leaves a row of the audit chain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import Connection, Row

from server.actions.services import Services
from server.actions.wordlists.checking import check_canaries, checked
from server.actions.wordlists.documents import Change, Documents, changed, digest, pack, unpack
from server.auth.permissions import LEADS, require
from server.auth.requester import Requester
from server.errors import BadRequest, Conflict, NotFound, Refused
from server.store import wordlists, wordtrials
from server.store.commands import first_answer, keep_answer
from server.store.unit import AuditEntry, Tx
from server.store.wordlists import Live, NewVersion, Origin, State
from watchwords.matcher import Matcher

MOST_REASON_CHARS: Final = 1_000
CHANGED: Final = "Somebody else has changed this. Look at it again."
_STALE: Final = (
    "Other lists have come into force since this was written: signed as it is, it would undo them. Bring it up to date "
    "first, then sign."
)


class Kept(Struct, frozen=True):
    """The first answer to a command about lists: the version that it made or changed."""

    version: str


async def propose(
    services: Services, requester: Requester, client_id: str, change: Change, reason: str, request_id: str
) -> str:
    """Check a change of the lists in force and keep it as a proposal; returns its id. Nothing comes into force.

    Raises:
        Faulty: the lists could not be used; the text says file, line and advice, and nothing was kept.
        Conflict: other lists came into force meanwhile.
    """
    require(requester, "route.words_propose")
    why = _reason(reason)
    live, documents = await _in_force(services)
    wanted, name, list_version = await _checked(services, live, documents, change)

    def unit(tx: Tx) -> str:
        earlier = first_answer(tx, requester.account, client_id, "words", Kept)
        if earlier is not None:
            return earlier.version
        wordlists.lock(tx)
        if wordlists.live(tx.conn) != live:
            raise Conflict(CHANGED, retry="never")
        new = NewVersion(
            Origin.PROPOSAL, live.version, change.to_json(), wanted, name, list_version, why, requester.account
        )
        version = wordlists.insert_version(tx, new)
        _audit(tx, "words_proposed", version, requester, request_id, name)
        keep_answer(tx, requester.account, client_id, "words", Kept(version))
        return version

    return await services.store.write(unit)


async def revise(
    services: Services,
    requester: Requester,
    client_id: str,
    version: str,
    at: int,
    change: Change | None,
    request_id: str,
) -> None:
    """Put another change in the place of a proposal's, or ask the same one of the lists in force now (None).

    Every signature under what it was before is void, and its trials end.

    Raises:
        Faulty, Conflict: as `propose`.
    """
    require(requester, "route.words_propose")
    row = await services.store.read(lambda conn: _known(conn, version))
    before = Change.from_json(row.change)
    change = before if change is None else replace(change, origin=before.origin)
    live, documents = await _in_force(services)
    wanted, name, list_version = await _checked(services, live, documents, change)

    def act(tx: Tx, found: Row[Any]) -> None:
        if wordlists.live(tx.conn) != live:
            raise Conflict(CHANGED, retry="never")
        wordlists.update_version(
            tx,
            found,
            base=live.version,
            change=change.to_json(),
            content=wanted,
            digest=name,
            list_version=list_version,
        )
        wordtrials.end_trials_of(tx, version)
        _audit(tx, "words_revised", version, requester, request_id, name)

    await _act(services, requester, client_id, version, at, act)


async def sign(
    services: Services, requester: Requester, client_id: str, version: str, at: int, name: str, request_id: str
) -> bool:
    """Sign the content of the digest `name`; True if it came into force by that.

    Raises:
        Refused: this person or this role has signed it already, or may not.
        Conflict: it is not what was looked at, or was written for lists that are no longer in force.
    """
    require(requester, "route.words_decide")
    # Before it may come into force: what can not be loaded here could not be loaded anywhere, and the canaries or the
    # program may be others than when it was proposed.
    check_canaries(await services.lists.build(version, name))
    came_into_force = False

    def act(tx: Tx, found: Row[Any]) -> None:
        nonlocal came_into_force
        came_into_force = False
        live = wordlists.live(tx.conn)
        if found.digest != name:
            raise Conflict(CHANGED, retry="never")
        if live is None or found.base != live.version:
            raise Conflict(_STALE, retry="never")
        valid = [mark for mark in wordlists.signatures(tx.conn, version) if mark.digest == name]
        if any(mark.account == requester.account for mark in valid):
            raise Refused("You have signed this already. The other signature is another person's.")
        if any(mark.role == requester.role for mark in valid):
            raise Refused("This is signed in your role already. The other role is missing.")
        wordlists.sign(tx, version, name, requester.role, requester.account)
        wordlists.update_version(tx, found)
        _audit(tx, "words_signed", version, requester, request_id, name)
        if {mark.role for mark in valid} | {requester.role} >= LEADS:
            wordlists.activate(tx, version, "signed", requester.account, found.reason)
            wordtrials.end_trials_of(tx, version)
            _audit(tx, "words_live", version, requester, request_id, name)
            came_into_force = True

    await _act(services, requester, client_id, version, at, act)
    return came_into_force


async def refuse(
    services: Services, requester: Requester, client_id: str, version: str, at: int, request_id: str
) -> None:
    """End a proposal: by one of those who sign, or by whoever proposed it."""
    require(requester, "route.words_propose")

    def act(tx: Tx, found: Row[Any]) -> None:
        if requester.role not in LEADS and found.proposed_by != requester.account:
            raise Refused("A proposal is refused by a lead, or taken back by whoever made it.")
        wordlists.update_version(tx, found, state=State.REFUSED, refused_by=requester.account, refused_at=tx.now)
        wordtrials.end_trials_of(tx, version)
        _audit(tx, "words_refused", version, requester, request_id, found.digest)

    await _act(services, requester, client_id, version, at, act)


async def roll_back(
    services: Services, requester: Requester, client_id: str, version: str, n: int, reason: str, request_id: str
) -> None:
    """Put lists in force again that were in force before: one person, at once, with a reason.

    Args:
        n: the activation that was looked at; if another has come since, nothing is done.

    Raises:
        BadRequest: no reason.
        Refused: never in force, or in force now.
        Conflict: other lists came into force meanwhile.
    """
    require(requester, "route.words_decide")
    why = _reason(reason)
    row = await services.store.read(lambda conn: _known(conn, version))
    # What can not be loaded, or would make every text unchecked, stays out of force; whoever goes back is told at once.
    check_canaries(await services.lists.build(version, row.digest))

    def unit(tx: Tx) -> None:
        if first_answer(tx, requester.account, client_id, "words", Kept) is not None:
            return
        wordlists.lock(tx)
        live = wordlists.live(tx.conn)
        if live is None or live.n != n:
            raise Conflict(CHANGED, retry="never")
        if live.version == version or not wordlists.was_live(tx.conn, version):
            raise Refused("Only lists that were in force before can be gone back to.")
        wordlists.activate(tx, version, "rollback", requester.account, why)
        _audit(tx, "words_rolled_back", version, requester, request_id, row.digest)
        keep_answer(tx, requester.account, client_id, "words", Kept(version))

    await services.store.write(unit)
    await _took_effect(services)


async def _act(
    services: Services,
    requester: Requester,
    client_id: str,
    version: str,
    at: int,
    act: Callable[[Tx, Row[Any]], None],
) -> None:
    """Carry out `act` on a proposal that is still as it was looked at, once for each client id."""

    def unit(tx: Tx) -> None:
        if first_answer(tx, requester.account, client_id, "words", Kept) is not None:
            return
        wordlists.lock(tx)
        found = _known(tx.conn, version)
        if found.version != at:
            raise Conflict(CHANGED, retry="never")
        if found.state != State.PROPOSED:
            raise Refused("This is decided already.")
        act(tx, found)
        keep_answer(tx, requester.account, client_id, "words", Kept(version))

    await services.store.write(unit)
    await _took_effect(services)


async def _took_effect(services: Services) -> None:
    """The rows are there: this process looks now, the others as soon as they hear or in their own time."""
    services.lists.changed()
    await services.lists.look()


async def _in_force(services: Services) -> tuple[Live, Documents]:
    def read(conn: Connection) -> tuple[Live, bytes]:
        live = wordlists.live(conn)
        if live is None:
            raise NotFound("There are no lists yet.")
        return live, wordlists.content(conn, live.version)

    live, content = await services.store.read(read)
    return live, unpack(content)


async def _checked(services: Services, live: Live, documents: Documents, change: Change) -> tuple[bytes, str, str]:
    """The packed lists after the change, their digest and their version as verdicts name it; compiled and checked."""
    wanted = changed(documents, change)
    name = digest(wanted)
    if name == live.digest:
        raise BadRequest("This changes nothing.")
    running = await services.lists.build(live.version, live.digest)

    def check() -> tuple[bytes, Matcher]:
        return pack(wanted), checked(wanted, running)

    content, matcher = await asyncio.to_thread(check)
    services.lists.remember(name, matcher)
    return content, name, matcher.version


def _known(conn: Connection, version: str) -> Row[Any]:
    row = wordlists.version_by_id(conn, version)
    if row is None:
        raise NotFound("There is no such version of the lists.")
    return row


def _reason(given: str) -> str:
    reason = given.strip()
    if not reason or len(reason) > MOST_REASON_CHARS:
        raise BadRequest(f"Say why, in up to {MOST_REASON_CHARS} characters.", field="reason")
    return reason


def _audit(tx: Tx, act: str, version: str, requester: Requester, request_id: str, name: str) -> None:
    """`name`: the digest of what was acted on; its first 40 characters are kept."""
    tx.audit(AuditEntry(act, "word_version", version, request_id, requester.account, name[:40]))
