"""Every command of `evenkeel`, each a thin wrapper: what it does is in the module that it names.

Here is the list; a module for each group says how a command is asked and answered. Modules with heavy imports are
imported by the command that needs them, so that `evenkeel --help` is quick.
"""

from __future__ import annotations

import importlib
from typing import Any

import typer

from ops.commands import audit, bench, keeping, lists, people, replaying, running, torture

app = typer.Typer(
    help="Evenkeel: real-time chat and moderation for a digital talking-therapies service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for name, group in (
    ("user", people.user),
    ("shift", people.shift),
    ("audit", audit.group),
    ("rota", people.rota),
    ("watchwords", lists.watchwords),
    ("bench", bench.group),
    ("torture", torture.group),
):
    app.add_typer(group, name=name)
for command in (
    running.init,
    running.migrate,
    running.serve,
    running.watch,
    running.drain,
    running.doctor,
    keeping.backup,
    keeping.restore,
    replaying.replay,
):
    app.command()(command)


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
