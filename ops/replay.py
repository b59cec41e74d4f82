"""`evenkeel replay`: a case at an instant for an operator, and its signed export; ids alone, no word and no name.

An export is JSON with its signature in a file beside it (`.sig`). It holds what happened, what that made of the case at
every instant, and the head of the audit that was signed after the export was recorded there. Whoever checks it folds
what happened once more: nothing in it has to be believed but the key.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec

from moderation.replay import Called, Event, Happened, Looked, MessageNow, Said, State, Told, Written, fold, instants
from ops.admin import carry_out
from server.actions.auditing import SignedHead
from server.actions.replaying import RecordedReplay, Replay, without_words
from server.admin.commands import RecordReplay, SignHead
from server.clock import to_us
from server.errors import BadRequest, Misconfigured, Refused
from server.settings import Settings, read_key
from server.store import migrate
from server.store.audit import HeadRow
from server.store.heads import newest
from server.store.seals import AuditKey, SealCheck, Sealed, fingerprint
from server.store.whole import read_snapshot

KIND: Final = "evenkeel replay"
VERSION: Final = 1
_EACH: Final = ("at", "case", "duty", "messages", "calls")
_EVENTS: Final[Mapping[str, type[Event]]] = MappingProxyType(
    {str(each.__name__).lower(): each for each in (Happened, Written, Called, Looked, Told, Said)}
)


@dataclass(frozen=True, slots=True)
class CheckedReplay:
    """What was found of an exported replay; `faults` is empty if it holds."""

    case: str
    faults: tuple[str, ...]
    key: bytes
    trusted: str


def replay(settings: Settings, case: str) -> Replay:
    """A case as rows have it, beside whoever serves the database; that it was replayed is recorded first.

    Raises:
        NotFound: no such case.
        ServiceError: it could not be recorded, or the database not be read.
    """
    (recorded,) = asyncio.run(carry_out(settings, [RecordReplay(case, "command")], RecordedReplay))
    return _read(settings, recorded)[0]


def export(settings: Settings, case: str, place: Path) -> Replay:
    """Write the replay of a case to the new file `place`, its signature beside it, and a head of the audit into it.

    Raises:
        NotFound: no such case.
        Refused: there is such a file already.
        Misconfigured: it can not be written.
    """
    beside = signature_of(place)
    for each in (place, beside):
        if each.exists():
            raise Refused(
                f"There is a file {each.name} already; it is not overwritten.", code="file_exists", field="file"
            )
    key = AuditKey(read_key(settings.key_file))
    (recorded,) = asyncio.run(carry_out(settings, [RecordReplay(case, "export")], RecordedReplay))
    asyncio.run(carry_out(settings, [SignHead()], SignedHead))
    found, head = _read(settings, recorded)
    content = json.dumps(_content(found, head), indent=1, sort_keys=True).encode()
    seal = key.seal(Sealed.REPLAY, hashlib.sha256(content).digest())
    try:
        _write(place, content)
        _write(beside, json.dumps({"seal": seal.hex(), "key": key.public.hex()}).encode())
    except OSError as error:
        raise Misconfigured(f"{place.name} can not be written ({error.strerror}).", field="file") from None
    return found


def signature_of(place: Path) -> Path:
    """Where the signature of an export lies."""
    return place.with_name(f"{place.name}.sig")


def _write(place: Path, content: bytes) -> None:
    with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read(settings: Settings, recorded: RecordedReplay) -> tuple[Replay, HeadRow | None]:
    def look(conn: Any) -> tuple[Replay, HeadRow | None]:
        migrate.check(conn)
        head = newest(conn)
        row = None if head is None else HeadRow(head.n, to_us(head.at), head.content, bytes(head.seal))
        return without_words(conn, recorded.case, recorded.at), row

    return asyncio.run(read_snapshot(settings.database_url, look))


def _content(found: Replay, head: HeadRow | None) -> dict[str, Any]:
    return {
        "kind": KIND,
        "version": VERSION,
        "case": found.case,
        "side": found.side,
        "subject": found.subject,
        "made_at": found.made_at.isoformat(),
        "audit_head": None if head is None else {"content": head.content, "seal": bytes(head.seal).hex()},
        "events": [_event(event) for event in found.events],
        "states": _states(found.events),
    }


def _event(event: Event) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(event)
    return {"event": type(event).__name__.lower(), **fields}


def _states(events: tuple[Event, ...]) -> list[dict[str, Any]]:
    """What was known at every instant; but for lists of what happened, which are the events up to then."""
    states = []
    for at in instants(events):
        facts = facts_of(fold(events, at))
        states.append({name: facts[name] for name in _EACH})
    return states


def facts_of(state: State) -> dict[str, Any]:
    """A state as plain values."""
    facts: dict[str, Any] = msgspec.to_builtins(state)
    return facts


def is_export(place: Path) -> bool:
    """Whether a file says of itself that it is an exported replay."""
    try:
        said = json.loads(place.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(said, dict) and said.get("kind") == KIND


def verify_export(place: Path, public: bytes | None) -> CheckedReplay:
    """Check an exported replay against its signature, the head in it, and itself.

    Args:
        public: the key that it must be sealed by; None: the one that stands beside it.

    Raises:
        BadRequest: there is no signature beside it, or it is of a newer program.
    """
    content = place.read_bytes()
    said = json.loads(content)
    beside = signature_of(place)
    try:
        kept = json.loads(beside.read_bytes())
        seal, key = bytes.fromhex(kept["seal"]), bytes.fromhex(kept["key"])
        if len(key) != 32:
            raise ValueError
    except (OSError, ValueError, LookupError, TypeError):
        raise BadRequest(f"There is no signature {beside.name} beside it.", code="no_signature", field="file") from None
    if said.get("version") != VERSION:
        raise BadRequest("This was exported by a newer program. Check it with that one.", field="file")
    seals = SealCheck(key if public is None else public)
    faults = []
    if not seals.holds(Sealed.REPLAY, hashlib.sha256(content).digest(), seal):
        faults.append("the file is not what was signed, or was signed by another key")
    if not _head_holds(said, seals):
        faults.append("the head of the audit in it was not signed by this key")
    if not _states_follow(said):
        faults.append("what it says was known does not follow from what it says happened")
    return CheckedReplay(str(said.get("case")), tuple(faults), seals.public, "file" if public is None else "given")


def _head_holds(said: dict[str, Any], seals: SealCheck) -> bool:
    try:
        head = said["audit_head"]
        return seals.holds(Sealed.HEAD, head["content"].encode(), bytes.fromhex(head["seal"]))
    except (LookupError, TypeError, ValueError, AttributeError):
        return False


def _states_follow(said: dict[str, Any]) -> bool:
    try:
        events = tuple(_event_of(fields) for fields in said["events"])
        return bool(json.loads(json.dumps(_states(events))) == said["states"])
    except (LookupError, TypeError, ValueError):
        return False


def _event_of(fields: dict[str, Any]) -> Event:
    rest = {name: value for name, value in fields.items() if name != "event"}
    made: Event = msgspec.convert(rest, _EVENTS[fields["event"]])
    return made


# --- what is said of it -----------------------------------------------------------------------------------------------


def lines_of(found: Replay, at: datetime | None) -> list[str]:
    """A case at an instant for a person, by ids."""
    state = fold(found.events, at)
    lines = [f"Case {found.case}, {found.side}, about {found.subject}, as of {(at or found.made_at).isoformat()}"]
    if state.case is None or state.duty is None:
        return [*lines, "There was no case yet."]
    case, duty = state.case, state.duty
    lines.append(
        f"{case.state}, level {case.level} ({case.categories or '-'}), raised {case.messages} times, "
        f"taken by {case.owner or 'nobody'}; calling: {duty.state}"
    )
    if case.closed_at is not None:
        lines.append(f"closed {case.closed_at.isoformat()} by {case.closed_by}: {case.outcome}")
    for message in state.messages.values():
        lines += _message_lines(message)
    lines += [
        f"call to {call.recipient} by {call.channel} as {call.audience}: {call.state} since {call.since.isoformat()}, "
        f"tried {call.attempts} times"
        for call in state.calls.values()
    ]
    lines += [f"told: {told.reason} at {told.at.isoformat()}" for told in state.told]
    lines += [f"private message {it.message} by {it.role} {it.author} at {it.at.isoformat()}" for it in state.said]
    lines += [f"shown to {look.actor} at {look.at.isoformat()} ({look.how})" for look in state.looks]
    for line in state.history:
        by, detail = f" by {line.actor}" if line.actor else "", f": {line.detail}" if line.detail else ""
        lines.append(f"{line.at.isoformat()} {line.act}{by}{detail}")
    return lines


def _message_lines(message: MessageNow) -> list[str]:
    said, what = message.screened, f"message {message.message} by {message.author}, version {message.version}"
    if said is None:
        return [f"{what}, {message.state}: its verdict can not be read"]
    found = (*message.added, *said.findings)
    return [
        f"{what}, {message.state}: level {said.level}, score {said.score:.2f}, {said.disposition}; "
        f"lists {said.list_version}, policy {said.policy_version}",
        *[
            f"  {each.category or each.check} level {each.level}, {each.entry_id or each.check} "
            f"[{each.start}:{each.end}]: {each.reason}"
            for each in found
        ],
    ]


def facts_of_check(found: CheckedReplay) -> dict[str, Any]:
    return {
        "ok": not found.faults,
        "case": found.case,
        "faults": list(found.faults),
        "key": found.key.hex(),
        "key_from": found.trusted,
    }


def lines_of_check(found: CheckedReplay) -> list[str]:
    """The check of an export for a person."""
    whose = "as given" if found.trusted == "given" else "stands beside it: compare it with the one you were told"
    lines = [f"Replay of case {found.case}. Key {fingerprint(found.key)} ({whose})."]
    if not found.faults:
        return [*lines, "The file, the head of the audit in it and what follows from it hold."]
    return [*lines, "THIS REPLAY DOES NOT HOLD:", *[f"  {fault}" for fault in found.faults]]
