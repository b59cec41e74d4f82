"""`evenkeel torture disk`: the disk is full, or fails, at the n-th write or sync, and works again later.

The message path and the store are those of the service, on SQLite, over a disk that answers some of what the writer or
the checkpoint thread asks with an error (`ops.torture.disk`). Promised: nothing is acknowledged that was not stored;
who sends meanwhile is told that the same may be sent again; and once the disk works so does the service, without a
restart, checkpoints included: without them the log would grow until the disk is full for good.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import apsw

from ops.doctor import look
from ops.torture.disk import Disk
from ops.torture.driver import sqlite_on
from ops.torture.history import Violation, judge_sending, judge_stored, outcome, read_stored
from ops.torture.power import DATABASE_NAME, ROOMS, Sender, make_senders, settings_at, url_at
from ops.trial import make_trial
from server.actions.services import Services
from server.actions.sessions import authenticate
from server.errors import Unavailable
from server.main import open_services

PER_ROOM: Final = 3
ERRORS: Final[tuple[type[apsw.Error], ...]] = (apsw.FullError, apsw.IOError)
AFTER: Final = (0, 150)
COUNTS: Final = (1, 2, 5, 40)
WRITER: Final = "evenkeel-writer"
CHECKPOINTS: Final = "evenkeel-checkpoint"
# One takes at most three errors: a write, and twice the sync that follows.
CHECKPOINT_AFTER: Final = (0, 20)
CHECKPOINT_COUNTS: Final = (1, 3)
CHECKPOINT_SHARE: Final = 0.25
# Each person has so many messages acknowledged after an outage before it counts as over.
WELL: Final = 2
RECOVER_S: Final = 20.0
AGAIN_S: Final = 0.002


@dataclass
class ShortageCampaign:
    """What was done and what came of it.

    Attributes:
        refused: how often somebody who sent was refused, by code.
        in_checkpoints: how many of the faults met a checkpoint; all others met commits.
        recovered_ms: from the last error of an outage until everybody had two messages acknowledged.
    """

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    in_checkpoints: int = 0
    errors: int = 0
    sent: int = 0
    acknowledged: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    recovered_ms: list[float] = field(default_factory=list)
    duration_s: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """The campaign as plain values."""
        return {
            "campaign": "disk",
            "seed": self.seed,
            "faults": dict(self.faults),
            "faults_in_checkpoints": self.in_checkpoints,
            "errors": self.errors,
            "sent": self.sent,
            "acknowledged": self.acknowledged,
            "refused": dict(self.refused),
            "recovered_ms_max": round(max(self.recovered_ms)) if self.recovered_ms else None,
            "duration_s": round(self.duration_s, 1),
            **outcome(self.violations),
        }


async def run_shortage(
    folder: Path, *, faults: int, seed: int, progress: Callable[[int, str], None] = lambda done, what: None
) -> ShortageCampaign:
    """Let the disk fail `faults` times under one service that is never restarted, and judge what it kept."""
    rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be kept secret
    campaign = ShortageCampaign(seed)
    began = time.monotonic()
    trial = await make_trial(folder, url_at(folder), rooms=ROOMS, per_room=PER_ROOM)
    people = make_senders(trial, rng)
    disk = Disk()
    with sqlite_on(disk.name):
        async with open_services(settings_at(trial, folder)) as services:
            for done in range(faults):
                error = rng.choice(ERRORS)
                campaign.faults[error.__name__] += 1
                if rng.random() < CHECKPOINT_SHARE:
                    campaign.in_checkpoints += 1
                    disk.fail_after(
                        rng.randint(*CHECKPOINT_AFTER), rng.choice(CHECKPOINT_COUNTS), error, thread=CHECKPOINTS
                    )
                    await _see_through(campaign, services, disk, people)
                    await _checkpointed(campaign, disk, DATABASE_NAME)
                else:
                    disk.fail_after(rng.randint(*AFTER), rng.choice(COUNTS), error, thread=WRITER)
                    await _see_through(campaign, services, disk, people)
                progress(done + 1, error.__name__)
                if campaign.violations:
                    break
    campaign.errors = disk.failed
    disk.remove()
    stored = await look(settings_at(trial, folder), read_stored)
    campaign.violations += judge_stored(stored)
    for person in people:
        campaign.violations += judge_sending(person.log, stored)
    campaign.sent = sum(len(person.log.sent) for person in people)
    campaign.acknowledged = sum(len(person.log.acks) for person in people)
    campaign.duration_s = time.monotonic() - began
    return campaign


async def _see_through(campaign: ShortageCampaign, services: Services, disk: Disk, people: Sequence[Sender]) -> None:
    """Everybody sends until the errors are over, and then until the service has shown that it is well again."""
    well_from = 0.0

    async def talk(person: Sender) -> None:
        nonlocal well_from
        requester = await authenticate(services, person.token)
        well = 0
        while disk.is_failing or well < WELL:
            try:
                ack = await person.send(services, requester)
            except Unavailable as error:
                campaign.refused[error.error_code] += 1
                well_from = time.monotonic()
                await asyncio.sleep(AGAIN_S)
            else:
                person.received(ack)
                well += not disk.is_failing

    try:
        async with asyncio.timeout(RECOVER_S):
            await asyncio.gather(*(talk(person) for person in people))
    except TimeoutError:
        campaign.violations.append(Violation("stuck", f"nothing more was acknowledged within {RECOVER_S} s"))
    if well_from:
        campaign.recovered_ms.append((time.monotonic() - well_from) * 1000)


async def _checkpointed(campaign: ShortageCampaign, disk: Disk, database: str) -> None:
    """Wait until what is in the log has been moved into the database, after the last error."""
    try:
        async with asyncio.timeout(RECOVER_S):
            while database not in disk.kept:  # noqa: ASYNC110 - SQLite's threads set it
                await asyncio.sleep(AGAIN_S)
    except TimeoutError:
        campaign.violations.append(Violation("stuck", f"no checkpoint came within {RECOVER_S} s of a failed one"))
