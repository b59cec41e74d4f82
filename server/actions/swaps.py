"""Swaps: one person asks another to serve a shift for them, and nothing changes until that other person says yes.

The yes is one unit with the rows that follow from it. What was true when it was asked is looked at again: by then the
shift may have been moved, or begun.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row

from moderation.rota import Shift
from moderation.rota_cover import Rota
from server.actions.rota import check_doubled, cover
from server.actions.services import Services
from server.auth.permissions import require
from server.auth.requester import Requester
from server.errors import BadRequest, Conflict, NotFound, Refused
from server.store.accounts import Account, AccountState, account_by_id
from server.store.commands import first_answer, keep_answer
from server.store.rota import (
    BACK,
    SwapState,
    answer_swap,
    insert_swap,
    lock_rota,
    open_swaps,
    rota_of,
    swap_by_id,
)
from server.store.unit import AuditEntry, Tx

MOVED = "The rota has changed since: one of these shifts is not there any more. Ask again."


class Swapped(msgspec.Struct, frozen=True):
    """A swap, and what it has come to."""

    swap: str
    state: str


async def ask_swap(
    services: Services,
    requester: Requester,
    client_id: str,
    starts_at: datetime,
    other: str,
    back_starts_at: datetime | None,
    request_id: str,
) -> Swapped:
    """Ask `other` (an account) to serve this person's shift that begins at `starts_at`.

    Args:
        back_starts_at: when the shift of theirs begins that this person serves instead; None: none.

    Raises:
        BadRequest: no such shift ahead, the same swap was asked already, or somebody of another role.
    """
    require(requester, "route.rota_own")

    def unit(tx: Tx) -> Swapped:
        earlier = first_answer(tx, requester.account, client_id, "swap_ask", Swapped)
        if earlier is not None:
            return earlier
        rota = rota_of(tx.conn, tx.now - BACK)
        me, them = _person(tx, requester.account), _person(tx, other)
        if me.id == them.id or me.role is not them.role:
            raise BadRequest("Choose somebody else of your own role.", field="other")
        mine = _shift(rota, me, starts_at, tx.now, "shift")
        theirs = None if back_starts_at is None else _shift(rota, them, back_starts_at, tx.now, "back")
        for open_ in open_swaps(tx.conn, me.id, tx.now):
            if (open_.asker, open_.other, open_.starts_at) == (me.id, them.id, mine.starts_at):
                raise BadRequest("You have asked them already; the answer is theirs.", field="other")
        swap = insert_swap(
            tx,
            role=me.role.value,
            asker=me.id,
            starts_at=mine.starts_at,
            ends_at=mine.ends_at,
            other=them.id,
            back_starts_at=None if theirs is None else theirs.starts_at,
            back_ends_at=None if theirs is None else theirs.ends_at,
        )
        tx.audit(AuditEntry("swap_asked", "rota_swap", swap, request_id, me.id))
        answer = Swapped(swap, SwapState.ASKED)
        keep_answer(tx, me.id, client_id, "swap_ask", answer)
        return answer

    return await services.store.write(unit)


async def settle_swap(
    services: Services, requester: Requester, client_id: str, swap: str, state: SwapState, request_id: str
) -> Swapped:
    """Answer a swap: whoever is asked accepts or refuses it, whoever asked may take it back.

    Raises:
        NotFound: no such swap for this person.
        Refused: that answer is the other person's to give.
        Conflict: it was answered before, or the shifts are not there any more.
        BadRequest: somebody would be in two places at once, is on leave, or lacks the skill.
    """
    require(requester, "route.rota_own")

    def unit(tx: Tx) -> Swapped:
        earlier = first_answer(tx, requester.account, client_id, "swap_settle", Swapped)
        if earlier is not None:
            return earlier
        lock_rota(tx)
        row = swap_by_id(tx.conn, swap)
        if row is None or requester.account not in (row.asker, row.other):
            raise NotFound("There is no such swap, or it is not yours.", field="swap")
        mine_to_give = requester.account == (row.asker if state is SwapState.WITHDRAWN else row.other)
        if not mine_to_give or state is SwapState.ASKED:
            raise Refused("That is for the other person to say.", code="not_yours")
        if row.state != SwapState.ASKED:
            raise Conflict("This swap was answered already.", code="swap_settled")
        if state is SwapState.ACCEPTED:
            _carry_out(tx, row)
        answer_swap(tx, swap, state)
        tx.audit(AuditEntry(f"swap_{state}", "rota_swap", swap, request_id, requester.account))
        answer = Swapped(swap, state)
        keep_answer(tx, requester.account, client_id, "swap_settle", answer)
        return answer

    return await services.store.write(unit)


def _carry_out(tx: Tx, row: Row[Any]) -> None:
    """Write the covers of a swap; both people stay free of a second shift at the same time."""
    before = rota_of(tx.conn, tx.now - BACK)
    asker, other = _person(tx, row.asker), _person(tx, row.other)
    parts = [(asker, other, row.starts_at, row.ends_at)]
    if row.back_starts_at is not None:
        parts.append((other, asker, row.back_starts_at, row.back_ends_at))
    for leaves, _, starts_at, ends_at in parts:
        whole = Shift(leaves.id, leaves.role, starts_at, ends_at)
        if starts_at <= tx.now or whole not in before.stints(tx.now, ends_at + (ends_at - starts_at), tx.now):
            raise Conflict(MOVED, code="swap_moved")
    # Both are looked at as the rota was before either was written: two that swap the same night are not in the way.
    for leaves, serves, starts_at, ends_at in parts:
        cover(tx, before, row.other, leaves, serves, starts_at, ends_at)
    check_doubled(tx, before, "swap")


def _person(tx: Tx, account: str) -> Account:
    found = account_by_id(tx.conn, account)
    if found is None or found.state is not AccountState.ACTIVE:
        raise BadRequest("Choose somebody who is on the staff.", field="other")
    return found


def _shift(rota: Rota, who: Account, starts_at: datetime, now: datetime, field: str) -> Shift:
    """The shift of theirs that begins then."""
    if starts_at > now:
        for shift in rota.stints(now, starts_at + BACK / 2, now):
            if (shift.account, shift.role, shift.starts_at) == (who.id, who.role, starts_at):
                return shift
    raise BadRequest("Choose a shift that has not begun.", field=field)
