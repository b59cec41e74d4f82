"""The benches run and report what they say they do; how fast this machine is, is no promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.bench.backtest import GOAL, Turn, bench_backtest
from ops.bench.backtest import summary as of_backtest
from ops.bench.console import PEOPLE, bench_console, spread
from ops.bench.first_run import bench_first_run
from ops.bench.hub import Shape, bench_hub
from ops.bench.idle import bench_idle
from ops.bench.load import Measured
from ops.bench.recovery import CASES, GOAL_S, bench_recovery
from ops.bench.scale import CORES_FOR_TWO, NOT_MEASURED, bench_scale, summary
from server.errors import Misconfigured

pytestmark = pytest.mark.timeout(240)


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


def test_the_idle_bench_reports_what_it_opened(tmp_path: Path) -> None:
    """Memory for each connection and the heartbeats' share are figures of the connections that were opened."""
    figures = bench_idle(tmp_path, connections=130, seconds=1.0)
    assert figures["connections"] == figures["asked"] == 130
    assert figures["heartbeats_core_percent"] > 0
    assert figures["kib_per_connection"] == figures["goals"]["kib_per_connection"]["value"]
    assert figures["goals"]["connections"]["met"] is False
    assert list(tmp_path.iterdir()) == []


def test_the_scale_bench_reports_every_question() -> None:
    """Cost, delivery across and delivery without Redis are measured; throughput only where there are cores for it."""
    figures = bench_scale(rounds=1, seconds=1.0, outage_s=1.0, rate=40.0)
    assert all(cost > 0 for cost in figures["cpu_s_per_million"].values())
    for name in ("across_processes_ms", "across_processes_without_redis_ms"):
        assert 0 < figures[name]["p50"] <= figures[name]["p99"] <= figures[name]["max"]
    assert (figures["throughput_two_to_one"] == NOT_MEASURED) == (figures["cores"] < CORES_FOR_TWO)


def test_throughput_that_was_not_measured_is_no_pass() -> None:
    """On a machine with too few cores the goal of two workers is neither met nor given a number."""
    figures = summary({1: [10.0], 2: [12.0]}, {1: [], 2: []}, [1.0], [2.0])
    assert figures["goals"]["throughput_two_to_one"] == {"value": NOT_MEASURED, "at_least": 1.6, "met": False}
    assert figures["goals"]["cpu_two_to_one"] == {"value": 1.2, "at_most": 1.5, "met": True}


def test_the_recovery_bench_counts_until_everybody_is_served_and_called(tmp_path: Path) -> None:
    """What was lost is there again, every open case has called anew, and the goal is held against the whole of it."""
    figures = bench_recovery(tmp_path, messages=2_000)
    assert (figures["messages"], figures["open_cases"]) == (2_000, CASES)
    assert figures["backup_s"] > 0
    assert 0 < figures["backup_bytes"] < figures["database_bytes"]
    assert 0 < figures["start_to_ready_s"] <= figures["start_to_first_join_s"]
    last = max(figures["start_to_first_join_s"], figures["start_to_all_called_s"])
    assert figures["rto_s"] == pytest.approx(figures["restore_s"] + last, abs=0.02)
    assert figures["goals"]["rto_s"] == {"value": figures["rto_s"], "at_most": GOAL_S, "met": True}
    assert list(tmp_path.iterdir()) == []


def test_a_first_run_needs_a_clone(tmp_path: Path) -> None:
    """Where there is no repository to clone, that is said, and nothing is started."""
    with pytest.raises(Misconfigured, match="clone"):
        bench_first_run(tmp_path)


def test_the_back_test_bench_measures_with_and_without(tmp_path: Path) -> None:
    """Both are measured in each round, by a service that tries what the bench has stored."""
    figures = bench_backtest(tmp_path, rounds=1, seconds=0.5, rate=50, messages=300)
    assert all(figures["ack_p99_ms"][which] > 0 for which in ("without", "beside"))
    assert len(figures["texts_back_tested"]) == figures["rounds"] == 1
    assert list(tmp_path.iterdir()) == []


def test_a_back_test_that_ends_too_soon_has_measured_nothing() -> None:
    """The goal is held against medians, and only where messages were tried all the time."""

    def turn(without: float, beside: float, outlasted: bool = True) -> Turn:
        return Turn(Measured(400, 0, 1, without, 9), Measured(400, 0, 1, beside, 9), 9, outlasted)

    turns = [turn(10, 11), turn(10, 12), turn(10, 90)]
    assert of_backtest(turns, 400)["goals"]["ack_p99_beside_a_back_test"] == {
        "value": 1.2,
        "at_most": GOAL,
        "met": True,
    }
    unmeasured = of_backtest([*turns[:2], turn(10, 11, outlasted=False)], 400)
    assert "not measured" in unmeasured["goals"]["ack_p99_beside_a_back_test"]["value"]
