"""Every command of `evenkeel`, each a thin wrapper: what it does is in the module that it names.

Modules with heavy imports are imported by the command that needs them, so that `evenkeel --help` is quick.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import secrets
import shlex
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ops.output import FAILED, Json, answer, speaks_plainly
from ops.torture.command import add_to, run_one
from ops.torture.wire_commands import torture_autobahn, torture_frames
from server.clock import from_us
from server.errors import BadRequest

if TYPE_CHECKING:
    from server.settings import Settings

app = typer.Typer(
    help="Evenkeel: real-time chat and moderation for a digital talking-therapies service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
user = typer.Typer(help="People with an account.", no_args_is_help=True)
shift = typer.Typer(help="Who is on duty.", no_args_is_help=True)
watchwords = typer.Typer(help="The watchword lists.", no_args_is_help=True)
bench = typer.Typer(help="Measure this machine.", invoke_without_command=True)
torture = typer.Typer(help="Kill the service on purpose and check its promises.", invoke_without_command=True)
for name, group in (
    ("user", user),
    ("shift", shift),
    ("watchwords", watchwords),
    ("bench", bench),
    ("torture", torture),
):
    app.add_typer(group, name=name)

DatabaseUrl = Annotated[str | None, typer.Option("--database-url", help="Instead of DATABASE_URL.", show_default=False)]
# Each named place dies ten times or more, and as many die by chance.
WHOLE_CAMPAIGN: Final = 120
STAFF_ROLES: Final = ("admin", "moderator", "clinician", "clinical_lead", "therapist", "facilitator")


def _settings(**given: Any) -> Settings:
    """Settings of a real service, from the environment and from what was given on the command line.

    Raises:
        Misconfigured: a password stands on the command line, which everybody on this machine can read.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    from server.errors import Misconfigured
    from server.settings import load_settings

    if given.get("database_url"):
        with contextlib.suppress(ArgumentError):  # what is no address is refused later, in our words
            if make_url(given["database_url"]).password:
                raise Misconfigured(
                    "Everybody on this machine can read a password on a command line. Set DATABASE_URL instead.",
                    field="database_url",
                )
    return load_settings(kind="production", **{name: value for name, value in given.items() if value is not None})


# --- setting up and running -------------------------------------------------------------------------------------------


@app.command()
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

    settings = _settings(database_url=database_url)
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


@app.command()
@speaks_plainly
def migrate(database_url: DatabaseUrl = None, as_json: Json = False) -> None:
    """Bring the database to the schema of this program."""
    from server.store.migrate import newest, prepare_database

    settings = _settings(database_url=database_url)
    asyncio.run(prepare_database(settings.database_url, settings.kind))
    answer(as_json, {"revision": newest()}, f"The database is at revision {newest()}.")


@app.command()
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

    settings = _settings(host=host, port=port, workers=workers, role=role, database_url=database_url)
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


@app.command()
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


@app.command()
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

    done = asyncio.run(ask_service(_settings(database_url=database_url), Drain(reason), Draining))
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


@app.command()
@speaks_plainly
def doctor(database_url: DatabaseUrl = None, as_json: Json = False) -> None:
    """Look at everything that the service needs, and say what to do about what is missing."""
    from ops.doctor import examine

    findings = examine(_settings(database_url=database_url))
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


# --- keeping and bringing back ---------------------------------------------------------------------------------------


@app.command()
@speaks_plainly
def backup(
    file: Annotated[Path, typer.Argument(help="A new file; best on another disk.")],
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Write everything to one sealed file, while the service runs. The key file is not in it: keep that apart."""
    from ops.backup import back_up

    made = back_up(_settings(database_url=database_url), file, _say)
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


@app.command()
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

    settings = _settings(database_url=database_url)
    done = run(settings, file, _say, nothing_erased=nothing_erased)
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
        "audit_breaks": [{"writer": b.writer, "n": b.n, "what": b.what} for b in found.breaks],
    }
    lines = [
        f"{done.rows.total():,} rows restored, as of {from_us(done.head.taken_us):%d %b %Y %H:%M:%S} UTC.",
        f"Whatever came in the {timedelta(seconds=round(done.lost_s))} since then is lost.",
        f"{found.erased} keys erased again, {found.sessions} sessions ended, every client will load anew.",
        f"{len(found.raised)} open cases call people again, marked as unverified, as soon as the service runs.",
        *[f"  {case}" for case in found.raised],
        f"{len(found.closed_before)} cases were closed in the day before the backup and stay closed:",
        *[f"  {case}" for case in found.closed_before],
        *[f"AUDIT CHAIN BROKEN: writer {b.writer}, row {b.n}, {b.what}" for b in found.breaks],
        "What you must do now:",
        "  1. Tell the clinical lead from when to when messages are lost: people may have written in distress.",
        "  2. `evenkeel doctor`; put people on duty (`evenkeel shift add`): shifts are as they were then.",
        "  3. `evenkeel serve`, and see that every open case is taken.",
        "  4. Have a clinician look at the cases that stay closed: one may have been opened again since.",
    ]
    answer(as_json, facts, *lines)


# --- people -----------------------------------------------------------------------------------------------------------


@user.command("add")
@speaks_plainly
def user_add(
    role: Annotated[str, typer.Option(help=f"One of {', '.join(STAFF_ROLES)}.")],
    name: Annotated[str, typer.Option(help="As others see it.")],
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Make an account for a member of staff. The password is random and shown once."""
    from ops.people import add_staff

    (person,) = asyncio.run(add_staff(_settings(database_url=database_url), [(role, name)]))
    facts = {"account": person.account, "name": person.name, "role": person.role, "password": person.password}
    answer(as_json, facts, f"{person.role} {person.name}: password {person.password}  (shown only now)")


@shift.command("add")
@speaks_plainly
def shift_add(
    name: Annotated[str, typer.Option(help="Of somebody with a staff account.")],
    hours: Annotated[float, typer.Option(min=0.1, max=24, help="How long.")] = 8.0,
    starts: Annotated[str | None, typer.Option(help="ISO 8601 with a zone, such as 2026-12-01T09:00+00:00.")] = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Put somebody on duty in their own role, from now or from a given time."""
    from ops.people import add_shift

    begins = None if starts is None else _moment(starts)
    made = asyncio.run(add_shift(_settings(database_url=database_url), name, begins, timedelta(hours=hours)))
    facts = {"shift": made.id, "starts_at": made.starts_at.isoformat(), "ends_at": made.ends_at.isoformat()}
    answer(as_json, facts, f"{name} is on duty from {made.starts_at:%d %b %H:%M} to {made.ends_at:%d %b %H:%M} UTC.")


def _moment(written: str) -> datetime:
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise BadRequest("Write the start with its zone, such as 2026-12-01T09:00+00:00.", field="starts")
    return moment


@watchwords.command("screen")
@speaks_plainly
def watchwords_screen(
    text: Annotated[str | None, typer.Argument(help="Without it, standard input is read.")] = None,
    room: Annotated[str, typer.Option(help="community, group, therapy or support.")] = "community",
    role: Annotated[str, typer.Option(help="Role of the author.")] = "member",
    as_json: Json = False,
) -> None:
    """Say what the filter finds in a text, and what would happen to it. Nothing is stored or sent."""
    from ops.screen import screen_text

    verdict = screen_text(sys.stdin.read() if text is None else text, room, role)
    lines = [f"level {verdict['level']}, {verdict['disposition']}{'' if verdict['complete'] else ', NOT CHECKED'}"]
    lines += [
        f"  {f['level']}  {f['category'] or f['check']}  {f['start']}-{f['end']}  {f['reason']}"
        for f in verdict["findings"]
    ]
    answer(as_json, verdict, *lines)


# --- trials -----------------------------------------------------------------------------------------------------------

Rounds = Annotated[int, typer.Option(min=1, help="Of each shape; medians are reported.")]
Seconds = Annotated[float, typer.Option(min=0.5, help="For each run.")]
Folder = Annotated[Path | None, typer.Option("--folder", help="On the disk to measure.", file_okay=False)]


@bench.callback()
@speaks_plainly
def bench_everything(context: typer.Context, as_json: Json = False) -> None:
    """Measure this machine; without a command, the message path."""
    if context.invoked_subcommand is None:
        bench_path(as_json=as_json)


@bench.command("path")
@speaks_plainly
def bench_path(rounds: Rounds = 3, seconds: Seconds = 5.0, folder: Folder = None, as_json: Json = False) -> None:
    """The whole way of a message over real sockets: messages a second, and how long an acknowledgement takes."""
    from ops.bench.path import bench_path as run

    figures = run(folder, rounds=rounds, seconds=seconds, progress=_say)
    flush = f"flush of this disk: p50 {figures['flush_p50_ms']} ms, p99 {figures['flush_p99_ms']} ms"
    answer(as_json, figures, *_goals(figures), flush)


@bench.command("console")
@speaks_plainly
def bench_console(
    messages: Annotated[int, typer.Option(min=1, help="One after the other.")] = 200,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """From a member's urgent message to the moderators' console, on a service with nothing else to do."""
    from ops.bench.console import bench_console as run

    figures = run(folder, messages=messages, progress=_say)
    lines = [
        f"{name}: p50 {figures[key]['p50']} ms, p99 {figures[key]['p99']} ms, most {figures[key]['max']} ms"
        for name, key in (("on the console", "console_ms"), ("acknowledged", "ack_ms"), ("flush", "flush_ms"))
    ]
    answer(as_json, figures, *_goals(figures), *lines)


@bench.command("hub")
@speaks_plainly
def bench_hub(rounds: Rounds = 3, seconds: Seconds = 3.0, folder: Folder = None, as_json: Json = False) -> None:
    """What the hub adds to the bare writing of frames: durability off, 2,000 sockets, beside a floor in turns."""
    from ops.bench.hub import bench_hub as run

    figures = run(folder, rounds=rounds, seconds=seconds, progress=_say)
    answer(as_json, figures, *_goals(figures))


@bench.command("scale")
@speaks_plainly
def bench_scale(rounds: Rounds = 3, seconds: Seconds = 5.0, as_json: Json = False) -> None:
    """Two workers beside one on PostgreSQL and Redis: what they cost, and how long a message takes across."""
    from ops.bench.scale import bench_scale as run

    figures = run(rounds=rounds, seconds=seconds, progress=_say)
    answer(as_json, figures, *_goals(figures))


@bench.command("idle")
@speaks_plainly
def bench_idle(
    connections: Annotated[int, typer.Option(min=1, help="As far as the limits of this machine go.")] = 10_000,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Connections that do nothing, on one process: memory for each, and the processor time of their heartbeats."""
    from ops.bench.idle import bench_idle as run

    figures = run(folder, connections=connections, progress=_say)
    answer(as_json, figures, *_goals(figures))


@bench.command("first-run")
@speaks_plainly
def bench_first_run(as_json: Json = False) -> None:
    """From a fresh clone of what is committed, through `make demo`, to the first live message over a socket."""
    from ops.bench.first_run import bench_first_run as run

    figures = run(progress=_say)
    answer(as_json, figures, *_goals(figures))


def _goals(figures: dict[str, Any]) -> list[str]:
    """A line for each goal: met or missed, by what, against what; or that it was not measured."""
    return [
        f"        {name}: {goal['value']}"
        if isinstance(goal["value"], str)
        else f"{'met   ' if goal['met'] else 'MISSED'}  {name}: {goal['value']:,.1f}"
        f" (goal {'at least' if 'at_least' in goal else 'at most'} {goal.get('at_least', goal.get('at_most')):,.1f})"
        for name, goal in figures["goals"].items()
    ]


class Kind(StrEnum):
    """What a campaign's database is."""

    SQLITE = "sqlite"
    POSTGRES = "postgres"


OfKind = Annotated[Kind, typer.Option("--database", help="A SQLite file, or a PostgreSQL server, made for it.")]
Seed = Annotated[int | None, typer.Option(help="To repeat a campaign's choices; a new one if not given.")]


@torture.callback()
@speaks_plainly
def torture_everything(
    context: typer.Context,
    seconds: Annotated[
        float | None, typer.Option(min=1, help="End after so long; without it, the whole campaign.")
    ] = None,
    seed: Seed = None,
    database: OfKind = Kind.SQLITE,
    as_json: Json = False,
) -> None:
    """Kill the service on purpose and check its promises; without a command, `kill`."""
    if context.invoked_subcommand is None:
        with _campaign_database(database, None) as url:
            _torture(WHOLE_CAMPAIGN, seed, url, seconds, as_json)


@torture.command("kill")
@speaks_plainly
def torture_kill(
    kills: Annotated[int | None, typer.Option(min=1, help="How many; a whole campaign if not given.")] = None,
    scaled: Annotated[
        bool, typer.Option("--scaled", help="Three servers over one PostgreSQL and one Redis, all of which are killed.")
    ] = False,
    seed: Seed = None,
    database: OfKind = Kind.SQLITE,
    database_url: Annotated[
        str | None, typer.Option("--database-url", help="An empty database, instead of one that is thrown away.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Kill the server at named places and at random while people talk; nothing acknowledged may be lost."""
    if scaled:
        run_one("kill-scaled", kills, seed, as_json)
        return
    with _campaign_database(database, database_url) as url:
        _torture(kills or WHOLE_CAMPAIGN, seed, url, None, as_json)


@torture.command("restart")
@speaks_plainly
def torture_restart(
    people: Annotated[int, typer.Option(min=20, max=1_000, help="Connected all the time.")] = 1_000,
    pause: Annotated[float, typer.Option(min=0, help="Seconds between two restarts.")] = 35.0,
    seed: Seed = None,
    as_json: Json = False,
) -> None:
    """Restart three servers in turn while people talk: nothing lost, nobody away for long, every rung called."""
    from ops.setup.redis import running_redis
    from ops.torture.restart import run_restarts

    chosen = secrets.randbelow(2**31) if seed is None else seed
    _say(f"seed {chosen}")
    with (
        tempfile.TemporaryDirectory(prefix="evenkeel-torture-") as made,
        _campaign_database(Kind.POSTGRES, None) as url,
        running_redis() as redis,
    ):
        done = asyncio.run(
            run_restarts(Path(made), url, redis.url, people=people, seed=chosen, pause_s=pause, progress=_say)
        )
    facts = {"seed": chosen, **done.facts()}
    lines = [
        f"{facts['restarts']} restarts under {facts['people']} people: {facts['acknowledged']} of {facts['sent']} "
        f"messages acknowledged, {facts['came_back']} connections came back after {facts['offline_s_p50']} s (p50), "
        f"{facts['offline_s_p99']} s (p99), at most {facts['crowd']} times as many at once as on average",
        *[f"{'kept  ' if kept else 'BROKEN'}  {name}" for name, kept in facts["kept"].items()],
    ]
    answer(as_json, facts, *lines)
    if not facts["ok"]:
        raise typer.Exit(FAILED)


@contextlib.contextmanager
def _campaign_database(kind: Kind, given: str | None) -> Iterator[str]:
    """The URL of an empty database, gone after the block unless it was given."""
    if given is not None:
        yield given
    elif kind is Kind.SQLITE:
        with tempfile.TemporaryDirectory(prefix="evenkeel-torture-") as made:
            yield f"sqlite:///{made}/torture.db"
    else:
        from ops.setup.postgres import running_postgres

        with running_postgres() as server:
            url = server.create_database()
            try:
                yield url
            finally:
                server.drop_database(url)


def _torture(kills: int, seed: int | None, database_url: str, seconds: float | None, as_json: bool) -> None:
    from ops.torture.kill import run_campaign

    chosen = secrets.randbelow(2**31) if seed is None else seed
    _say(f"seed {chosen}")
    with tempfile.TemporaryDirectory(prefix="evenkeel-torture-") as made:
        campaign = asyncio.run(
            run_campaign(
                Path(made),
                database_url,
                kills=kills,
                seed=chosen,
                seconds=seconds,
                progress=lambda done, where: _say(f"{done} of {kills}: killed at {where}"),
            )
        )
    facts = campaign.facts()
    lines = [
        f"{facts['kills']} kills: " + ", ".join(f"{where} {count}" for where, count in sorted(facts["hits"].items())),
        f"{facts['acknowledged']} messages acknowledged, {facts['flagged']} of them flagged, "
        f"{facts['calls']} calls made, back after {facts['recovered_ms_p50']} ms (median)",
        *[f"BROKEN {example['rule']}: {example['what']}" for example in facts["examples"]],
        "Every promise was kept." if facts["ok"] else f"Promises were broken. Repeat with --seed {chosen}.",
    ]
    answer(as_json, facts, *lines)
    if not facts["ok"]:
        raise typer.Exit(FAILED)


torture.command("autobahn")(torture_autobahn)
torture.command("frames")(torture_frames)


def _say(line: str) -> None:
    """Progress, for a person; the answer is on standard output."""
    print(line, file=sys.stderr, flush=True)


add_to(torture)


def _add_demo() -> None:
    """The demonstration is a part of its own (`ops.demo`), present or not."""
    try:
        found: Any = importlib.import_module("ops.demo.command")
    except ModuleNotFoundError as missing:
        if missing.name not in ("ops.demo", "ops.demo.command"):
            raise
        return
    app.command("demo")(found.demo)


_add_demo()
