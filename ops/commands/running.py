"""Setting a service up, running it, looking at it from here and from outside, and stopping it in order."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from ops.commands.given import DatabaseUrl, settings_given
from ops.output import FAILED, Json, answer, speaks_plainly
from server.errors import BadRequest


@speaks_plainly
def init(
    admin: Annotated[str | None, typer.Option(help="Name of the first administrator.")] = None,
    lead: Annotated[str | None, typer.Option(help="Name of a clinical lead.")] = None,
    clinician: Annotated[str | None, typer.Option(help="Name of a clinician.")] = None,
    moderator: Annotated[str | None, typer.Option(help="Name of a moderator.")] = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Make the key file and the database, and accounts for the first people. Passwords are random, shown once."""
    from ops.people import add_staff
    from server.settings import make_key
    from server.store.erasures import make_ledger
    from server.store.migrate import prepare_database

    settings = settings_given(database_url=database_url)
    if admin is None and not as_json and sys.stdin.isatty():
        admin = typer.prompt("Name of the first administrator")
    made_key = not settings.key_file.exists()
    if made_key:
        make_key(settings.key_file)
    make_ledger(settings.ledger)
    asyncio.run(prepare_database(settings.database_url, settings.kind))
    wanted = {"admin": admin, "clinical_lead": lead, "clinician": clinician, "moderator": moderator}
    people = asyncio.run(add_staff(settings, [(role, name) for role, name in wanted.items() if name]))
    facts = {
        "key_file": str(settings.key_file),
        "key_made": made_key,
        "people": [{"name": p.name, "role": p.role, "account": p.account, "password": p.password} for p in people],
    }
    lines = [
        f"Key file {settings.key_file}: {'made' if made_key else 'there already'}.",
        "Keep a copy of it away from the database: without it nothing that was written can ever be read.",
        "Database: ready.",
        *[f"{p.role} {p.name}: password {p.password}  (shown only now; change it after signing in)" for p in people],
    ]
    if not people:
        lines.append("No account was made now. To make one, run `evenkeel user add --role admin --name NAME`.")
    answer(as_json, facts, *lines, "Next: `evenkeel doctor`, then `evenkeel serve`.")


@speaks_plainly
def migrate(database_url: DatabaseUrl = None, as_json: Json = False) -> None:
    """Bring the database to the schema of this program."""
    from server.store.migrate import newest, prepare_database

    settings = settings_given(database_url=database_url)
    asyncio.run(prepare_database(settings.database_url, settings.kind))
    answer(as_json, {"revision": newest()}, f"The database is at revision {newest()}.")


@speaks_plainly
def serve(
    host: Annotated[str | None, typer.Option(help="A loopback address.")] = None,
    port: Annotated[int | None, typer.Option(help="0 takes a free one.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="More than one needs PostgreSQL and Redis (DATABASE_URL, REDIS_URL).")
    ] = None,
    role: Annotated[str | None, typer.Option(help="hub (people), jobs (ladders) or all.")] = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Run the service: a small supervisor and its workers. Stops in order on SIGTERM or Ctrl-C."""
    from ops.doctor import check_database
    from server.settings import read_key
    from server.tracing import check_tracing

    settings = settings_given(host=host, port=port, workers=workers, role=role, database_url=database_url)
    read_key(settings.key_file)
    check_tracing()
    asyncio.run(check_database(settings))
    environ = {
        **os.environ,
        "EVENKEEL_KIND": settings.kind,
        "EVENKEEL_HOST": settings.host,
        "EVENKEEL_PORT": str(settings.port),
        "EVENKEEL_WORKERS": str(settings.workers),
        "EVENKEEL_ROLE": settings.role,
        "DATABASE_URL": settings.database_url,
    }
    where = f"http://{settings.host}:{settings.port or '(a free port)'}" if settings.role != "jobs" else "no port"
    answer(as_json, {"starting": where}, f"Starting on {where}; the log says when it serves.")
    sys.stdout.flush()
    # The supervisor takes over this process: what was loaded to read settings is not carried along.
    os.execve(sys.executable, [sys.executable, "-m", "server.supervisor"], environ)  # noqa: S606 - our own program


@speaks_plainly
def watch(
    url: Annotated[str, typer.Argument(help="Where members reach the service, such as https://chat.example.org.")],
    run: Annotated[str, typer.Option(help="Command for each alarm; told what happened by EVENKEEL_... .")] = "",
    every: Annotated[float, typer.Option(min=0.1, max=30, help="Seconds between two looks.")] = 5.0,
    after: Annotated[float, typer.Option(min=0, max=45, help="Seconds of trouble until it is raised.")] = 20.0,
    overdue: Annotated[float, typer.Option(min=1, help="Seconds that an obligation may be late.")] = 30.0,
    beat_file: Annotated[Path | None, typer.Option(help="Touched after each look.", dir_okay=False)] = None,
    beat_url: Annotated[str | None, typer.Option(help="Called after each look: a dead man's switch.")] = None,
    exit_when_raised: Annotated[bool, typer.Option("--exit", help="End with status 1 at the first alarm.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Look once; status 1 unless all is well.")] = False,
    as_json: Json = False,
) -> None:
    """Watch a service from another machine. EVENKEEL_WATCH_TOKEN, the service's own, lets it see what is overdue."""
    from ops.watch import Beat, Limits, State, check_url, look
    from ops.watch import watch as run_watch
    from server.supervisor.alarm import Alarm

    place, token = check_url(url), os.environ.get("EVENKEEL_WATCH_TOKEN", "")
    limits = Limits(every, after, overdue)
    if once:
        found = look(place, token, limits)
        facts = {"state": found.state, "status": found.status, "overdue_s": found.overdue_s}
        answer(as_json, facts, f"{found.state}, status {found.status}, overdue {found.overdue_s} s")
        raised = found.state is not State.WELL
    else:
        alarm = Alarm(shlex.split(run))
        beat = Beat(beat_file, None if beat_url is None else check_url(beat_url, whole=True), alarm.say)
        raised = run_watch(place, token, alarm, beat, limits, ends_when_raised=exit_when_raised)
    if raised:
        raise typer.Exit(FAILED)


@speaks_plainly
def drain(
    reason: Annotated[
        str, typer.Option(help="Code of the change or incident, where an urgent case is open and it has to be now.")
    ] = "",
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Stop the service that runs here, in order. Refused while an urgent case is open and nobody else could call."""
    from ops.admin import ask_service
    from server.actions.draining import Draining
    from server.admin.commands import Drain

    done = asyncio.run(ask_service(settings_given(database_url=database_url), Drain(reason), Draining))
    if done is None:
        raise BadRequest("No service is running here.", code="not_running")
    lines = ["The service drains: everybody is told to come back, what was begun is finished, then it ends."]
    if done.urgent and done.others:
        lines.append(f"{done.urgent} urgent case(s) are open: another process goes on calling people.")
    elif done.urgent:
        lines.append(
            f"WARNING: {done.urgent} urgent case(s) are open, and nobody is called until a service runs again."
        )
    elif not done.others:
        lines.append("No other process serves this database: members are offline until it runs again.")
    answer(as_json, {"urgent": done.urgent, "others": done.others}, *lines)


@speaks_plainly
def doctor(database_url: DatabaseUrl = None, as_json: Json = False) -> None:
    """Look at everything that the service needs, and say what to do about what is missing."""
    from ops.doctor import examine

    findings = examine(settings_given(database_url=database_url))
    well = all(finding.ok for finding in findings)
    facts = {
        "ok": well,
        "checks": [
            {"name": f.name, "ok": f.ok, "found": f.found, "do": f.advice if not f.ok else ""} for f in findings
        ],
    }
    lines = [f"{'ok  ' if f.ok else 'FAIL'}  {f.name}: {f.found}{'' if f.ok else '  -> ' + f.advice}" for f in findings]
    answer(as_json, facts, *lines)
    if not well:
        raise typer.Exit(FAILED)
