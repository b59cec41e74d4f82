"""Lists that were signed are in force in every process, whether or not Redis says so."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import httpx2
import pytest

from moderation.types import Role
from ops.trial import PASSWORD, settings_of
from server.actions.accounts import create_staff, sign_in
from server.actions.wordlists import proposals
from server.actions.wordlists.documents import Change, Kind
from server.ids import new_id
from server.main import open_services
from server.store import wordlists
from server.store.wordlists import FIRST
from tests.flows.test_wordlists import ENTRY, WORDS, Desk
from tests.harness import origin
from tests.scaled.conftest import Stage
from tests.scaled.test_several_processes import talking
from tests.web.reading import read

pytestmark = pytest.mark.timeout(120)

# Five are promised, on a machine of its own: beside other tests two cores took six.
WITHIN_S = 15.0
# Two desks of three, each name once in the stage's database.
NAMES = iter(("Ashby", "Morgan", "Lea", "Kit", "Marlow", "Linden"))


@contextlib.asynccontextmanager
async def desk_beside(stage: Stage) -> AsyncIterator[tuple[Desk, str]]:
    """The people of the lists in a process of their own without Redis, and the clinical lead's session token."""
    async with open_services(settings_of(stage.trial)) as services:
        await services.lists.start()
        people, tokens = [], []
        for role in (Role.MODERATOR, Role.MODERATOR_LEAD, Role.CLINICAL_LEAD):
            name = next(NAMES)
            await create_staff(services, name, role, PASSWORD)
            entered = await sign_in(services, origin(), name, PASSWORD)
            people.append(entered.requester)
            tokens.append(entered.token)
        yield Desk(services, *people), tokens[-1]


async def until_read_with(stage: Stage, place: int, *, flagged: bool) -> float:
    """Say the words by way of each server until all of them read them so; how long that took, in seconds."""
    began = time.monotonic()

    async def one(n: int) -> None:
        async with talking(stage.cluster, n, stage.trial.members[place][n], stage.trial.rooms[place]) as feed:
            for _ in range(60):
                if ((await feed.send(WORDS)).care != "none") is flagged:
                    return
                await asyncio.sleep(0.25)

    await asyncio.gather(*(one(n) for n in range(3)))
    return time.monotonic() - began


async def sign_by_page(url: str, token: str, version: str) -> None:
    async with httpx2.AsyncClient(base_url=url, headers={"origin": url}, timeout=30) as client:
        client.cookies.set("evenkeel", token)
        forms = read((await client.get(f"/staff/watchwords/versions/{version}")).text).forms
        form = next(form for form in forms if form.fields.get("act") == "sign")
        assert (await client.post(form.action, data=form.fields)).status_code == 303


async def test_signed_lists_are_soon_in_force_in_every_process(stage: Stage) -> None:
    """The last signature is given at one server; the others screen with the new lists at once."""
    async with desk_beside(stage) as (desk, token):
        version = await desk.propose()
        assert not await desk.sign(desk.lead, version)
        await sign_by_page(stage.cluster.urls[0], token, version)
        assert await until_read_with(stage, 0, flagged=True) < WITHIN_S
        await desk.roll_back(desk.lead, FIRST)


async def test_going_back_reaches_processes_that_nobody_told(stage: Stage) -> None:
    """Lists are gone back to by a process that the others can not hear: they look by themselves."""
    async with desk_beside(stage) as (desk, _):
        change = Change(Kind.ADD, "crisis", text=ENTRY)
        await desk.sign_both(await desk.propose(change=change))
        await until_read_with(stage, 1, flagged=True)
        live = await desk.services.store.read(wordlists.live)
        assert live is not None
        await proposals.roll_back(desk.services, desk.lead, new_id(), FIRST, live.n, "Too many alarms.", new_id())
        assert await until_read_with(stage, 1, flagged=False) < WITHIN_S
