"""`evenkeel torture stop`: each part that keeps people safe stands still in turn; something else must say so.

A real service (a supervisor with three workers, PostgreSQL, Redis, a service manager that listens, `evenkeel watch`
beside it) under people who talk. One process at a time is stopped by SIGSTOP: it is there, holds what it holds, and
does nothing, which is harder to notice than its death. Promised: within a minute somebody other than the stopped part
has raised it; the duty to call people passes to another process within ten seconds; calls go on wherever there is a
database to read; the watch shows its own silence; and nothing that was acknowledged is lost.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ops.setup.postgres import running_postgres
from ops.setup.redis import running_redis
from ops.torture.history import Violation, outcome
from ops.torture.people import calls_made, everybody, times_called
from ops.torture.service import running_service
from ops.torture.stop.listeners import WATCH_TOKEN, listening_manager, watching
from ops.torture.stop.parts import KINDS, RAISED_S, WELL_S, WORKERS, Scene, Stop
from ops.trial import make_trial

LEASE_S: Final = 10.0
# A call that was under way when its process stopped may be made again.
UNDER_WAY_S: Final = 2.0
# Without its database nobody can be called; that is what makes these three loud.
_CALLS_GO_ON: Final = frozenset({"holder", "worker", "supervisor", "redis", "watch"})


@dataclass
class StopCampaign:
    """What was done and what came of it."""

    seed: int
    stops: list[Stop] = field(default_factory=list)
    sent: int = 0
    acknowledged: int = 0
    calls: Counter[int] = field(default_factory=Counter)
    duration_s: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """The campaign as plain values."""
        raised: dict[str, list[str]] = {}
        for stop in self.stops:
            after = "never" if stop.raised_s is None else f"{stop.raised_s:.1f} s by the {stop.by} ({stop.what})"
            raised.setdefault(stop.kind, []).append(after)
        taken = [stop.lease_s for stop in self.stops if stop.lease_s is not None]
        return {
            "campaign": "stop",
            "seed": self.seed,
            "faults": dict(Counter(stop.kind for stop in self.stops)),
            "raised_after": {kind: "; ".join(each) for kind, each in raised.items()},
            "lease_taken_over_s_max": round(max(taken), 1) if taken else None,
            "calls_during": dict(Counter({stop.kind: 0 for stop in self.stops}) + _sum(self.stops)),
            "sent": self.sent,
            "acknowledged": self.acknowledged,
            "calls": sum(self.calls.values()),
            "calls_made_again": sum(count for times, count in self.calls.items() if times > 1),
            "duration_s": round(self.duration_s, 1),
            **outcome(self.violations),
        }


def _sum(stops: Sequence[Stop]) -> Counter[str]:
    found: Counter[str] = Counter()
    for stop in stops:
        found[stop.kind] += stop.calls
    return found


async def run_stops(
    folder: Path,
    *,
    stops: int,
    seed: int,
    kinds: Sequence[str] = KINDS,
    progress: Callable[[int, str], None] = lambda done, what: None,
) -> StopCampaign:
    """Stop parts in turn, each kind once before any comes again, and judge what is left."""
    rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be kept secret
    campaign = StopCampaign(seed)
    began = time.monotonic()
    with running_postgres(own=True) as postgres, running_redis() as redis, listening_manager(folder) as manager:
        trial = await make_trial(folder, postgres.create_database(), rooms=2, per_room=4, moderators=2)
        environ = {
            **trial.environ,
            "REDIS_URL": redis.url,
            "EVENKEEL_WORKERS": str(WORKERS),
            "EVENKEEL_WATCH_TOKEN": WATCH_TOKEN,
            "NOTIFY_SOCKET": str(manager.address),
        }
        with running_service(folder, environ) as service:
            await service.until_serving(WORKERS)
            with watching(folder, service.url) as watch:
                async with everybody(trial, service.url, rng) as people:
                    scene = Scene(service, postgres, redis, manager, watch, people, rng)
                    await scene.until_well()
                    for done in range(stops):
                        kind = kinds[done % len(kinds)]
                        campaign.stops.append(await scene.stop(kind))
                        progress(done + 1, kind)
                    stored = await people.settle()
                    campaign.sent, campaign.acknowledged = people.sent, people.acknowledged
                    campaign.violations = people.judge(stored)
            calls = calls_made(service.lines("person_called"))
            campaign.calls = times_called(calls)
            campaign.violations += _judge(campaign.stops, calls)
            await service.stop()
    campaign.duration_s = time.monotonic() - began
    return campaign


def _judge(stops: Sequence[Stop], calls: dict[str, list[float]]) -> list[Violation]:
    found = []
    for stop in stops:
        if stop.raised_s is None or stop.raised_s > RAISED_S:
            found.append(Violation("silence", f"{stop.kind}: raised after {stop.raised_s} s"))
        if stop.kind == "holder" and (stop.lease_s is None or stop.lease_s > LEASE_S):
            found.append(Violation("lease", f"taken over after {stop.lease_s} s"))
        if stop.kind in _CALLS_GO_ON and not stop.calls:
            found.append(Violation("call", f"{stop.kind}: nobody was called while it stood still"))
        if not stop.whole:
            found.append(Violation("stuck", f"{stop.kind}: not everybody was answered within {WELL_S} s"))
    for notice, moments in calls.items():
        for first in moments[:-1]:
            if not any(stop.began - UNDER_WAY_S <= first <= (stop.whole or first) for stop in stops):
                found.append(Violation("twice", notice))
    return found
