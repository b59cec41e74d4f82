"""Accounts and shifts made from the command line: by the service that is running, else here, in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from ops.admin import carry_out
from server.actions.operating import AddedPerson, AddedShift
from server.actions.rota_view import ShownRota
from server.admin.commands import AddPerson, AddShift, AskRota
from server.settings import Settings


async def add_staff(settings: Settings, people: Sequence[tuple[str, str]]) -> list[AddedPerson]:
    """Make an account for each (role, name).

    Raises:
        ServiceError: no such role, or a name that can not be had; the people before it have their accounts. Or the
            database is not ready, or used by something that is no service.
    """
    return await carry_out(settings, [AddPerson(role, name) for role, name in people], AddedPerson)


async def add_shift(settings: Settings, name: str, starts_at: datetime | None, lasts: timedelta) -> AddedShift:
    """Put a member of staff on duty in their role, from `starts_at` (None: now).

    Raises:
        ServiceError: nobody has that name, or they are not staff. Or as `add_staff`.
    """
    command = AddShift(name, lasts / timedelta(hours=1), starts_at)
    (made,) = await carry_out(settings, [command], AddedShift)
    return made


async def show_rota(settings: Settings, at: datetime | None) -> ShownRota:
    """The rota now, or as it was or will be at `at`.

    Raises:
        ServiceError: as `add_staff`.
    """
    (shown,) = await carry_out(settings, [AskRota(at)], ShownRota)
    return shown
