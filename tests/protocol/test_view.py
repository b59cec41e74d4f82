"""Laws of what a client holds: however the news came, it ends equal to a fresh snapshot."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from clients.sdk.view import FeedView, Outbox, Outcome
from server.protocol.codec import UnknownEvent
from server.protocol.frames import (
    PAGE_SIZE,
    AccessItem,
    AnyItem,
    AnyView,
    CaseItem,
    Event,
    Held,
    Joined,
    MessageItem,
    Page,
    Person,
    Placed,
    Position,
    Removed,
    Send,
    Shown,
    Withheld,
)

FEED = "room:a"
AUTHOR = Person(id="a1", name="north-wind")


def shown(of: int, body: str) -> Shown:
    return Shown(id=f"m{of}", author=AUTHOR, body=body, at=of, edited=body != "new")


@dataclass
class History:
    """A feed as the server has it: its log of events and what stands at each place now."""

    log: list[AnyItem] = field(default_factory=list)
    places: dict[int, AnyView] = field(default_factory=dict)
    cases: dict[str, CaseItem] = field(default_factory=dict)

    def do(self, act: tuple[str, int]) -> None:
        """Append one event: a new message, or a change to one that there is; a case is raised or closed."""
        name, pick = act
        seq = len(self.log) + 1
        if name == "case":
            state = "closed" if f"c{pick % 3}" in self.cases else "open"
            case = CaseItem(
                id=f"c{pick % 3}", version=seq, state=state, level=2, side="community", subject=AUTHOR,
                origin="message", opened_at=1, raised_at=1,
            )  # fmt: skip
            if self.cases.pop(case.id, None) is None:
                self.cases[case.id] = case
            self.log.append(case)
            return
        if name in ("post", "withhold") or not self.places:
            view: AnyView = shown(seq, "new") if name == "post" else Withheld()
            self.places[seq] = view
            self.log.append(MessageItem(of=seq, change="new", view=view))
            return
        of = sorted(self.places)[pick % len(self.places)]
        changes: dict[str, tuple[str, AnyView]] = {
            "edit": ("edit", shown(of, f"edited {seq}")),
            "release": ("release", shown(of, "new")),
            "hold": ("hold", Withheld()),
            "remove": ("remove", Removed(by="moderator")),
        }
        change, view = changes[name]
        self.places[of] = view
        self.log.append(MessageItem(of=of, change=change, view=view))  # type: ignore[arg-type]

    def event(self, seq: int) -> Event:
        """As a replay renders it: the place as it may be seen now."""
        item = self.log[seq - 1]
        if isinstance(item, MessageItem):
            item = MessageItem(of=item.of, change=item.change, view=self.places[item.of])
        return Event(feed=FEED, epoch=1, seq=seq, item=item)

    def snapshot(self, re: str | None = None) -> Joined:
        newest = sorted(self.places)[-PAGE_SIZE:]
        placed = [Placed(seq=of, item=MessageItem(of=of, change="new", view=self.places[of])) for of in newest]
        placed += [Placed(seq=case.version, item=case) for case in self.cases.values()]
        more = len(self.places) > len(newest)
        return Joined(re=re, feed=FEED, epoch=1, seq=len(self.log), recovered=False, items=tuple(placed), more=more)


acts = st.tuples(
    st.sampled_from(["post", "post", "withhold", "edit", "release", "hold", "remove", "case"]), st.integers(0, 99)
)


def fresh(history: History) -> FeedView:
    view = FeedView(FEED)
    view.joined(history.snapshot())
    return view


def catch_up(view: FeedView, history: History) -> None:
    """What the server does for a join with `after`."""
    position = view.position
    assert position is not None
    view.joined(Joined(feed=FEED, epoch=1, seq=len(history.log), recovered=True))
    for seq in range(position.seq + 1, len(history.log) + 1):
        view.event(history.event(seq))


@given(before=st.lists(acts, max_size=8), after=st.lists(acts, max_size=25), data=st.data())
def test_any_way_of_delivery_ends_equal_to_a_fresh_snapshot(
    before: list[tuple[str, int]], after: list[tuple[str, int]], data: st.DataObject
) -> None:
    """Events lost, doubled, late and out of order, resumes and resyncs in between: the end is the snapshot's."""
    history = History()
    for act in before:
        history.do(act)
    view = fresh(history)
    for act in after:
        history.do(act)
        for seq in data.draw(st.lists(st.integers(1, len(history.log)), max_size=3)):
            if view.event(history.event(seq)).outcome is Outcome.GAP and data.draw(st.booleans()):
                catch_up(view, history)
        if data.draw(st.integers(0, 9)) == 0:
            view.joined(history.snapshot())
    catch_up(view, history)
    end = fresh(history)
    assert view.places == end.places
    assert view.others == end.others
    assert view.position == end.position == Position(epoch=1, seq=len(history.log))


@given(history_acts=st.lists(acts, max_size=30), data=st.data())
def test_each_text_is_news_once(history_acts: list[tuple[str, int]], data: st.DataObject) -> None:
    """Doubled, held and released again, or met in a snapshot: a message is news exactly once, when first shown."""
    history = History()
    view = fresh(history)
    news: list[int] = []
    shown_once: set[int] = set()
    for act in history_acts:
        history.do(act)
        shown_once |= {of for of, now in history.places.items() if isinstance(now, Shown)}
        steps = [view.event(history.event(len(history.log))) for _ in range(data.draw(st.integers(1, 3)))]
        changes = [step.change for step in steps if step.change is not None]
        if data.draw(st.booleans()):
            changes += view.joined(history.snapshot())
        for change in changes:
            if change.is_new_text:
                assert isinstance(change.item, MessageItem)
                assert isinstance(change.item.view, Shown)
                news.append(change.item.of)
    assert sorted(news) == sorted(shown_once)


def test_a_snapshot_after_a_cut_gives_what_was_posted_meanwhile() -> None:
    """News are what came after the last position and what was released; not what was seen before."""
    history = History()
    for act in (("post", 0), ("withhold", 0)):
        history.do(act)
    view = fresh(history)
    for act in (("release", 1), ("post", 0), ("edit", 0)):
        history.do(act)
    changes = view.joined(history.snapshot())
    assert [change.item.of for change in changes if change.is_new_text and isinstance(change.item, MessageItem)] == [
        2,
        4,
    ]
    assert [change.item.of for change in changes if isinstance(change.item, MessageItem)] == [1, 2, 4]


def test_an_epoch_that_changed_is_a_gap_and_its_snapshot_replaces_everything() -> None:
    """A position of another epoch means nothing: nothing of the old history stays."""
    history = History()
    for _ in range(5):
        history.do(("post", 0))
    view = fresh(history)
    event = Event(feed=FEED, epoch=2, seq=6, item=MessageItem(of=6, change="new", view=shown(6, "new")))
    assert view.event(event).outcome is Outcome.GAP
    view.joined(Joined(feed=FEED, epoch=2, seq=1, recovered=False))
    assert (view.places, view.position) == ({}, Position(epoch=2, seq=1))


def test_an_unknown_event_is_advanced_over() -> None:
    """Nothing is applied, and the next known event is not a gap."""
    view = fresh(History())
    assert view.event(UnknownEvent(feed=FEED, epoch=1, seq=1, kind="poll")).change is None
    assert view.event(Event(feed=FEED, epoch=1, seq=2, item=AccessItem(account="b"))).outcome is Outcome.APPLIED


def test_a_page_fills_in_and_does_not_overwrite() -> None:
    """An older page never undoes an event that came after it was asked for."""
    view = fresh(History())
    view.event(Event(feed=FEED, epoch=1, seq=1, item=MessageItem(of=1, change="new", view=Removed(by="author"))))
    old = MessageItem(of=1, change="new", view=shown(1, "new"))
    older = MessageItem(of=0, change="new", view=shown(0, "new"))
    view.page(Page(re="12345678", feed=FEED, items=(Placed(seq=0, item=older), Placed(seq=1, item=old)), more=False))
    assert view.places == {0: older.view, 1: Removed(by="author")}


def test_a_long_stay_keeps_the_newest_places_only() -> None:
    """The view is bounded; it says that there is more."""
    view = FeedView(FEED, kept_places=3)
    view.joined(Joined(feed=FEED, epoch=1, seq=0, recovered=False))
    for seq in range(1, 8):
        view.event(Event(feed=FEED, epoch=1, seq=seq, item=MessageItem(of=seq, change="new", view=shown(seq, "new"))))
    assert (list(view.places), view.has_more) == ([5, 6, 7], True)


def test_ones_own_held_message_is_news_when_it_is_released() -> None:
    """The author holds the text all along; to the room it is new at the release."""
    view = fresh(History())
    held = Held(id="m1", author=AUTHOR, body="x", at=1, reason="attention")
    first = view.event(Event(feed=FEED, epoch=1, seq=1, item=MessageItem(of=1, change="new", view=held)))
    then = view.event(Event(feed=FEED, epoch=1, seq=2, item=MessageItem(of=1, change="release", view=shown(1, "x"))))
    assert [step.change and step.change.is_new_text for step in (first, then)] == [False, True]


def test_the_outbox_forgets_an_answer_once() -> None:
    """An answer that comes twice settles nothing the second time; the order of the rest is kept; it has a bound."""
    outbox = Outbox(bound=3)
    commands = [Send(client_id=f"name-{n:04}", feed=FEED, body="x") for n in range(3)]
    for command in commands:
        outbox.add(command.client_id, command)
        outbox.add(command.client_id, command)
    assert outbox.is_full
    assert [outbox.answered("name-0001"), outbox.answered("name-0001"), outbox.answered(None)] == [True, False, False]
    assert outbox.waiting == (commands[0], commands[2])


def test_a_known_event_is_dropped_without_asking_the_server() -> None:
    """An event that comes twice is no gap: it changes nothing and needs no repair."""
    history = History()
    history.do(("post", 0))
    view = fresh(history)
    assert view.event(history.event(1)).outcome is Outcome.KNOWN
    assert view.position == Position(epoch=1, seq=1)
