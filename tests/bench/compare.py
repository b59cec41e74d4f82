"""The service beside other servers, in turns: ratios of deliveries a second and of processor time for a delivery.

    python -m tests.bench.compare KIT --python PYTHON [--sizes 20,500] [--rounds 3]

KIT is the directory of the fan-out yardstick (`loadgen.py`, `engine.c`, `servers/`, `node/`); it is copied, never
written to. PYTHON runs the other servers and has them installed. One that is not there is reported as "not measured",
which is neither better nor worse. Each server is started anew for each run on one core and driven from another.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
OURS, SERVICE = "evenkeel_hub", "evenkeel"
NOT_MEASURED = "not measured"
GOALS = {20: 1.1, 500: 1.1, 2_000: 1.3}  # processor time for a delivery, as a multiple of socketify's
START_S = 60.0


@dataclass(frozen=True, slots=True)
class Server:
    """One to compare: how it is started ("{port}", "{place}"), its dialect, and what has to be there for it."""

    name: str
    command: tuple[str, ...]
    dialect: str = "plain"
    module: str = ""
    node: bool = False


def servers(python: str) -> tuple[Server, ...]:
    """Ours without and with durability, and the others of the yardstick."""
    ours = (
        sys.executable,
        "-m",
        "tests.bench.server",
        "--port",
        "{port}",
        "--place",
        "{place}",
        "--sizes",
        "{size}",
        "--connections",
        "{n}",
    )
    naive = ("-m", "uvicorn", "starlette_naive:app", "--app-dir", "servers", "--host", "127.0.0.1", "--port", "{port}")
    quiet = ("--log-level", "warning", "--no-access-log", "--ws", "websockets-sansio")
    return (
        Server(OURS, (*ours, "--without", "durability"), "evenkeel"),
        Server(SERVICE, ours, "evenkeel"),
        Server("websockets_broadcast", (python, "servers/ws_broadcast.py", "--port", "{port}"), module="websockets"),
        Server(
            "starlette_naive",
            (python, *naive, *quiet, "--ws-per-message-deflate", "false"),
            module="starlette",
        ),
        Server("socketify", (python, "servers/socketify_server.py", "{port}"), module="socketify"),
        Server("node_ws", ("node", "node/ws.js", "{port}"), node=True),
    )


def is_there(server: Server, python: str, kit: Path) -> bool:
    """Whether what `server` needs is installed."""
    if server.node:
        found = shutil.which("node")
        return found is not None and not _fails([found, "-e", "require('ws')"], kit / "node")
    return not server.module or not _fails([python, "-c", f"import {server.module}"], kit)


def _fails(command: list[str], folder: Path) -> bool:
    try:
        ran = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=60)
    except OSError:
        return True
    return ran.returncode != 0


def compare(
    kit: Path, python: str, sizes: list[int], rounds: int, seconds: float, connections: int, only: str = ""
) -> dict[str, Any]:
    """Medians for each server that is there, ratios to socketify's among them, and whether the goals were met."""
    with tempfile.TemporaryDirectory(prefix="evenkeel-compare-") as made:
        copy = Path(made) / "kit"
        shutil.copytree(kit, copy, ignore=shutil.ignore_patterns("results", "venv*"))
        (copy / "results").mkdir(exist_ok=True)
        known = servers(python)
        wanted = [server for server in known if not only or server.name in only.split(",")]
        there = [server for server in wanted if is_there(server, python, copy)]
        figures: dict[str, Any] = {}
        for size in sizes:
            runs: dict[str, list[dict[str, float]]] = {server.name: [] for server in there}
            for _ in range(rounds):
                for server in there:
                    run = _measure(server, copy, size, seconds, connections)
                    runs[server.name].append(run)
                    said = (
                        f"{server.name}: {run['deliv_s']:,.0f} deliveries/s, {run['cpu_s_per_M']:.1f} s for a million"
                    )
                    print(f"rooms of {size}, {said}", file=sys.stderr)  # noqa: T201 - progress
            figures[f"rooms_of_{size}"] = {
                server.name: _medians(runs[server.name]) if server in there else NOT_MEASURED for server in known
            }
    figures["goals"] = {f"rooms_of_{size}_of_socketify": goal_against(figures, size) for size in sizes if size in GOALS}
    return figures


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {
        ours: round(statistics.median(run[theirs] for run in runs), 2)
        for ours, theirs in (("deliveries_per_s", "deliv_s"), ("cpu_s_per_million", "cpu_s_per_M"), ("lost", "lost"))
    }


def goal_against(figures: dict[str, Any], size: int) -> dict[str, Any]:
    """Our processor time for a delivery over socketify's. What was not measured is not met."""
    ours, other = (figures[f"rooms_of_{size}"][name] for name in (OURS, "socketify"))
    if NOT_MEASURED in (ours, other):
        return {"value": NOT_MEASURED, "at_most": GOALS[size], "met": False}
    value = round(ours["cpu_s_per_million"] / other["cpu_s_per_million"], 2)
    return {"value": value, "at_most": GOALS[size], "met": value <= GOALS[size]}


def _measure(server: Server, kit: Path, size: int, seconds: float, connections: int) -> dict[str, float]:
    """One run of the yardstick against a server that is started for it."""
    place = kit / f"of-{size}" / "place.json"
    place.parent.mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = {"port": str(port), "place": str(place), "size": str(size), "n": str(connections)}
    ours = server.dialect == "evenkeel"
    command = [*_on_core(0), *(part.format(**words) for part in server.command)]
    paths = {**os.environ, "PYTHONPATH": str(HERE)}
    process = subprocess.Popen(command, cwd=ROOT if ours else kit, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        load = [*_on_core(1), sys.executable, "loadgen.py", "--port", str(port), "--pid", str(process.pid)]
        case = ["--case", f"n={connections},r={size}", "--mode", "peak", "--dur", str(seconds)]
        dialect = ["--dialect", server.dialect, *(["--opt", f"place={place}"] if ours else [])]
        ran = subprocess.run(
            [*load, *dialect, *case], cwd=kit, env=paths, capture_output=True, text=True, check=True, timeout=300
        )
        measured: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
        return measured
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _on_core(core: int) -> list[str]:
    return ["taskset", "-c", str(core)] if shutil.which("taskset") and (os.cpu_count() or 1) > 1 else []


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process.poll() is not None:
                raise RuntimeError(f"a server ended with status {process.returncode} before it answered") from None
            time.sleep(0.1)
    raise RuntimeError("a server did not answer in time")


def main() -> int:
    """Compare, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description="The service beside other servers.")
    parser.add_argument("kit", type=Path)
    parser.add_argument("--python", default=sys.executable, help="has the other servers installed")
    parser.add_argument("--sizes", default="20,500,2000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--connections", type=int, default=2_000)
    parser.add_argument("--only", default="", help="names, with commas; the others are not measured")
    given = parser.parse_args()
    sizes = [int(size) for size in given.sizes.split(",")]
    figures = compare(given.kit, given.python, sizes, given.rounds, given.seconds, given.connections, given.only)
    print(json.dumps(figures, indent=2))  # noqa: T201 - the answer of a program
    return 0


if __name__ == "__main__":
    sys.exit(main())
