"""What a bench and a torture have in common: a database with invented people in rooms, and a worker to serve it.

The database is marked as a test's, so that it can never be taken for a real one; passwords are hashed cheaply; all
else is as in production: migrations, sealed bodies, sessions, `synchronous=FULL`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from moderation.types import Role, RoomKind
from server.actions.accounts import Origin, create_staff, register, sign_in
from server.actions.rooms import make_room
from server.actions.services import Services
from server.ids import new_id
from server.main import open_services
from server.rooms import Member
from server.settings import Settings, load_settings, make_key
from server.store.duty import insert_shift
from server.store.migrate import TEST, prepare_database
from server.store.rooms import set_standing
from server.store.unit import Tx

PASSWORD: Final = "three quiet green boats"  # noqa: S105 - of people who do not exist, in a database that is thrown away
_WORDS: Final = (
    "Amber", "Birch", "Brook", "Cedar", "Clover", "Copper", "Coral", "Fern", "Forest", "Garden", "Harbour",
    "Hazel", "Heather", "Island", "Ivory", "Juniper", "Lilac", "Maple", "Marble", "Meadow", "Misty", "Olive",
    "Orchard", "River",
)  # fmt: skip
_BIRDS: Final = (
    "Avocet", "Bittern", "Chaffinch", "Curlew", "Dipper", "Dunlin", "Fieldfare", "Gannet", "Goldfinch", "Grebe",
    "Heron", "Kestrel", "Lapwing", "Linnet", "Merlin", "Nuthatch", "Osprey", "Plover", "Puffin", "Redwing",
    "Sandpiper", "Skylark", "Swift", "Wagtail",
)  # fmt: skip
_TOGETHER: Final = 32


@dataclass(frozen=True, slots=True)
class TrialPerson:
    """Somebody invented, signed in."""

    account: str
    name: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Trial:
    """A database ready to be served.

    Attributes:
        rooms: feeds of the rooms; members[n] belong to rooms[n].
        moderators: on shift for a day.
        environ: what a worker for it needs in its environment, beside the port.
    """

    rooms: tuple[str, ...]
    members: tuple[tuple[TrialPerson, ...], ...]
    moderators: tuple[TrialPerson, ...]
    environ: dict[str, str]


async def make_trial(
    folder: Path, database_url: str, *, rooms: int, per_room: int, moderators: int = 0, everywhere: bool = False
) -> Trial:
    """Prepare the empty database of `database_url` and fill it with people.

    Args:
        folder: is given the key file.
        everywhere: the same `per_room` people belong to every room; else each room has its own.
    """
    key_file = folder / "trial.key"
    if not key_file.exists():
        make_key(key_file)
    await prepare_database(database_url, TEST)
    environ = {
        "DATABASE_URL": database_url,
        "EVENKEEL_KEY_FILE": str(key_file),
        "EVENKEEL_KIND": TEST,
        "EVENKEEL_ARGON2_MEMORY_KIB": "8",
        "EVENKEEL_ARGON2_PASSES": "1",
        # A machine that is kept busy on purpose must not turn a clean text into an unchecked one.
        "EVENKEEL_SCREENING_DEADLINE_MS": "1000",
    }
    async with open_services(_settings(database_url, key_file)) as services:
        people = await _members(services, per_room if everywhere else rooms * per_room)
        feeds, members = await _rooms(services, people * rooms if everywhere else people, per_room)
        staff = tuple([await _moderator(services, n) for n in range(moderators)])
    return Trial(feeds, members, staff, environ)


async def seat_again(trial: Trial, *, rooms: int, per_room: int) -> Trial:
    """The same people of the same database once more, in new rooms; where there are more seats, each has several."""
    everybody = [person for belonging in trial.members for person in belonging]
    people = list(itertools.islice(itertools.cycle(everybody), rooms * per_room))
    async with open_services(settings_of(trial)) as services:
        feeds, members = await _rooms(services, people, per_room)
    return replace(trial, rooms=feeds, members=members)


def settings_of(trial: Trial) -> Settings:
    """What opens the service of a trial in this process, beside its servers and unheard by them."""
    return _settings(trial.environ["DATABASE_URL"], Path(trial.environ["EVENKEEL_KEY_FILE"]))


def _settings(database_url: str, key_file: Path) -> Settings:
    return load_settings(
        database_url=database_url,
        key_file=key_file,
        kind=TEST,
        argon2_memory_kib=8,
        argon2_passes=1,
        screening_deadline_ms=1000,
    )


async def _rooms(
    services: Services, people: Sequence[TrialPerson], per_room: int
) -> tuple[tuple[str, ...], tuple[tuple[TrialPerson, ...], ...]]:
    """Rooms of `per_room` for all of `people`, and who belongs to each."""
    members = tuple(tuple(people[at : at + per_room]) for at in range(0, len(people), per_room))
    feeds = await asyncio.gather(
        *(make_room(services, RoomKind.COMMUNITY, f"Room {n}", "A trial") for n in range(1, len(members) + 1))
    )

    def join(tx: Tx) -> None:
        for feed, belonging in zip(feeds, members, strict=True):
            for account in {person.account for person in belonging}:
                set_standing(tx, feed.partition(":")[2], account, Member.ACTIVE)

    await services.store.write(join, feeds)
    return tuple(feeds), members


async def _members(services: Services, count: int) -> list[TrialPerson]:
    most = 2 * len(_WORDS) * len(_BIRDS)
    if count > most:
        raise ValueError(f"a trial has at most {most} members")
    gate = asyncio.Semaphore(_TOGETHER)

    async def one(n: int, name: str) -> TrialPerson:
        async with gate:
            origin = Origin(f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}")
            made = await register(services, origin, name, PASSWORD, services.settings.rules_version, new_id())
            return TrialPerson(made.requester.account, name, made.token)

    pairs = itertools.chain(itertools.product(_WORDS, _BIRDS), itertools.product(_BIRDS, _WORDS))
    names = (f"{first} {second}" for first, second in pairs)
    return list(await asyncio.gather(*(one(n, name) for n, name in enumerate(itertools.islice(names, count), 1))))


async def _moderator(services: Services, n: int) -> TrialPerson:
    name = f"Sam {_BIRDS[n]}"
    account = await create_staff(services, name, Role.MODERATOR, PASSWORD)
    signed_in = await sign_in(services, Origin(f"10.255.0.{n + 1}"), name, PASSWORD)
    await services.store.write(lambda tx: insert_shift(tx, account, Role.MODERATOR, tx.now, tx.now + timedelta(days=1)))
    return TrialPerson(account, name, signed_in.token)
