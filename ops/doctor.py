"""`evenkeel doctor`: everything that the service needs to run, each with what to do where it is missing.

Looks only; it may be run beside a running service. What the disk can do is measured on a file of its own beside the
database, since a promise to keep a message costs one flush of that disk.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import resource
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import Connection, create_engine, func, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from moderation.attention import AttentionPolicy
from moderation.draws import ReviewPolicy
from moderation.drift import DriftPolicy
from moderation.ladders import LadderPolicy
from moderation.rota_policy import RotaPolicy
from moderation.types import Role
from server.clock import REAL_TIME, SERVER_CLOCK, Clock, real_us
from server.errors import Misconfigured, ServiceError
from server.main import load_lists
from server.settings import Settings, read_key
from server.store import heads, migrate
from server.store.engine import sqlite_path, sync_url
from server.store.schema import account
from server.store.store import read_kind, read_mapping

T = TypeVar("T")
FLUSHES: Final = 60
SLOW_FLUSH_MS: Final = 25.0
LEAST_FILES: Final = 1_024
LEAST_FREE_BYTES: Final = 1_000_000_000
MOST_APART_S: Final = 2.0
# One is signed each London midnight; the night of the change has 25 hours.
OLDEST_HEAD: Final = timedelta(hours=26)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what was found, and what to do if it is not well."""

    name: str
    ok: bool
    found: str
    advice: str = ""


async def look(settings: Settings, fn: Callable[[Connection], T]) -> T:
    """Run a read on the database as it is, beside whoever writes to it.

    Raises:
        Misconfigured: there is no such database, or it does not answer.
    """
    url = sync_url(settings.database_url)
    try:
        if url.get_backend_name() == "sqlite":
            path = sqlite_path(url)
            if not path.exists():
                raise Misconfigured("There is no database yet. Run `evenkeel init`.", code="not_initialised")
            engine = create_engine(_read_only(path), poolclass=NullPool)
            try:
                with engine.connect() as connection:
                    return fn(connection)
            finally:
                engine.dispose()
        async_engine = create_async_engine(url, poolclass=NullPool, connect_args={"timeout": 10})
        try:
            async with async_engine.connect() as async_connection:
                return await async_connection.run_sync(fn)
        finally:
            await async_engine.dispose()
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        raise Misconfigured(
            f"The database can not be read ({type(error).__name__}). Check DATABASE_URL and that it is running.",
            code="no_database",
        ) from None


def _read_only(path: Path) -> URL:
    return URL.create("sqlite", database=f"file:{path}", query={"mode": "ro", "uri": "true"})


async def check_database(settings: Settings) -> str:
    """Refuse a database that this program must not serve; returns its revision.

    Raises:
        Misconfigured: not there, not migrated, not a real service's, or with a mapped clock.
    """

    def inspect(conn: Connection) -> str:
        migrate.check(conn)
        kind = read_kind(conn)
        if kind != settings.kind:
            raise Misconfigured(
                f"This is a {kind} database; it is not served as a real one. Check DATABASE_URL.", code="wrong_kind"
            )
        if read_mapping(conn) != REAL_TIME:
            raise Misconfigured("This database holds a mapped clock, which only a demonstration may have.")
        return migrate.newest()

    return await look(settings, inspect)


def examine(settings: Settings) -> list[Finding]:
    """Every check, in the order in which one would mend them."""
    return [
        _python(),
        _guarded("key", "Run `evenkeel init`.", lambda: f"{len(read_key(settings.key_file)) * 8} bits, yours alone"),
        _guarded(
            "database",
            "Run `evenkeel init`, or `evenkeel migrate` after an update.",
            lambda: f"revision {asyncio.run(check_database(settings))}",
        ),
        _redis(settings),
        _port(settings),
        _proxy(settings),
        _files(),
        _clock(settings),
        _guarded("lists", "Put the installed lists back: install Evenkeel again.", _lists),
        _guarded("ladders", "Put the installed ladders back: install Evenkeel again.", _ladders),
        _people(settings),
        _audit(settings),
        _disk(settings),
        _space(settings),
    ]


def _guarded(name: str, advice: str, look_at: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, look_at())
    except ServiceError as error:
        return Finding(name, False, error.text, advice)
    except (ValueError, OSError) as error:
        return Finding(name, False, str(error), advice)


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Finding("python", sys.version_info >= (3, 11), version, "Install Python 3.11 or later.")


def _lists() -> str:
    matcher = load_lists()
    if not matcher.entry_count:
        raise Misconfigured("The lists are empty.")
    return f"version {matcher.version}, {matcher.entry_count} entries"


def _ladders() -> str:
    LadderPolicy.load()
    AttentionPolicy.load()
    ReviewPolicy.load()
    RotaPolicy.load()
    DriftPolicy.load()
    return "complete"


def _redis(settings: Settings) -> Finding:
    """Whether the processes of the service could tell each other that something moved on."""
    if not settings.has_bus:
        return Finding("redis", True, "not used: one process")
    from redis import Redis
    from redis.exceptions import RedisError

    advice = "Start Redis 7 or later, or check REDIS_URL; without it nothing is lost, but it comes up to 5 s late."
    try:
        with Redis.from_url(settings.redis_url, socket_timeout=3, socket_connect_timeout=3) as client:
            facts: dict[str, object] = client.info("server")
    except (RedisError, OSError) as error:
        return Finding("redis", False, f"does not answer ({type(error).__name__})", advice)
    version = str(facts.get("redis_version", "0"))
    return Finding("redis", int(version.partition(".")[0]) >= 6, f"version {version}", advice)


def _port(settings: Settings) -> Finding:
    """Whether the port is free, or somebody answers there already."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError:
            return Finding(
                "port",
                False,
                f"{settings.port} is in use",
                "If that is not this service running already, stop it or set EVENKEEL_PORT.",
            )
    return Finding("port", True, f"{settings.port} is free")


def _proxy(settings: Settings) -> Finding:
    """Whether clients can be told apart behind the proxy that TLS needs."""
    if not settings.tls:
        return Finding("proxy", True, "not used: browsers reach this service without TLS, from this machine only")
    if not settings.trusted_proxies:
        return Finding(
            "proxy",
            False,
            "nobody's X-Forwarded-For is believed, so everybody counts as one address",
            "Set EVENKEEL_TRUSTED_PROXIES to the address of the proxy, 127.0.0.1 if it runs here.",
        )
    try:
        for proxy in settings.trusted_proxies:
            ipaddress.ip_address(proxy)
    except ValueError:
        advice = "Write exact addresses into EVENKEEL_TRUSTED_PROXIES, with commas between; no names, no networks."
        return Finding("proxy", False, "a trusted proxy is no address", advice)
    return Finding("proxy", True, f"{len(settings.trusted_proxies)} trusted")


def _files() -> Finding:
    """How many connections the system lets a process have, each a file to it."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = "no limit on open files" if most == resource.RLIM_INFINITY else f"{most} open files"
    enough = most == resource.RLIM_INFINITY or most >= LEAST_FILES
    return Finding("open files", enough, found, "Set LimitNOFILE=65536 in the unit, or `ulimit -n 65536`.")


def _clock(settings: Settings) -> Finding:
    """Whether this machine and a database of its own agree on the time; due times are by the database's."""
    if sync_url(settings.database_url).get_backend_name() == "sqlite":
        return Finding("clock", True, "this machine's own")

    def ahead_s(conn: Connection) -> float:
        began = real_us()
        theirs = int(conn.execute(text(SERVER_CLOCK)).scalar_one())
        return ((began + real_us()) / 2 - theirs) / 1e6

    try:
        apart = asyncio.run(look(settings, ahead_s))
    except ServiceError as error:
        return Finding("clock", False, error.text, "Check DATABASE_URL.")
    found = f"{abs(apart):.2f} s apart from the database's"
    return Finding("clock", abs(apart) <= MOST_APART_S, found, "Have both machines keep time by NTP.")


def _space(settings: Settings) -> Finding:
    """Whether there is room to go on writing."""
    url = sync_url(settings.database_url)
    if url.get_backend_name() != "sqlite":
        return Finding("space", True, "the database server's own")
    folder = sqlite_path(url).absolute().parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding("space", False, f"{error.strerror}", "Give the database a folder that can be written to.")
    advice = "Make room: when the disk is full, no message can be kept and none is acknowledged."
    return Finding("space", free >= LEAST_FREE_BYTES, f"{free / 1e9:.1f} GB free", advice)


def _audit(settings: Settings) -> Finding:
    """Whether the end of the audit is bound by a head that is not old; whether the audit holds is another command's."""
    advice = "Run the service, and see that it can write to EVENKEEL_AUDIT_HEADS; or run `evenkeel audit head`."

    def age(conn: Connection) -> timedelta | None:
        head = heads.newest(conn)
        return None if head is None else Clock().now() - head.at

    try:
        old = asyncio.run(look(settings, age))
    except ServiceError as error:
        return Finding("audit", False, error.text, advice)
    if old is None:
        return Finding("audit", True, "no head is signed yet: the service signs the first one when it runs")
    hours = old / timedelta(hours=1)
    return Finding("audit", old < OLDEST_HEAD, f"the last head was signed {hours:.0f} hours ago", advice)


def _people(settings: Settings) -> Finding:
    """Whether anybody at all can be called when a ladder comes to its end."""
    advice = "Run `evenkeel user add --role moderator --name NAME`, then `evenkeel shift add`."

    def count(conn: Connection) -> tuple[int, int]:
        active = account.c.state == "active"
        staff = conn.execute(
            select(func.count()).where(active, account.c.role.not_in([Role.MEMBER.value, Role.ADMIN.value]))
        ).scalar_one()
        known = conn.execute(
            select(func.count()).where(active, account.c.id.in_(list(settings.fallback_people)))
        ).scalar_one()
        return staff, known

    try:
        staff, known = asyncio.run(look(settings, count))
    except ServiceError as error:
        return Finding("people to call", False, error.text, advice)
    if known < len(settings.fallback_people):
        unknown = len(settings.fallback_people) - known
        return Finding(
            "people to call",
            False,
            f"{unknown} of EVENKEEL_FALLBACK_PEOPLE have no active account",
            "Write account ids there, as `evenkeel user add --json` gives them.",
        )
    return Finding("people to call", staff > 0, f"{staff} with a staff account, {known} on the fallback list", advice)


def flush_ms(folder: Path, count: int = FLUSHES) -> list[float]:
    """How long `count` flushes of 4 KiB each take on the disk of `folder`, in milliseconds, sorted."""
    block = os.urandom(4096)
    taken = []
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".evenkeel-disk-") as file:
        for _ in range(count):
            began = time.perf_counter()
            os.write(file.fileno(), block)
            os.fdatasync(file.fileno())
            taken.append((time.perf_counter() - began) * 1000)
    return sorted(taken)


def _disk(settings: Settings) -> Finding:
    url = sync_url(settings.database_url)
    if url.get_backend_name() != "sqlite":
        return Finding("disk", True, "the database server's own")
    folder = sqlite_path(url).absolute().parent
    try:
        taken = flush_ms(folder)
    except OSError as error:
        return Finding("disk", False, f"{error.strerror}", "Give the database a folder that can be written to.")
    p50, p99 = taken[len(taken) // 2], taken[int(len(taken) * 0.99)]
    found = f"a flush takes {p50:.2f} ms (p50), {p99:.2f} ms (p99)"
    return Finding("disk", p50 <= SLOW_FLUSH_MS, found, "Every message waits for this disk: use a local SSD.")
