"""A running service for tests: real database, real filter, real sessions; only the password hash is made cheap.

Preparing a database by migrations is the slowest step of a test, so it is done once for each server or machine and
copied for each test.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import hashlib
import itertools
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import select
from sqlalchemy.engine import make_url

from moderation.attention import AttentionPolicy
from moderation.ladders import LadderPolicy
from moderation.pipeline import Pipeline
from moderation.policy import DispositionPolicy
from moderation.types import Role
from server.actions.accounts import Origin, Registered, SignedIn, create_staff, register, sign_in
from server.actions.screening import Screening
from server.actions.services import Services
from server.actions.wordlists.checking import checked
from server.actions.wordlists.documents import Documents, digest
from server.auth.requester import Requester
from server.bus.in_process import InProcessBus
from server.ids import new_id
from server.main import EdgeLimits, bind, load_lists, load_model, serve_edges
from server.settings import Settings
from server.store.migrate import TEST, prepare_database
from server.store.schema import audit
from server.store.store import open_store
from server.traced import trace_flushes
from server.tracing import Tracing
from tests.servers import PostgresServer, run_apart
from watchwords.matcher import Matcher

PASSWORD: Final = "three quiet green boats"
WRAPPING_KEY: Final = bytes(range(32))

_addresses = itertools.count(1)
MOST_CHECKED: Final = 3
_CHECKED: dict[tuple[str, str], Matcher] = {}


def copy_sqlite_template(path: Path) -> None:
    """Put a test database with the schema of this program, and nothing else in it, at `path`."""
    shutil.copyfile(_sqlite_template(), path)


@functools.cache
def postgres_template(server: PostgresServer) -> str:
    """The name of a test database with the schema of this program, to be copied; nobody connects to it."""
    url = server.create_database()
    run_apart(lambda: prepare_database(url, TEST))
    return str(make_url(url).database)


def checked_once(documents: Documents, live: Matcher | None) -> Matcher:
    """`checking.checked`, which remembers the last few that were found good: about 60 MB each."""
    name = digest(documents), live.version if live is not None else ""
    if (known := _CHECKED.get(name)) is None:
        known = _CHECKED[name] = checked(documents, live)
        while len(_CHECKED) > MOST_CHECKED:
            del _CHECKED[next(iter(_CHECKED))]
    return known


@contextlib.asynccontextmanager
async def open_services(
    database_url: str, tracing: Tracing | None = None, **settings: object
) -> AsyncIterator[Services]:
    """A service on a prepared database, closed at the end. `settings` override those of the tests.

    Opened twice on one PostgreSQL database, it is two processes of one service.
    """
    given: dict[str, object] = {
        "database_url": database_url,
        "kind": TEST,
        "argon2_memory_kib": 8,
        "argon2_passes": 1,
        # A machine busy with other tests must not turn a clean text into an unchecked one.
        "screening_deadline_ms": 1_000,
        "audit_heads": Path(_template_folder().name) / new_id(),
        **settings,
    }
    chosen = Settings.model_validate(given)
    store = await open_store(database_url, WRAPPING_KEY, kind=TEST)
    bus = InProcessBus()
    store.on_commit(bus.announce)
    tracing = tracing or Tracing()
    trace_flushes(store.database.writer, tracing)
    services = Services(
        settings=chosen,
        store=store,
        bus=bus,
        screening=Screening(_pipeline(chosen.screening_deadline_ms)),
        ladders=_ladders(),
        attention=_attention(),
        secret=hashlib.sha256(WRAPPING_KEY).digest(),
        tracing=tracing,
    )
    try:
        yield services
    finally:
        services.passwords.close()
        await store.close()


def origin() -> Origin:
    """An address that nobody else in this test run comes from."""
    n = next(_addresses)
    return Origin(f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}")


async def audited(services: Services, act: str) -> list[tuple[str | None, str, str]]:
    """(actor, subject, detail) of every audit row of that act, in order."""
    query = select(audit.c.actor, audit.c.subject, audit.c.detail).where(audit.c.act == act).order_by(audit.c.n)
    rows = await services.store.read(lambda conn: conn.execute(query).all())
    return [(row.actor, row.subject, row.detail) for row in rows]


async def registered(services: Services, name: str) -> Registered:
    """A new member as the register page leaves them: session token and recovery codes. The password is PASSWORD."""
    return await register(services, origin(), name, PASSWORD, services.settings.rules_version, new_id())


async def member(services: Services, name: str) -> Requester:
    """A new member, signed in. The password is PASSWORD."""
    return (await registered(services, name)).requester


async def staff_signed_in(services: Services, name: str, role: Role) -> SignedIn:
    """A new member of staff with their session token. The password is PASSWORD."""
    await create_staff(services, name, role, PASSWORD)
    return await sign_in(services, origin(), name, PASSWORD)


async def staff(services: Services, name: str, role: Role) -> Requester:
    """A new member of staff, signed in. The password is PASSWORD."""
    return (await staff_signed_in(services, name, role)).requester


async def fast_forward(services: Services, step: timedelta) -> None:
    """Step the clock of the service forward; nothing waits."""
    await services.store.fast_forward(step)


@functools.cache
def _pipeline(deadline_ms: int) -> Pipeline:
    deadline = timedelta(milliseconds=deadline_ms)
    return Pipeline(load_lists(), DispositionPolicy.load(), time.monotonic_ns, deadline=deadline, model=load_model())


@functools.cache
def _ladders() -> LadderPolicy:
    return LadderPolicy.load()


@functools.cache
def _attention() -> AttentionPolicy:
    return AttentionPolicy.load()


@functools.cache
def _template_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="ek-template-")


@functools.cache
def _sqlite_template() -> Path:
    path = Path(_template_folder().name) / "template.db"
    run_apart(lambda: prepare_database(f"sqlite:///{path}", TEST))
    return path


@dataclasses.dataclass(frozen=True)
class Edge:
    """A service that is reached by real sockets on loopback."""

    services: Services
    url: str

    @property
    def socket_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/ws"


@contextlib.asynccontextmanager
async def serving(
    database_url: str, limits: EdgeLimits | None = None, tracing: Tracing | None = None, **settings: object
) -> AsyncIterator[Edge]:
    """The whole service with its edges on a loopback port, drained and stopped at the end."""
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    async with open_services(database_url, tracing, port=port, **settings) as services:
        stop = asyncio.Event()
        task = asyncio.create_task(serve_edges(services, listener, stop, drain_s=0.5, limits=limits))
        try:
            await _answering(port)
            yield Edge(services, f"http://127.0.0.1:{port}")
        finally:
            stop.set()
            await asyncio.wait_for(task, 20)
            listener.close()


async def _answering(port: int) -> None:
    """Wait until the service answers anything; the test's own time limit ends this if it never does."""
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
            line = await reader.readline()
            writer.close()
            if line.startswith(b"HTTP/1.1"):
                return
        await asyncio.sleep(0.01)
