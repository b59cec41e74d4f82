"""Accounts and shifts made from the command line: the same actions as everywhere, and a password shown once."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from moderation.types import Role
from server.actions.accounts import create_staff
from server.auth.credentials import name_key
from server.errors import BadRequest, NotFound
from server.main import open_services
from server.settings import Settings
from server.store.accounts import account_by_key, insert_shift
from server.store.unit import Tx

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


async def add_staff(settings: Settings, people: Sequence[tuple[str, str]]) -> list[AddedPerson]:
    """Make an account for each (role, name).

    Raises:
        BadRequest: no such role, or a name that can not be had; the people before it have their accounts.
        Misconfigured: the service is running on this SQLite database, or the database is not ready.
    """
    if not people:
        return []
    wanted = [(_role(role), name) for role, name in people]
    added = []
    async with open_services(settings) as services:
        for role, name in wanted:
            password = new_password()
            account = await create_staff(services, name, role, password)
            added.append(AddedPerson(account, name, role.value, password))
    return added


async def add_shift(settings: Settings, name: str, starts_at: datetime | None, lasts: timedelta) -> AddedShift:
    """Put a member of staff on duty in their role, from `starts_at` (None: now).

    Raises:
        NotFound: nobody has that name.
        BadRequest: they are not staff.
    """
    async with open_services(settings) as services:

        def unit(tx: Tx) -> AddedShift:
            found = account_by_key(tx.conn, name_key(name))
            if found is None:
                raise NotFound("Nobody has an account by that name.", field="name")
            if found.role is Role.MEMBER:
                raise BadRequest("Only staff can be on duty.", field="name")
            begins = starts_at or tx.now
            return AddedShift(insert_shift(tx, found.id, found.role, begins, begins + lasts), begins, begins + lasts)

        return await services.store.write(unit)


def _role(name: str) -> Role:
    try:
        role = Role(name.replace("-", "_"))
    except ValueError:
        role = Role.MEMBER
    if role is Role.MEMBER:
        names = ", ".join(role.value for role in Role if role is not Role.MEMBER)
        raise BadRequest(f"Choose a staff role: {names}.", field="role")
    return role
