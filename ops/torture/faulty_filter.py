"""`evenkeel torture filter`: the filter fails wherever it can, and no member sees a text that it did not check.

The message path and the store are those of the service, on SQLite; only the gate to the filter is struck:

- `error`, `memory`: an exception of some kind, or the end of memory, at a call within a screening chosen by chance, by
  the interpreter's profile hook; so also in the middle of a view, of a finding or of the verdict.
- `slow`: the clock by which the deadline is judged runs on by a second at one of its readings.
- `empty`: lists with no entry. `unbuilt`: an automaton that is not there.
- `stalled`: a text that the supervisor saw stall this process twice (a check that never comes back ends there).

Promised: a member's message in a community room under a fault is held, with an open case and a running timer, or
refused and not stored; never published, and never in a member's view of the room. What comes after a fault is screened
as ever.
"""

from __future__ import annotations

import contextlib
import copy
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final

from moderation.pipeline import Pipeline
from moderation.policy import DispositionPolicy
from moderation.types import Role, RoomKind, TextKind, Verdict
from ops.doctor import look
from ops.torture.history import Violation, judge_sending, judge_stored, outcome, read_stored
from ops.torture.power import ROOMS, Sender, make_senders, settings_at, url_at
from ops.trial import make_trial
from server.actions.feeds import follow
from server.actions.screening import STALLS_ALLOWED, Screening
from server.actions.services import Services
from server.actions.sessions import authenticate
from server.auth.requester import Requester
from server.main import load_lists, open_services
from server.protocol.frames import MessageItem, Shown
from server.rooms import MessageState
from watchwords.lexicon import Lexicon
from watchwords.matcher import Matcher

PER_ROOM: Final = 3
KINDS: Final = ("error", "memory", "slow", "empty", "unbuilt", "stalled")
ERRORS: Final[tuple[type[Exception], ...]] = (RuntimeError, ValueError, KeyError, RecursionError, UnicodeError, OSError)
# A clean message makes some 100 calls, one in which something is found several hundred.
CALLS: Final = (1, 400)
# The first is what all others are measured from.
READINGS: Final = (2, 6)
SECOND_NS: Final = 1_000_000_000


class Struck(Screening):
    """A gate to the filter that is struck by one fault at its next screening, and then is as it was."""

    def __init__(self, sound: Screening, broken: Screening | None, strike: Strike) -> None:
        self._sound = sound
        self._broken = broken or sound
        self._strike = strike
        self.struck = False

    def screen(self, text: str, text_kind: TextKind, room_kind: RoomKind | None, author_role: Role) -> Verdict:
        if self.struck:
            return self._sound.screen(text, text_kind, room_kind, author_role)
        self.struck = True
        with self._strike():
            return self._broken.screen(text, text_kind, room_kind, author_role)


Strike = Callable[[], contextlib.AbstractContextManager[None]]


@dataclass
class FilterCampaign:
    """What was done and what came of it.

    Attributes:
        faults: how often the filter was struck, by kind; a call that the text did not come to is no fault.
        held, refused: what became of the messages under a fault.
    """

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    held: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    well: int = 0
    duration_s: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """The campaign as plain values."""
        return {
            "campaign": "filter",
            "seed": self.seed,
            "faults": dict(self.faults),
            "held": self.held,
            "refused": dict(self.refused),
            "screened_afterwards": self.well,
            "duration_s": round(self.duration_s, 1),
            **outcome(self.violations),
        }


async def run_filter(
    folder: Path, *, faults: int, seed: int, progress: Callable[[int, str], None] = lambda done, what: None
) -> FilterCampaign:
    """Strike the filter `faults` times under one service, and judge what members were shown."""
    rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be kept secret
    campaign = FilterCampaign(seed)
    began = time.monotonic()
    trial = await make_trial(folder, url_at(folder), rooms=ROOMS, per_room=PER_ROOM)
    people = make_senders(trial, rng)
    async with open_services(settings_at(trial, folder)) as services:
        faulty = _Faults(services.screening, rng)
        requesters = {person.token: await authenticate(services, person.token) for person in people}
        unseen: dict[str, set[str]] = {}
        while campaign.faults.total() < faults and not campaign.violations:
            person = rng.choice(people)
            kind = KINDS[campaign.faults.total() % len(KINDS)]
            await _under_a_fault(campaign, services, faulty, person, requesters[person.token], kind, unseen)
            progress(campaign.faults.total(), kind)
        for room, hidden in unseen.items():
            campaign.violations += await _shown(services, requesters, people, room, hidden)
    stored = await look(settings_at(trial, folder), read_stored)
    campaign.violations += judge_stored(stored)
    for person in people:
        campaign.violations += judge_sending(person.log, stored, finished=False)
    campaign.duration_s = time.monotonic() - began
    return campaign


async def _under_a_fault(
    campaign: FilterCampaign,
    services: Services,
    faulty: _Faults,
    person: Sender,
    requester: Requester,
    kind: str,
    unseen: dict[str, set[str]],
) -> None:
    """Send one message under a fault of that kind, see what becomes of it, and send another without."""
    sound = services.screening
    gate, took_place = faulty.of(kind)
    services.screening = gate
    try:
        ack = await person.send(services, requester)
    except Exception as error:  # whatever the author was told instead, nothing may have been stored
        campaign.refused[type(error).__name__] += 1
        campaign.faults[kind] += 1
        person.open = ""
    else:
        person.received(ack)
        if took_place():
            campaign.faults[kind] += 1
            if ack.state == MessageState.HELD:
                campaign.held += 1
                unseen.setdefault(ack.feed, set()).add(ack.message)
            else:
                campaign.violations.append(Violation("unscreened", f"{kind}: {ack.state}"))
    finally:
        services.screening = sound
    person.received(await person.send(services, requester))
    campaign.well += 1


async def _shown(
    services: Services, requesters: dict[str, Requester], people: Sequence[Sender], room: str, hidden: set[str]
) -> list[Violation]:
    """Messages that no member but their author may see, and that a member is shown all the same."""
    found = []
    for person in people:
        if person.log.feed == room:
            joined = (await follow(services, requesters[person.token], room, None)).joined
            views = [placed.item.view for placed in joined.items if isinstance(placed.item, MessageItem)]
            found += [Violation("shown", view.id) for view in views if isinstance(view, Shown) and view.id in hidden]
    return found


class _Faults:
    """Makes gates that fail, each in one way."""

    def __init__(self, sound: Screening, rng: random.Random) -> None:
        self._sound = sound
        self._rng = rng
        self._policy = DispositionPolicy.load()
        matcher = load_lists()
        unbuilt = copy.copy(matcher)
        unbuilt._automaton = None  # type: ignore[assignment]
        self._broken = {
            "empty": self._gate(Matcher(Lexicon((), (), "empty"))),
            "unbuilt": self._gate(unbuilt),
            "stalled": Screening(self._pipeline(matcher), lambda _: None, lambda _: STALLS_ALLOWED + 1),
        }
        self._matcher = matcher

    def of(self, kind: str) -> tuple[Struck, Callable[[], bool]]:
        """A gate that will fail in this way, and whether it did."""
        if kind in self._broken:
            gate = Struck(self._sound, self._broken[kind], contextlib.nullcontext)
            return gate, lambda: gate.struck
        if kind == "slow":
            clock = _LateClock(self._rng.randint(*READINGS))
            return Struck(
                self._sound, Screening(Pipeline(self._matcher, self._policy, clock)), contextlib.nullcontext
            ), lambda: clock.has_jumped
        error = MemoryError if kind == "memory" else self._rng.choice(ERRORS)
        blow = _Blow(self._rng.randint(*CALLS), error)
        return Struck(self._sound, None, blow), lambda: blow.has_struck

    def _gate(self, matcher: Matcher) -> Screening:
        return Screening(self._pipeline(matcher))

    def _pipeline(self, matcher: Matcher) -> Pipeline:
        return Pipeline(matcher, self._policy, time.monotonic_ns)


class _LateClock:
    """Nanoseconds that leap by a second at the n-th reading."""

    def __init__(self, at: int) -> None:
        self._left = at
        self.has_jumped = False

    def __call__(self) -> int:
        self._left -= 1
        self.has_jumped |= self._left <= 0
        return time.monotonic_ns() + SECOND_NS * self.has_jumped


class _Blow:
    """Raises an exception at the n-th call that is made while it is in force, in Python or into C."""

    def __init__(self, at: int, error: type[Exception]) -> None:
        self._left = at
        self._error = error
        self.has_struck = False

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        before = sys.getprofile()
        sys.setprofile(self._watch)
        try:
            yield
        finally:
            sys.setprofile(before)

    def _watch(self, frame: FrameType, event: str, argument: object) -> None:
        if event not in ("call", "c_call"):
            return
        self._left -= 1
        if self._left == 0:
            self.has_struck = True
            raise self._error("planned by the campaign")
