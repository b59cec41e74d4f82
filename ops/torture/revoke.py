"""`evenkeel torture revoke`: take people's rights away while they listen, and see when their sockets fall silent.

People listen on three servers to a room in which somebody never stops talking. Their sessions are ended, or they are
taken out of the room, in every way that there is, by another process (this one, as an operator's command would) or by
way of another server. Promised: the socket is closed, or the room closed to it, within 2 s (p99; 6 s while Redis is
away), not one event comes afterwards, and nobody gets back in.

Moments are of `time.monotonic`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from clients.sdk import http_api
from clients.sdk.client import Client, LinkChange, LinkState
from clients.sdk.connection import Timing
from clients.sdk.errors import ClientError
from moderation.types import Role
from ops.setup.postgres import running_postgres
from ops.setup.redis import running_redis
from ops.torture.clients import CLEAN, RETURN_S, words
from ops.torture.cluster import Cluster
from ops.torture.history import Violation, outcome
from ops.torture.scaled import SERVERS, share
from ops.trial import PASSWORD, TrialPerson, make_trial
from server.actions.accounts import Origin, change_password
from server.actions.post_message import post_message
from server.actions.rights import disable_account, set_role
from server.actions.rooms import remove_from_room
from server.actions.services import Services
from server.actions.sessions import authenticate, sign_out, sign_out_everywhere
from server.ids import new_id
from server.main import open_services
from server.protocol.codec import UnknownEvent
from server.protocol.frames import AccessItem, Event, Send
from server.settings import load_settings

KINDS: Final = ("sign_out", "page_sign_out", "everywhere", "password", "role", "disable", "removal")
TOGETHER: Final = 14
REDIS_AWAY_SHARE: Final = 0.25
LIMIT_MS: Final = 2_000
LIMIT_AWAY_MS: Final = 6_000
WAIT_S: Final = 15.0
AFTERWARDS_S: Final = 1.0
TALK_S: Final = 0.03


@dataclass(frozen=True, slots=True)
class Silenced:
    """One revocation. `spent_ms`: from the answer to whoever revoked; None: the socket was never closed."""

    kind: str
    redis_away: bool
    spent_ms: float | None
    events_after: int
    came_back: bool


@dataclass
class RevokeCampaign:
    """What was done and what came of it."""

    seed: int
    done: list[Silenced] = field(default_factory=list)
    duration_s: float = 0.0

    @property
    def violations(self) -> list[Violation]:
        """Every promise that was not kept."""
        found = [Violation("open", one.kind) for one in self.done if one.spent_ms is None]
        found += [Violation("after", f"{one.kind}: {one.events_after}") for one in self.done if one.events_after]
        found += [Violation("back", one.kind) for one in self.done if one.came_back]
        for away, limit_ms in ((False, LIMIT_MS), (True, LIMIT_AWAY_MS)):
            slow_ms = share(self._spent(away), 0.99)
            if slow_ms is not None and slow_ms > limit_ms:
                where = "while Redis was away" if away else "with Redis"
                found.append(Violation("late", f"p99 {slow_ms} ms {where}"))
        return found

    def _spent(self, away: bool) -> list[float]:
        return [one.spent_ms for one in self.done if one.redis_away is away and one.spent_ms is not None]

    def facts(self) -> dict[str, Any]:
        """The campaign as plain values."""
        violations = self.violations
        return {
            "campaign": "revoke",
            "seed": self.seed,
            "revocations": dict(Counter(one.kind for one in self.done)),
            "without_redis": sum(one.redis_away for one in self.done),
            "closed_ms_p50": share(self._spent(False), 0.5),
            "closed_ms_p99": share(self._spent(False), 0.99),
            "closed_without_redis_ms_p99": share(self._spent(True), 0.99),
            "events_after": sum(one.events_after for one in self.done),
            "duration_s": round(self.duration_s, 1),
            **outcome(violations),
        }


async def run_revoke(
    folder: Path, *, revocations: int, seed: int, progress: Callable[[int, str], None] = lambda done, what: None
) -> RevokeCampaign:
    """Revoke so many rights, each of somebody else, the last quarter of them while Redis is away."""
    rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be kept secret
    campaign = RevokeCampaign(seed)
    began = time.monotonic()
    with running_postgres() as postgres, running_redis() as redis:
        url = postgres.create_database()
        trial = await make_trial(folder, url, rooms=1, per_room=revocations + 1)
        environ = {**trial.environ, "REDIS_URL": redis.url}
        settings = load_settings(
            database_url=url,
            redis_url=redis.url,
            key_file=Path(environ["EVENKEEL_KEY_FILE"]),
            kind=environ["EVENKEEL_KIND"],
            argon2_memory_kib=8,
            argon2_passes=1,
            screening_deadline_ms=1000,
        )
        (talker, *people), room = trial.members[0], trial.rooms[0]
        kinds = [KINDS[n % len(KINDS)] for n in range(revocations)]
        rng.shuffle(kinds)
        with_redis = revocations - round(revocations * REDIS_AWAY_SHARE)
        async with (
            Cluster(SERVERS, environ, folder) as cluster,
            open_services(settings) as services,
            _talking(services, talker, room),
        ):
            hand = _Hand(services, cluster.urls, room)
            for first, last, away in ((0, with_redis, False), (with_redis, revocations, True)):
                if away:
                    redis.stop()
                for start in range(first, last, TOGETHER):
                    chosen = range(start, min(start + TOGETHER, last))
                    listeners = [
                        _Listener(cluster.urls[n % SERVERS], people[n], room, kinds[n], rng.random()) for n in chosen
                    ]
                    campaign.done += await _silence(listeners, hand, away)
                    progress(len(campaign.done), "without Redis" if away else "with Redis")
        postgres.drop_database(url)
    campaign.duration_s = time.monotonic() - began
    return campaign


async def _silence(listeners: Sequence[_Listener], hand: _Hand, away: bool) -> list[Silenced]:
    """Let all of them listen, take each one's rights away within a second, and wait until all are silent."""
    over = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for listener in listeners:
            tasks.create_task(listener.listen(over))
        async with asyncio.timeout(WAIT_S * 2):
            for listener in listeners:
                await listener.hearing.wait()
        await asyncio.gather(*(listener.revoke(hand) for listener in listeners))
        await asyncio.sleep(AFTERWARDS_S)
        over.set()
    return [listener.silenced(away) for listener in listeners]


class _Listener:
    """Somebody who listens to the room until they may not."""

    def __init__(self, url: str, person: TrialPerson, room: str, kind: str, delay_s: float) -> None:
        self.person, self.kind = person, kind
        self.hearing = asyncio.Event()
        self._room, self._delay_s = room, delay_s
        self._revoked_at: float | None = None
        self._closed_at: float | None = None
        self._closed = asyncio.Event()
        self._events_after = 0
        self._came_back = False
        self._client = Client(
            url,
            token=person.token,
            timing=Timing(uniform=lambda low, high: RETURN_S),
            on_event=self._event,
            on_link=self._link,
        )

    async def listen(self, over: asyncio.Event) -> None:
        """Be connected until `over`, or until it is over for this person."""
        with contextlib.suppress(ClientError):
            async with self._client as client:
                await client.join(self._room)
                await over.wait()

    async def revoke(self, hand: _Hand) -> None:
        """Have this person's rights taken away, and wait until they are."""
        await asyncio.sleep(self._delay_s)
        self._revoked_at = time.monotonic()
        await hand.take(self.kind, self.person)
        answered_at = time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                await self._closed.wait()
        self._revoked_at = answered_at

    def _event(self, event: Event | UnknownEvent) -> None:
        self.hearing.set()
        if self._closed_at is not None and event.feed == self._room:
            self._events_after += 1
        elif (
            self.kind == "removal"
            and isinstance(event, Event)
            and isinstance(event.item, AccessItem)
            and event.item.account == self.person.account
        ):
            self._close()

    def _link(self, change: LinkChange) -> None:
        if self._revoked_at is None or self.kind == "removal":
            return
        if change.state is not LinkState.UP:
            self._close()
        elif self._closed_at is not None:
            self._came_back = True

    def _close(self) -> None:
        if self._closed_at is None:
            self._closed_at = time.monotonic()
            self._closed.set()

    def silenced(self, away: bool) -> Silenced:
        spent = None
        if self._closed_at is not None and self._revoked_at is not None:
            spent = max(self._closed_at - self._revoked_at, 0.0) * 1000
        return Silenced(self.kind, away, spent, self._events_after, self._came_back)


@dataclass(frozen=True)
class _Hand:
    """Takes rights away, as a command of the operator or of the person does."""

    services: Services
    urls: tuple[str, ...]
    room: str

    async def take(self, kind: str, person: TrialPerson) -> None:
        """Carry out one revocation; it is committed when this returns."""
        services = self.services
        if kind == "page_sign_out":
            await http_api.sign_out(self.urls[0], person.token)
            return
        requester = await authenticate(services, person.token)
        match kind:
            case "sign_out":
                await sign_out(services, requester)
            case "everywhere":
                await sign_out_everywhere(services, requester)
            case "password":
                await change_password(services, Origin("10.254.0.1"), requester, PASSWORD, f"{PASSWORD}, and a raft")
            case "role":
                await set_role(services, None, person.account, Role.FACILITATOR)
            case "disable":
                await disable_account(services, None, person.account)
            case "removal":
                await remove_from_room(services, person.account, self.room)
            case _:
                raise ValueError(f"nothing is revoked by {kind}")


@contextlib.asynccontextmanager
async def _talking(services: Services, talker: TrialPerson, room: str) -> AsyncIterator[None]:
    """Somebody who never stops talking, so that who still hears is found out."""

    async def talk() -> None:
        requester = await authenticate(services, talker.token)
        n = 0
        while True:
            command = Send(client_id=new_id(), feed=room, body=words(talker.name, n, CLEAN[n % len(CLEAN)]))
            await post_message(services, requester, command)
            n += 1
            await asyncio.sleep(TALK_S)

    async with asyncio.TaskGroup() as tasks:
        talking = tasks.create_task(talk())
        yield
        talking.cancel()
