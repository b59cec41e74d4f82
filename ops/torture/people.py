"""The people of a campaign: rooms that talk, moderators who answer, until all is seen through; and who was called."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from ops.doctor import look
from ops.torture.clients import Chatter, Moderator
from ops.torture.history import Stored, Violation, judge, read_stored
from ops.trial import Trial
from server.settings import Settings, load_settings

URGENT_SHARE: Final = 0.2
CONNECT_S: Final = 60.0
SETTLE_S: Final = 90.0


def settings_of(trial: Trial) -> Settings:
    """Enough to look into a trial's database."""
    return load_settings(database_url=trial.environ["DATABASE_URL"], kind=trial.environ["EVENKEEL_KIND"])


class People:
    """Members and moderators of a trial, connected from entering to leaving.

    Args:
        settle_s: how long the service is given at the end until all is answered, told and called.
    """

    def __init__(
        self, trial: Trial, chatters: Sequence[Chatter], moderators: Sequence[Moderator], *, settle_s: float
    ) -> None:
        self.settings = settings_of(trial)
        self.chatters, self.moderators = chatters, moderators
        self._settle_s = settle_s
        self._over = asyncio.Event()
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        for chatter in self.chatters:
            self._tasks.create_task(chatter.run(self._over))
        for moderator in self.moderators:
            self._tasks.create_task(moderator.run(self._over))
        async with asyncio.timeout(CONNECT_S):
            for chatter in self.chatters:
                await chatter.connected.wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        await self._tasks.__aexit__(kind, error, trace)

    async def until_answered(self, since: float, within_s: float = CONNECT_S) -> bool:
        """Wait until everybody who talks has been answered after `since` (monotonic); False if they were not."""
        until = time.monotonic() + within_s
        talkers = [chatter.log for chatter in self.chatters if chatter.talks]
        while any(max(log.answered.values(), default=0.0) < since for log in talkers):
            if time.monotonic() > until:
                return False
            await asyncio.sleep(0.05)
        return True

    async def settle(self) -> Stored:
        """Nothing new is sent; wait until all is answered, told and called. Returns the last look, settled or not."""
        for chatter in self.chatters:
            chatter.stop()
        until = time.monotonic() + self._settle_s
        while True:
            # Asked first: what is answered by now is in what the database says next.
            answered = all(len(chatter.log.acks) == len(chatter.log.sent) for chatter in self.chatters)
            stored = await look(self.settings, read_stored)
            read = all(c.log.told and c.log.told[-1].of >= stored.heads[c.log.feed] for c in self.chatters)
            called = all(stored.pages.get(m.log.account, frozenset()) <= m.log.pages for m in self.moderators)
            if (answered and read and called and not stored.unmade and not stored.uncalled) or time.monotonic() > until:
                return stored
            await asyncio.sleep(0.2)

    def judge(self, stored: Stored) -> list[Violation]:
        """What the one judge finds."""
        return judge([chatter.log for chatter in self.chatters], [one.log for one in self.moderators], stored)

    @property
    def sent(self) -> int:
        return sum(len(chatter.log.sent) for chatter in self.chatters)

    @property
    def acknowledged(self) -> int:
        return sum(len(chatter.log.acks) for chatter in self.chatters)


def everybody(trial: Trial, url: str, rng: random.Random) -> People:
    """Everybody of a trial at one address: members who talk, each in their room, and moderators who answer."""

    def dice() -> random.Random:
        return random.Random(rng.getrandbits(64))  # noqa: S311 - to be repeated, not to be kept secret

    chatters = [
        Chatter(url, person, room, dice(), URGENT_SHARE)
        for room, people in zip(trial.rooms, trial.members, strict=True)
        for person in people
    ]
    return People(trial, chatters, [Moderator(url, person, dice()) for person in trial.moderators], settle_s=SETTLE_S)


def calls_made(lines: Iterable[Mapping[str, Any]]) -> dict[str, list[float]]:
    """When each call was made by the outside channel (seconds since 1970), by its id, from what the workers wrote."""
    found: dict[str, list[float]] = {}
    for line in lines:
        if line.get("event") == "person_called":
            found.setdefault(line["notice"], []).append(line["said_at"])
    return {notice: sorted(moments) for notice, moments in found.items()}


def times_called(calls: Mapping[str, Sequence[float]]) -> Counter[int]:
    """How many calls were made once, twice, and so on."""
    return Counter(len(moments) for moments in calls.values())
