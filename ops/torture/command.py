"""`evenkeel torture NAME` for the campaigns of `ops.torture.campaigns`, and `all` of them in a row.

What they import is heavy, and comes with the command that is run.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from ops.output import FAILED, Json, answer, speaks_plainly

Seed = Annotated[int | None, typer.Option(help="To repeat a campaign's choices; a new one if not given.")]
Faults = Annotated[int | None, typer.Option("--faults", min=1, help="How many; a whole campaign if not given.")]


def add_to(torture: typer.Typer) -> None:
    """Add the commands to the group `torture`."""
    torture.command("power")(power)
    torture.command("disk")(disk)
    torture.command("redis")(redis)
    torture.command("postgres")(postgres)
    torture.command("revoke")(revoke)
    torture.command("stop")(stop)
    torture.command("clock")(clock)
    torture.command("limits")(limits)
    torture.command("canaries")(canaries)
    torture.command("simulate")(simulate)
    torture.command("all")(everything)


@speaks_plainly
def power(faults: Faults = None, seed: Seed = None, as_json: Json = False) -> None:
    """Cut the power below SQLite while people send; nothing that was acknowledged may be lost."""
    run_one("power", faults, seed, as_json)


@speaks_plainly
def disk(faults: Faults = None, seed: Seed = None, as_json: Json = False) -> None:
    """Let commits fail on a full or broken disk; nothing acknowledged may be lost, and no restart be needed."""
    run_one("disk", faults, seed, as_json)


@speaks_plainly
def redis(faults: Faults = None, seed: Seed = None, as_json: Json = False) -> None:
    """Kill, freeze and cut the Redis of three servers; nothing may be lost or come later than six seconds."""
    run_one("redis", faults, seed, as_json)


@speaks_plainly
def postgres(faults: Faults = None, seed: Seed = None, as_json: Json = False) -> None:
    """Crash the PostgreSQL of three servers; nothing that was acknowledged may be lost, no call made again later."""
    run_one("postgres", faults, seed, as_json)


@speaks_plainly
def revoke(faults: Faults = None, seed: Seed = None, as_json: Json = False) -> None:
    """Take people's rights away while they listen on three servers; within seconds they may hear nothing more."""
    run_one("revoke", faults, seed, as_json)


@speaks_plainly
def stop(faults: Faults = None, seed: Seed = None, as_json: Json = False) -> None:
    """Let each part that keeps people safe stand still; within a minute something else must say so, calls go on."""
    run_one("stop", faults, seed, as_json)


@speaks_plainly
def clock(faults: Faults = None, seed: Seed = None, as_json: Json = False) -> None:
    """Let clocks jump under load, and live through both nights in which they are set; each call comes once, in time."""
    run_one("clock", faults, seed, as_json)


@speaks_plainly
def limits(faults: Faults = None, seed: Seed = None, as_json: Json = False) -> None:
    """Take the room on the disk, or the descriptors, away; no sender may be deceived, and help has to go on."""
    run_one("limits", faults, seed, as_json)


@speaks_plainly
def canaries(faults: Faults = None, seed: Seed = None, as_json: Json = False) -> None:
    """Send words that nobody else says down every path; none may be found in a log, a number or a database file."""
    run_one("canaries", faults, seed, as_json)


@speaks_plainly
def simulate(
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="How many; 10,000 if not given.")] = None,
    seed: Annotated[int | None, typer.Option(help="The first one; by chance if not given.")] = None,
    as_json: Json = False,
) -> None:
    """Simulate servers, people and faults, each seed another order of events; --seed N --seeds 1 repeats one."""
    run_one("simulate", seeds, seed, as_json)


@speaks_plainly
def everything(
    results: Annotated[Path | None, typer.Option(help="Write the figures to this file, such as RESULTS.md.")] = None,
    faults: Annotated[int | None, typer.Option("--faults", min=1, help="In each, instead of a whole campaign.")] = None,
    seed: Seed = None,
    as_json: Json = False,
) -> None:
    """Every campaign, one after the other."""
    from ops.torture.campaigns import CAMPAIGNS, new_seed, write_results

    chosen = new_seed() if seed is None else seed
    found: dict[str, dict[str, Any]] = {}
    for name in CAMPAIGNS:
        _say(f"--- {name}")
        found[name] = _figures(name, faults, chosen)
        if results is not None:
            write_results(results, chosen, found)
    broken = [name for name, facts in found.items() if not facts["ok"]]
    lines = [f"{name}: {'every promise kept' if facts['ok'] else 'BROKEN'}" for name, facts in found.items()]
    answer(as_json, {"seed": chosen, "ok": not broken, "campaigns": found}, *lines)
    if broken:
        raise typer.Exit(FAILED)


def run_one(name: str, faults: int | None, seed: int | None, as_json: bool) -> None:
    """Run a campaign and answer with its figures; ends with FAILED where a promise was broken."""
    from ops.torture.campaigns import new_seed

    chosen = new_seed() if seed is None else seed
    facts = _figures(name, faults, chosen)
    lines = [
        *(f"{key.replace('_', ' ')}: {json.dumps(value)}" for key, value in facts.items() if key != "examples"),
        *(f"BROKEN {example['rule']}: {example['what']}" for example in facts["examples"]),
        "Every promise was kept." if facts["ok"] else f"Promises were broken. Repeat with --seed {chosen}.",
    ]
    answer(as_json, facts, *lines)
    if not facts["ok"]:
        raise typer.Exit(FAILED)


def _figures(name: str, faults: int | None, seed: int) -> dict[str, Any]:
    import structlog

    from ops.torture.campaigns import CAMPAIGNS

    # What the parts of the service say in this process is for a person too; the answer stays readable by a program.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.stderr))
    campaign = CAMPAIGNS[name]
    count = faults or campaign.whole
    _say(f"seed {seed}")

    def progress(done: int, what: str) -> None:
        _say(f"{done} of {count}: {what}")

    async def run(folder: Path) -> dict[str, Any]:
        return await campaign.run(folder, count, seed, progress)

    with tempfile.TemporaryDirectory(prefix="evenkeel-torture-") as made:
        return asyncio.run(run(Path(made)))


def _say(line: str) -> None:
    """Progress, for a person; the answer is on standard output."""
    print(line, file=sys.stderr, flush=True)
