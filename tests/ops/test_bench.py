"""The benches run and report what they say they do; how fast this machine is, is no promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.bench.console import PEOPLE, bench_console, spread
from ops.bench.first_run import bench_first_run
from ops.bench.hub import Shape, bench_hub
from server.errors import Misconfigured

pytestmark = pytest.mark.timeout(120)


def test_the_console_bench_reports_every_message(tmp_path: Path) -> None:
    """Each message, first or later of its case, is answered and reaches the console; figures are in order."""
    figures = bench_console(tmp_path, messages=PEOPLE + 3)
    assert figures["messages"] == PEOPLE + 3
    for name in ("console_ms", "ack_ms", "flush_ms"):
        assert 0 < figures[name]["p50"] <= figures[name]["p99"] <= figures[name]["max"]
    goal = figures["goals"]["console_p99_ms"]
    assert goal["met"] == (figures["console_ms"]["p99"] <= goal["at_most"])
    assert list(tmp_path.iterdir()) == []


def test_a_spread_is_made_of_measured_values() -> None:
    """p50, p99 and the maximum are values that were measured, in whatever order they came."""
    assert spread([float(n) for n in range(200, 0, -1)]) == {"p50": 101.0, "p99": 199.0, "max": 200.0}
    assert spread([3.0]) == {"p50": 3.0, "p99": 3.0, "max": 3.0}


def test_the_hub_bench_sets_every_run_beside_the_floor(tmp_path: Path) -> None:
    """Every message is delivered and acknowledged, by the hub with its filter and without, and set beside the floor."""
    shapes = (Shape(2, 1, 4, 0.5), Shape(10, 5, 2, 0.5))
    figures = bench_hub(tmp_path, rounds=1, seconds=0.2, connections=20, shapes=shapes)
    for shape in shapes:
        measured = figures[shape.name]
        for server in ("floor", "hub", "hub_without_filter"):
            assert measured[server]["deliveries_per_s"] > 0
            assert measured[server]["cpu_s_per_million"] > 0
        goal = figures["goals"][f"{shape.name}_of_the_floor"]
        assert goal["value"] == measured["hub"]["of_the_floor"]
        assert goal["met"] == (goal["value"] >= shape.goal)
    assert list(tmp_path.iterdir()) == []


def test_a_hub_bench_without_a_compiler_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the load can not be built, that is said, and no figure is made up."""
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(Misconfigured, match="compiler"):
        bench_hub(tmp_path)


def test_a_first_run_needs_a_clone(tmp_path: Path) -> None:
    """Where there is no repository to clone, that is said, and nothing is started."""
    with pytest.raises(Misconfigured, match="clone"):
        bench_first_run(tmp_path)
