"""The composition root: reads settings, builds one `Services`, and runs the edges. Only here are adapters named."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import hashlib
import hmac
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
import uvicorn

from moderation.attention import AttentionPolicy
from moderation.ladders import LadderPolicy
from moderation.pipeline import Pipeline
from moderation.policy import DispositionPolicy
from server.actions.gauges import keep_numbers
from server.actions.invariants import check_obligations
from server.actions.screening import Screening
from server.actions.second_look import SecondLook
from server.actions.services import Services
from server.bus.in_process import InProcessBus
from server.bus.port import Bus, Nudge
from server.edges import Edges
from server.errors import Misconfigured
from server.ids import new_id
from server.jobs.drift import run_drift
from server.jobs.duty import run_duty
from server.jobs.heads import run_heads
from server.jobs.ladders import run_ladders
from server.jobs.lease import JOBS, Lease
from server.jobs.presence import keep_company, keep_standing
from server.jobs.reviews import run_draws
from server.jobs.wordtrials import run_trials
from server.live.handover import check_handover
from server.live.hub import Hub
from server.live.seats import SeatLimits
from server.notify import TerminalNotifier
from server.numbers import Numbers
from server.settings import Settings, read_key
from server.store.migrate import PRODUCTION
from server.store.store import Store, open_store
from server.supervisor.listener import bind as bind  # noqa: PLC0414 - callers of this module bind too
from server.traced import trace_flushes, verbs_for
from server.tracing import Tracing
from server.web.app import build_app
from server.web.patience import PatientHttp, patient
from server.web.settings import DemoDoor, WebSettings
from watchwords.matcher import Matcher
from watchwords.model import Model, ModelError

if TYPE_CHECKING:
    from watchwords.second import SecondStage

log = structlog.get_logger()
WEB = Path(__file__).resolve().parent.parent / "clients" / "web"
DRAIN_S = 8.0
STANDING = "standing"
GC_AFTER_OBJECTS = 20_000


@dataclass(frozen=True, slots=True)
class Watch:
    """What the supervisor gives its worker.

    Attributes:
        beat: called from the loop every second; a worker whose beats stop is killed.
        mark: the window in which a text that is being screened is named (see `actions.screening`).
        stalled: how often the text of a digest stalled a worker before, this one or another.
        numbers: what `/metrics` says.
    """

    beat: Callable[[], None] = lambda: None
    mark: Callable[[bytes | None], None] | None = None
    stalled: Callable[[bytes], int] = lambda digest: 0
    numbers: Numbers = field(default_factory=Numbers)


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


@functools.cache
def load_model() -> Model:
    """The model that weighs what the lists find, read once per process."""
    return Model.load()


@functools.cache
def load_second() -> SecondStage:
    """The second stage of the filter, read once per process, and only where the settings ask for it.

    Raises:
        Misconfigured: what it needs is not installed, or can not be used.
    """
    turn_off = "or unset EVENKEEL_SECOND_STAGE"
    # Read when numpy is first loaded. One core at most: this shares the machine with what answers people.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from watchwords.embedding import EmbeddingError
        from watchwords.second import SecondStage
    except ModuleNotFoundError as missing:
        raise Misconfigured(
            f"EVENKEEL_SECOND_STAGE is on, and {missing.name} is not installed. Run `pip install "
            f"'evenkeel[server,second]'`, and install ops/pins/second.txt with --no-deps, {turn_off}.",
            field="second_stage",
        ) from None
    try:
        return SecondStage.load()
    except (EmbeddingError, ModelError) as error:
        raise Misconfigured(f"EVENKEEL_SECOND_STAGE is on, and {error}, {turn_off}.", field="second_stage") from error


def build_screening(
    settings: Settings, watch: Watch | None = None, now_ns: Callable[[], int] = time.thread_time_ns
) -> Screening:
    """The gate to the filter, with the installed lists and policy; a check's deadline is by `now_ns`.

    Time of the processor, not of the wall: a busy machine must not turn clean texts into unchecked ones, each of which
    calls a person. A text that stalls without working is the supervisor's, who watches by the wall.
    """
    watch = watch or Watch()
    deadline = timedelta(milliseconds=settings.screening_deadline_ms)
    pipeline = Pipeline(load_lists(), DispositionPolicy.load(), now_ns, deadline=deadline, model=load_model())
    return Screening(pipeline, watch.mark, watch.stalled)


@contextlib.asynccontextmanager
async def open_services(
    settings: Settings, watch: Watch | None = None, tracing: Tracing | None = None
) -> AsyncIterator[Services]:
    """The service without its edges, closed at the end; lists and policies are checked before anything is opened."""
    watch, tracing = watch or Watch(), tracing or Tracing()
    screening = build_screening(settings, watch)
    if settings.second_stage:
        await asyncio.to_thread(load_second)
    ladders, attention = LadderPolicy.load(), AttentionPolicy.load()
    key = read_key(settings.key_file)
    store = await open_store(settings.database_url, key, kind=settings.kind)
    bus, close_bus = _open_bus(settings, key)
    store.on_commit(bus.announce)
    trace_flushes(store.database.writer, tracing)
    services = Services(
        settings=settings,
        store=store,
        bus=bus,
        screening=screening,
        ladders=ladders,
        attention=attention,
        secret=derive(key, "form tokens"),
        notifiers={"terminal": TerminalNotifier()},
        numbers=watch.numbers,
        tracing=tracing,
    )
    try:
        yield services
    finally:
        services.passwords.close()
        await store.close()
        await close_bus()


def _open_bus(settings: Settings, wrapping_key: bytes) -> tuple[Bus, Callable[[], Awaitable[None]]]:
    """The bus that the settings ask for, and how to close it."""
    if not settings.has_bus:
        return InProcessBus(), _nothing_to_close
    # Only where it is needed: a service of one process does without the library.
    from server.bus.redis_bus import RedisBus

    # All processes of one service have the same key, and nobody else has; a Redis may serve several services.
    bus = RedisBus(settings.redis_url, f"evenkeel:{derive(wrapping_key, 'bus channel').hex()[:32]}")
    bus.start()
    return bus, bus.close


async def _nothing_to_close() -> None:
    return


async def serve_edges(
    services: Services,
    listener: socket.socket | None,
    stop: asyncio.Event,
    watch: Watch | None = None,
    doors: tuple[DemoDoor, ...] = (),
    drain_s: float = DRAIN_S,
    limits: EdgeLimits | None = None,
    name: str = "",
    service: str = "",
) -> None:
    """Serve HTTP and sockets on `listener` until `stop` is set, then drain for at most `drain_s` and return.

    Args:
        listener: None for a process that only does the jobs.
        name: names this process among those of the service; one that takes the place of a dead one may bear its name.
        service: names those processes that stop together; "": this one alone.
    """
    watch, name = watch or Watch(), name or new_id()
    loop = asyncio.get_running_loop()
    # Only who serves puts lists into the database, and needs those that are there: a command does neither.
    await services.lists.start()
    lease = Lease(services.store, JOBS, name)
    edges = None if listener is None else _build_edges(services, listener, doors, limits or EdgeLimits())
    if services.settings.role != "hub":
        await check_obligations(services)
    works = _works(services, watch, lease, name, service or name)
    if edges is not None:
        edges.hub.start()
    jobs = [loop.create_task(work, name=named) for named, work in works]
    # What lives as long as the process is never collected: a full collection otherwise walks all of it.
    gc.collect()
    gc.freeze()
    # What a message leaves behind goes by counting references; looking for cycles after every 700 objects was 4 % of
    # the core at full load.
    gc.set_threshold(GC_AFTER_OBJECTS)
    if edges is not None:
        jobs.append(loop.create_task(edges.server.serve(sockets=[edges.listener]), name="edges"))
    stopping = loop.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({stopping, *jobs}, return_when=asyncio.FIRST_COMPLETED)
        for job in jobs:
            if job.done() and not job.cancelled():
                log.critical("job_ended", job=job.get_name())
        services.is_stopping = True
        # Before anything else: people wait for a call, and another process can make it.
        for job in jobs:
            if job.get_name() == STANDING:
                job.cancel()
        await lease.hand_over()
        if edges is not None:
            await edges.hub.drain(drain_s)
    finally:
        if edges is not None:
            edges.server.should_exit = True
            await asyncio.gather(*(job for job in jobs if job.get_name() == "edges"), return_exceptions=True)
        for task in (*jobs, stopping):
            task.cancel()
        await asyncio.gather(*jobs, stopping, return_exceptions=True)
        if edges is not None:
            await edges.hub.stop()


def _works(
    services: Services, watch: Watch, lease: Lease, name: str, service: str
) -> list[tuple[str, Coroutine[Any, Any, None]]]:
    """What runs beside the edges for as long as the process does, by name."""
    settings, store = services.settings, services.store
    works: list[tuple[str, Coroutine[Any, Any, None]]] = [
        # Without its writer this process could still answer, but keep nothing: another one has to take over.
        ("writer", store.writer_ended()),
        ("beat", _beat(watch)),
        ("lists", services.lists.follow()),
        ("shadow", services.lists.shadow.run()),
    ]
    if settings.second_stage:
        works += [("second", SecondLook(services, load_second()).run())]
    if settings.role != "hub":
        works += [("lease", lease.keep()), ("ladders", run_ladders(services, lease))]
        works += [("trials", run_trials(services, lease)), ("draws", run_draws(services, lease))]
        works += [("drift", run_drift(services, lease)), ("heads", run_heads(services, lease))]
        works.append(("duty", run_duty(services, lease)))
        if store.is_shared:
            works += [(STANDING, keep_standing(store, name, service))]
    if store.is_shared:
        works += [("company", keep_company(store, name, has_bus=settings.has_bus))]
    if not services.numbers.is_alone:
        works += [("numbers", keep_numbers(services))]
    if store.is_shared and settings.kind != PRODUCTION:
        works += [("clock", _follow_clock(store))]
    return works


@dataclass(frozen=True, slots=True)
class _Edges:
    hub: Hub
    server: Edges
    listener: socket.socket


def _build_edges(
    services: Services, listener: socket.socket, doors: tuple[DemoDoor, ...], limits: EdgeLimits
) -> _Edges:
    """The hub and the web on one port, tied to the bus; nothing of it runs yet."""
    check_handover()
    hub = Hub(
        verbs_for(services),
        seats=limits.seats,
        trusted_proxies=services.settings.trusted_proxies,
        now_ms=lambda: services.clock.now_us() // 1000,
    )
    tie(hub, services)
    config = uvicorn.Config(
        build_app(services, settings=WebSettings.of(services, WEB, doors)),
        ws=hub.protocol,
        http=patient(limits.head_s, limits.body_s),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=15,
        proxy_headers=False,
    )
    return _Edges(hub, Edges(config), listener)


def tie(hub: Hub, services: Services) -> None:
    """Let `hub` hear of what is committed, here and elsewhere, and of sessions that end."""
    services.bus.listen(hub.events, hub.moved)
    services.bus.heed(Nudge.SESSIONS, hub.sessions_changed)
    services.bus.heed(Nudge.EVERYTHING, lambda ids: hub.look_soon())

    def close_sessions(sessions: tuple[str, ...]) -> None:
        for session in sessions:
            hub.close_session(session)

    services.revoked.listen(close_sessions)


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


async def _follow_clock(store: Store) -> None:
    """In a demonstration or a test, another process may map the clock that all of them share."""
    while True:
        await asyncio.sleep(0.5)
        try:
            await store.follow_clock()
        except Exception as error:
            log.warning("clock_not_followed", error=type(error).__name__)
