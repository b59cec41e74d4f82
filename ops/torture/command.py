"""`evenkeel torture NAME` for the campaigns of `ops.torture.campaigns`, and `all` of them in a row.

What they import is heavy, and comes with the command that is run.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

import typer

from ops.output import FAILED, Json, answer, speaks_plainly
from server.errors import BadRequest

Seed = Annotated[int | None, typer.Option(help="To repeat a campaign's choices; a new one if not given.")]
Faults = Annotated[
    int | None,
    typer.Option(
        "--faults", min=1, help="How many (messages, sockets, rounds: see its figures); a whole campaign if not given."
    ),
]
Results = Annotated[
    Path | None,
    typer.Option(help="Write the figures to this file too, such as RESULTS.md; other campaigns' stay in it."),
]


def add_to(torture: typer.Typer) -> None:
    """Add the commands to the group `torture`."""
    for name, what in _ONE_BY_ONE.items():
        torture.command(name, help=what)(_command(name))
    torture.command("simulate")(simulate)
    torture.command("all")(everything)


# What they do, for a person who looks for one; what each promises is in `ops.torture.campaigns`.
_ONE_BY_ONE: Final = MappingProxyType(
    {
        "power": "Cut the power below SQLite while people send; nothing that was acknowledged may be lost.",
        "disk": "Let commits fail on a full or broken disk; nothing acknowledged may be lost, no restart be needed.",
        "redis": "Kill, freeze and cut the Redis of three servers; nothing may be lost or come after six seconds.",
        "postgres": "Crash the PostgreSQL of three servers; nothing acknowledged may be lost, no call made twice.",
        "revoke": "Take people's rights away while they listen; within seconds they may hear nothing more.",
        "acks": "Cut acknowledgements off after the commit; each message may be stored once, at one place.",
        "writers": "Write in the same rooms by way of three servers; everybody must read them in one order.",
        "hops": "Cut readers off, move them between servers, restore a backup; they may miss nothing unawares.",
        "storm": "Cut thousands of sockets at once; all must be back within a minute, and nobody else be kept waiting.",
        "opening": "Let thousands come at once, as the clock strikes; the same.",
        "slow": "Let a hundred sockets read nothing; nobody else may be slower for it, and they must be let go.",
        "soak": "Load a server for half an hour; it may not grow with time, nor keep anything of those who left.",
        "oneway": "Shut one direction of a connection; both sides must notice, and the open message be stored once.",
        "stop": "Let each part that keeps people safe stand still; within a minute something else must say so.",
        "clock": "Let clocks jump, and live through both nights in which they are set; each call comes once, in time.",
        "limits": "Take the room on the disk, or the descriptors, away; no sender may be deceived, help has to go on.",
        "filter": "Let the filter fail wherever it can; no member may be shown what it did not check.",
        "audit": "Change, cut and swap rows of the audit, hashes worked out anew or not; each must be found.",
        "canaries": "Send words that nobody else says down every path; none may be found in a log, a number or a file.",
    }
)


def _command(name: str) -> Callable[..., None]:
    @speaks_plainly
    def command(faults: Faults = None, seed: Seed = None, results: Results = None, as_json: Json = False) -> None:
        run_one(name, faults, seed, as_json, results)

    return command


@speaks_plainly
def simulate(
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="How many; 10,000 if not given.")] = None,
    seed: Annotated[int | None, typer.Option(help="The first one; by chance if not given.")] = None,
    results: Results = None,
    as_json: Json = False,
) -> None:
    """Simulate servers, people and faults, each seed another order of events; --seed N --seeds 1 repeats one."""
    run_one("simulate", seeds, seed, as_json, results)


@speaks_plainly
def everything(
    only: Annotated[str | None, typer.Option(help="Names of campaigns with commas between; all if not given.")] = None,
    results: Results = None,
    faults: Annotated[int | None, typer.Option("--faults", min=1, help="In each, instead of a whole campaign.")] = None,
    seed: Seed = None,
    as_json: Json = False,
) -> None:
    """Every campaign, one after the other."""
    from ops.torture.campaigns import new_seed
    from ops.torture.results import verdict

    names = _chosen(only)
    chosen = new_seed() if seed is None else seed
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        say(f"--- {name}")
        found[name] = _figures(name, faults, chosen, results)
    broken = [name for name, facts in found.items() if not facts["ok"]]
    lines = [f"{name}: {verdict(facts)}" for name, facts in found.items()]
    answer(as_json, {"seed": chosen, "ok": not broken, "campaigns": found}, *lines)
    if broken:
        raise typer.Exit(FAILED)


def _chosen(only: str | None) -> list[str]:
    """The campaigns that are asked for, in the order of the list. Raises BadRequest."""
    from ops.torture.campaigns import CAMPAIGNS

    if only is None:
        return list(CAMPAIGNS)
    asked = {name.strip() for name in only.split(",")} - {""}
    unknown = sorted(asked - CAMPAIGNS.keys())
    if unknown or not asked:
        said = f"There is no campaign {', '.join(unknown)}." if unknown else "No campaign was named."
        raise BadRequest(f"{said} There are: {', '.join(CAMPAIGNS)}.", field="only")
    return [name for name in CAMPAIGNS if name in asked]


def run_one(name: str, faults: int | None, seed: int | None, as_json: bool, results: Path | None = None) -> None:
    """Run a campaign and answer with its figures; ends with FAILED where a promise was broken."""
    from ops.torture.campaigns import new_seed

    chosen = new_seed() if seed is None else seed
    facts = _figures(name, faults, chosen, results)
    lines = [
        *(f"{key.replace('_', ' ')}: {json.dumps(value)}" for key, value in facts.items() if key != "examples"),
        *(f"BROKEN {example['rule']}: {example['what']}" for example in facts["examples"]),
        "Every promise was kept." if facts["ok"] else f"Promises were broken. Repeat with --seed {chosen}.",
    ]
    answer(as_json, facts, *lines)
    if not facts["ok"]:
        raise typer.Exit(FAILED)


def _figures(name: str, faults: int | None, seed: int, results: Path | None) -> dict[str, Any]:
    import structlog

    from ops.torture.campaigns import CAMPAIGNS
    from ops.torture.results import noted

    # What the parts of the service say in this process is for a person too; the answer stays readable by a program.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.stderr))
    campaign = CAMPAIGNS[name]
    count = faults or campaign.whole
    say(f"seed {seed}, {count} {campaign.counts}")

    def progress(done: int, what: str) -> None:
        say(f"{done} of {count}: {what}")

    async def run(folder: Path) -> dict[str, Any]:
        return await campaign.run(folder, count, seed, progress)

    with tempfile.TemporaryDirectory(prefix="evenkeel-torture-") as made:
        return noted(results, name, seed, count, lambda: asyncio.run(run(Path(made))))


def say(line: str) -> None:
    """Progress, for a person; the answer is on standard output."""
    print(line, file=sys.stderr, flush=True)
