"""`evenkeel torture autobahn` and `frames`: what comes over the wire, by the rules of RFC 6455 and against them."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from ops.output import FAILED, Json, answer, speaks_plainly
from ops.torture.command import Results, say


@speaks_plainly
def torture_autobahn(
    wstest: Annotated[
        Path, typer.Option(help="The suite's program; it needs Python 2.7.", exists=True, dir_okay=False)
    ],
    results: Results = None,
    as_json: Json = False,
) -> None:
    """The Autobahn suite against the hub's framing: 247 cases of RFC 6455, none of which may fail."""
    from ops.torture.autobahn import run_suite
    from ops.torture.results import noted

    suite = wstest.absolute()
    facts = noted(results, "autobahn", None, 1, lambda: asyncio.run(run_suite(suite, progress=say)).facts())
    lines = [f"{facts['cases']} cases: " + ", ".join(f"{count} {how}" for how, count in facts["behaviours"].items())]
    lines += [f"FAILED {case}" for case in facts["failed"]]
    answer(as_json, facts, *lines)
    if not facts["ok"]:
        raise typer.Exit(FAILED)


@speaks_plainly
def torture_frames(
    count: Annotated[int, typer.Option(min=1, help="Frames altogether, half of them before hello.")] = 1_000_000,
    seed: Annotated[int | None, typer.Option(help="To repeat a run's choices; a new one if not given.")] = None,
    results: Results = None,
    as_json: Json = False,
) -> None:
    """Mutated and random frames over loopback, before and after hello: no crash, no error, no growth."""
    from ops.torture.frames import run_frames
    from ops.torture.results import noted

    chosen = secrets.randbelow(2**31) if seed is None else seed
    say(f"seed {chosen}")

    async def run(folder: Path) -> dict[str, Any]:
        done = await run_frames(folder, count=count, seed=chosen, progress=lambda n: say(f"{n:,} of {count:,}"))
        return done.facts()

    with tempfile.TemporaryDirectory(prefix="evenkeel-frames-") as made:
        facts = noted(results, "frames", chosen, count, lambda: asyncio.run(run(Path(made))))
    lines = [
        f"{facts['frames']:,} frames on {facts['connections']:,} connections in {facts['duration_s']} s, "
        f"{facts['before_hello']:,} of them before hello",
        f"memory grew by {facts['memory_growth_mb']} MB",
        *[f"BROKEN {what}: {times}" for what, times in facts["broken"].items()],
        "Nothing broke." if facts["ok"] else f"Something broke. Repeat with --seed {chosen}.",
    ]
    answer(as_json, facts, *lines)
    if not facts["ok"]:
        raise typer.Exit(FAILED)
