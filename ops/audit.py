"""`evenkeel audit`: whether the audit holds, in the database or in a file; and taking it out into one.

A file is JSON, a line for each row and head, and at its end how much that was, sealed: one that was cut or changed
shows it. Whoever has the public key alone can check it, on a machine that never had the database.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from server.errors import BadRequest, Misconfigured, Refused
from server.settings import Settings, read_key
from server.store import migrate
from server.store.audit import HEADS, PUBLISHED, AuditRow, Break, HeadRow, Report, check, heads_of, rows_of, verify
from server.store.heads import read_published
from server.store.seals import AuditKey, SealCheck, Sealed, fingerprint
from server.store.whole import read_snapshot

KIND: Final = "evenkeel audit"
VERSION: Final = 1
_BYTES: Final = ("prev", "hash", "seal")
_WHAT: Final = {
    "missing": "this row is not there",
    "link": "it does not follow on the row before it",
    "hash": "it was changed after it was written",
    "seal": "it was not written by this service, or changed with its hash worked out anew",
    "unreadable": "it holds what this program never writes",
    "cut off": "a signed head says that there were rows here",
    "not in force": "the signed head and the chain do not say the same",
    "unknown": "this head was published, and the database does not have it",
    "end": "the file ends before its end, or was changed",
}


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found.

    Attributes:
        key: the public key by which it was checked.
        trusted: where that key came from: service, given, or file (then it proves nothing by itself).
        published: how many published heads it was compared with; None: there was no folder.
    """

    report: Report
    key: bytes
    trusted: str
    published: int | None


def verify_database(settings: Settings, folder: Path | None) -> Checked:
    """Check the audit of the database of `settings`, beside whoever serves it, against the published heads.

    Args:
        folder: of published heads; None: that of the settings, where there is one.

    Raises:
        Misconfigured: the key, the database or the folder can not be read.
    """
    public = AuditKey(read_key(settings.key_file)).public
    kept = _published(settings.heads_folder if folder is None else folder, asked=folder is not None)

    def read(conn: Any) -> Report:
        migrate.check(conn)
        return verify(conn, public, kept)

    report = asyncio.run(read_snapshot(settings.database_url, read))
    return Checked(report, public, "service", None if kept is None else len(kept))


def _published(folder: Path, *, asked: bool) -> Mapping[str, HeadRow] | None:
    if not folder.is_dir():
        if asked:
            raise Misconfigured(f"There is no folder {folder.name}.", field="heads")
        return None
    return read_published(folder)


def export_audit(settings: Settings, place: Path) -> tuple[int, int]:
    """Write the whole audit to the new file `place`; returns how many rows and heads.

    Raises:
        Refused: there is such a file already.
        Misconfigured: the key or the database can not be read, or the file not be written.
    """
    key = AuditKey(read_key(settings.key_file))
    try:
        file = os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8")
    except FileExistsError:
        raise Refused(
            f"There is a file {place.name} already; it is not overwritten.", code="file_exists", field="file"
        ) from None
    except OSError as error:
        raise Misconfigured(f"{place.name} can not be written ({error.strerror}).", field="file") from None

    def copy(conn: Any) -> tuple[int, int]:
        migrate.check(conn)
        sha, rows, heads = hashlib.sha256(), 0, 0

        def line(fields: Any) -> None:
            text = json.dumps(fields, separators=(",", ":")) + "\n"
            sha.update(text.encode())
            file.write(text)

        line({"kind": KIND, "version": VERSION, "key": key.public.hex()})
        for row in rows_of(conn):
            line(["row", *(_plain(value) for value in row)])
            rows += 1
        for head in heads_of(conn):
            line(["head", *(_plain(value) for value in head)])
            heads += 1
        seal = key.seal(Sealed.EXPORT, sha.digest())
        line({"rows": rows, "heads": heads, "seal": seal.hex()})
        return rows, heads

    with file:
        done = asyncio.run(read_snapshot(settings.database_url, copy))
        file.flush()
        os.fsync(file.fileno())
    return done


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def verify_file(place: Path, public: bytes | None, folder: Path | None) -> Checked:
    """Check an audit that was taken out into a file.

    Args:
        public: the key that it must be sealed by; None: the one that stands in it.

    Raises:
        BadRequest: this is no such file.
    """
    try:
        lines = place.read_text(encoding="utf-8").splitlines(keepends=True)
        said = json.loads(lines[0])
        key = bytes.fromhex(said["key"]) if public is None else public
        if (said["kind"], said["version"]) != (KIND, VERSION) or len(key) != 32:
            raise ValueError
    except OSError as error:
        raise BadRequest(f"{place.name} can not be read ({error.strerror}).", field="file") from None
    except (ValueError, LookupError, TypeError):
        raise BadRequest(f"{place.name} is no audit that `evenkeel audit export` wrote.", field="file") from None
    kept = None if folder is None else _published(folder, asked=True)
    rows, heads = list(_rows(lines)), list(_heads(lines))
    report = check(rows, heads, key, kept)
    if not _is_whole(lines, len(rows), len(heads), SealCheck(key)):
        end = Break(place.name, len(lines), "end", report.signed_until)
        report = Report((*report.breaks, end), report.rows, report.chains, report.heads, report.signed_until, 0)
    return Checked(report, key, "file" if public is None else "given", None if kept is None else len(kept))


def _rows(lines: list[str]) -> Iterator[AuditRow]:
    for kind, *fields in _parsed(lines):
        if kind == "row" and len(fields) == len(AuditRow._fields):
            row = AuditRow(*fields)
            yield row._replace(**{name: _bytes(getattr(row, name)) for name in _BYTES})


def _heads(lines: list[str]) -> Iterator[HeadRow]:
    for kind, *fields in _parsed(lines):
        if kind == "head" and len(fields) == len(HeadRow._fields):
            head = HeadRow(*fields)
            yield head._replace(seal=_bytes(head.seal))


def _parsed(lines: list[str]) -> Iterator[list[Any]]:
    """The lines that hold a row or a head; one that can not be read is missing where it was."""
    for line in lines[1:]:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, list) and found:
            yield found


def _bytes(value: Any) -> Any:
    try:
        return bytes.fromhex(value)
    except (ValueError, TypeError):
        return value


def _is_whole(lines: list[str], rows: int, heads: int, seals: SealCheck) -> bool:
    try:
        end = json.loads(lines[-1])
        counts, seal = (end["rows"], end["heads"]), bytes.fromhex(end["seal"])
    except (ValueError, LookupError, TypeError):
        return False
    digest = hashlib.sha256("".join(lines[:-1]).encode()).digest()
    return counts == (rows, heads) and seals.holds(Sealed.EXPORT, digest, seal)


# --- what is said of it -----------------------------------------------------------------------------------------------


def facts_of(found: Checked) -> dict[str, Any]:
    """The finding as plain values."""
    report = found.report
    return {
        "ok": not report.breaks,
        "rows": report.rows,
        "chains": report.chains,
        "heads": report.heads,
        "signed_until": None if report.signed_until is None else report.signed_until.isoformat(),
        "uncovered": report.uncovered,
        "published": found.published,
        "excused_by_restore": list(report.excused),
        "key": found.key.hex(),
        "key_from": found.trusted,
        "breaks": [
            {
                "chain": b.writer,
                "n": b.n,
                "what": b.what,
                "sound_until": None if b.sound_until is None else b.sound_until.isoformat(),
            }
            for b in report.breaks
        ],
    }


def lines_of(found: Checked) -> list[str]:
    """The finding for a person: the first broken place, and what to do."""
    report = found.report
    signed = "never" if report.signed_until is None else f"{report.signed_until:%d %b %Y %H:%M} UTC"
    lines = [
        f"{report.rows:,} rows in {report.chains} chains, {report.heads} signed heads, the last {signed}.",
        f"Key {fingerprint(found.key)}{_TRUST[found.trusted]}",
    ]
    if report.excused:
        lines.append(f"{len(report.excused)} published heads were lost by a restore from an older backup.")
    if not report.breaks:
        lines.append("Every row, link, seal and head holds.")
        if report.uncovered:
            lines.append(
                f"{report.uncovered:,} rows are behind the last head: that some were cut off at the end would not show "
                "yet. `evenkeel audit head` signs one now."
            )
        if found.published is None:
            lines.append("No published heads were compared. Give the folder where copies are kept: --heads FOLDER.")
        return lines
    first = report.breaks[0]
    until = "from the beginning" if first.sound_until is None else f"after {first.sound_until:%d %b %Y %H:%M:%S} UTC"
    place = first.writer if first.writer in (HEADS, PUBLISHED) else f"chain {first.writer}"
    lines.append(f"THE AUDIT DOES NOT HOLD. First broken place: {place}, {first.n}, {until}: {_WHAT[first.what]}.")
    lines += [f"  also {b.writer}, {b.n}: {_WHAT[b.what]}" for b in report.breaks[1:]]
    return lines + _WHAT_TO_DO


_TRUST: Final = {
    "service": " (this service's own).",
    "given": " (as given).",
    "file": " stands in the file itself: compare it with the one that you were told by another way.",
}
_WHAT_TO_DO: Final = [
    "What to do now:",
    "  1. Change nothing. Copy the database, the folder of signed heads and this answer (--json) to a safe place.",
    "  2. Tell the governance lead and the clinical lead: what was recorded after that place can not be relied on.",
    "  3. Find who could write to the database since that time, and shut that way.",
    "  4. Verify older backups (restore one elsewhere, then `evenkeel audit verify`): the newest that holds has the "
    "rows as they were.",
]
