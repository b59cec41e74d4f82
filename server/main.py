"""The composition root: reads settings, builds one `Services`, and runs the edges. Only here are adapters named."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import hashlib
import hmac
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import structlog
import uvicorn

from moderation.ladders import LadderPolicy
from moderation.pipeline import Pipeline
from moderation.policy import DispositionPolicy
from server.actions.invariants import check_obligations
from server.actions.screening import Screening
from server.actions.services import Services
from server.bus.in_process import InProcessBus
from server.jobs.ladders import run_ladders
from server.live.dispatch import LiveVerbs
from server.live.handover import check_handover
from server.live.hub import Hub
from server.live.seats import SeatLimits
from server.notify import TerminalNotifier
from server.settings import Settings, read_key
from server.store.store import open_store
from server.supervisor.listener import bind as bind  # noqa: PLC0414 - callers of this module bind too
from server.web.app import build_app
from server.web.patience import PatientHttp, patient
from server.web.settings import DemoDoor, WebSettings
from watchwords.matcher import Matcher

log = structlog.get_logger()
WEB = Path(__file__).resolve().parent.parent / "clients" / "web"
DRAIN_S = 8.0
GC_AFTER_OBJECTS = 20_000


@dataclass(frozen=True, slots=True)
class Watch:
    """What the supervisor gives its worker.

    Attributes:
        beat: called from the loop every second; a worker whose beats stop is killed.
        mark: the window in which a text that is being screened is named (see `actions.screening`).
        stalls: digests of texts that stalled a worker before, with how often.
    """

    beat: Callable[[], None] = lambda: None
    mark: Callable[[bytes | None], None] | None = None
    stalls: Mapping[bytes, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """Bounds on what clients may take from the edges; times in seconds."""

    seats: SeatLimits = field(default_factory=SeatLimits)
    head_s: float = PatientHttp.head_s
    body_s: float = PatientHttp.body_s


def derive(wrapping_key: bytes, purpose: str) -> bytes:
    """32 bytes for one purpose, from which the wrapping key can not be found out."""
    return hmac.new(wrapping_key, purpose.encode(), hashlib.sha256).digest()


@functools.cache
def load_lists() -> Matcher:
    """The watchword lists, compiled once per process."""
    return Matcher.load()


def build_screening(settings: Settings, watch: Watch | None = None) -> Screening:
    """The gate to the filter, with the installed lists and policy."""
    watch = watch or Watch()
    deadline = timedelta(milliseconds=settings.screening_deadline_ms)
    pipeline = Pipeline(load_lists(), DispositionPolicy.load(), time.monotonic_ns, deadline=deadline)
    return Screening(pipeline, watch.mark, watch.stalls)


@contextlib.asynccontextmanager
async def open_services(settings: Settings, watch: Watch | None = None) -> AsyncIterator[Services]:
    """The service without its edges, closed at the end; lists and policies are checked before anything is opened."""
    watch = watch or Watch()
    screening = build_screening(settings, watch)
    ladders = LadderPolicy.load()
    key = read_key(settings.key_file)
    store = await open_store(settings.database_url, key, kind=settings.kind)
    bus = InProcessBus()
    store.on_commit(bus.announce)
    services = Services(
        settings=settings,
        store=store,
        bus=bus,
        screening=screening,
        ladders=ladders,
        secret=derive(key, "form tokens"),
        notifiers={"terminal": TerminalNotifier()},
    )
    try:
        yield services
    finally:
        services.passwords.close()
        await store.close()


class Edges(uvicorn.Server):
    """uvicorn, with our own way of stopping: drain first, then close."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield


async def serve_edges(
    services: Services,
    listener: socket.socket,
    stop: asyncio.Event,
    watch: Watch | None = None,
    doors: tuple[DemoDoor, ...] = (),
    drain_s: float = DRAIN_S,
    limits: EdgeLimits | None = None,
) -> None:
    """Serve HTTP and sockets on `listener` until `stop` is set, then drain for at most `drain_s` and return."""
    limits = limits or EdgeLimits()
    watch = watch or Watch()
    loop = asyncio.get_running_loop()
    check_handover()
    hub = Hub(LiveVerbs(services), seats=limits.seats, trusted_proxies=services.settings.trusted_proxies)
    services.bus.listen(hub.events, hub.moved)

    def close_sessions(sessions: tuple[str, ...]) -> None:
        for session in sessions:
            hub.close_session(session)

    services.revoked.listen(close_sessions)
    app = build_app(services, settings=WebSettings.of(services, WEB, doors))
    config = uvicorn.Config(
        app,
        ws=hub.protocol,
        http=patient(limits.head_s, limits.body_s),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=15,
        proxy_headers=False,
        backlog=2048,
    )
    server = Edges(config)
    await check_obligations(services)
    hub.start()
    jobs = [
        loop.create_task(run_ladders(services), name="ladders"),
        # Without its writer this process could still answer, but keep nothing: another one has to take over.
        loop.create_task(services.store.writer_ended(), name="writer"),
        loop.create_task(_beat(watch), name="beat"),
    ]
    # What lives as long as the process is never collected: a full collection otherwise walks all of it.
    gc.collect()
    gc.freeze()
    # What a message leaves behind goes by counting references; looking for cycles after every 700 objects was 4 % of
    # the core at full load.
    gc.set_threshold(GC_AFTER_OBJECTS)
    serving = loop.create_task(server.serve(sockets=[listener]), name="edges")
    stopping = loop.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({serving, stopping, *jobs}, return_when=asyncio.FIRST_COMPLETED)
        for job in jobs:
            if job.done() and not job.cancelled():
                log.critical("job_ended", job=job.get_name())
        await hub.drain(drain_s)
    finally:
        server.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)
        for task in (*jobs, stopping):
            task.cancel()
        await asyncio.gather(*jobs, stopping, return_exceptions=True)
        await hub.stop()


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set, for `serve_edges`."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    return stop


async def _beat(watch: Watch) -> None:
    while True:
        watch.beat()
        await asyncio.sleep(1.0)
