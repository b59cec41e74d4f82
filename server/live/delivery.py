"""Feeds to followers: every follower is given every event of its feed once, in order, and waits for nobody.

Promise, for each follower: after `joined` at seq S it is written S+1, S+2, ... without gaps and without repeats (but
those that its own heartbeat asked for), until it leaves, is dropped, or its connection ends. A new epoch starts again
with a new `joined`.

How. A feed stands at `last`; the only event that may come next is `last + 1`. Anything further is parked and what is
missing is read from the log at once. Followers that keep up sit in groups that share one encoding; a flush writes
what came in one tick of the loop once to each of them. A follower that can not be written to is taken out with the seq
that it was last written, and comes back when the log has brought it to where the feed stands, in the same step of the
loop. Nothing here waits for one socket.

Not decided here: frames and back-pressure of a connection (`connection`), or who may read what (`verbs`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec
import structlog

from server.errors import BadRequest, ServiceError, Unavailable
from server.feeds import FeedEvent, Following
from server.live import metrics
from server.live.encoding import encode_event, encode_reply
from server.live.followers import Feed, Follower, Reader, Standing, feed_name
from server.live.gaps import BACKOFF_FIRST_S, BACKOFF_MOST_S, READ_TIMEOUT_S, Gaps
from server.live.verbs import Verbs
from server.protocol.frames import MAX_FEEDS, Position

_log = structlog.get_logger(__name__)

PARKED_MOST: Final = 1_000
RECENT_MOST: Final = 1_000
REPLAY_CHUNK: Final = 32
FOLLOW_TRIES: Final = 3
# A flush of this many writes holds up the loop for a millisecond or more. The next one waits for some turns of the
# loop, so that what came meanwhile is read, screened and stored by then and leaves in the same writes. Without it,
# messages fall into groups that take turns, and each member is written to for each group: 9.1 s of a core for a million
# deliveries in rooms of 500 became 5.5, in rooms of 2,000 5.3 became 2.8 (same minutes, November 2026).
LARGE_FLUSH: Final = 256
TURNS_AFTER: Final = 6
_NOBODY: Final[Mapping[Reader, list[bytes]]] = MappingProxyType({})


class Delivery:
    """All feeds that somebody on this process follows."""

    def __init__(self, verbs: Verbs, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        self._verbs = verbs
        self._spawn = spawn
        self._feeds: dict[str, Feed] = {}
        self._dirty: list[Feed] = []
        self._answering: list[Reader] = []
        self._flush_asked = False
        self._turns_left = 0
        self._written = 0  # writes of the last flush
        self._delivered = 0  # not counted yet
        self._gaps = Gaps(verbs, spawn, self._offer)
        self._catching: set[Reader] = set()

    # --- what happened ---

    def events(self, events: Sequence[FeedEvent]) -> None:
        """Committed events, in any order, perhaps known already."""
        for event in events:
            self._offer(event)

    def moved(self, name: str, epoch: int, seq: int) -> None:
        """A feed stands at (epoch, seq), says somebody else."""
        feed = self._feeds.get(name)
        if feed is None or epoch < feed.epoch:
            return
        if epoch > feed.epoch:
            self._begin_epoch(feed, epoch)
        feed.head = max(feed.head, seq)
        self._gaps.seek(feed)

    def followed(self) -> list[str]:
        """Names of all feeds with followers."""
        return list(self._feeds)

    def _offer(self, event: FeedEvent) -> None:
        feed = self._feeds.get(event.feed)
        if feed is None:
            return
        if event.epoch != feed.epoch:
            if event.epoch < feed.epoch:
                return
            self._begin_epoch(feed, event.epoch)
        if feed.last is not None:
            if event.seq <= feed.last:
                return
            if event.seq == feed.last + 1:
                self._apply(feed, event)
                self._unpark(feed)
                return
        feed.head = max(feed.head, event.seq)
        if len(feed.parked) < PARKED_MOST:
            feed.parked[event.seq] = event
        self._gaps.seek(feed)

    def _unpark(self, feed: Feed) -> None:
        while feed.parked and feed.last is not None:
            event = feed.parked.pop(feed.last + 1, None)
            if event is None:
                break
            self._apply(feed, event)

    def _apply(self, feed: Feed, event: FeedEvent) -> None:
        feed.last = event.seq
        feed.fruitless = 0
        feed.parked.pop(event.seq, None)
        if not feed.pending:
            self._dirty.append(feed)
            self._ask_flush()
        feed.pending.append(event)
        if feed.apart:
            feed.recent.append(event)
            if len(feed.recent) > RECENT_MOST:
                del feed.recent[: RECENT_MOST // 2]
        if event.drops is not None:
            # Looked up before the flush: within it a transport may fill up, and its follower leave the group.
            dropped = [
                follower
                for follower in feed.followers.values()
                if follower.standing is Standing.LEVEL and follower.reader.requester.account == event.drops
            ]
            self._flush(feed)
            for follower in dropped:
                self._remove(follower)
        if feed.apart:
            for follower in list(feed.followers.values()):
                if follower.standing is Standing.AHEAD and follower.seq == feed.last:
                    self._settle(follower)

    # --- writing ---

    def reply(self, reader: Reader) -> None:
        """`reader` has replies to write: after the events that are known now, in this tick of the loop."""
        self._answering.append(reader)
        self._ask_flush()

    def _ask_flush(self) -> None:
        if not self._flush_asked:
            self._flush_asked = True
            self._turns_left = TURNS_AFTER if self._written >= LARGE_FLUSH else 0
            asyncio.get_running_loop().call_soon(self._flush_in_turn)

    def _flush_in_turn(self) -> None:
        if self._turns_left:
            self._turns_left -= 1
            asyncio.get_running_loop().call_soon(self._flush_in_turn)
        elif self._flush_asked:
            self.flush()

    def flush(self) -> None:
        """Write everything that is pending: events first, then replies."""
        self._flush_asked = False
        self._written = 0
        dirty, self._dirty = self._dirty, []
        answering, self._answering = self._answering, []
        # Who is answered in this tick is written to once, events and answers in one: the author of a message in a room
        # of two is one of three writes otherwise.
        kept: dict[Reader, list[bytes]] = {reader: [] for reader in answering}
        for feed in dirty:
            self._flush(feed, kept)
        if self._delivered:
            metrics.DELIVERIES.inc(self._delivered)
            self._delivered = 0
        for reader, events in kept.items():
            reader.flush_replies(events)

    def _flush(self, feed: Feed, kept: Mapping[Reader, list[bytes]] = _NOBODY) -> None:
        """Write what is pending on `feed`; for the readers in `kept` lay it there instead."""
        events = feed.pending
        if not events:
            return
        feed.pending = []
        # Before the writes: the transport may call `pause` from within one, and what it was given is written.
        feed.flushed = events[-1].seq
        authors = {event.author for event in events if event.for_author is not None}
        count = failed = 0
        for key, members in list(feed.groups.items()):
            if not members:
                continue
            shared = b"".join([encode_event(feed, event, key, "") for event in events])
            own: dict[str, bytes] = {}
            # A copy, because `pause` takes its reader out of the group.
            for reader, write in list(members.items()):
                data = shared
                if authors and (account := reader.requester.account) in authors:
                    if account not in own:
                        own[account] = b"".join([encode_event(feed, event, key, account) for event in events])
                    data = own[account]
                if reader in kept:
                    kept[reader].append(data)
                    continue
                try:
                    write(data)
                except Exception:  # its connection is lost, as it will soon be told; nobody else suffers
                    failed += 1
            count += len(members)
        self._written += count
        self._delivered += count * len(events)
        if failed:
            _log.warning("writes_failed", feed=feed.name, count=failed)

    def _write_events(self, follower: Follower, events: Sequence[FeedEvent]) -> None:
        """Write `events` that follow `follower.seq`, as far as the transport takes them."""
        reader, account = follower.reader, follower.reader.requester.account
        reader.flush_replies()
        at = 0
        while at < len(events) and reader.can_take and follower.standing is not Standing.GONE:
            chunk: list[FeedEvent] = []
            for event in events[at : at + REPLAY_CHUNK]:
                chunk.append(event)
                if event.drops == account and event.seq > follower.granted:
                    break
            at += len(chunk)
            # Before the write, for the same reason as in `_flush`.
            follower.seq = chunk[-1].seq
            reader.write(b"".join([encode_event(follower.feed, event, follower.key, account) for event in chunk]))
            metrics.REPLAYS.inc(len(chunk))
            if chunk[-1].drops == account and chunk[-1].seq > follower.granted:
                self._remove(follower)

    # --- joining and leaving ---

    async def join(self, reader: Reader, wire: str, after: Position | None, re: str | None) -> None:
        """Let `reader` follow a feed: `joined`, then every event after it. A feed followed already starts anew.

        Raises:
            ServiceError: it may not, or follows too many; then nothing was changed.
        """
        name = feed_name(wire, reader.requester.account)
        if name not in reader.follows and len(reader.follows) >= MAX_FEEDS:
            raise BadRequest(f"Follow at most {MAX_FEEDS} feeds on one connection.", field="feed")
        self.leave(reader, wire)
        feed = self._feeds.get(name)
        if feed is None:
            feed = self._feeds[name] = Feed(name)
        # Registered before the position is read, so that nothing can fall between the two.
        follower = Follower(reader, feed)
        feed.followers[reader] = follower
        reader.follows[name] = follower
        feed.apart += 1
        metrics.FOLLOWERS.inc()
        try:
            await self._begin(follower, after, re, None)
        except BaseException:
            self._remove(follower)
            raise

    async def _begin(self, follower: Follower, after: Position | None, re: str | None, reason: str | None) -> None:
        reader, feed = follower.reader, follower.feed
        for _ in range(FOLLOW_TRIES):
            following = await self._verbs.follow(reader.requester, feed.name, after)
            if follower.standing is not Standing.JOINING or not reader.is_open:
                return
            if following.joined.epoch >= feed.epoch:
                self._begin_at(follower, following, re, reason)
                return
        raise Unavailable("The feed is being replaced; join it again.")

    def _begin_at(self, follower: Follower, following: Following, re: str | None, reason: str | None) -> None:
        reader, feed, joined = follower.reader, follower.feed, following.joined
        if joined.epoch > feed.epoch:
            self._begin_epoch(feed, joined.epoch)
        joined = msgspec.structs.replace(joined, feed=feed.wire, re=re, reason=reason or joined.reason)
        follower.audience = following.audience
        follower.granted = joined.seq
        follower.seq = joined.seq if not following.events else following.events[0].seq - 1
        reader.flush_replies()
        reader.write(encode_reply(joined, reader.codec, reader.features))
        reader.flush_replies()  # a snapshot counts towards what may wait for a reader
        if feed.last is None:
            feed.last = feed.flushed = joined.seq
            for seq in [seq for seq in feed.parked if seq <= joined.seq]:
                del feed.parked[seq]
        follower.standing = Standing.BEHIND
        self._write_events(follower, following.events)
        self._unpark(feed)
        feed.head = max(feed.head, joined.seq)
        self._settle(follower)
        if follower.standing is Standing.BEHIND:
            self.catch_up(reader)
        self._gaps.seek(feed)

    def leave(self, reader: Reader, wire: str) -> None:
        """Nothing more of this feed is written to `reader`."""
        follower = reader.follows.get(feed_name(wire, reader.requester.account))
        if follower is not None:
            self._remove(follower)

    def leave_all(self, reader: Reader) -> None:
        """Nothing more is written to `reader`."""
        for follower in list(reader.follows.values()):
            self._remove(follower)

    def _remove(self, follower: Follower) -> None:
        if follower.standing is Standing.GONE:
            return
        feed, reader = follower.feed, follower.reader
        self._take_apart(follower, Standing.GONE)
        self._reunite(feed)
        del feed.followers[reader]
        if reader.follows.get(feed.name) is follower:
            del reader.follows[feed.name]
        metrics.FOLLOWERS.dec()
        if not feed.followers:
            self._feeds.pop(feed.name, None)
            self._gaps.forget(feed)
            feed.pending.clear()

    # --- keeping up ---

    def _take_apart(self, follower: Follower, standing: Standing) -> None:
        feed = follower.feed
        if follower.standing is Standing.LEVEL:
            members = feed.groups[follower.key]
            del members[follower.reader]
            if not members:
                del feed.groups[follower.key]
            follower.seq = feed.flushed
            if not feed.apart:
                feed.recent = list(feed.pending)
            feed.apart += 1
        follower.standing = standing

    def _reunite(self, feed: Feed) -> None:
        feed.apart -= 1
        if not feed.apart:
            feed.recent = []

    def _settle(self, follower: Follower) -> None:
        """Put `follower` back into its group if what is at hand brings it to where the feed stands."""
        feed, reader = follower.feed, follower.reader
        if follower.standing is Standing.GONE or feed.last is None:
            return
        follower.standing = Standing.BEHIND
        if follower.seq < feed.last and feed.recent and feed.recent[0].seq <= follower.seq + 1:
            self._write_events(follower, feed.recent[follower.seq + 1 - feed.recent[0].seq :])
        if not reader.can_take or follower.standing is not Standing.BEHIND:
            return
        if follower.seq == feed.last:
            self._flush(feed)
            feed.groups.setdefault(follower.key, {})[reader] = reader.write
            follower.standing = Standing.LEVEL
            self._reunite(feed)
        elif follower.seq > feed.last:
            follower.standing = Standing.AHEAD

    def pause(self, reader: Reader) -> None:
        """The transport of `reader` is full: nothing is written to it until `resume`. Safe within a write."""
        for follower in reader.follows.values():
            if follower.standing is Standing.LEVEL:
                self._take_apart(follower, Standing.BEHIND)

    def resume(self, reader: Reader) -> None:
        """The transport of `reader` wants more."""
        self.catch_up(reader)

    def repair(self, reader: Reader, at: Mapping[str, int]) -> None:
        """The client says what it has applied of each feed: write again what it lacks."""
        account, lacking = reader.requester.account, False
        for wire, seq in at.items():
            follower = reader.follows.get(feed_name(wire, account))
            if follower is not None and follower.standing is Standing.LEVEL and seq < follower.feed.flushed:
                self._take_apart(follower, Standing.BEHIND)
                follower.seq = seq
                lacking = True
        if lacking:
            self.catch_up(reader)

    def positions(self, reader: Reader) -> dict[str, Position]:
        """Where `reader` stands on each feed that was joined, by the client's names."""
        return {
            follower.feed.wire: Position(
                epoch=follower.feed.epoch,
                seq=follower.feed.flushed if follower.standing is Standing.LEVEL else follower.seq,
            )
            for follower in reader.follows.values()
            if follower.standing is not Standing.JOINING
        }

    def catch_up(self, reader: Reader) -> None:
        """Bring the followers of `reader` that are behind level, from memory or else from the log."""
        behind = self._settle_all(reader)
        if not reader.can_take:
            return
        if not behind:
            reader.caught_up()
        elif reader not in self._catching:
            self._catching.add(reader)
            self._spawn(self._read_up(reader))

    def _settle_all(self, reader: Reader) -> list[Follower]:
        for follower in list(reader.follows.values()):
            if follower.standing is Standing.BEHIND and reader.can_take:
                self._settle(follower)
        return [follower for follower in reader.follows.values() if follower.standing is Standing.BEHIND]

    async def _read_up(self, reader: Reader) -> None:
        delay = BACKOFF_FIRST_S
        try:
            while reader.can_take and (behind := self._settle_all(reader)) and reader.can_take:
                before = {follower: follower.seq for follower in behind}
                rows = await self._gaps.read(
                    {follower.feed.name: follower.seq for follower in behind}, lambda: reader.is_open
                )
                for follower, seq in before.items():
                    if follower.standing is Standing.BEHIND and follower.seq == seq:
                        self._replay(follower, rows.get(follower.feed.name, ()))
                if all(f.standing is Standing.BEHIND and f.seq == seq for f, seq in before.items()):
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, BACKOFF_MOST_S)
        finally:
            self._catching.discard(reader)
        if reader.can_take:
            reader.caught_up()

    def _replay(self, follower: Follower, rows: Sequence[FeedEvent]) -> None:
        feed = follower.feed
        for event in rows:
            self._offer(event)
        if follower.standing is not Standing.BEHIND or feed.last is None:
            return
        wanted: list[FeedEvent] = []
        for event in rows:
            if event.epoch == feed.epoch and event.seq == follower.seq + 1 + len(wanted) and event.seq <= feed.last:
                wanted.append(event)
        self._write_events(follower, wanted)

    # --- epochs ---

    def _begin_epoch(self, feed: Feed, epoch: int) -> None:
        """History was replaced: everybody who follows is given a new `joined`."""
        self._flush(feed)
        feed.epoch, feed.last, feed.head, feed.flushed, feed.fruitless = epoch, None, 0, 0, 0
        feed.parked.clear()
        feed.recent = []
        for follower in feed.followers.values():
            if follower.standing is not Standing.JOINING:
                self._take_apart(follower, Standing.JOINING)
                self._spawn(self._follow_again(follower))

    async def _follow_again(self, follower: Follower) -> None:
        delay = BACKOFF_FIRST_S
        while follower.standing is Standing.JOINING and follower.reader.is_open:
            try:
                async with asyncio.timeout(READ_TIMEOUT_S):
                    await self._begin(follower, None, None, "epoch")
            except (Unavailable, TimeoutError):
                await asyncio.sleep(delay)
                delay = min(delay * 2, BACKOFF_MOST_S)
            except ServiceError:
                self._remove(follower)
            except Exception as exc:
                _log.error("follow_again_failed", error=type(exc).__name__)
                await asyncio.sleep(delay)
                delay = min(delay * 2, BACKOFF_MOST_S)
            else:
                return
