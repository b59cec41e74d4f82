"""The benches, and how their goals are told: each met or missed, by what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ops.commands.given import say
from ops.output import Json, answer, speaks_plainly

group = typer.Typer(help="Measure this machine.", invoke_without_command=True)
Rounds = Annotated[int, typer.Option(min=1, help="Of each shape; medians are reported.")]
Seconds = Annotated[float, typer.Option(min=0.5, help="For each run.")]
Folder = Annotated[Path | None, typer.Option("--folder", help="On the disk to measure.", file_okay=False)]


@group.callback()
@speaks_plainly
def bench_everything(context: typer.Context, as_json: Json = False) -> None:
    """Measure this machine; without a command, the message path."""
    if context.invoked_subcommand is None:
        bench_path(as_json=as_json)


@group.command("path")
@speaks_plainly
def bench_path(rounds: Rounds = 3, seconds: Seconds = 5.0, folder: Folder = None, as_json: Json = False) -> None:
    """The whole way of a message over real sockets: messages a second, and how long an acknowledgement takes."""
    from ops.bench.path import bench_path as run

    figures = run(folder, rounds=rounds, seconds=seconds, progress=say)
    flush = f"flush of this disk: p50 {figures['flush_p50_ms']} ms, p99 {figures['flush_p99_ms']} ms"
    answer(as_json, figures, *_goals(figures), flush)


@group.command("console")
@speaks_plainly
def bench_console(
    messages: Annotated[int, typer.Option(min=1, help="One after the other.")] = 200,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """From a member's urgent message to the moderators' console, on a service with nothing else to do."""
    from ops.bench.console import bench_console as run

    figures = run(folder, messages=messages, progress=say)
    lines = [
        f"{name}: p50 {figures[key]['p50']} ms, p99 {figures[key]['p99']} ms, most {figures[key]['max']} ms"
        for name, key in (("on the console", "console_ms"), ("acknowledged", "ack_ms"), ("flush", "flush_ms"))
    ]
    answer(as_json, figures, *_goals(figures), *lines)


@group.command("hub")
@speaks_plainly
def bench_hub(rounds: Rounds = 3, seconds: Seconds = 3.0, folder: Folder = None, as_json: Json = False) -> None:
    """What the hub adds to the bare writing of frames: durability off, 2,000 sockets, beside a floor in turns."""
    from ops.bench.hub import bench_hub as run

    figures = run(folder, rounds=rounds, seconds=seconds, progress=say)
    answer(as_json, figures, *_goals(figures))


@group.command("scale")
@speaks_plainly
def bench_scale(rounds: Rounds = 3, seconds: Seconds = 5.0, as_json: Json = False) -> None:
    """Two workers beside one on PostgreSQL and Redis: what they cost, and how long a message takes across."""
    from ops.bench.scale import bench_scale as run

    figures = run(rounds=rounds, seconds=seconds, progress=say)
    answer(as_json, figures, *_goals(figures))


@group.command("idle")
@speaks_plainly
def bench_idle(
    connections: Annotated[int, typer.Option(min=1, help="As far as the limits of this machine go.")] = 10_000,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Connections that do nothing, on one process: memory for each, and the processor time of their heartbeats."""
    from ops.bench.idle import bench_idle as run

    figures = run(folder, connections=connections, progress=say)
    answer(as_json, figures, *_goals(figures))


@group.command("recovery")
@speaks_plainly
def bench_recovery(
    messages: Annotated[int, typer.Option(min=100, help="In the service that is lost.")] = 1_000_000,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """From a backup to people who are served again: `restore`, start, the first join, every open case called anew."""
    from ops.bench.recovery import bench_recovery as run

    figures = run(folder, messages=messages, progress=say)
    lines = [
        f"{figures['messages']:,} messages, {figures['open_cases']} open cases: backup {figures['backup_s']} s, "
        f"{figures['backup_bytes']:,} bytes",
        f"restore {figures['restore_s']} s, then ready after {figures['start_to_ready_s']} s, a member in a room after "
        f"{figures['start_to_first_join_s']} s, everybody called after {figures['start_to_all_called_s']} s",
    ]
    answer(as_json, figures, *_goals(figures), *lines)


@group.command("first-run")
@speaks_plainly
def bench_first_run(as_json: Json = False) -> None:
    """From a fresh clone of what is committed, through `make demo`, to the first live message over a socket."""
    from ops.bench.first_run import bench_first_run as run

    figures = run(progress=say)
    answer(as_json, figures, *_goals(figures))


@group.command("filter")
@speaks_plainly
def bench_filter(
    rounds: Annotated[int, typer.Option(min=1, help="Of each message; the middle one counts.")] = 5,
    as_json: Json = False,
) -> None:
    """What the word filter costs a message, by the size of its lists and for hostile texts, beside a bare scan."""
    from ops.bench.filter import bench_filter as run

    figures = run(rounds=rounds, progress=say)
    answer(as_json, figures, *_goals(figures))


@group.command("backtest")
@speaks_plainly
def bench_backtest(
    rounds: Rounds = 3,
    seconds: Seconds = 5.0,
    rate: Annotated[float, typer.Option(min=1, help="Messages a second.")] = 400.0,
    messages: Annotated[int, typer.Option(min=100, help="Stored before, to be back-tested.")] = 30_000,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """How long acknowledgements take while stored messages are back-tested, beside without, in turns."""
    from ops.bench.backtest import bench_backtest as run

    figures = run(folder, rounds=rounds, seconds=seconds, rate=rate, messages=messages, progress=say)
    at = figures["ack_p99_ms"]
    answer(as_json, figures, *_goals(figures), f"ack p99: {at['without']} ms without, {at['beside']} ms beside")


def _goals(figures: dict[str, Any]) -> list[str]:
    """A line for each goal: met or missed, by what, against what; or that it was not measured."""
    return [
        f"        {name}: {goal['value']}"
        if isinstance(goal["value"], str)
        else f"{'met   ' if goal['met'] else 'MISSED'}  {name}: {goal['value']:,.1f}"
        f" (goal {'at least' if 'at_least' in goal else 'at most'} {goal.get('at_least', goal.get('at_most')):,.1f})"
        for name, goal in figures["goals"].items()
    ]
