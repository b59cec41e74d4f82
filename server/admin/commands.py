"""What the operator may ask of a running service: one typed command, one answer.

Through the socket or without it, a command is carried out by the same `run`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec
import structlog

from server.actions.auditing import SignedHead, sign_head_now
from server.actions.draining import Draining, allow_drain
from server.actions.operating import AddedPerson, AddedShift, add_person, add_shift
from server.actions.replaying import RecordedReplay, record_replay
from server.actions.rota_view import ShownRota, show
from server.actions.services import Services
from server.actions.wordlists.backtests import BegunTrial, TrialFigures, begin_back_test, figures
from server.errors import BadRequest
from server.ids import new_id


class AddPerson(msgspec.Struct, frozen=True, tag="add_person", tag_field="t", forbid_unknown_fields=True):
    """Make an account for a member of staff; answered with `AddedPerson`."""

    role: str
    name: str


class AddShift(msgspec.Struct, frozen=True, tag="add_shift", tag_field="t", forbid_unknown_fields=True):
    """Put somebody on duty for `hours`, from `starts_at` (None: now); answered with `AddedShift`."""

    name: str
    hours: float
    starts_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class AskRota(msgspec.Struct, frozen=True, tag="ask_rota", tag_field="t", forbid_unknown_fields=True):
    """Who is on the rota at `at` (None: now), who will be, and where gaps are; answered with `ShownRota`."""

    at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class Drain(msgspec.Struct, frozen=True, tag="drain", tag_field="t", forbid_unknown_fields=True):
    """Stop this service as SIGTERM does, for the `reason` of that code ("": none); answered with `Draining`."""

    reason: str = ""


class BackTest(msgspec.Struct, frozen=True, tag="back_test", tag_field="t", forbid_unknown_fields=True):
    """Back-test a proposal of the watchword lists ("": the newest) on the messages of `days`, or on the corpus (0).

    Answered with `BegunTrial`, at once.
    """

    version: str = ""
    days: int = 0


class AskTrial(msgspec.Struct, frozen=True, tag="ask_trial", tag_field="t", forbid_unknown_fields=True):
    """How far a back-test is; answered with `TrialFigures`."""

    trial: str


class SignHead(msgspec.Struct, frozen=True, tag="sign_head", tag_field="t", forbid_unknown_fields=True):
    """Sign a head of the audit and publish it; answered with `SignedHead`."""


class RecordReplay(msgspec.Struct, frozen=True, tag="record_replay", tag_field="t", forbid_unknown_fields=True):
    """Record that the operator replays a case: `how` is "command" or "export". Answered with `RecordedReplay`."""

    case: str
    how: Literal["command", "export"]


Command = AddPerson | AddShift | AskRota | Drain | BackTest | AskTrial | SignHead | RecordReplay
Answer = AddedPerson | AddedShift | ShownRota | Draining | BegunTrial | TrialFigures | SignedHead | RecordedReplay


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line to the socket. `kind`: of database that the command is meant for."""

    kind: str
    command: Command


class Done(msgspec.Struct, frozen=True, tag="done", tag_field="t"):
    """A line from the socket: `answer` is what the command is answered with."""

    answer: msgspec.Raw


class Refusal(msgspec.Struct, frozen=True, tag="refused", tag_field="t"):
    """A line from the socket: why nothing was done, or that it is not known whether it was (`unknown_outcome`)."""

    code: str
    message: str
    field: str | None = None


Reply = Done | Refusal


@dataclass(frozen=True, slots=True)
class Running:
    """What can be stopped: the service by its name (`store.standing`), and how. `stop` returns at once."""

    service: str
    stop: Callable[[], None]


async def run(services: Services, operator: str, command: Command, running: Running | None = None) -> Answer:
    """Carry out one command in the name of `operator`. Raises ServiceError, whatever the action refuses with."""
    match command:
        case AddPerson():
            return await add_person(services, operator, command.role, command.name)
        case AddShift():
            return await add_shift(services, operator, command.name, command.starts_at, _hours(command.hours))
        case AskRota():
            return await show(services, command.at)
        case BackTest():
            return await begin_back_test(services, operator, command.version, command.days)
        case AskTrial():
            return await figures(services, command.trial)
        case SignHead():
            return await sign_head_now(services, operator, _request_id())
        case RecordReplay():
            return await record_replay(services, operator, command.case, command.how, _request_id())
        case Drain():
            if running is None:
                raise BadRequest("No service is running here.", code="not_running")
            allowed = await allow_drain(services, operator, running.service, command.reason)
            running.stop()
            return allowed


def _request_id() -> str:
    return structlog.contextvars.get_contextvars().get("request_id") or new_id()


def _hours(hours: float) -> timedelta:
    try:
        return timedelta(hours=hours)
    except (OverflowError, ValueError):
        return timedelta.max
