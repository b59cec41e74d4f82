"""The file of results: what a run replaces in it, what it keeps, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ops.commands import app
from ops.torture.campaigns import CAMPAIGNS
from ops.torture.results import Ran, noted, write_result
from server.errors import Misconfigured

FIRST = Ran("2026-11-01", 7, 500, "abc1234", 61.4, (0.1, 2.0))
SECOND = Ran("2026-11-23", 8, 20, "def5678 and changes", 5.0, (0.3, 0.4))


def facts(sent: int, *, ok: bool = True) -> dict[str, Any]:
    """Figures as a campaign gives them."""
    return {"campaign": "x", "seed": 7, "sent": sent, "ends": {"1006": 2}, "worst": None, "ok": ok, "examples": []}


def sections(path: Path) -> dict[str, str]:
    """What stands below each heading, in the order of the file."""
    parts = path.read_text().split("\n## ")[1:]
    return {part.partition(":")[0]: part for part in parts}


def test_a_run_replaces_its_own_section_and_keeps_all_others(tmp_path: Path) -> None:
    """Each section says of which run it is; those of others stay as they were, in the order of the list."""
    path = tmp_path / "RESULTS.md"
    for name in ("slow", "power", "disk"):
        write_result(path, name, facts(10), FIRST)
    before = sections(path)
    assert list(before) == [name for name in CAMPAIGNS if name in before]
    write_result(path, "disk", facts(99, ok=False), SECOND)
    after = sections(path)
    assert list(after) == list(before)
    assert (after["power"], after["slow"].rstrip()) == (before["power"], before["slow"].rstrip())
    assert "PROMISES BROKEN" in after["disk"]
    assert "| sent | 99 |" in after["disk"]
    assert (
        "2026-11-23, seed 8, 20 of 500 faults, commit def5678 and changes; 5 s; load average 0.3 before, 0.4 after"
        in after["disk"]
    )
    assert "2026-11-01, seed 7, commit abc1234; 61 s; load average 0.1 before, 2.0 after" in after["power"]
    assert path.read_text().count("\nMachine: ") == 1


def test_figures_of_another_machine_say_so_when_they_are_kept(tmp_path: Path) -> None:
    """The machine at the top is that of the last run; what was kept from another names its own, once."""
    path = tmp_path / "RESULTS.md"
    for name in ("power", "disk"):
        write_result(path, name, facts(10), FIRST)
    ours = next(line for line in path.read_text().splitlines() if line.startswith("Machine: "))
    path.write_text(path.read_text().replace(ours, "Machine: 64 cores of somebody else."))
    for _ in range(2):
        write_result(path, "disk", facts(11), SECOND)
    assert ours in path.read_text()
    kept = sections(path)
    assert kept["power"].count("On another machine: 64 cores of somebody else.") == 1
    assert "another machine" not in kept["disk"]


@pytest.mark.parametrize(
    "text",
    [
        "# Something else\n",
        "",
        "# Results of the torture campaigns\n\nMachine: x\n\n## no-such-campaign: fine\n\nRun on 2026-11-01\n",
        "# Results of the torture campaigns\n\nMachine: x\n\n## power: fine\n\nBy hand.\n",
        "# Results of the torture campaigns\n\nMachine: x\n\n## power: a\n\nRun on b\n\n## power: a\n\nRun on b\n",
        "# Results of the torture campaigns\n\n## power: fine\n\nRun on 2026-11-01\n",
    ],
)
def test_a_file_of_another_form_is_refused_before_anything_is_run(tmp_path: Path, text: str) -> None:
    """It is said in one line, nothing was run for hours in vain, and the file is as it was."""
    path = tmp_path / "NOTES.md"
    path.write_text(text)
    ran: list[str] = []

    def run() -> dict[str, Any]:
        ran.append("power")
        return facts(1)

    with pytest.raises(Misconfigured, match=r"NOTES\.md does not hold results"):
        noted(path, "power", 7, 2, run)
    assert not ran
    assert path.read_text() == text


def test_a_campaign_that_is_run_is_noted_with_its_run(tmp_path: Path) -> None:
    """The day, the seed, the commit, how long it took and how busy the machine was stand below its heading."""
    path = tmp_path / "RESULTS.md"
    assert noted(path, "power", 7, 2, lambda: facts(1))["sent"] == 1
    assert noted(None, "power", 7, 100, lambda: facts(2))["sent"] == 2
    (section,) = sections(path).values()
    assert "| sent | 1 |" in section
    (line,) = [line for line in section.splitlines() if line.startswith("Run on ")]
    for part in ("Run on 20", ", seed 7, ", "commit", " s; load average "):
        assert part in line


def test_a_campaign_that_does_not_exist_is_named_with_the_list() -> None:
    """Nothing is run if one of several names is wrong."""
    done = CliRunner().invoke(app, ["torture", "all", "--only", "power,rain"])
    assert done.exit_code == 2
    assert "There is no campaign rain." in done.output
    assert all(name in done.output for name in CAMPAIGNS)
