"""Backups, and what an operator is told after a restore."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from ops.commands.given import DatabaseUrl, say, settings_given
from ops.output import Json, answer, speaks_plainly
from server.clock import from_us


@speaks_plainly
def backup(
    file: Annotated[Path, typer.Argument(help="A new file; best on another disk.")],
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Write everything to one sealed file, while the service runs. The key file is not in it: keep that apart."""
    from ops.backup import back_up

    made = back_up(settings_given(database_url=database_url), file, say)
    facts = {
        "backup": made.head.id,
        "file": str(file),
        "taken_at": from_us(made.head.taken_us).isoformat(),
        "bytes": made.size,
        "rows": dict(made.rows),
    }
    answer(
        as_json,
        facts,
        f"{file}: {made.rows.total():,} rows, {made.size:,} bytes, read back whole.",
        "To restore it you need the key file and the newest erasure ledger. Neither is in it: keep both elsewhere.",
    )


@speaks_plainly
def restore(
    file: Annotated[Path, typer.Argument(help="What `evenkeel backup` wrote.")],
    nothing_erased: Annotated[
        bool, typer.Option("--nothing-erased", help="There is no erasure ledger: nothing was ever erased.")
    ] = False,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Fill a new database from a backup. Every open case calls people again, and everybody has to sign in again."""
    from ops.backup import restore as run

    settings = settings_given(database_url=database_url)
    done = run(settings, file, say, nothing_erased=nothing_erased)
    found = done.reconciled
    facts = {
        "backup": done.head.id,
        "taken_at": from_us(done.head.taken_us).isoformat(),
        "lost_s": round(done.lost_s),
        "rows": dict(done.rows),
        "epoch": found.epoch,
        "cases_raised": list(found.raised),
        "cases_closed_before": list(found.closed_before),
        "keys_erased": found.erased,
        "sessions_ended": found.sessions,
        "audit_breaks": [{"writer": b.writer, "n": b.n, "what": b.what} for b in found.audit.breaks],
    }
    lines = [
        f"{done.rows.total():,} rows restored, as of {from_us(done.head.taken_us):%d %b %Y %H:%M:%S} UTC.",
        f"Whatever came in the {timedelta(seconds=round(done.lost_s))} since then is lost.",
        f"{found.erased} keys erased again, {found.sessions} sessions ended, every client will load anew.",
        f"{len(found.raised)} open cases call people again, marked as unverified, as soon as the service runs.",
        *[f"  {case}" for case in found.raised],
        f"{len(found.closed_before)} cases were closed in the day before the backup and stay closed:",
        *[f"  {case}" for case in found.closed_before],
        *[f"AUDIT CHAIN BROKEN: writer {b.writer}, row {b.n}, {b.what}" for b in found.audit.breaks],
        "What you must do now:",
        "  1. Tell the clinical lead from when to when messages are lost: people may have written in distress.",
        "  2. `evenkeel doctor`; put people on duty (`evenkeel shift add`): shifts are as they were then.",
        "  3. `evenkeel serve`, and see that every open case is taken.",
        "  4. Have a clinician look at the cases that stay closed: one may have been opened again since.",
    ]
    answer(as_json, facts, *lines)
