"""`evenkeel torture limits`: no room on the disk, files that may not grow, no descriptors left; and then room again.

A real service on SQLite under people who send by HTTP, and somebody whose call for help nobody answers. What it stands
on is full in one of three ways: the file system (a small one in memory, where this process may mount one), the size
that the worker may give to a file (its log too can not be written then), the files and sockets that it may open.
Promised: nothing is acknowledged that was not stored; who sends is told by a code that the same may be sent again;
the call for help goes on, by the ladder or, where the ladder can not write, by the supervisor; and once there is room
all is well again in the same process.

"disk" gives the n-th I/O error; here nothing is made up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, func, select

from ops.doctor import look
from ops.torture.clients import Log
from ops.torture.history import Violation, judge_sending, judge_stored, outcome, read_stored
from ops.torture.limits.room import fill, limited, small_disk
from ops.torture.limits.sender import RECOVER_S, Sender
from ops.torture.people import settings_of
from ops.torture.service import RunningService, running_service
from ops.trial import Trial, make_trial
from server.clock import from_us
from server.store.schema import notice
from server.supervisor.overdue import AFTER_S

ROOMS: Final = 2
# One for each fault of a whole campaign: a new call for help has a ladder of its own.
PER_ROOM: Final = 5
# Below what an account may say in a second (`actions.pace`).
REST_S: Final = 0.6
DISK_BYTES: Final = 24 << 20
# Below the size that the log of SQLite reaches between two checkpoints under this load, and below that of the
# worker's own log.
FILE_BYTES: Final = 48 << 10
SPARE_FILES: Final = 2
KNOCKERS: Final = 24
# What refuses for want of room: the same may be sent again.
CLEAR: Final = frozenset({"storage"})
# The last rung is called again every minute; what is late by fifteen seconds is raised at the next look.
HELD_S: Final = 90.0
# From a call for help until the next people are called, if nobody took it (ladders.toml), less what its answer took.
SECOND_RUNG_S: Final = 14.0
WELL: Final = 2
KINDS: Final = ("full", "file_size", "open_files")


@dataclass(frozen=True, slots=True)
class Lack:
    """One time without room; times in seconds.

    Attributes:
        called_s: until somebody was called for help although there was none.
        by: "ladder" or "supervisor"; "" where nobody was called.
        recovered_s: from there being room until everybody had two messages acknowledged.
    """

    kind: str
    refused: int
    by: str
    called_s: float
    recovered_s: float


@dataclass
class LimitsCampaign:
    """What was done and what came of it."""

    seed: int
    lacks: list[Lack] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    turned_away: int = 0
    sent: int = 0
    acknowledged: int = 0
    duration_s: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """The campaign as plain values; an empty "full" among the faults: no file system could be mounted here."""
        called = {
            kind: f"by the {lack.by or 'nobody'} after {lack.called_s:.1f} s" for kind, lack in self._worst().items()
        }
        return {
            "campaign": "limits",
            "seed": self.seed,
            "faults": dict(Counter(lack.kind for lack in self.lacks)),
            "help_called_at_the_latest": called,
            "sent": self.sent,
            "acknowledged": self.acknowledged,
            "refused": dict(self.refused),
            "connections_cut": self.cut,
            "connections_turned_away": self.turned_away,
            "recovered_ms_max": round(max(lack.recovered_s for lack in self.lacks) * 1000) if self.lacks else None,
            "duration_s": round(self.duration_s, 1),
            **outcome(self.violations),
        }

    def _worst(self) -> dict[str, Lack]:
        found: dict[str, Lack] = {}
        for lack in self.lacks:
            if lack.kind not in found or lack.called_s > found[lack.kind].called_s:
                found[lack.kind] = lack
        return found


async def run_limits(
    folder: Path,
    *,
    faults: int,
    seed: int,
    kinds: Sequence[str] = KINDS,
    overdue_s: float = AFTER_S,
    progress: Callable[[int, str], None] = lambda done, what: None,
) -> LimitsCampaign:
    """Take the room away `faults` times, each kind in turn, from one worker that is never restarted."""
    rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be kept secret
    campaign = LimitsCampaign(seed)
    began = time.monotonic()
    data = folder / "data"
    data.mkdir()
    with small_disk(data, DISK_BYTES) as mounted:
        trial = await make_trial(data, f"sqlite:///{data / 'torture.db'}", rooms=ROOMS, per_room=PER_ROOM, moderators=1)
        alarms = folder / "alarms"
        alarms.touch()
        environ = {
            **trial.environ,
            "EVENKEEL_OVERDUE_S": str(overdue_s),
            "EVENKEEL_SUPERVISOR_COMMAND": f'sh -c \'echo "$EVENKEEL_ALARM" >> "{alarms}"\'',
        }
        with running_service(folder, environ) as service:
            await service.until_serving(1)
            stage = _Stage(campaign, service, trial, data, alarms, rng)
            able = [kind for kind in kinds if kind != "full" or mounted]
            for done in range(faults):
                await stage.lack(able[done % len(able)])
                progress(done + 1, able[done % len(able)])
            await stage.judge()
            status = await service.stop()
            if status != 0:
                campaign.violations.append(Violation("status", str(status)))
    campaign.duration_s = time.monotonic() - began
    return campaign


class _Stage:
    """The people of a campaign, the worker whose room is taken away, and who is called for help meanwhile."""

    def __init__(
        self,
        campaign: LimitsCampaign,
        service: RunningService,
        trial: Trial,
        data: Path,
        alarms: Path,
        rng: random.Random,
    ) -> None:
        self._campaign, self._service, self._data, self._alarms = campaign, service, data, alarms
        self._settings = settings_of(trial)
        self._worker = service.workers[0]
        port = int(service.url.rpartition(":")[2])
        self._port = port
        self._senders = [
            Sender(port, Log(person.account, room), person.name, person.token, rng)
            for room, people in zip(trial.rooms, trial.members, strict=True)
            for person in people
        ]

    async def lack(self, kind: str) -> None:
        """Somebody calls for help and nobody comes; the room is taken away until help goes on, and given back."""
        who = self._senders[len(self._campaign.lacks) % len(self._senders)]
        await who.ask({"t": "help", "client_id": who.new_id()})
        lacking, recovered = asyncio.Event(), asyncio.Event()
        lacking.set()
        before = self._campaign.refused.total()
        talking = [asyncio.create_task(self._talk(sender, lacking)) for sender in self._senders]
        began = time.time()
        try:
            async with self._without_room(kind):
                by, called_s = await self._until_called(began)
            back = time.monotonic()
            lacking.clear()
            try:
                async with asyncio.timeout(RECOVER_S):
                    await asyncio.gather(*talking)
                recovered.set()
            except TimeoutError:
                self._violate("stuck", f"{kind}: not everybody was answered within {RECOVER_S} s of room")
        finally:
            for task in talking:
                task.cancel()
            await asyncio.gather(*talking, return_exceptions=True)
        lack = Lack(kind, self._campaign.refused.total() - before, by, called_s, time.monotonic() - back)
        self._campaign.lacks.append(lack)
        if not by:
            self._violate("call", f"{kind}: nobody was called for help within {HELD_S} s")
        if kind != "open_files" and not lack.refused:
            self._violate("vain", f"{kind}: nothing was ever refused, so there was room")
        if self._service.workers[0] != self._worker or len(self._service.lines("serving")) > 1:
            self._violate("restart", f"{kind}: the worker was replaced")
            self._worker = self._service.workers[0]

    async def _talk(self, sender: Sender, lacking: asyncio.Event) -> None:
        """Send until there is room, and then until all is well."""
        well = 0
        while lacking.is_set() or well < WELL:
            code = await sender.send()
            if code == "":
                well += not lacking.is_set()
            elif code == "cut":
                self._campaign.cut += 1
            else:
                self._campaign.refused[code] += 1
                if code not in CLEAR:
                    self._violate("unclear", code)
            await asyncio.sleep(REST_S)

    async def _until_called(self, began: float) -> tuple[str, float]:
        """Wait until somebody is called for the rung that fell due meanwhile: by the ladder, or by the supervisor."""
        alarms = len(self._alarms.read_text().splitlines())
        due = from_us(round((began + SECOND_RUNG_S) * 1e6))
        while time.time() - began < HELD_S:
            await asyncio.sleep(0.2)
            if await look(self._settings, lambda conn: _calls_since(conn, due)):
                return "ladder", time.time() - began
            if "obligation_overdue" in self._alarms.read_text().splitlines()[alarms:]:
                return "supervisor", time.time() - began
        return "", time.time() - began

    @contextlib.asynccontextmanager
    async def _without_room(self, kind: str) -> AsyncIterator[None]:
        if kind == "full":
            filler = self._data / "filler"
            fill(filler)
            try:
                yield
            finally:
                filler.unlink()
        elif kind == "file_size":
            with limited(self._worker, resource.RLIMIT_FSIZE, FILE_BYTES):
                yield
        else:
            used = len(os.listdir(f"/proc/{self._worker}/fd"))
            with limited(self._worker, resource.RLIMIT_NOFILE, used + SPARE_FILES):
                knocking = [asyncio.create_task(self._knock()) for _ in range(KNOCKERS)]
                try:
                    yield
                finally:
                    for task in knocking:
                        task.cancel()
                    await asyncio.gather(*knocking, return_exceptions=True)

    async def _knock(self) -> None:
        """Open a connection, keep it for as long as it is kept, and open another."""
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    await reader.read()
                finally:
                    writer.transport.abort()
            self._campaign.turned_away += 1
            await asyncio.sleep(REST_S)

    async def judge(self) -> None:
        """Compare what was acknowledged with what is stored."""
        until = time.monotonic() + RECOVER_S
        stored = await look(self._settings, read_stored)
        while (stored.unmade or stored.uncalled) and time.monotonic() < until:
            await asyncio.sleep(0.2)
            stored = await look(self._settings, read_stored)
        campaign = self._campaign
        campaign.violations += judge_stored(stored)
        campaign.violations += [Violation("due", what) for what in stored.unmade]
        campaign.violations += [Violation("call", what) for what in stored.uncalled]
        for sender in self._senders:
            campaign.violations += judge_sending(sender.log, stored)
            campaign.sent += len(sender.log.sent)
            campaign.acknowledged += len(sender.log.acks)
            sender.close()

    def _violate(self, rule: str, what: str) -> None:
        self._campaign.violations.append(Violation(rule, what))


def _calls_since(conn: Connection, moment: datetime) -> int:
    """How many calls were made from then on."""
    made = select(func.count()).select_from(notice).where(notice.c.attempted_at >= moment)
    return int(conn.execute(made).scalar_one())
