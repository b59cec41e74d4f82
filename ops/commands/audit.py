"""The audit: whether it holds, signing its ends now, and taking it out into a file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from ops.commands.given import DatabaseUrl, settings_given
from ops.output import FAILED, Json, answer, speaks_plainly

group = typer.Typer(help="The record of decisions and staff reads, and that nobody has changed it.")
Heads = Annotated[
    Path | None, typer.Option("--heads", help="Published heads to compare with, best a copy kept elsewhere.")
]
Key = Annotated[str | None, typer.Option("--key", help="The public key that a file must be signed by, in hex.")]


@group.command("verify")
@speaks_plainly
def audit_verify(
    file: Annotated[
        Path | None, typer.Argument(help="What `audit export` or `replay --export` wrote. Without it, the database.")
    ] = None,
    heads: Heads = None,
    key: Key = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Check every row, link, seal and signed head, while the service runs or not. Ends with 1 if anything is wrong."""
    from ops import replay
    from ops.audit import facts_of, lines_of, verify_database, verify_file

    if file is not None and replay.is_export(file):
        checked = replay.verify_export(file, _public(key))
        answer(as_json, replay.facts_of_check(checked), *replay.lines_of_check(checked))
        if checked.faults:
            raise typer.Exit(FAILED)
        return
    if file is None:
        found = verify_database(settings_given(database_url=database_url), heads)
    else:
        found = verify_file(file, _public(key), heads)
    answer(as_json, facts_of(found), *lines_of(found))
    if found.report.breaks:
        raise typer.Exit(FAILED)


def _public(key: str | None) -> bytes | None:
    from server.errors import BadRequest

    if key is None:
        return None
    try:
        public = bytes.fromhex(key)
    except ValueError:
        public = b""
    if len(public) != 32:
        raise BadRequest("A public key is 64 hexadecimal digits.", field="key")
    return public


@group.command("head")
@speaks_plainly
def audit_head(database_url: DatabaseUrl = None, as_json: Json = False) -> None:
    """Sign where all chains end now, and publish it, beside the head of each midnight."""
    from ops.admin import carry_out
    from server.actions.auditing import SignedHead
    from server.admin.commands import SignHead

    settings = settings_given(database_url=database_url)
    (done,) = asyncio.run(carry_out(settings, [SignHead()], SignedHead))
    facts = {"n": done.n, "file": done.file, "folder": str(settings.heads_folder)}
    answer(as_json, facts, f"Head {done.n} is signed: {settings.heads_folder / done.file}. Keep a copy elsewhere.")


@group.command("export")
@speaks_plainly
def audit_export(
    file: Annotated[Path, typer.Argument(help="A new file.")],
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Write the whole audit to one signed file, while the service runs or not. It holds ids, no words and no names."""
    from ops.audit import export_audit

    rows, heads = export_audit(settings_given(database_url=database_url), file)
    answer(as_json, {"file": str(file), "rows": rows, "heads": heads}, f"{file}: {rows:,} rows, {heads} signed heads.")
