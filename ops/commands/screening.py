"""Asking the filter: what it makes of texts, how well it does on labelled ones, and making its model anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ops.output import Json, answer, speaks_plainly

watchwords = typer.Typer(help="The watchword lists and their model.", no_args_is_help=True)


@watchwords.command("screen")
@speaks_plainly
def watchwords_screen(
    text: Annotated[str | None, typer.Argument(help="One text. Without it, JSON lines are read.")] = None,
    room: Annotated[str, typer.Option(help="community, group, therapy or support; for one text.")] = "community",
    role: Annotated[str, typer.Option(help="Role of the author; for one text.")] = "member",
    as_json: Json = False,
) -> None:
    """Say what the filter finds, and for one text what would happen to it. Nothing is stored or sent.

    Without TEXT it is a pipe: {"id", "text"} a line in, {"id", "level", "score", "cats", "findings"} a line out.
    """
    from ops.screen import screen_lines, screen_text

    if text is None:
        raise typer.Exit(screen_lines())
    verdict = screen_text(text, room, role)
    lines = [f"level {verdict['level']}, {verdict['disposition']}{'' if verdict['complete'] else ', NOT CHECKED'}"]
    lines += [
        f"  {f['level']}  {f['category'] or f['check']}  {f['start']}-{f['end']}  {f['reason']}"
        for f in verdict["findings"]
    ]
    answer(as_json, verdict, *lines)


@watchwords.command("evaluate")
@speaks_plainly
def watchwords_evaluate(
    file: Annotated[Path | None, typer.Argument(help='JSON lines with "text", "level" and "cats".')] = None,
    corpus: Annotated[bool, typer.Option("--corpus", help="The corpus's test part, which taught nothing.")] = False,
    lists_only: Annotated[bool, typer.Option("--lists-only", help="Without the model.")] = False,
    second: Annotated[bool, typer.Option("--second", help="With the second stage; needs the extra `second`.")] = False,
    as_json: Json = False,
) -> None:
    """Say how well the filter does on labelled messages: sensitivity, PPV, AUC, alarms, with 95 % intervals."""
    from ops.screen import evaluate
    from watchwords.quality import lines_of

    figures, versions = evaluate(file, corpus=corpus, lists_only=lists_only, second=second)
    answer(as_json, {"filter": versions, **figures.as_facts()}, f"filter {versions}", *lines_of(figures))


@watchwords.command("train")
@speaks_plainly
def watchwords_train(
    reviewed: Annotated[
        Path | None, typer.Option(help='Own reviewed messages: JSON lines with "text", "level", "cats", "family".')
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the model goes; without it, where the program reads it.")
    ] = None,
    second: Annotated[
        bool, typer.Option("--second", help="The second stage's head instead; needs the extra `second` too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make the model anew from the corpus's train part, the lists and ordinary talk. Needs the extra `train`."""
    from ops.screen import make_model, make_second

    content, path = (make_second if second else make_model)(reviewed, out)
    facts = {name: content[name] for name in ("version", "trained", "thresholds", "measured")} | {"file": str(path)}
    answer(
        as_json,
        facts,
        f"model {content['version']} in {path}",
        *(
            f"  {part.replace('_', ' ').replace('unseen families', 'families not seen')}: {name} {value}"
            for part, figures in content["measured"].items()
            for name, value in figures.items()
        ),
    )
