"""The campaigns that have options of their own; the others, all of one form, are added by `ops.torture.command`."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import tempfile
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from ops.commands.given import say
from ops.output import FAILED, Json, answer, speaks_plainly
from ops.torture.command import add_to, run_one
from ops.torture.wire_commands import torture_autobahn, torture_frames

group = typer.Typer(help="Kill the service on purpose and check its promises.", invoke_without_command=True)
# Each named place dies twenty times or more, and as many die by chance.
WHOLE_CAMPAIGN: Final = 200


class Kind(StrEnum):
    """What a campaign's database is."""

    SQLITE = "sqlite"
    POSTGRES = "postgres"


OfKind = Annotated[Kind, typer.Option("--database", help="A SQLite file, or a PostgreSQL server, made for it.")]
Seed = Annotated[int | None, typer.Option(help="To repeat a campaign's choices; a new one if not given.")]


@group.callback()
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


@group.command("kill")
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


@group.command("restart")
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
    say(f"seed {chosen}")
    with (
        tempfile.TemporaryDirectory(prefix="evenkeel-torture-") as made,
        _campaign_database(Kind.POSTGRES, None) as url,
        running_redis() as redis,
    ):
        done = asyncio.run(
            run_restarts(Path(made), url, redis.url, people=people, seed=chosen, pause_s=pause, progress=say)
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
    say(f"seed {chosen}")
    with tempfile.TemporaryDirectory(prefix="evenkeel-torture-") as made:
        campaign = asyncio.run(
            run_campaign(
                Path(made),
                database_url,
                kills=kills,
                seed=chosen,
                seconds=seconds,
                progress=lambda done, where: say(f"{done} of {kills}: killed at {where}"),
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


group.command("autobahn")(torture_autobahn)
group.command("frames")(torture_frames)
add_to(group)
