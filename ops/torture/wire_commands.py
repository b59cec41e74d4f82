"""`evenkeel torture autobahn` and `frames`: what comes over the wire, by the rules of RFC 6455 and against them."""

from __future__ import annotations

import asyncio
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ops.output import FAILED, Json, answer, speaks_plainly


@speaks_plainly
def torture_autobahn(
    wstest: Annotated[
        Path, typer.Option(help="The suite's program; it needs Python 2.7.", exists=True, dir_okay=False)
    ],
    as_json: Json = False,
) -> None:
    """The Autobahn suite against the hub's framing: 247 cases of RFC 6455, none of which may fail."""
    from ops.torture.autobahn import run_suite

    run = asyncio.run(run_suite(wstest.absolute(), progress=_say))
    facts = run.facts()
    lines = [f"{facts['cases']} cases: " + ", ".join(f"{count} {how}" for how, count in facts["behaviours"].items())]
    lines += [f"FAILED {case}" for case in facts["failed"]]
    answer(as_json, facts, *lines)
    if not facts["ok"]:
        raise typer.Exit(FAILED)


@speaks_plainly
def torture_frames(
    count: Annotated[int, typer.Option(min=1, help="Frames altogether, half of them before hello.")] = 1_000_000,
    seed: Annotated[int | None, typer.Option(help="To repeat a run's choices; a new one if not given.")] = None,
    as_json: Json = False,
) -> None:
    """Mutated and random frames over loopback, before and after hello: no crash, no error, no growth."""
    from ops.torture.frames import run_frames

    chosen = secrets.randbelow(2**31) if seed is None else seed
    _say(f"seed {chosen}")
    with tempfile.TemporaryDirectory(prefix="evenkeel-frames-") as made:
        run = asyncio.run(
            run_frames(Path(made), count=count, seed=chosen, progress=lambda done: _say(f"{done:,} of {count:,}"))
        )
    facts = run.facts()
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


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
