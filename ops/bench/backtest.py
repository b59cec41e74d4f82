"""`evenkeel bench backtest`: what a back-test of stored messages costs those who talk meanwhile.

The real worker, real sockets, messages at a fixed rate, first without and then with a back-test of everything that is
stored, in turns for several rounds. Both are medians over the rounds: how long an acknowledgement took, and how much
longer with the back-test. It reads as it does in service: in a process of low priority, a page and a rest in turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from moderation.types import Role
from ops.admin import ask_service
from ops.bench.load import Load, Measured, Seat
from ops.bench.path import serving
from ops.trial import Trial, make_trial, settings_of
from server.actions.wordlists import proposals
from server.actions.wordlists.backtests import BegunTrial, TrialFigures
from server.actions.wordlists.documents import Change, Kind
from server.admin.commands import AskTrial, BackTest
from server.auth.requester import Requester
from server.ids import new_id
from server.main import open_services
from server.settings import Settings

ROOMS: Final = 10
PER_ROOM: Final = 20
RATE: Final = 400.0
MESSAGES: Final = 30_000
SENDERS: Final = 100
# Of design and issue: the p99 of acknowledgements moves by a fifth at most.
GOAL: Final = 1.2
_LOOK_S: Final = 0.1
_WITHIN_S: Final = 600.0
_DAYS: Final = 365
_ENTRY: Final = """
id = "c-flask"
category = "C"
level = 1
phrases = ["a flask of tea"]
reason = "For a bench: words that a fifth of its messages hold."
source = "Written for this bench"
match = ["a flask of tea"]
"""


@dataclass(frozen=True, slots=True)
class Turn:
    """One round: both measured for so long; `texts` were back-tested meanwhile, and some were left (`outlasted`)."""

    without: Measured
    beside: Measured
    texts: int
    outlasted: bool


def bench_backtest(
    folder: Path | None = None,
    *,
    rounds: int = 3,
    seconds: float = 5.0,
    rate: float = RATE,
    messages: int = MESSAGES,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Run the bench and return the figures. `folder` is on the disk to measure; None: the system's temporary one.

    Raises:
        RuntimeError: a back-test did not come to its end.
    """
    with tempfile.TemporaryDirectory(prefix="evenkeel-bench-", dir=folder) as made:
        place = Path(made)
        url = f"sqlite:///{place / 'bench.db'}"
        trial = asyncio.run(make_trial(place, url, rooms=ROOMS, per_room=PER_ROOM, moderators=1))
        settings = settings_of(trial)
        version = asyncio.run(_propose(settings, trial))
        seats = [
            Seat(person.token, room) for room, all_ in zip(trial.rooms, trial.members, strict=True) for person in all_
        ]
        turns: list[Turn] = []
        # On no core of its own: the machine decides who runs where, as it does for a service.
        with serving(trial, core=None) as server:
            with _loading(server.port, seats) as load:
                while load.sent < messages:
                    load.closed_loop(SENDERS, 1.0, warm_s=0.0)
                progress(f"{load.sent:,} messages are stored")
            for number in range(rounds):
                turns.append(_turn(settings, version, server.port, seats, rate, seconds))
                progress(f"round {number + 1} of {rounds}: {_line(turns[-1])}")
    return summary(turns, rate)


async def _propose(settings: Settings, trial: Trial) -> str:
    """A proposal to be tried."""
    (moderator,) = trial.moderators
    async with open_services(settings) as services:
        await services.lists.start()
        who = Requester(moderator.account, moderator.name, Role.MODERATOR, "")
        change = Change(Kind.ADD, "crisis", text=_ENTRY)
        return await proposals.propose(services, who, new_id(), change, "For a bench.", new_id())


@contextlib.contextmanager
def _loading(port: int, seats: Sequence[Seat]) -> Iterator[Load]:
    """Connections for one run: the server gives up those that are silent for longer than a back-test may take."""
    load = Load([port], seats)
    try:
        yield load
    finally:
        load.close()


def _turn(settings: Settings, version: str, port: int, seats: Sequence[Seat], rate: float, seconds: float) -> Turn:
    with _loading(port, seats) as load:
        without = load.open_loop(rate, seconds)
    begun = asyncio.run(ask_service(settings, BackTest(version, _DAYS), BegunTrial))
    if begun is None:
        raise RuntimeError("the worker takes no commands; try `evenkeel doctor`")
    _until(settings, begun.trial, lambda found: found.done > 0)
    with _loading(port, seats) as load:
        before = _look(settings, begun.trial)
        beside = load.open_loop(rate, seconds)
        after = _look(settings, begun.trial)
    last = _until(settings, begun.trial, lambda found: not found.is_open)
    if last.state != "done":
        raise RuntimeError(f"a back-test ended early: {last.state}")
    return Turn(without, beside, after.done - before.done, after.is_open)


def _look(settings: Settings, trial: str) -> TrialFigures:
    found = asyncio.run(ask_service(settings, AskTrial(trial), TrialFigures))
    if found is None:
        raise RuntimeError("the worker has ended")
    return found


def _until(settings: Settings, trial: str, wanted: Callable[[TrialFigures], bool]) -> TrialFigures:
    deadline = time.monotonic() + _WITHIN_S
    while True:
        found = _look(settings, trial)
        if wanted(found) or not found.is_open:
            return found
        if time.monotonic() > deadline:
            raise RuntimeError("a back-test did not come to its end")
        time.sleep(_LOOK_S)


def summary(turns: Sequence[Turn], rate: float) -> dict[str, Any]:
    """Medians over the rounds, and whether the goal was met. A back-test that ended too soon has measured nothing."""
    without = statistics.median(turn.without.ack_p99_ms for turn in turns)
    beside = statistics.median(turn.beside.ack_p99_ms for turn in turns)
    ratio = round(beside / without, 3)
    whole = all(turn.outlasted for turn in turns)
    goal = {"value": ratio, "at_most": GOAL, "met": ratio <= GOAL}
    unmeasured = {"value": "not measured: the back-test ended before the messages did; store more"}
    return {
        "rounds": len(turns),
        "messages_per_s": rate,
        "ack_p50_ms": {
            "without": round(statistics.median(turn.without.ack_p50_ms for turn in turns), 3),
            "beside": round(statistics.median(turn.beside.ack_p50_ms for turn in turns), 3),
        },
        "ack_p99_ms": {"without": round(without, 3), "beside": round(beside, 3)},
        "ack_p99_ms_each": [[round(turn.without.ack_p99_ms, 3), round(turn.beside.ack_p99_ms, 3)] for turn in turns],
        "texts_back_tested": [turn.texts for turn in turns],
        "goals": {"ack_p99_beside_a_back_test": goal if whole else unmeasured},
        "measured_at": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _line(turn: Turn) -> str:
    return (
        f"ack p99 {turn.without.ack_p99_ms:.1f} ms without, {turn.beside.ack_p99_ms:.1f} ms beside a back-test of "
        f"{turn.texts:,} texts{'' if turn.outlasted else ', which ended too soon'}"
    )
