"""Writing the rota: rotations, extra shifts, covers, leave and skills, and taking any of them back.

Those who lead and administrators write it. Each change is one row behind all others, with its audit row; a change that
would put somebody in two places at once, or somebody in a place that they can not fill, is refused whole. That a change
leaves a gap is no reason to refuse it: somebody who is ill is ill. The gap is told instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import msgspec

from moderation.rota_cover import Rota
from moderation.rota_policy import ON_ROTA
from moderation.rota_rows import WEEK, Pattern
from moderation.types import Role
from moderation.wall import LONDON
from server.actions.services import Services
from server.auth.credentials import name_key
from server.auth.permissions import require
from server.auth.requester import Requester
from server.errors import BadRequest, NotFound
from server.ids import new_id
from server.store.accounts import Account, AccountState, account_by_id, account_by_key
from server.store.commands import first_answer, keep_answer
from server.store.duty import insert_shift
from server.store.rota import BACK, RowKind, add_row, lock_rota, rota_of
from server.store.unit import AuditEntry, Tx

# So far ahead nobody may be in two places at once: two turns of a rotation by weeks, and the forecast twice.
_LOOK_AHEAD: Final = timedelta(days=28)
LONGEST_SHIFT: Final = timedelta(hours=25)
LONGEST_LEAVE: Final = timedelta(days=366)
MOST_PEOPLE: Final = 50
_NAME_MOST: Final = 60
NOBODY: Final = "Nobody on the staff has an account by that name."


class Changed(msgspec.Struct, frozen=True):
    """A row was written: its place in the rota's order."""

    row: int


@dataclass(frozen=True, slots=True)
class Turns:
    """A rotation as somebody writes it down; `people` are names, in the order in which they serve.

    Attributes:
        rotation: the id of the one that this changes; "" for a new one.
    """

    rotation: str
    name: str
    role: Role
    begins: time
    ends: time
    people: Sequence[str]
    first: date
    weekdays: frozenset[int] = WEEK
    each: int = 1
    need: int = 1
    skill: str = ""


_Write = Callable[[Tx, Rota], int]


async def write_rotation(
    services: Services, requester: Requester, client_id: str, turns: Turns, request_id: str
) -> Changed:
    """Begin a rotation, or change one from its `first` day on; without people it is over from that day.

    Raises:
        BadRequest: a name that is nobody's or not of that role, somebody without the skill, times or numbers that no
            rotation can have, or somebody would be in two places at once.
        NotFound: there is no such rotation.
    """

    def write(tx: Tx, rota: Rota) -> int:
        known = rota.patterns(tx.now)
        if turns.rotation and turns.rotation not in known:
            raise NotFound("There is no such rotation, or it is over.", field="rotation")
        if not turns.rotation and not turns.people:
            raise BadRequest("Write at least one name.", field="people")
        pattern = _pattern(tx, rota, turns)
        rotation = turns.rotation or new_id()
        return add_row(
            tx, RowKind.ROTATION, requester.account, rotation=rotation, role=turns.role.value, content=pattern
        ).n

    return await _change(services, requester, client_id, "rotation", write, request_id, "people")


async def add_extra(
    services: Services,
    requester: Requester,
    client_id: str,
    name: str,
    starts_at: datetime,
    ends_at: datetime,
    request_id: str,
) -> Changed:
    """Put somebody on the rota once, in their own role. A shift that has begun by now counts as begun.

    Raises:
        BadRequest: nobody of the rota by that name, a time that no shift can have, leave, or a shift of theirs already.
    """

    def write(tx: Tx, rota: Rota) -> int:
        _check_span(starts_at, ends_at, tx.now, LONGEST_SHIFT)
        found = _somebody(tx, name, "name")
        _check_free(rota, found.id, starts_at, ends_at, tx.now)
        insert_shift(tx, found.id, found.role, starts_at, ends_at, by=requester.account)
        return rota_of(tx.conn, tx.now - BACK).version

    return await _change(services, requester, client_id, "extra", write, request_id)


async def add_cover(
    services: Services,
    requester: Requester,
    client_id: str,
    out: str,
    into: str,
    starts_at: datetime,
    ends_at: datetime,
    request_id: str,
) -> Changed:
    """Let one serve wherever another of the same role would.

    Raises:
        BadRequest: nobody by one of the names, different roles, nothing to serve then, a skill that is missing, leave,
            or they would be in two places at once.
    """

    def write(tx: Tx, rota: Rota) -> int:
        _check_span(starts_at, ends_at, tx.now, LONGEST_LEAVE)
        leaves, serves = _somebody(tx, out, "out"), _somebody(tx, into, "into")
        return cover(tx, rota, requester.account, leaves, serves, starts_at, ends_at)

    return await _change(services, requester, client_id, "cover", write, request_id, "into")


def cover(tx: Tx, rota: Rota, by: str, leaves: Account, serves: Account, starts_at: datetime, ends_at: datetime) -> int:
    """Write that `serves` serves instead of `leaves`; returns the row's place. As `add_cover` within its unit.

    Raises:
        BadRequest: as `add_cover`.
    """
    if leaves.id == serves.id:
        raise BadRequest("Choose two different people.", field="into")
    if leaves.role is not serves.role:
        raise BadRequest("Only somebody of the same role can serve instead.", field="into")
    taken = [
        place
        for edge in rota.edges(starts_at, ends_at, tx.now)
        for place in rota.places(edge, tx.now)
        if place.account == leaves.id
    ]
    if not taken:
        raise BadRequest("There is nothing to take over: they are not on the rota then.", field="starts_at")
    if not all(rota.has_skill(serves.id, place.skill, starts_at, tx.now) for place in taken):
        raise BadRequest("They do not have the skill that this shift needs.", field="into")
    _check_leave(rota, serves.id, starts_at, ends_at, tx.now, "into")
    return add_row(
        tx,
        RowKind.COVER,
        by,
        account=leaves.id,
        other=serves.id,
        role=leaves.role.value,
        starts_at=starts_at,
        ends_at=ends_at,
    ).n


async def add_leave(
    services: Services,
    requester: Requester,
    client_id: str,
    name: str,
    starts_at: datetime,
    ends_at: datetime,
    request_id: str,
) -> Changed:
    """Take somebody off the rota for a time, whatever gap that leaves.

    Raises:
        BadRequest: nobody of the rota by that name, or a time that no leave can have.
    """

    def write(tx: Tx, rota: Rota) -> int:
        _check_span(starts_at, ends_at, tx.now, LONGEST_LEAVE)
        found = _somebody(tx, name, "name")
        return add_row(tx, RowKind.LEAVE, requester.account, account=found.id, starts_at=starts_at, ends_at=ends_at).n

    return await _change(services, requester, client_id, "leave", write, request_id)


async def set_skill(
    services: Services,
    requester: Requester,
    client_id: str,
    name: str,
    skill: str,
    held: bool,
    until: datetime | None,
    request_id: str,
) -> Changed:
    """Note that somebody has a skill, until a time or for good, or has it no more.

    Raises:
        BadRequest: nobody of the rota by that name, no skill, or an end that is over.
    """

    def write(tx: Tx, rota: Rota) -> int:
        found = _somebody(tx, name, "name")
        if until is not None and until <= tx.now:
            raise BadRequest("Choose an end that lies ahead.", field="until")
        return add_row(
            tx, RowKind.SKILL, requester.account, account=found.id, skill=_skill(skill), content=(held, until)
        ).n

    return await _change(services, requester, client_id, "skill", write, request_id)


async def withdraw(services: Services, requester: Requester, client_id: str, row: int, request_id: str) -> Changed:
    """Take back an extra shift, a cover or leave from now on; what was served by it stays served.

    Raises:
        NotFound: no such row holds.
        BadRequest: somebody would be in two places at once without it.
    """

    def write(tx: Tx, rota: Rota) -> int:
        # A rotation is ended by a newer row of it, so that its past and its name stay together.
        kinds = (RowKind.EXTRA, RowKind.COVER, RowKind.LEAVE)
        if not any(each.n == row and type(each).__name__.lower() in kinds for each in rota.standing(tx.now)):
            raise NotFound("There is no such line in the rota any more.", field="row")
        return add_row(tx, RowKind.WITHDRAWN, requester.account, of=row).n

    return await _change(services, requester, client_id, "withdraw", write, request_id)


async def _change(
    services: Services,
    requester: Requester,
    client_id: str,
    what: str,
    write: _Write,
    request_id: str,
    field: str = "name",
) -> Changed:
    """One change as one unit: under the rota's lock, once for a client id, whole or not at all.

    `field` is the one at fault where somebody would be in two places at once.
    """
    require(requester, "route.rota_change")
    kind = f"rota_{what}"

    def unit(tx: Tx) -> Changed:
        earlier = first_answer(tx, requester.account, client_id, kind, Changed)
        if earlier is not None:
            return earlier
        lock_rota(tx)
        before = rota_of(tx.conn, tx.now - BACK)
        row = write(tx, before)
        check_doubled(tx, before, field)
        tx.audit(AuditEntry(kind, "rota", str(row), request_id, requester.account))
        answer = Changed(row)
        keep_answer(tx, requester.account, client_id, kind, answer)
        return answer

    return await services.store.write(unit)


def check_doubled(tx: Tx, before: Rota, field: str) -> None:
    """Refuse what this unit has written if it puts somebody in two places at once who was not before.

    Raises:
        BadRequest: says when; the unit then undoes what it wrote.
    """
    end = tx.now + _LOOK_AHEAD
    known = before.doubled(tx.now, end, tx.now)
    after = rota_of(tx.conn, tx.now - BACK).doubled(tx.now, end, tx.now)
    doubled = {account: moment for account, moment in after.items() if moment != known.get(account)}
    if doubled:
        first = min(doubled.values()).astimezone(LONDON)
        raise BadRequest(
            f"Somebody would be on duty twice at once, first on {first:%d %b} at {first:%H:%M}. Nothing was changed.",
            code="rota_overlap",
            field=field,
        )


def _pattern(tx: Tx, rota: Rota, turns: Turns) -> Pattern:
    name, skill = " ".join(turns.name.split()), _skill(turns.skill) if turns.skill.strip() else ""
    if not 1 <= len(name) <= _NAME_MOST:
        raise BadRequest(f"A rotation needs a name of at most {_NAME_MOST} characters.", field="rotation_name")
    if turns.role not in ON_ROTA:
        raise BadRequest(f"Choose one of the roles that are called: {', '.join(ON_ROTA)}.", field="role")
    if any(at.second or at.microsecond or at.tzinfo for at in (turns.begins, turns.ends)):
        raise BadRequest("Give times in full minutes.", field="begins")
    if not turns.weekdays or not turns.weekdays <= WEEK:
        raise BadRequest("Choose at least one day of the week.", field="weekdays")
    if not 1 <= turns.each <= 28:
        raise BadRequest("A turn goes on for 1 to 28 days.", field="each")
    if len(turns.people) > MOST_PEOPLE:
        raise BadRequest(f"A rotation has at most {MOST_PEOPLE} people.", field="people")
    people: list[str] = []
    for line, written in enumerate(turns.people, 1):
        found = account_by_key(tx.conn, name_key(written))
        where = f"Line {line}: "
        if found is None or found.state is not AccountState.ACTIVE or found.role is Role.MEMBER:
            raise BadRequest(where + NOBODY, code="unknown_person", field="people")
        if found.role is not turns.role:
            raise BadRequest(f"{where}they are not a {turns.role.replace('_', ' ')}.", field="people")
        if found.id in people:
            raise BadRequest(f"{where}that name is there already.", field="people")
        if not rota.has_skill(found.id, skill, tx.now, tx.now):
            raise BadRequest(f"{where}they do not have the skill that is needed.", code="no_skill", field="people")
        people.append(found.id)
    if people and not 1 <= turns.need <= len(people):
        raise BadRequest("As many can serve at once as there are names, and at least one.", field="need")
    return Pattern(
        name, turns.role, turns.begins, turns.ends, tuple(people), turns.first, turns.weekdays, turns.each,
        max(1, turns.need), skill,
    )  # fmt: skip


def _somebody(tx: Tx, name: str, field: str) -> Account:
    found = account_by_key(tx.conn, name_key(name)) or account_by_id(tx.conn, name)
    if found is None or found.state is not AccountState.ACTIVE or found.role is Role.MEMBER:
        raise BadRequest(NOBODY, code="unknown_person", field=field)
    if found.role not in ON_ROTA:
        raise BadRequest(f"Only {', '.join(ON_ROTA)} are called by the rota.".replace("_", " "), field=field)
    return found


def _skill(written: str) -> str:
    skill = "-".join(written.lower().split())
    if not 1 <= len(skill) <= 30 or not skill.replace("-", "").isalnum():
        raise BadRequest("A skill is one to three plain words, such as groups.", field="skill")
    return skill


def _check_span(starts_at: datetime, ends_at: datetime, now: datetime, longest: timedelta) -> None:
    if ends_at.astimezone(UTC) <= starts_at.astimezone(UTC):
        raise BadRequest("The end must come after the beginning.", field="ends_at")
    if ends_at <= now:
        raise BadRequest("That time is over; the past stays as it was.", field="ends_at")
    if ends_at - starts_at > longest:
        raise BadRequest("That is longer than it can be.", field="ends_at")


def _check_free(rota: Rota, account: str, starts_at: datetime, ends_at: datetime, now: datetime) -> None:
    _check_leave(rota, account, starts_at, ends_at, now, "name")
    busy = [one for one in rota.stints(max(starts_at, now), ends_at, now) if one.account == account]
    if busy:
        first = busy[0].starts_at.astimezone(LONDON)
        raise BadRequest(
            f"They are on duty already on {first:%d %b} at {first:%H:%M}. Nothing was changed.",
            code="rota_overlap",
            field="starts_at",
        )


def _check_leave(rota: Rota, account: str, starts_at: datetime, ends_at: datetime, now: datetime, field: str) -> None:
    if rota.is_away(account, starts_at, ends_at, now):
        raise BadRequest("They are on leave then. Take the leave back first.", code="on_leave", field=field)
