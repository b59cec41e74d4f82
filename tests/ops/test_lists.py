"""`evenkeel watchwords lint` and `convert`, and the filter's bench, as they are asked and answered."""

from __future__ import annotations

import json
from pathlib import Path

from ops.bench.filter import NOT_MEASURED, bench_filter
from tests.serve.support import evenkeel

LIST = """[list]
name = "t"
version = 1
owner = "o"
review_date = 2020-01-01

[[entry]]
id = "s-x"
category = "S"
level = LEVEL
phrases = ["{want|wish} to die"]
reason = "r"
source = "s"
match = ["i want to die"]
"""


def test_lint_tells_every_problem_and_says_so_in_its_exit_status(tmp_path: Path) -> None:
    """0 and a note of what is overdue where all is well; 1 and each problem with file and line where it is not."""
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "a.toml").write_text(LIST.replace("LEVEL", "2"))
    good = evenkeel(tmp_path, "watchwords", "lint", str(lists), "--json")
    assert good.returncode == 0, good.stderr
    answer = json.loads(good.stdout)
    assert (answer["problems"], answer["entries"], len(answer["overdue"])) == ([], 1, 1)

    (lists / "b.toml").write_text(LIST.replace("LEVEL", "8"))
    (lists / "c.toml").write_text("not a list")
    bad = evenkeel(tmp_path, "watchwords", "lint", str(lists))
    assert bad.returncode == 1
    assert [line.split(": ")[0].rsplit("/", 1)[-1] for line in bad.stdout.splitlines()[:2]] == ["b.toml:7", "c.toml:1"]


def test_a_list_goes_out_as_csv_and_comes_back(tmp_path: Path) -> None:
    """What is converted to CSV and back says what it said; a file that exists is not written over."""
    source, table, back = tmp_path / "a.toml", tmp_path / "a.csv", tmp_path / "b.toml"
    source.write_text(LIST.replace("LEVEL", "2"))
    assert evenkeel(tmp_path, "watchwords", "convert", str(source), str(table)).returncode == 0
    assert evenkeel(tmp_path, "watchwords", "convert", str(table), str(back)).returncode == 0
    assert "{want|wish} to die" in back.read_text()
    again = evenkeel(tmp_path, "watchwords", "convert", str(source), str(table))
    assert (again.returncode, "exists" in again.stderr) == (2, True)


def test_the_bench_of_the_filter_reports_what_it_measured() -> None:
    """Every size stands beside a bare scan of the same phrases; what is not installed is told as not measured."""
    figures = bench_filter(rounds=1, sizes=(200, 400))
    for size in ("200", "400"):
        found = figures["by_phrases"][size]
        assert found["filter"]["p50"] > found["bare_ahocorasick"]["p50"] > 0
        assert found["bare_hyperscan"] == NOT_MEASURED or found["bare_hyperscan"]["p50"] > 0
    assert set(figures["goals"]) == {"p50_us", "p99_us", "growth", "build_s", "memory_mb", "hostile_ms"}
