"""What the operator of a service does from the command line: people who work in it, and when they are on duty.

The operator is a person with the service's own account on its machine, not somebody signed in: audit rows name them as
`operator:` and that account. Everything else is the same as for anybody: names are checked and screened, passwords are
hashed, every act is one transaction with its audit row.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from moderation.rota_rows import Extra
from moderation.types import Role
from server.actions.accounts import create_staff
from server.actions.services import Services
from server.auth.credentials import name_key
from server.errors import BadRequest, NotFound
from server.ids import new_id
from server.store.accounts import account_by_key
from server.store.duty import insert_shift
from server.store.rota import row_by_id
from server.store.unit import AuditEntry, Tx

SHORTEST_SHIFT: Final = timedelta(minutes=1)
LONGEST_SHIFT: Final = timedelta(hours=24)
# No letters or digits that are misread when copied by hand; twenty of these are a hundred bits.
_READABLE: Final = "23456789abcdefghjkmnpqrstuvwxyzABCDEFGHJKMNPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class AddedPerson:
    """An account that was just made; `password` is kept nowhere else."""

    account: str
    name: str
    role: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AddedShift:
    """Somebody is on duty for [starts_at, ends_at)."""

    id: str
    starts_at: datetime
    ends_at: datetime


def new_password() -> str:
    """Four groups of five random characters."""
    return "-".join("".join(secrets.choice(_READABLE) for _ in range(5)) for _ in range(4))


async def add_person(services: Services, operator: str, role: str, name: str) -> AddedPerson:
    """Make an account for a member of staff, with a random password.

    Raises:
        BadRequest: no such staff role, or a name that can not be had.
    """
    wanted = _staff_role(role)
    password = new_password()
    account = await create_staff(services, name, wanted, password, by=operator)
    return AddedPerson(account, name, wanted.value, password)


async def add_shift(
    services: Services, operator: str, name: str, starts_at: datetime | None, lasts: timedelta
) -> AddedShift:
    """Put a member of staff on the rota in their role, from `starts_at` (None: now).

    A shift from now has begun: whoever puts them on duty answers for it. Before any other they are asked first.

    Raises:
        NotFound: nobody has that name.
        BadRequest: they are not staff, or nobody could be on duty for so long.
    """
    if not SHORTEST_SHIFT <= lasts <= LONGEST_SHIFT:
        raise BadRequest("A shift lasts between a minute and a day.", field="hours")
    shift_id = new_id()
    request_id = structlog.contextvars.get_contextvars().get("request_id") or new_id()

    def run(tx: Tx) -> AddedShift:
        made = row_by_id(tx.conn, shift_id)
        if isinstance(made, Extra):  # this unit was run before, and its answer was lost
            return AddedShift(shift_id, made.starts_at, made.ends_at)
        found = account_by_key(tx.conn, name_key(name))
        if found is None:
            raise NotFound("Nobody has an account by that name.", field="name")
        if found.role is Role.MEMBER:
            raise BadRequest("Only staff can be on duty.", field="name")
        # In UTC: a shift of eight hours lasts eight hours, also through a night in which wall clocks are set.
        begins = (starts_at or tx.now).astimezone(UTC)
        insert_shift(tx, found.id, found.role, begins, begins + lasts, shift_id, operator)
        tx.audit(AuditEntry("add_shift", "account", found.id, request_id, operator, shift_id))
        return AddedShift(shift_id, begins, begins + lasts)

    return await services.store.write(run)


def _staff_role(name: str) -> Role:
    try:
        role = Role(name.replace("-", "_"))
    except ValueError:
        role = Role.MEMBER
    if role is Role.MEMBER:
        names = ", ".join(role.value for role in Role if role is not Role.MEMBER)
        raise BadRequest(f"Choose a staff role: {names}.", field="role")
    return role
