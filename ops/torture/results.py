"""The file of results: one section for each campaign, each with the run that it is of; a run replaces its own only.

What stands in the file is what this module wrote. A file of any other form is refused before a campaign begins, since
hours may lie between that and the writing. Figures that were kept from another machine say so.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ops.torture.campaigns import CAMPAIGNS, Campaign, Facts
from server.errors import Misconfigured

_HERE: Final = Path(__file__).resolve()
# Where `make torture` writes: a run does not make its own commit another one.
_OWN_FILE: Final = ":(top,exclude)ops/torture/RESULTS.md"
_TITLE: Final = "# Results of the torture campaigns"
_REMARKS: Final = (
    "Each campaign says when it was run, of which commit, and how busy the machine was before and after it. One that "
    "finds a broken promise says so; one that is not here was not run. Times are in milliseconds unless a name says "
    "otherwise."
)
_HEADING: Final = re.compile(r"^## ([a-z-]+): .+$")
_RUN: Final = "Run on "
_MACHINE: Final = "Machine: "
_ANOTHER: Final = "On another machine: "


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of a campaign.

    Attributes:
        day: in UTC, such as "2026-11-23".
        seed: None: nothing in it is left to chance.
        count: how many faults, or of what its `counts` names.
        commit: short hash, with "and changes" where files differ from it; None: not run from a repository.
        busy: load averages of the last five minutes, as it began and as it ended.
    """

    day: str
    seed: int | None
    count: int
    commit: str | None
    duration_s: float
    busy: tuple[float, float]

    def said(self, campaign: Campaign) -> str:
        """The run as the line below a section's heading; a campaign that was cut short says so."""
        part = f"{self.count} of {campaign.whole} {campaign.counts}, " if self.count < campaign.whole else ""
        seed = "no seed" if self.seed is None else f"seed {self.seed}"
        commit = f"commit {self.commit}" if self.commit else "no commit known"
        before, after = self.busy
        return (
            f"{_RUN}{self.day}, {seed}, {part}{commit}; {self.duration_s:.0f} s; "
            f"load average {before:.1f} before, {after:.1f} after."
        )


@dataclass(frozen=True, slots=True)
class _Written:
    """A file as read: `sections` by campaign, each from its heading on, without blank lines at its end."""

    machine: str = ""
    sections: Mapping[str, str] = field(default_factory=dict)


def noted(path: Path | None, name: str, seed: int | None, count: int, run: Callable[[], Facts]) -> Facts:
    """Run a campaign and write its section into the file at `path`, if there is to be one; returns its figures.

    Raises Misconfigured, before anything is run, for a file that was not written here; one that does not exist will do.
    """
    if path is None:
        return run()
    _read(path)
    day, commit = time.strftime("%Y-%m-%d", time.gmtime()), _commit()
    before, began = os.getloadavg()[1], time.monotonic()
    facts = run()
    write_result(
        path, name, facts, Ran(day, seed, count, commit, time.monotonic() - began, (before, os.getloadavg()[1]))
    )
    return facts


def write_result(path: Path, name: str, facts: Facts, ran: Ran) -> None:
    """Replace the section of one campaign, and keep all others, in the order of CAMPAIGNS. Raises Misconfigured."""
    found, machine = _read(path), _machine()
    sections = dict(found.sections)
    if found.machine and found.machine != machine:
        sections = {kept: _of_another(found.machine, section) for kept, section in sections.items()}
    sections[name] = _section(name, facts, ran)
    head = "\n\n".join((_TITLE, _REMARKS, f"{_MACHINE}{machine}"))
    text = "\n\n".join((head, *(sections[each] for each in CAMPAIGNS if each in sections)))
    # Hours of work stand in the file: it is replaced whole or not at all.
    beside = path.with_name(f"{path.name}.new")
    try:
        beside.write_text(f"{text}\n", encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise Misconfigured(f"The results can not be written ({error.strerror}).", field="results") from error


def verdict(facts: Facts) -> str:
    """What came of a campaign, in a word or two."""
    if "not_measured" in facts:
        return "not measured"
    return "every promise kept" if facts["ok"] else "PROMISES BROKEN"


def _read(path: Path) -> _Written:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return _Written()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path.name} can not be read as results of campaigns.", field="results") from error
    head, *parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    machines = [line.removeprefix(_MACHINE) for line in head.splitlines() if line.startswith(_MACHINE)]
    if not head.startswith(f"{_TITLE}\n") or len(machines) != 1:
        raise _not_ours(path, "it does not begin as they do")
    sections: dict[str, str] = {}
    for part in parts:
        heading, _, rest = part.partition("\n")
        match = _HEADING.match(heading)
        if match is None or match[1] not in CAMPAIGNS or match[1] in sections:
            raise _not_ours(path, f"{heading!r} is not the one heading of a campaign")
        if f"\n{_RUN}" not in rest:
            raise _not_ours(path, f"the section {match[1]} does not say when it was run")
        sections[match[1]] = part.rstrip()
    return _Written(machines[0], sections)


def _not_ours(path: Path, why: str) -> Misconfigured:
    return Misconfigured(
        f"{path.name} does not hold results of campaigns ({why}). Nothing was written; give another file.",
        field="results",
    )


def _section(name: str, facts: Facts, ran: Ran) -> str:
    shown = {key: value for key, value in facts.items() if key not in ("campaign", "seed", "ok", "examples")}
    lines = [f"## {name}: {verdict(facts)}", "", f"{CAMPAIGNS[name].what}.", "", ran.said(CAMPAIGNS[name]), ""]
    lines += ["| figure | value |", "|---|---|"]
    return "\n".join(lines + [f"| {key.replace('_', ' ')} | {_said(value)} |" for key, value in shown.items()])


def _of_another(machine: str, section: str) -> str:
    """A section that is kept in a file which now names this machine at its top."""
    if f"\n{_ANOTHER}" in section:
        return section
    return re.sub(rf"^({_RUN}.*)$", lambda run: f"{run[1]}\n{_ANOTHER}{machine}", section, count=1, flags=re.MULTILINE)


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {count}" for key, count in sorted(value.items())) or "none"
    return "-" if value is None else str(value)


def _machine() -> str:
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {memory_gb:.0f} GB, {platform.system()} {platform.release()}, "
        f"Python {sys.version.partition(' ')[0]}, SQLite {sqlite3.sqlite_version}."
    )


def _commit() -> str | None:
    """The commit that this program is of, or None; a repository that only happens to lie around it is not it."""
    git = shutil.which("git")
    if git is None or _git(git, "ls-files", "--error-unmatch", _HERE.name) is None:
        return None
    short = _git(git, "rev-parse", "--short", "HEAD")
    if not short:
        return None
    changed = _git(git, "status", "--porcelain", "--untracked-files=no", "--", ":(top)", _OWN_FILE)
    return f"{short} and changes" if changed else short


def _git(git: str, *arguments: str) -> str | None:
    """What git answers about the folder of this module; None: it refuses."""
    asked = subprocess.run(  # noqa: S603 - found by its name, and only asked
        [git, *arguments], cwd=_HERE.parent, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() if asked.returncode == 0 else None
