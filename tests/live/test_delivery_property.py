"""Whatever is committed, announced, lost, paused and replaced in whatever order: every reader's log is exact."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from server.errors import ServiceError
from server.feeds import FeedEvent
from server.live.delivery import Delivery
from server.protocol.codec import Codec
from server.protocol.frames import AccessItem, Event, Joined, Position
from tests.live.support import Log, PaperReader, Service
from tests.virtual_time import VirtualLoop

FEEDS = ("room:A", "room:B")
ACCOUNTS = ("ann", "ben")


class DeliveryMachine(RuleBasedStateMachine):
    """Commits, announcements in any order, foreign moves, failing reads, full transports, drops and new epochs."""

    @initialize()
    def begin(self) -> None:
        self.loop = VirtualLoop()
        self.tasks: set[asyncio.Task[None]] = set()
        self.service = Service()
        self.log: Log = self.service.log
        self.delivery = Delivery(self.service, self.spawn)
        self.readers: list[PaperReader] = []
        self.late: list[FeedEvent] = []
        self.failures = 0
        self.errors: list[BaseException] = []
        self.service.hooks = {"events_after": self.maybe_fail, "follow": self.step, "followed": self.step}

        for account, codec in zip((*ACCOUNTS, "cat"), (*Codec, Codec.JSON), strict=True):
            for feed in FEEDS:
                self.join(account, codec, feed, steps=6, back=0, resume=False, again=feed == FEEDS[1])

    async def maybe_fail(self, *_: Any) -> None:
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise ConnectionError

    async def step(self, *_: Any) -> None:
        await asyncio.sleep(0)

    def spawn(self, work: Coroutine[Any, Any, None]) -> object:
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.finished)
        return task

    def finished(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            self.errors.append(exc)

    def run(self, steps: int) -> None:
        async def some() -> None:
            for _ in range(steps):
                await asyncio.sleep(0)

        self.loop.run_until_complete(some())

    def inside(self, call: Callable[[], object]) -> None:
        """`call` within the loop, where the hub always is."""

        async def one() -> None:
            call()

        self.loop.run_until_complete(one())

    @rule(feed=st.sampled_from(FEEDS), count=st.integers(1, 4), how=st.sampled_from(["now", "late", "moved", "lost"]))
    def commit(self, feed: str, count: int, how: str) -> None:
        events = [
            self.log.say(f"{feed} {self.log.head(feed) + 1} e{self.log.epochs[feed]}", feed) for _ in range(count)
        ]
        if how == "now":
            self.inside(lambda: self.delivery.events(events))
        elif how == "late":
            self.late.extend(events)
        elif how == "moved":
            self.inside(lambda: self.delivery.moved(feed, events[-1].epoch, events[-1].seq))

    @rule(data=st.data(), writes=st.sampled_from([0, 1, 1, 2]), answered=st.sampled_from([0, 0, 1, 3]))
    def commit_to_both_at_once(self, data: st.DataObject, writes: int, answered: int) -> None:
        if writes and self.readers:
            data.draw(st.sampled_from(self.readers)).room_for = writes
        events = [self.log.say("both", feed) for feed in FEEDS]

        def answer_and_tell() -> None:
            for reader in self.readers[-answered:] if answered else ():
                self.delivery.reply(reader)
            self.delivery.events(events)

        self.inside(answer_and_tell)

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def announce_late(self, data: st.DataObject) -> None:
        some = data.draw(st.permutations(self.late))[: data.draw(st.integers(1, len(self.late)))]
        self.late = [event for event in self.late if event not in some]
        self.inside(lambda: self.delivery.events(some))

    @rule(
        account=st.sampled_from(ACCOUNTS), codec=st.sampled_from(list(Codec)), feed=st.sampled_from(FEEDS),
        steps=st.integers(0, 6), back=st.integers(0, 5), resume=st.booleans(), again=st.booleans(),
    )  # fmt: skip
    def join(self, account: str, codec: Codec, feed: str, steps: int, back: int, resume: bool, again: bool) -> None:
        others = [r for r in self.readers if feed not in r.follows and not r.is_paused]
        if again and others:
            reader = others[-1]
        elif len(self.readers) < 6:
            reader = PaperReader(account, codec, self.delivery)
            self.readers.append(reader)
        else:
            return
        after = Position(epoch=self.log.epochs[feed], seq=max(0, self.log.head(feed) - back)) if resume else None

        async def join() -> None:
            try:
                await self.delivery.join(reader, feed, after, "re")
            except ServiceError:
                assert feed not in reader.follows

        self.inside(lambda: self.spawn(join()))
        self.run(steps)

    @precondition(lambda self: any(r.follows for r in self.readers))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        reader = data.draw(st.sampled_from([r for r in self.readers if r.follows]))
        self.delivery.leave_all(reader)
        self.readers.remove(reader)
        count = len(reader.frames)
        self.run(3)
        assert len(reader.frames) == count

    @precondition(lambda self: self.readers)
    @rule(data=st.data(), writes=st.integers(1, 3))
    def fill_up(self, data: st.DataObject, writes: int) -> None:
        data.draw(st.sampled_from(self.readers)).room_for = writes

    @precondition(lambda self: any(r.is_paused for r in self.readers))
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        reader = data.draw(st.sampled_from([r for r in self.readers if r.is_paused]))
        self.inside(reader.resume)

    @rule(feed=st.sampled_from(FEEDS), account=st.sampled_from(ACCOUNTS))
    def drop(self, feed: str, account: str) -> None:
        event = self.log.commit(feed, AccessItem(account=account), drops=account)
        self.inside(lambda: self.delivery.events([event]))

    @rule(feed=st.sampled_from(FEEDS), data=st.data())
    def restore(self, feed: str, data: st.DataObject) -> None:
        self.log.new_epoch(feed, keep=data.draw(st.integers(0, self.log.head(feed))))

    @rule(count=st.integers(1, 2))
    def fail(self, count: int) -> None:
        self.failures = count

    @rule(size=st.integers(1, 5))
    def read_in_small_parts(self, size: int) -> None:
        self.service.read_most = size

    @rule(steps=st.integers(1, 8))
    def pass_time(self, steps: int) -> None:
        self.run(steps)

    @invariant()
    def nobody_is_given_a_gap_or_a_repeat(self) -> None:
        if getattr(self, "errors", None):
            raise self.errors[0]
        for reader in getattr(self, "readers", ()):
            for feed in FEEDS:
                self.check(reader, [frame for frame in reader.frames if frame.feed == feed])

    def check(self, reader: PaperReader, frames: list[Joined | Event]) -> None:
        expected: tuple[int, int] | None = None
        for at, frame in enumerate(frames):
            if isinstance(frame, Joined):
                following = frames[at + 1] if at + 1 < len(frames) else None
                recovered = frame.recovered and isinstance(following, Event) and following.seq <= frame.seq
                expected = (frame.epoch, following.seq if recovered and isinstance(following, Event) else frame.seq + 1)
                continue
            assert expected == (frame.epoch, frame.seq)
            expected = (frame.epoch, frame.seq + 1)
            if isinstance(frame.item, AccessItem) and frame.item.account == reader.requester.account:
                joined_at = max(j.seq for j in frames[:at] if isinstance(j, Joined))
                after = frames[at + 1 :]
                assert after == [] or isinstance(after[0], Joined) or frame.seq <= joined_at, "told more after the drop"

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        try:
            self.failures = 0
            for reader in self.readers:
                self.inside(reader.resume)
            heads = {feed: (self.log.epochs[feed], self.log.head(feed)) for feed in FEEDS}
            for _ in range(3):
                for feed, (epoch, seq) in heads.items():
                    self.inside(lambda feed=feed, epoch=epoch, seq=seq: self.delivery.moved(feed, epoch, seq))
                self.loop.run_until_complete(asyncio.wait_for(self.settle(), 10))
            self.nobody_is_given_a_gap_or_a_repeat()
            for reader in self.readers:
                for feed, follower in reader.follows.items():
                    assert follower.standing.value == "level"
                    last = [frame for frame in reader.frames if frame.feed == feed][-1]
                    assert (last.epoch, last.seq) == heads[feed]
        finally:
            self.loop.close()

    async def settle(self) -> None:
        while self.tasks:
            await asyncio.gather(*self.tasks)
        await asyncio.sleep(0)


TestDelivery = DeliveryMachine.TestCase
TestDelivery.settings = settings(
    max_examples=120, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
