"""Writing the rota: who may, what is refused and loses nothing, and that ladders call by it; on both databases."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta

import pytest
from sqlalchemy import func, select

from moderation.rota_cover import Rota
from moderation.types import Role
from moderation.wall import day_of
from server.actions import rota, swaps
from server.actions.rota import Turns
from server.actions.services import Services
from server.auth.requester import Requester
from server.errors import BadRequest, Conflict, NotFound, Refused, ServiceError
from server.ids import new_id
from server.store.rota import BACK, SwapState, rota_of
from server.store.schema import rota_row
from tests import harness
from tests.path.scene import client_id

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass
class Team:
    """A lead, a clinical lead, an administrator, three moderators and a clinician; nobody is on the rota yet."""

    services: Services
    lead: Requester
    boss: Requester
    ann: Requester
    sam: Requester
    kit: Requester
    zoe: Requester
    hughes: Requester

    @property
    def now(self) -> datetime:
        return self.services.clock.now()

    async def rota(self) -> Rota:
        return await self.services.store.read(lambda conn: rota_of(conn, self.now - BACK))

    async def rows(self) -> int:
        query = select(func.count()).select_from(rota_row)
        return int(await self.services.store.read(lambda conn: conn.execute(query).scalar_one()))

    def turns(self, *people: str, **more: object) -> Turns:
        """Whole days from tomorrow on, one moderator after the other."""
        tomorrow = day_of(self.now) + DAY
        plain = Turns("", "All day", Role.MODERATOR, time(8), time(8), people, tomorrow)
        return replace(plain, **more)  # type: ignore[arg-type]

    async def rotate(self, *people: str, by: Requester | None = None, **more: object) -> None:
        await rota.write_rotation(self.services, by or self.lead, client_id(), self.turns(*people, **more), new_id())

    async def extra(self, name: str, begins_in: timedelta, lasts: timedelta = 8 * HOUR) -> tuple[datetime, datetime]:
        starts_at = (self.now + begins_in).replace(microsecond=0)
        await rota.add_extra(self.services, self.lead, client_id(), name, starts_at, starts_at + lasts, new_id())
        return starts_at, starts_at + lasts

    async def on(self, moment: datetime) -> set[str]:
        return {account for account, _ in (await self.rota()).on(moment, self.now)}


@pytest.fixture
async def team(services: Services) -> Team:
    return Team(
        services,
        await harness.staff(services, "Morgan", Role.MODERATOR_LEAD),
        await harness.staff(services, "Dr Adeyemi", Role.CLINICAL_LEAD),
        await harness.staff(services, "Ann", Role.ADMIN),
        await harness.staff(services, "Sam", Role.MODERATOR),
        await harness.staff(services, "Kit", Role.MODERATOR),
        await harness.staff(services, "Zoe", Role.MODERATOR),
        await harness.staff(services, "Dr Hughes", Role.CLINICIAN),
    )


async def refused(team: Team, error: type[ServiceError], change: Awaitable[object], field: str | None = None) -> str:
    """The text of the refusal; nothing was written."""
    before = await team.rows()
    with pytest.raises(error) as raised:
        await change
    assert await team.rows() == before
    assert field is None or raised.value.field == field
    return raised.value.text


async def test_those_who_lead_and_administrators_write_the_rota(team: Team) -> None:
    """A lead, a clinical lead and an administrator may; a moderator and a clinician may not. Each change is audited."""
    for n, by in enumerate((team.lead, team.boss, team.ann)):
        await team.rotate("Sam", by=by, name=f"Turn {n}", begins=time(8 + n), ends=time(9 + n))
    for by in (team.sam, team.hughes):
        await refused(team, Refused, team.rotate("Kit", by=by))
    assert [actor for actor, _, _ in await harness.audited(team.services, "rota_rotation")] == [
        team.lead.account, team.boss.account, team.ann.account,
    ]  # fmt: skip


async def test_a_rotation_is_served_in_turn_and_changed_from_a_day_on(team: Team) -> None:
    """Sam and Kit take days in turn; from the fourth day on Zoe serves alone; without people it is over."""
    await team.rotate("Sam", "Kit")
    (rotation,) = (await team.rota()).patterns(team.now)
    first = team.turns().first
    await team.rotate("Zoe", rotation=rotation, first=first + 3 * DAY)
    await team.rotate(rotation=rotation, first=first + 4 * DAY)
    noon = datetime.combine(first, time(12), tzinfo=UTC)
    served = [await team.on(noon + n * DAY) for n in range(-1, 5)]
    sam, kit, zoe = team.sam.account, team.kit.account, team.zoe.account
    assert served == [set(), {sam}, {kit}, {sam}, {zoe}, set()]


async def test_a_repeated_command_writes_one_row(team: Team) -> None:
    """The same client id twice is one change with one answer."""
    same, turns = client_id(), team.turns("Sam")
    one = await rota.write_rotation(team.services, team.lead, same, turns, new_id())
    two = await rota.write_rotation(team.services, team.lead, same, turns, new_id())
    assert one == two
    assert await team.rows() == 1


@pytest.mark.parametrize(
    ("people", "more", "field", "words"),
    [
        (("Sam", "Nobody Known"), {}, "people", "Line 2: Nobody on the staff"),
        (("Dr Hughes",), {}, "people", "Line 1: they are not a moderator"),
        (("Sam", "sam"), {}, "people", "Line 2: that name is there already"),
        (("Sam",), {"skill": "groups"}, "people", "Line 1: they do not have the skill"),
        ((), {}, "people", "at least one name"),
        (("Sam",), {"need": 2}, "need", "As many can serve at once"),
        (("Sam",), {"weekdays": frozenset()}, "weekdays", "at least one day"),
        (("Sam",), {"each": 0}, "each", "1 to 28 days"),
        (("Sam",), {"role": Role.THERAPIST}, "role", "roles that are called"),
        (("Sam",), {"name": "  "}, "rotation_name", "needs a name"),
        (("Sam",), {"rotation": "01UNKNOWN"}, "rotation", "no such rotation"),
    ],
)
async def test_a_rotation_that_can_not_be_says_what_is_wrong(
    team: Team, people: tuple[str, ...], more: dict[str, object], field: str, words: str
) -> None:
    """Each mistake is named with its field, and its line where there are several; nothing is written."""
    change = team.rotate(*people, **more)  # type: ignore[arg-type]
    assert words in await refused(team, BadRequest if field != "rotation" else NotFound, change, field)


async def test_nobody_is_put_in_two_places_at_once(team: Team) -> None:
    """A second rotation, an extra shift and a cover that overlap somebody's shift are refused, with the first time."""
    await team.rotate("Sam")
    await team.rotate("Kit", name="Evenings", begins=time(18), ends=time(22))
    noon = datetime.combine(team.turns().first + DAY, time(12), tzinfo=UTC)
    for change in (
        team.rotate("Sam", name="Nights", begins=time(20), ends=time(8)),
        rota.add_extra(team.services, team.lead, client_id(), "Sam", noon, noon + HOUR, new_id()),
        rota.add_cover(team.services, team.lead, client_id(), "Kit", "Sam", noon, noon + DAY, new_id()),
    ):
        assert "on duty" in await refused(team, BadRequest, change)
    again = team.rotate("Sam", name="Nights", begins=time(20), ends=time(8))
    await refused(team, BadRequest, again, "people")


async def test_a_skill_that_is_given_and_taken_opens_and_shuts_a_rotation(team: Team) -> None:
    """With the skill somebody may be in the rotation; who lacks it can not be covered into it."""
    for name in ("Sam", "Kit"):
        await rota.set_skill(team.services, team.lead, client_id(), name, "Groups", True, None, new_id())
    await rota.set_skill(team.services, team.lead, client_id(), "Kit", "groups", False, None, new_id())
    await team.rotate("Sam", skill="groups")
    noon = datetime.combine(team.turns().first, time(12), tzinfo=UTC)
    change = rota.add_cover(team.services, team.lead, client_id(), "Sam", "Kit", noon, noon + HOUR, new_id())
    assert "skill" in await refused(team, BadRequest, change, "into")


async def test_leave_empties_a_place_and_taking_it_back_fills_it(team: Team) -> None:
    """Somebody on leave serves nowhere and can not be put on; the leave's row can be withdrawn."""
    await team.rotate("Sam")
    noon = datetime.combine(team.turns().first, time(12), tzinfo=UTC)
    await rota.add_leave(team.services, team.lead, client_id(), "Sam", noon - HOUR, noon + HOUR, new_id())
    assert await team.on(noon) == set()
    change = rota.add_extra(team.services, team.lead, client_id(), "Sam", noon, noon + HOUR, new_id())
    assert "on leave" in await refused(team, BadRequest, change, "name")
    row = (await team.rota()).version
    await rota.withdraw(team.services, team.lead, client_id(), row, new_id())
    assert await team.on(noon) == {team.sam.account}
    await refused(team, NotFound, rota.withdraw(team.services, team.lead, client_id(), row, new_id()))


@pytest.mark.parametrize(
    ("begins", "ends", "words"),
    [(2, 1, "must come after"), (-9, -1, "is over"), (1, 99, "longer than it can be")],
)
async def test_a_time_that_no_shift_can_have_is_refused(team: Team, begins: int, ends: int, words: str) -> None:
    """An end before the beginning, a time that is over and one that is too long are told apart."""
    change = rota.add_extra(
        team.services, team.lead, client_id(), "Sam", team.now + begins * HOUR, team.now + ends * HOUR, new_id()
    )
    assert words in await refused(team, BadRequest, change, "ends_at")


# --- swaps -----------------------------------------------------------------------------------------------------------


async def test_a_swap_changes_nothing_until_the_other_says_yes(team: Team) -> None:
    """Sam asks Kit to serve tonight for tomorrow night: after the yes each serves the other's, and nobody before."""
    sams, _ = await team.extra("Sam", 5 * HOUR)
    kits, _ = await team.extra("Kit", 29 * HOUR)
    asked = await swaps.ask_swap(team.services, team.sam, client_id(), sams, team.kit.account, kits, new_id())
    assert await team.on(sams) == {team.sam.account}
    for who in (team.sam, team.zoe):
        settle = swaps.settle_swap(team.services, who, client_id(), asked.swap, SwapState.ACCEPTED, new_id())
        await refused(team, Refused, settle)
    await swaps.settle_swap(team.services, team.kit, client_id(), asked.swap, SwapState.ACCEPTED, new_id())
    assert (await team.on(sams), await team.on(kits)) == ({team.kit.account}, {team.sam.account})
    again = swaps.settle_swap(team.services, team.kit, client_id(), asked.swap, SwapState.REFUSED, new_id())
    await refused(team, Conflict, again)


async def test_a_swap_that_the_rota_has_overtaken_is_refused(team: Team) -> None:
    """The asker's shift was taken off meanwhile: the yes changes nothing and says so."""
    sams, ends = await team.extra("Sam", 5 * HOUR)
    asked = await swaps.ask_swap(team.services, team.sam, client_id(), sams, team.kit.account, None, new_id())
    await rota.add_leave(team.services, team.lead, client_id(), "Sam", sams, ends, new_id())
    settle = swaps.settle_swap(team.services, team.kit, client_id(), asked.swap, SwapState.ACCEPTED, new_id())
    assert "has changed" in await refused(team, Conflict, settle)


async def test_a_swap_is_asked_of_ones_own_role_about_ones_own_shift(team: Team) -> None:
    """Another role, oneself, a shift that is not there or has begun, and the same question twice are refused."""
    sams, _ = await team.extra("Sam", 5 * HOUR)
    running, _ = await team.extra("Zoe", timedelta(seconds=-60))

    def ask(who: Requester, starts_at: datetime, other: Requester) -> Awaitable[object]:
        return swaps.ask_swap(team.services, who, client_id(), starts_at, other.account, None, new_id())

    await refused(team, BadRequest, ask(team.sam, sams, team.hughes), "other")
    await refused(team, BadRequest, ask(team.sam, sams, team.sam), "other")
    await refused(team, BadRequest, ask(team.kit, sams, team.sam), "shift")
    await refused(team, BadRequest, ask(team.zoe, running, team.sam), "shift")
    asked = swaps.ask_swap(team.services, team.sam, client_id(), sams, team.kit.account, None, new_id())
    swap = (await asked).swap
    await refused(team, BadRequest, ask(team.sam, sams, team.kit), "other")
    back = await swaps.settle_swap(team.services, team.sam, client_id(), swap, SwapState.WITHDRAWN, new_id())
    assert back.state == SwapState.WITHDRAWN
