"""`evenkeel bench recovery`: how long a service is away whose disk was lost, from its backup until people are served.

A database with many messages in many rooms and some open cases is backed up by the real command's function, restored to
a new place by the other one, and served by the real supervisor and worker. It is back when `/readyz` says so, when a
member has signed in anew and sees a room, and when everybody on duty is called again for every case that was open.

Messages are stored by the writer, in units of many: rows, log, keys and sealed bodies are those of messages that were
sent one by one. Left out is what only a person costs: their sockets, and a commit for each of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from clients.sdk import http_api
from clients.sdk.client import Client
from moderation.types import Role, RoomKind, TextKind, Verdict
from ops.backup import Backup, Restored, back_up, restore
from ops.trial import PASSWORD, Trial, make_trial
from server.actions.cases import act_on_case
from server.actions.feeds import follow
from server.actions.post_message import key_of, post_message
from server.actions.raising import is_concern
from server.actions.rendering import message_kind
from server.actions.rooms import access_room_for_posting
from server.actions.services import Services
from server.actions.sessions import authenticate
from server.auth.requester import Requester
from server.ids import STAFF_MODERATION, new_id
from server.main import open_services
from server.protocol.frames import Act, CaseItem, PageItem, Send
from server.rooms import state_for
from server.settings import Settings, load_settings
from server.store.erasures import make_ledger
from server.store.keys import DataKey, message_place
from server.store.messages import NewMessage, insert_message
from server.store.unit import Tx

MESSAGES: Final = 1_000_000
GOAL_S: Final = 300.0
PER_ROOM: Final = 20
MOST_ROOMS: Final = 50
A_ROOM: Final = 500
CASES: Final = 12
A_UNIT: Final = 500
SAY_EVERY: Final = 100_000
WITHIN_S: Final = 300.0
STOP_S: Final = 30.0
_LOOK_S: Final = 0.02
URGENT: Final = "I am going to kill myself tonight, I have said goodbye"
_BEGINNINGS: Final = (
    "I went out along the river before breakfast today",
    "Nobody at work asked how the week had been",
    "My sister rang and we talked for nearly an hour",
    "I slept better than I have in a long while",
    "The bus was late again and I let it bother me",
    "I tried the breathing that somebody wrote about here",
    "We cooked soup and there was far too much of it",
    "I put off the letter until the afternoon",
)
_ENDINGS: Final = (
    "and it went rather better than I had expected.",
    "so I sat on the bench by the gate for a bit and watched the ducks.",
    "which is new for me. Has anybody else found that?",
    "and then the rain came, so the washing is still on the chairs.",
    "I do not know yet what to make of it, but I wanted to say it somewhere.",
    "Thank you for asking yesterday, it helped more than you would think.",
    "Small things, I know. Still.",
    "and tomorrow I will try it again, a little earlier.",
)


@dataclass(frozen=True, slots=True)
class Back:
    """Seconds from the start of the supervisor: until `/readyz` said so, until a member's join was answered, and until
    every open case had called somebody on duty again."""

    ready_s: float
    joined_s: float
    called_s: float


def bench_recovery(
    folder: Path | None = None,
    *,
    messages: int = MESSAGES,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Run the bench and return the figures. `folder` is on the disk to measure; None: the system's temporary one.

    Raises:
        RuntimeError: the restored service did not come back as it should.
    """
    with tempfile.TemporaryDirectory(prefix="evenkeel-bench-", dir=folder) as made:
        lost, new = Path(made) / "lost", Path(made) / "new"
        for place in (lost, new):
            place.mkdir()
        rooms = max(2, min(MOST_ROOMS, messages // A_ROOM))
        url = f"sqlite:///{lost / 'bench.db'}"
        trial = asyncio.run(make_trial(lost, url, rooms=rooms, per_room=PER_ROOM, moderators=1))
        settings = _settings(trial, url)
        make_ledger(settings.ledger)
        asyncio.run(_fill(settings, trial, messages, progress))
        file = new / "bench.backup"
        began = time.perf_counter()
        backup = back_up(settings, file)
        backup_s = time.perf_counter() - began
        progress(f"backed up in {backup_s:.1f} s: {backup.size:,} bytes")
        there = _settings(trial, f"sqlite:///{new / 'bench.db'}")
        began = time.perf_counter()
        restored = restore(there, file)
        restore_s = time.perf_counter() - began
        progress(f"restored in {restore_s:.1f} s")
        back = _serve_again(there, trial, restored, new / "supervisor.log")
        progress(f"ready after {back.ready_s:.1f} s, a member after {back.joined_s:.1f}, all calls {back.called_s:.1f}")
        database_bytes = (new / "bench.db").stat().st_size
    return summary(rooms, backup, backup_s, restored, restore_s, back, database_bytes)


def summary(
    rooms: int, backup: Backup, backup_s: float, restored: Restored, restore_s: float, back: Back, database_bytes: int
) -> dict[str, Any]:
    """The figures, in seconds and bytes."""
    rto_s = round(restore_s + max(back.joined_s, back.called_s), 2)
    return {
        "messages": restored.rows["message"],
        "rooms": rooms,
        "open_cases": len(restored.reconciled.raised),
        "backup_s": round(backup_s, 2),
        "backup_bytes": backup.size,
        "restore_s": round(restore_s, 2),
        "database_bytes": database_bytes,
        "start_to_ready_s": round(back.ready_s, 2),
        "start_to_first_join_s": round(back.joined_s, 2),
        "start_to_all_called_s": round(back.called_s, 2),
        "rto_s": rto_s,
        "goals": {"rto_s": {"value": rto_s, "at_most": GOAL_S, "met": rto_s <= GOAL_S}},
        "measured_at": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _settings(trial: Trial, database_url: str) -> Settings:
    return load_settings(
        database_url=database_url,
        key_file=Path(trial.environ["EVENKEEL_KEY_FILE"]),
        kind=trial.environ["EVENKEEL_KIND"],
        argon2_memory_kib=8,
        argon2_passes=1,
        screening_deadline_ms=1000,
    )


# --- a service that has been there for a while ------------------------------------------------------------------------


async def _fill(settings: Settings, trial: Trial, messages: int, progress: Callable[[str], None]) -> None:
    """Store `messages` messages, the last of which open cases; half of those are taken by the moderator."""
    async with open_services(settings) as services:
        bodies = _screened(services)
        keys = {
            person.account: await _key(services, person.token, room)
            for room, people in zip(trial.rooms, trial.members, strict=True)
            for person in people
        }
        urgent = min(CASES, messages // 2)
        left, said, turn = messages - urgent, 0, itertools.cycle(zip(trial.rooms, trial.members, strict=True))
        while left:
            room, people = next(turn)
            count = min(A_UNIT, left)
            authors = [(person.account, keys[person.account]) for person in people]
            await services.store.write(_talk(room, authors, bodies, count), [room])
            left -= count
            said += count
            if said // SAY_EVERY != (said - count) // SAY_EVERY:
                progress(f"{said:,} of {messages:,} messages stored")
        await _raise_cases(services, trial, urgent)


def _screened(services: Services) -> list[tuple[str, Verdict]]:
    """Texts with their verdict. What the filter thinks a concern is left to those who mean it."""
    found = []
    for first, second in itertools.product(_BEGINNINGS, _ENDINGS):
        body = f"{first}, {second}"
        verdict = services.screening.screen(body, TextKind.MESSAGE, RoomKind.COMMUNITY, Role.MEMBER)
        if not is_concern(verdict, Role.MEMBER):
            found.append((body, verdict))
    return found


async def _key(services: Services, token: str, room: str) -> DataKey:
    requester = await authenticate(services, token)
    access = await services.store.read(lambda conn: access_room_for_posting(conn, requester, room))
    return await key_of(services, access.room, requester.account)


def _talk(
    room: str, authors: Sequence[tuple[str, DataKey]], bodies: Sequence[tuple[str, Verdict]], count: int
) -> Callable[[Tx], None]:
    """`count` messages by `authors` in turn, as `post_message` leaves them."""
    kind = message_kind("new")

    def unit(tx: Tx) -> None:
        speaking = itertools.cycle(authors)
        for n in range(count):
            (author, key), (body, verdict) = next(speaking), bodies[n * 7 % len(bodies)]
            new = NewMessage(
                id=new_id(),
                feed=room,
                author=author,
                client_id=new_id(),
                state=state_for(verdict.disposition),
                key_id=key.id,
                verdict=verdict,
                verdict_json=verdict.to_json(),
                reply_to=None,
            )
            insert_message(tx, new, key.seal(message_place(new.id, 1), body), tx.head(room).seq + 1)
            tx.append(room, kind, new.id)

    return unit


async def _raise_cases(services: Services, trial: Trial, count: int) -> None:
    """Somebody in each of several rooms writes what must be looked at; every second case is taken."""
    people = [
        (person, room)
        for of_room in zip(*trial.members, strict=True)
        for person, room in zip(of_room, trial.rooms, strict=True)
    ]
    for person, room in people[:count]:
        author = await authenticate(services, person.token)
        await post_message(services, author, Send(client_id=new_id(), feed=room, body=URGENT))
    moderator: Requester = await authenticate(services, trial.moderators[0].token)
    queue = (await follow(services, moderator, STAFF_MODERATION, None)).joined
    cases = [placed.item for placed in queue.items if isinstance(placed.item, CaseItem)]
    for case in cases[::2]:
        taken = Act(client_id=new_id(), case=case.id, version=case.version, act="claim")
        await act_on_case(services, moderator, taken, new_id())


# --- back again -------------------------------------------------------------------------------------------------------


def _serve_again(settings: Settings, trial: Trial, restored: Restored, log: Path) -> Back:
    """Start the service on what was restored, and wait until people are served and called."""
    port = _free_port()
    environ = {**os.environ, **trial.environ, "DATABASE_URL": settings.database_url, "EVENKEEL_PORT": str(port)}
    began = time.perf_counter()
    with _supervisor(environ, log) as supervisor:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(supervisor, port, began + WITHIN_S)
        ready_s = time.perf_counter() - began
        joined_s, called_s = asyncio.run(_first_people(url, trial, set(restored.reconciled.raised), began))
    return Back(ready_s, joined_s, called_s)


@contextlib.contextmanager
def _supervisor(environ: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """What `evenkeel serve` becomes, gone after the block."""
    command = [sys.executable, "-m", "server.supervisor"]
    with log.open("wb") as sink:
        running = subprocess.Popen(  # noqa: S603 - our own program
            command, env=environ, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink
        )
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(STOP_S)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def _wait_until_ready(supervisor: subprocess.Popen[bytes], port: int, until: float) -> None:
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return
        if supervisor.poll() is not None:
            raise RuntimeError(f"the restored service ended by itself, with status {supervisor.returncode}")
        if time.perf_counter() > until:
            raise RuntimeError("the restored service was not ready in time")
        time.sleep(_LOOK_S)


async def _first_people(url: str, trial: Trial, cases: set[str], began: float) -> tuple[float, float]:
    """Seconds since `began`: until a member's join was answered, until the moderator is called for all of `cases`."""
    async with asyncio.timeout(WITHIN_S), asyncio.TaskGroup() as group:
        joined = group.create_task(_first_join(url, trial, began))
        called = group.create_task(_all_called(url, trial, cases, began))
    return joined.result(), called.result()


async def _first_join(url: str, trial: Trial, began: float) -> float:
    entered = await http_api.sign_in(url, trial.members[0][0].name, PASSWORD)
    async with Client(url, token=entered.token) as client:
        feed = await client.join(trial.rooms[0])
        if not feed.view.last:
            raise RuntimeError("the restored room is empty")
        return time.perf_counter() - began


async def _all_called(url: str, trial: Trial, cases: set[str], began: float) -> float:
    entered = await http_api.sign_in(url, trial.moderators[0].name, PASSWORD)
    async with Client(url, token=entered.token) as client:
        inbox = await client.join("inbox")
        left = set(cases)
        async for item in inbox.events():
            if isinstance(item, PageItem):
                left.discard(item.case)
            if not left:
                break
        return time.perf_counter() - began


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
