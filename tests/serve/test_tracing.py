"""Spans for a collector: asked for by the standard variables, holding ids and counts, and costing nothing else."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from sqlalchemy import text

from server.actions.services import Services
from server.errors import Misconfigured
from server.live.dispatch import LiveVerbs
from server.traced import trace_flushes, verbs_for
from server.tracing import ENDPOINTS, NAMES, Tracing, check_tracing, open_tracing, tracing_by
from tests import harness
from tests.security.test_log_privacy import CANARIES, go_wrong, talk
from tests.serve.support import ROOT, evenkeel, operators_environ, served

ENDPOINT = ENDPOINTS[0]


@pytest.fixture
def kept() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def told(kept: InMemorySpanExporter) -> Tracing:
    return tracing_by(SimpleSpanProcessor(kept))


@pytest.fixture
async def edge(database_url: str, told: Tracing) -> AsyncIterator[harness.Edge]:
    """The whole service, with every span in `kept`."""
    async with harness.serving(database_url, tracing=told) as running:
        yield running


def by_name(spans: tuple[ReadableSpan, ...], name: str) -> list[ReadableSpan]:
    return [span for span in spans if span.name == name]


async def test_no_span_holds_what_anybody_wrote_is_called_or_proves_themselves_with(
    edge: harness.Edge, kept: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Canaries through sockets, pages, refusals and failures: spans of all that was done, and none of them in one."""
    secrets: list[str] = []
    await talk(edge, secrets)
    await go_wrong(edge, secrets, monkeypatch)
    spans = kept.get_finished_spans()
    commands = {"upgrade", "hello", "join", "send", "edit", "report", "help", "opencase", "act"}
    jobs = {"flush", "check obligations", "climb ladders", "climb rung"}
    pages = {"POST /sign-in", "POST /api/sign-in", "GET /rooms", "GET /rooms/{room}", "POST /api/register"}
    assert commands | jobs | pages <= {span.name for span in spans}
    for span in spans:
        assert set(span.attributes or {}) <= set(NAMES.values())
        assert span.events == ()
        written = f"{span.to_json()} {span.status.description}"
        for canary in (*CANARIES.values(), *secrets):
            assert canary not in written
    failed = [span for span in by_name(spans, "send") if span.status.status_code is StatusCode.ERROR]
    assert {(span.attributes or {})["evenkeel.outcome"] for span in failed} >= {"RuntimeError", "unavailable"}
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]


async def test_a_flush_says_how_many_units_it_held(edge: harness.Edge, kept: InMemorySpanExporter) -> None:
    """What was asked for in one turn of the loop is one span, with its number and how many of them failed."""
    store = edge.services.store
    good = [store.write(lambda tx: tx.now_us) for _ in range(4)]
    bad = store.write(lambda tx: tx.conn.execute(text("SELECT 1 FROM nothing_of_that_name")))
    answers = await asyncio.gather(*good, bad, return_exceptions=True)
    assert [isinstance(answer, Exception) for answer in answers] == [False] * 4 + [True]
    flushes = [dict(span.attributes or {}) for span in by_name(kept.get_finished_spans(), "flush")]
    assert {"evenkeel.units": 5, "evenkeel.failed": 1} in flushes


async def test_nothing_is_wrapped_where_nobody_is_told(services: Services) -> None:
    """Without a collector the hub has its verbs and the store its writer as they are."""
    assert type(verbs_for(services)) is LiveVerbs
    before = services.store.database.writer.carry_out
    trace_flushes(services.store.database.writer, services.tracing)
    assert services.store.database.writer.carry_out is before
    assert services.tracing.span("send") is services.tracing.span("edit")


def test_nothing_of_it_is_loaded_where_it_is_not_asked_for() -> None:
    """A worker without the variable imports no module of OpenTelemetry."""
    program = (
        "import sys, server.worker; from server.tracing import open_tracing; assert not open_tracing().is_on; "
        "sys.exit(any(name.partition('.')[0] == 'opentelemetry' for name in sys.modules))"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environ, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({}, False),
        ({ENDPOINT: ""}, False),
        ({ENDPOINT: "http://127.0.0.1:4318"}, True),
        ({ENDPOINTS[1]: "http://127.0.0.1:4318/v1/traces"}, True),
        ({ENDPOINT: "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({ENDPOINT: "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({ENDPOINT: "http://127.0.0.1:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
    ],
)
def test_the_standard_variables_decide(monkeypatch: pytest.MonkeyPatch, given: dict[str, str], asked: bool) -> None:
    """On where an endpoint is named and nothing says otherwise."""
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert check_tracing() is asked


def test_another_protocol_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not spoken is said at the start, not found out from an empty collector."""
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4317")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(Misconfigured, match="OTEL_EXPORTER_OTLP_PROTOCOL"):
        open_tracing()


@pytest.fixture
def without_extra(tmp_path: Path) -> dict[str, str]:
    """The environment of an installation without the packages of the extra."""
    hidden = tmp_path / "hidden" / "opentelemetry"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError('not installed', name=__name__)\n")
    return {"PYTHONPATH": f"{hidden.parent}{os.pathsep}{ROOT}"}


@pytest.mark.timeout(120)
def test_the_service_runs_without_the_extra(tmp_path: Path, without_extra: dict[str, str]) -> None:
    """Without the packages everything works; with the variable set all the same, one line says what to do."""
    assert evenkeel(tmp_path, "init", "--admin", "Ada Lark", "--json").returncode == 0
    with served(tmp_path, environ=without_extra) as running:
        assert _get(running.port, "/healthz") == 200
        assert running.stop() == 0
    for asked_by in ("ops.cli", "server.supervisor"):
        environ = {**without_extra, ENDPOINT: "http://127.0.0.1:4318"}
        said = _refused(tmp_path, asked_by, environ)
        assert "pip install 'evenkeel[server,otel]'" in said
        assert "Traceback" not in said


def _refused(folder: Path, module: str, environ: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *(["serve"] if module == "ops.cli" else [])],
        cwd=ROOT,
        env={**operators_environ(folder), **environ},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    return done.stderr


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """The address of a collector that takes everything, and what it was given."""
    given: list[bytes] = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            given.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            del format, args

    with HTTPServer(("127.0.0.1", 0), Taking) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", given
        server.shutdown()
        thread.join()


@pytest.mark.timeout(120)
def test_a_collector_is_told_by_a_running_service(tmp_path: Path, collector: tuple[str, list[bytes]]) -> None:
    """What a worker did up to its end reaches the collector, by template and without the query."""
    address, given = collector
    assert evenkeel(tmp_path, "init", "--admin", "Ada Lark", "--json").returncode == 0
    with served(tmp_path, environ={ENDPOINT: address}) as running:
        assert _get(running.port, "/healthz?zqxqueryvk=zqxqueryvk") == 200
        assert running.stop() == 0
    names, services = set(), set()
    for body in given:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            services |= {a.value.string_value for a in resource.resource.attributes if a.key == "service.name"}
            names |= {span.name for scope in resource.scope_spans for span in scope.spans}
        assert b"zqxqueryvk" not in body
    assert "GET /healthz" in names
    assert services == {"evenkeel"}


@pytest.mark.timeout(120)
def test_a_collector_that_takes_nothing_holds_nobody_up(tmp_path: Path) -> None:
    """Where somebody listens and never answers, people are served, and a stop is in order and in time."""
    assert evenkeel(tmp_path, "init", "--admin", "Ada Lark", "--json").returncode == 0
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        address = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with served(tmp_path, environ={ENDPOINT: address}) as running:
            assert _get(running.port, "/healthz") == 200
            assert running.stop() == 0
            assert running.lines("worker_would_not_stop") == []


def _get(port: int, path: str) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return int(answer.status)
