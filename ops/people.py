"""Accounts and shifts made from the command line: by the service that is running, else here, in the same way."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar

from ops.admin import ask_service
from server.actions.operating import AddedPerson, AddedShift
from server.actions.rota_view import ShownRota
from server.admin.commands import AddPerson, AddShift, AskRota, Command, run
from server.admin.place import operator_name
from server.errors import Misconfigured
from server.settings import Settings

A = TypeVar("A", AddedPerson, AddedShift, ShownRota)
# A service that is starting has its database before it has its socket.
STARTING_S: Final = 10.0
_LOOK_S: Final = 0.2


async def add_staff(settings: Settings, people: Sequence[tuple[str, str]]) -> list[AddedPerson]:
    """Make an account for each (role, name).

    Raises:
        ServiceError: no such role, or a name that can not be had; the people before it have their accounts. Or the
            database is not ready, or used by something that is no service.
    """
    return await _carry_out(settings, [AddPerson(role, name) for role, name in people], AddedPerson)


async def add_shift(settings: Settings, name: str, starts_at: datetime | None, lasts: timedelta) -> AddedShift:
    """Put a member of staff on duty in their role, from `starts_at` (None: now).

    Raises:
        ServiceError: nobody has that name, or they are not staff. Or as `add_staff`.
    """
    command = AddShift(name, lasts / timedelta(hours=1), starts_at)
    (made,) = await _carry_out(settings, [command], AddedShift)
    return made


async def show_rota(settings: Settings, at: datetime | None) -> ShownRota:
    """The rota now, or as it was or will be at `at`.

    Raises:
        ServiceError: as `add_staff`.
    """
    (shown,) = await _carry_out(settings, [AskRota(at)], ShownRota)
    return shown


async def _carry_out(settings: Settings, commands: Sequence[Command], answer: type[A]) -> list[A]:
    """The answers to the commands, in order."""
    done: list[A] = []
    until = time.monotonic() + STARTING_S
    while len(done) < len(commands):
        answered = await ask_service(settings, commands[len(done)], answer)
        if answered is not None:
            done.append(answered)
            continue
        try:
            return done + await _carry_out_here(settings, commands[len(done) :], answer)
        except Misconfigured as error:
            if error.error_code != "database_in_use" or time.monotonic() > until:
                raise
        await asyncio.sleep(_LOOK_S)
    return done


async def _carry_out_here(settings: Settings, commands: Sequence[Command], answer: type[A]) -> list[A]:
    from server.main import open_services  # a second that a command to a running service does not need

    operator = operator_name(os.geteuid())
    async with open_services(settings) as services:
        answers = [await run(services, operator, command) for command in commands]
    return [made for made in answers if isinstance(made, answer)]
