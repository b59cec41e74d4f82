"""Giving a command to the service that is running, through its admin socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from server.admin.commands import Command, Refusal, Reply, Request, run
from server.admin.place import operator_name, peer_uid, short_name, socket_place
from server.errors import Misconfigured, ServiceError, Unavailable
from server.settings import Settings

A = TypeVar("A")
# Longer than the service takes at most.
ANSWER_S: Final = 45.0
_LONGEST: Final = 65_536
# A service that is starting has its database before it has its socket.
STARTING_S: Final = 10.0
_LOOK_S: Final = 0.2


class RefusedByService(ServiceError):
    """The running service has refused the command; text and code are its own."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message, code=refusal.code, field=refusal.field)


async def ask_service(settings: Settings, command: Command, answer: type[A]) -> A | None:
    """The running service's answer to a command; None if no service is running for this database.

    Raises:
        RefusedByService: the service said no.
        Misconfigured: the socket there is not the service's own.
        Unavailable: it did not answer, and may or may not have done it.
    """
    place = socket_place(settings)
    try:
        async with asyncio.timeout(ANSWER_S):
            line = await _ask(place, settings.key_file, Request(settings.kind, command))
    except TimeoutError:
        raise _unknown() from None
    if line is None:
        return None
    try:
        reply = msgspec.json.decode(line, type=Reply)
        if isinstance(reply, Refusal):
            raise RefusedByService(reply)
        return msgspec.json.decode(reply.answer, type=answer)
    except msgspec.MsgspecError:
        raise _unknown() from None


async def carry_out(settings: Settings, commands: Sequence[Command], answer: type[A]) -> list[A]:
    """The answers to the commands, in order: by the service that is running, else here, in the same way.

    Raises:
        ServiceError: one was refused; those before it are done. Or the database is not ready, or used by something
            that is no service.
    """
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


async def _ask(place: Path, key_file: Path, request: Request) -> bytes | None:
    try:
        _check_file(place)
        with short_name(place) as name:
            reader, writer = await asyncio.open_unix_connection(name, limit=_LONGEST)
    except (FileNotFoundError, ConnectionRefusedError):
        return None  # none, or one that a killed service left behind
    except PermissionError:
        raise Misconfigured(
            f"The service's admin socket {place.name} belongs to another account. Run this as the one that serves.",
            code="not_the_operator",
        ) from None
    try:
        _check_peer(peer_uid(writer.get_extra_info("socket")), key_file)
        writer.write(msgspec.json.encode(request) + b"\n")
        await writer.drain()
        return await reader.readline()
    except (OSError, ValueError):
        raise _unknown() from None
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _check_file(place: Path) -> None:
    """A socket that others may open is not one that the service has made."""
    mode = place.stat().st_mode
    if not stat.S_ISSOCK(mode) or mode & 0o077:
        raise Misconfigured(
            f"{place.name} is no admin socket of its owner alone. Stop the service, remove it, and start again.",
            code="unsafe_socket",
        )


def _check_peer(uid: int, key_file: Path) -> None:
    """Nobody but this account, or whoever has the service's key, may be given a command and answer with a password."""
    trusted = {os.geteuid()}
    with contextlib.suppress(OSError):
        trusted.add(key_file.stat().st_uid)
    if uid not in trusted:
        raise Misconfigured("Another account answers at the admin socket; nothing was sent.", code="unsafe_socket")


def _unknown() -> Unavailable:
    return Unavailable(
        "The running service did not answer. Look whether it was done before you try again.", code="unknown_outcome"
    )
