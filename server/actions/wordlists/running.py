"""The lists that this process runs: those in force in the database, taken over whole within seconds of a change.

Promises: lists are compiled beside the loop and exchanged in one assignment; lists that can not be compiled leave those
that run, and raise an alarm; a process begins with the lists that come with the program until it has read others. Once
a minute every canary goes through the gate to the filter: while one is not found, no text counts as checked.

An alarm is a line in the log, a number (`evenkeel_watchwords_trusted`), an audit row and a notice to staff.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, NoReturn

import structlog
from prometheus_client import Gauge
from sqlalchemy import Connection, Row

from moderation.canaries import missed
from moderation.types import Finding, Role, RoomKind, TextKind
from server.actions.screening import Screening
from server.actions.wordlists.checking import canaries
from server.actions.wordlists.documents import compiled, digest, pack, shipped, unpack
from server.actions.wordlists.shadow import Shadow
from server.bus.port import Bus, Nudge
from server.ids import new_id
from server.store import wordlists, wordtrials
from server.store.store import Store
from server.store.unit import AuditEntry, Tx
from server.store.wordlists import Live, NewVersion, Origin
from server.store.wordtrials import TrialKind, TrialState
from watchwords.matcher import Matcher

log = structlog.get_logger()
LOOK_S: Final = 2.0
CANARIES_S: Final = 60.0
AGAIN_S: Final = 60.0
_KEPT: Final = 3

NOT_LOADED: Final = "lists_not_loaded"
CANARY_MISSED: Final = "canary_missed"

TRUSTED: Final = Gauge(
    "evenkeel_watchwords_trusted", "1 while this process runs the lists in force and they find every canary."
)


class Lists:
    """The lists of one process. Used from the loop. `start` it once the store is open."""

    def __init__(self, store: Store, screening: Screening, bus: Bus) -> None:
        self._store, self._screening, self._bus = store, screening, bus
        self._built: OrderedDict[str, Matcher] = OrderedDict()
        self._wake = asyncio.Event()
        self._looking = asyncio.Lock()
        self._failed: tuple[int, float] | None = None
        self._troubles: set[str] = set()
        self._listeners: list[Callable[[], None]] = []
        self.live: Live | None = None
        self.shadow = Shadow(store, lambda: screening.matcher)
        bus.listen(self.shadow.hear, lambda feed, epoch, seq: None)
        for nudge in (Nudge.LISTS, Nudge.EVERYTHING):
            bus.heed(nudge, lambda ids: self._wake.set())

    @property
    def troubles(self) -> tuple[str, ...]:
        """The codes of what is wrong just now; the staff's pages say them."""
        return tuple(sorted(self._troubles))

    @property
    def matcher(self) -> Matcher:
        """The lists that run."""
        return self._screening.matcher

    async def start(self) -> None:
        """Bring the program's own lists into the database, and take over those in force.

        The first time they come into force by themselves. Those of a newer program are only proposed: they never
        replace what was signed.
        """
        canaries()  # a canary that can not be read stops the start, as any policy does
        self._keep(digest(shipped()), self._screening.matcher)
        await self._import()
        await self.look()

    async def _import(self) -> None:
        documents = shipped()
        name = digest(documents)
        if await self._store.read(lambda conn: wordlists.holds_digest(conn, name)):
            return
        content, list_version = pack(documents), self._screening.matcher.version

        def unit(tx: Tx) -> None:
            new = NewVersion(Origin.SHIPPED, None, "", content, name, list_version, "First start.", None)
            if wordlists.insert_first(tx, new):
                tx.audit(AuditEntry("words_live", "word_version", wordlists.FIRST, new_id(), None, name[:40]))
                return
            wordlists.lock(tx)
            if wordlists.holds_digest(tx.conn, name):
                return
            now = wordlists.live(tx.conn)
            base = None if now is None else now.version
            change = '{"kind": "release", "name": "", "entry": "", "text": ""}'
            why = "These lists come with this release of the program."
            version = wordlists.insert_version(
                tx, NewVersion(Origin.RELEASE, base, change, content, name, list_version, why, None)
            )
            tx.audit(AuditEntry("words_proposed", "word_version", version, new_id(), None, name[:40]))

        await self._store.write(unit)

    def changed(self) -> None:
        """Tell the other processes, and this one, to look."""
        self._wake.set()
        for listener in self._listeners:
            listener()
        self._bus.nudge(Nudge.LISTS)

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` in the loop when this process or another one has changed something; it must not wait."""
        self._listeners.append(listener)
        self._bus.heed(Nudge.LISTS, lambda ids: listener())

    async def follow(self) -> NoReturn:
        """Look whenever something says so, and every LOOK_S; try the canaries every minute; until cancelled."""
        loop = asyncio.get_running_loop()
        tried_at = -CANARIES_S
        while True:
            self._wake.clear()
            try:
                await self.look()
            except Exception as error:
                log.warning("word_lists_not_looked_at", error=type(error).__name__)
            if loop.time() - tried_at >= CANARIES_S:
                tried_at = loop.time()
                await self.try_canaries()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()

    async def look(self) -> None:
        """Take over the lists in force and the trial in shadow, if they are others than those that run here."""
        async with self._looking:
            live, shadows = await self._store.read(_heads)
            if live is not None and (self.live is None or live.n != self.live.n):
                await self._take(live)
            await self._take_shadow(shadows[0] if shadows else None)

    async def _take(self, live: Live) -> None:
        now = asyncio.get_running_loop().time()
        if self._failed is not None and self._failed[0] == live.n and now - self._failed[1] < AGAIN_S:
            return
        try:
            matcher = await self.build(live.version, live.digest)
        except Exception as error:
            self._failed = (live.n, now)
            log.critical("watchwords_not_loaded", version=live.version, error=type(error).__name__)
            await self._alarm(NOT_LOADED, live.version)
            return
        self._screening.use(matcher)
        self.live, self._failed = live, None
        await self._all_clear(NOT_LOADED)
        log.info("watchwords_in_use", version=live.version, activation=live.n)

    async def build(self, version: str, name: str) -> Matcher:
        """The matcher of a stored version, compiled in a thread, or remembered. `name`: the digest of its content.

        Raises:
            Faulty: the lists can not be used.
            ValueError: what is stored is not what was signed.
        """
        if (known := self._built.get(name)) is not None:
            return known
        content = await self._store.read(lambda conn: wordlists.content(conn, version))

        def load() -> Matcher:
            documents = unpack(content)
            if digest(documents) != name:
                raise ValueError("the stored lists are not those of their digest")
            return compiled(documents)

        return self._keep(name, await asyncio.to_thread(load))

    def remember(self, name: str, matcher: Matcher) -> None:
        """Keep a matcher that was compiled here anyway, in case its lists come into force."""
        self._keep(name, matcher)

    def _keep(self, name: str, matcher: Matcher) -> Matcher:
        self._built[name] = matcher
        self._built.move_to_end(name)
        while len(self._built) > _KEPT:
            self._built.popitem(last=False)
        return matcher

    async def _take_shadow(self, row: Row[Any] | None) -> None:
        if row is None:
            self.shadow.end()
        elif self._store.clock.now() >= row.until:
            self.shadow.end()
            await self._store.write(lambda tx: wordtrials.end_trial(tx, row.id, TrialState.DONE))
        elif row.id != self.shadow.trial:
            try:
                matcher = await self.build(row.word_version, row.digest)
            except Exception as error:
                log.error("shadow_not_built", trial=row.id, error=type(error).__name__)
                await self._store.write(lambda tx: wordtrials.end_trial(tx, row.id, TrialState.FAILED))
                return
            self.shadow.begin(row.id, matcher)

    async def try_canaries(self) -> bool:
        """Send every canary through the gate; from a miss on, no text counts as checked until none is missed."""
        lost = missed(canaries(), self._found)
        self._screening.distrust(CANARY_MISSED if lost else "")
        if lost:
            log.critical("watchwords_canary_missed", places=[canary.where for canary in lost])
            await self._alarm(CANARY_MISSED, self.live.version if self.live else "")
        else:
            await self._all_clear(CANARY_MISSED)
        return not lost

    def _found(self, text: str) -> tuple[Finding, ...]:
        return self._screening.screen(text, TextKind.MESSAGE, RoomKind.COMMUNITY, Role.MEMBER).findings

    async def _alarm(self, trouble: str, version: str) -> None:
        TRUSTED.set(0)
        if trouble not in self._troubles:
            self._troubles.add(trouble)
            await self._write_down(f"words_{trouble}", version)

    async def _all_clear(self, trouble: str) -> None:
        if trouble in self._troubles:
            self._troubles.discard(trouble)
            await self._write_down(f"words_{trouble}_over", self.live.version if self.live else "")
        TRUSTED.set(not self._troubles)

    async def _write_down(self, act: str, version: str) -> None:
        entry = AuditEntry(act, "word_version", version, new_id())
        try:
            await self._store.write(lambda tx: tx.audit(entry))
        except Exception as error:
            log.error("alarm_not_audited", act=act, error=type(error).__name__)


def _heads(conn: Connection) -> tuple[Live | None, list[Row[Any]]]:
    return wordlists.live(conn), list(wordtrials.open_trials(conn, [TrialKind.SHADOW]))
