"""Blind review: messages of each shift are drawn at random, and read by somebody who is not told what the filter said.

The wall is that of cases: what was said in therapy is read by clinicians, everything else by moderators and the
clinical lead. A text is opened one at a time, each time with a row of the audit, without its author's name, its time,
its findings or its band. Whoever is found to be worrying, and whom nobody has looked after, gets a case at that moment:
a miss is a person first and a number second.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from typing import Any, Final

import structlog
from msgspec import Struct
from sqlalchemy import Connection, Row

from moderation.cases import CaseState
from moderation.draws import Candidate, Draw, ReviewPolicy, Stratum, draw
from moderation.ladders import Side
from moderation.measuring import UNFLAGGED
from moderation.shifts import ShiftHours
from moderation.types import Category, Level, Role, RoomKind, Verdict
from server.actions.raising import Concern, case_feeds, raise_case
from server.actions.services import Services
from server.auth.permissions import CLINICAL, require
from server.auth.requester import Requester
from server.clock import to_ms
from server.errors import BadRequest, Conflict, NotFound
from server.ids import first_id_at, new_id
from server.rooms import side_of
from server.store import cases, reviews
from server.store.commands import first_answer, keep_answer
from server.store.migrate import PRODUCTION
from server.store.unit import AuditEntry, Tx

log = structlog.get_logger()
PAGE: Final = 2_000
# The store's clock and the one that ids are made by may differ by so much.
_SLACK_MS: Final = 60_000
_NO_ITEM: Final = "There is nothing of that kind for you to read."
_COMMUNITY: Final = frozenset({Role.MODERATOR, Role.MODERATOR_LEAD, Role.CLINICAL_LEAD})


class Judged(Struct, frozen=True):
    """The first answer to a judgement, and all that its reader is told afterwards.

    `missed`: the filter had found nothing, and it was worrying; then `message` is its id, else "". `case`: or "".
    """

    item: str
    missed: bool
    case: str
    message: str
    level: int
    categories: str


@dataclass(frozen=True, slots=True)
class ToRead:
    """One message to be judged: nothing of who wrote it or of what was found. `text` None: it can not be opened."""

    item: str
    room_kind: RoomKind
    text: str | None = field(repr=False)


def reads(role: Role, kind: RoomKind) -> bool:
    """Whether this role reads what is drawn from such rooms: as with cases, therapy is the clinicians' alone."""
    return role in (CLINICAL if side_of(kind) is Side.CARE else _COMMUNITY)


def _kinds(requester: Requester) -> frozenset[str]:
    return frozenset(kind.value for kind in RoomKind if reads(requester.role, kind))


# --- drawing ----------------------------------------------------------------------------------------------------------


async def draw_shifts(services: Services) -> int:
    """Draw every shift that is over and was not drawn yet; returns how many messages were drawn.

    Several processes may try: a shift is drawn once. That a shift could not be drawn is told by an exception.
    """
    due = services.review.shifts_over(services.clock.now())
    if not due:
        return 0
    done = await services.store.read(lambda conn: reviews.drawn_since(conn, due[0].starts_at))
    made = {shift: await _draw(services, shift) for shift in due if shift.starts_at not in done}
    if not made:
        return 0

    def unit(tx: Tx) -> list[Draw]:
        label = services.review.header.label
        kept = {shift: reviews.insert_draw(tx, shift, label, drawn) for shift, drawn in made.items()}
        for draw_id in kept.values():
            if draw_id is not None:
                tx.audit(AuditEntry("review_drawn", "review_draw", draw_id, new_id(), None, label))
        return [made[shift] for shift, draw_id in kept.items() if draw_id is not None]

    drawn = sum(len(each.drawn) for each in await services.store.write(unit))
    if drawn:
        log.info("review_drawn", drawn=drawn)
    return drawn


async def _draw(services: Services, shift: ShiftHours) -> Draw:
    random = Random(_seed(services.secret, shift))  # noqa: S311 - the seed is what nobody can foresee
    return draw(services.review, await _candidates(services, shift), random)


def _seed(secret: bytes, shift: ShiftHours) -> int:
    """The same for whoever draws this shift, and foreseen by nobody who writes in it."""
    name = f"review {shift.starts_at.isoformat()}".encode()
    return int.from_bytes(hashlib.blake2b(name, key=secret, digest_size=16).digest())


async def _candidates(services: Services, shift: ShiftHours) -> list[Candidate]:
    store, policy = services.store, services.review
    kinds = frozenset(kind.value for kind in policy.kinds)
    # Ids begin with the time, which in a real service is the clock's: nothing else is looked at.
    real = store.kind == PRODUCTION
    after = first_id_at(to_ms(shift.starts_at) - _SLACK_MS) if real else ""
    before = first_id_at(to_ms(shift.ends_at) + _SLACK_MS) if real else ""
    found: list[Candidate] = []
    while page := await store.read(
        lambda conn, after=after: reviews.said_in(conn, shift, after, before, kinds, PAGE)  # type: ignore[misc]
    ):
        after = page[-1].id
        found += [Candidate(row.id, row.version, _stratum(policy, row)) for row in page]
    return found


def _stratum(policy: ReviewPolicy, row: Row[Any]) -> Stratum:
    band = policy.band_of(_verdict(row.verdict), is_flagged=bool(row.is_flagged))
    return Stratum(RoomKind(row.kind), policy.part_of(row.at), band)


@lru_cache(4_096)
def _verdict(stored: str) -> Verdict:
    """Remembered, because nearly every message has one of a few verdicts."""
    return Verdict.from_json(stored)


# --- reading and judging ----------------------------------------------------------------------------------------------


async def waiting(services: Services, requester: Requester) -> list[str]:
    """The items that this person may read and has not judged yet, in the order in which to read them."""
    require(requester, "route.review")
    since = services.clock.now() - services.review.open_for
    return await services.store.read(lambda conn: reviews.waiting(conn, requester.account, _kinds(requester), since))


async def open_text(services: Services, requester: Requester, item: str, request_id: str) -> ToRead:
    """A message to be judged, for somebody who may read its room; that it was opened is recorded first.

    Raises:
        NotFound: no such item on this person's side of the wall, or they have judged it.
    """
    require(requester, "route.review")

    def unit(tx: Tx) -> Row[Any]:
        row = _readable(tx.conn, requester, item)
        if reviews.judgement(tx.conn, item, requester.account) is not None:
            raise NotFound(_NO_ITEM)
        tx.audit(AuditEntry("review_text_read", "message", row.message, request_id, requester.account, "review"))
        return row

    row = await services.store.write(unit)
    keys = services.store.keys
    text = None
    if row.removed_by != "author":
        text = await services.store.read(lambda conn: reviews.opened(conn, keys, row.message, row.text_version))
    return ToRead(item, RoomKind(row.room_kind), text)


async def judge(
    services: Services,
    requester: Requester,
    client_id: str,
    item: str,
    level: Level | None,
    categories: tuple[Category, ...],
    request_id: str,
) -> Judged:
    """Keep what somebody makes of a message, and see to its author if nobody has.

    Args:
        level: None if they can not say.
        categories: the main one first; none at level 0.

    Raises:
        BadRequest: a level above 0 without a category.
        NotFound: no such item on this person's side of the wall.
        Conflict: they have judged it already.
    """
    require(requester, "route.review_judge")
    if level and not categories:
        raise BadRequest("Choose what it is about.", field="main")
    letters = "".join(dict.fromkeys(categories)) if level else ""
    found = await services.store.read(lambda conn: _readable(conn, requester, item))
    side = side_of(RoomKind(found.room_kind))

    def unit(tx: Tx) -> Judged:
        earlier = first_answer(tx, requester.account, client_id, "review", Judged)
        if earlier is not None:
            return earlier
        row = _readable(tx.conn, requester, item, lock=True)
        if reviews.judgement(tx.conn, item, requester.account) is not None:
            raise Conflict("You have judged this message already.", retry="never")
        case = None
        if level is not None and level >= Level.HIGH_NEED and not _is_looked_after(tx.conn, row.message, level):
            case = raise_case(tx, services, _concern(row, side, level, categories))
        reviews.insert_judgement(tx, row, requester.account, level, letters, case)
        detail = "" if case is None else "raised"
        tx.audit(AuditEntry("review_judged", "review_item", item, request_id, requester.account, detail))
        answer = _answer(row, level, letters, case)
        keep_answer(tx, requester.account, client_id, "review", answer)
        return answer

    judged = await services.store.write(unit, case_feeds(found.author, Role(found.role), side))
    if judged.case:
        services.wake_ladders()
    return judged


async def outcome(services: Services, requester: Requester, item: str) -> Judged | None:
    """What became of this person's own judgement of an item; None if there is none."""
    require(requester, "route.review")

    def read(conn: Connection) -> Judged | None:
        row, mine = reviews.item_by_id(conn, item), reviews.judgement(conn, item, requester.account)
        if row is None or mine is None:
            return None
        return _answer(row, None if mine.level is None else Level(mine.level), mine.categories, mine.case)

    return await services.store.read(read)


def _answer(row: Row[Any], level: Level | None, letters: str, case: str | None) -> Judged:
    missed = row.band in UNFLAGGED and level is not None and level >= Level.HIGH_NEED
    return Judged(row.id, missed, case or "", row.message if missed else "", int(level or 0), letters)


def _is_looked_after(conn: Connection, message: str, level: Level) -> bool:
    """Whether somebody has closed a case of this message, or one is open in which it came in at this level or above."""
    return any(row.state == CaseState.CLOSED or row.level >= level for row in reviews.cases_with(conn, message))


def _concern(row: Row[Any], side: Side, level: Level, categories: tuple[Category, ...]) -> Concern:
    """What a miss asks of the people on duty. Its author is told nothing: they wrote it hours ago, to others."""
    return Concern(
        subject=row.author,
        subject_role=Role(row.role),
        side=side,
        origin=cases.REVIEW,
        level=level,
        categories=categories,
        feed=row.feed,
        message=row.message,
        care="none",
    )


def _readable(conn: Connection, requester: Requester, item: str, *, lock: bool = False) -> Row[Any]:
    row = reviews.item_by_id(conn, item, lock=lock)
    if row is None or not reads(requester.role, RoomKind(row.room_kind)) or row.author == requester.account:
        raise NotFound(_NO_ITEM)
    return row
