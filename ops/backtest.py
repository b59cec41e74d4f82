"""`evenkeel watchwords backtest`: what proposed lists would find, counted by the service or, without one, here.

A proposal in a database is tried by the service that runs on it; if none runs, by this process, in the same way and
with the same audit. Lists in a folder are tried on the corpus alone, beside those that come with the program.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from moderation.workload import Load, rounded
from ops.admin import ask_service
from server.actions.wordlists.backtests import BegunTrial, TrialFigures, begin_back_test, figures
from server.actions.wordlists.checking import corpus
from server.actions.wordlists.comparing import compared
from server.actions.wordlists.documents import Documents, Faulty, compiled, shipped
from server.actions.wordlists.trials import run_back_test
from server.admin.commands import AskTrial, BackTest
from server.admin.place import operator_name
from server.errors import BadRequest, ServiceError, Unavailable
from server.settings import Settings
from server.store.wordtrials import TrialKind, TrialState

_LOOK_S: Final = 1.0
_LEVELS: Final = ("not flagged", "grey", "worrying", "urgent")


def try_lists(path: Path) -> TrialFigures:
    """The lists of a folder, or the shipped ones with one list in another wording, on every message of the corpus.

    Raises:
        BadRequest: the lists can not be read or used; file, line and what to do are said.
    """
    live, proposed = compiled(shipped()), compiled(_documents(path))
    flags: Counter[tuple[str, int, int]] = Counter()
    for message in corpus():
        levels: dict[str, tuple[int, int]] = {}
        for _, category, now, then in compared(live, proposed, message.text):
            before = levels.get(category, (0, 0))
            levels[category] = (max(before[0], now), max(before[1], then))
        flags.update((category, *both) for category, both in levels.items())
    counted = tuple((*flag, n) for flag, n in sorted(flags.items()))
    total = len(corpus())
    return TrialFigures("", "", TrialKind.CORPUS, TrialState.DONE, False, 0, total, total, 0, counted, None)


def _documents(path: Path) -> Documents:
    files = [path] if path.is_file() else sorted(path.glob("*.toml"))
    try:
        given = {file.stem: file.read_text(encoding="utf-8") for file in files}
    except (OSError, UnicodeDecodeError) as error:
        raise Faulty("The lists can not be read as UTF-8 text.", field="lists") from error
    if not given:
        raise BadRequest(f"There is no list in {path.name}.", field="lists")
    return {**shipped(), **given} if path.is_file() else given


async def try_proposal(settings: Settings, version: str, days: int, progress: Callable[[str], None]) -> TrialFigures:
    """A proposal on the stored messages of so many days, or on the corpus (0), to its end.

    Raises:
        ServiceError: there is no such proposal, or the database is not to be had.
    """
    begun = await ask_service(settings, BackTest(version, days), BegunTrial)
    if begun is None:
        return await _try_here(settings, version, days)
    while True:
        found = await ask_service(settings, AskTrial(begun.trial), TrialFigures)
        if found is None:
            raise Unavailable(f"The service has stopped. Trial {begun.trial} goes on when it runs again.")
        if not found.is_open:
            return found
        progress(f"{found.done + found.unreadable} of {found.total or '?'}")
        await asyncio.sleep(_LOOK_S)


async def _try_here(settings: Settings, version: str, days: int) -> TrialFigures:
    from server.main import open_services  # a second that a question to a running service does not need

    # Standard output is the answer's.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    async with open_services(settings) as services:
        begun = await begin_back_test(services, operator_name(os.geteuid()), version, days)
        await run_back_test(services, begun.trial)
        return await figures(services, begun.trial)


def facts_of(found: TrialFigures) -> dict[str, Any]:
    """The figures as plain values."""
    facts: dict[str, Any] = msgspec.to_builtins(found)
    return {**facts, **_totals(found)}


def lines_of(found: TrialFigures) -> list[str]:
    """The figures for a person."""
    totals = _totals(found)
    where = "labelled messages" if found.kind == TrialKind.CORPUS else f"messages of {found.days} days"
    lines = [
        f"{found.state}: {found.done} {where} read, {found.unreadable} could not be",
        f"new flags {totals['new']}, lost flags {totals['lost']}, at another level {totals['moved']}",
    ]
    lines += [
        f"  {category}  {_LEVELS[now]} -> {_LEVELS[then]}: {texts}"
        for category, now, then, texts in found.flags
        if now != then
    ]
    if found.forecast is not None and not found.forecast.is_enough:
        lines.append("workload: too few messages to say")
    elif found.forecast is not None:
        made = found.forecast
        lines.append(
            f"workload, from {made.texts} messages of {made.days:.1f} days and {made.nights:.1f} night shifts:"
        )
        lines += [_line(load) for load in made.loads]
        if any(load.assumed for load in made.loads):
            lines.append("  * too few ladders ran lately: counted as if nobody took a case first")
    return lines


def _line(load: Load) -> str:
    parts = []
    for name, part in (("day", load.day), ("night", load.night)):
        now, then = rounded(part.now)[0], rounded(part.then)[0]
        mean, low, high = rounded(part.more)
        parts.append(f"a {name} {now} -> {then}, {mean} more ({low} to {high})")
    return f"  {load.what}{' *' if load.assumed else ''}: {'; '.join(parts)}"


def _totals(found: TrialFigures) -> dict[str, int]:
    return {
        "new": sum(n for _, now, then, n in found.flags if not now and then),
        "lost": sum(n for _, now, then, n in found.flags if now and not then),
        "moved": sum(n for _, now, then, n in found.flags if now and then and now != then),
    }


def check(found: TrialFigures) -> None:
    """Raise ServiceError for a back-test that did not come to its end."""
    if found.state != TrialState.DONE:
        raise ServiceError(f"The back-test ended early: {found.state}.", code="not_done")
