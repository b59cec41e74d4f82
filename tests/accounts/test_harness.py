"""The service that other tests stand on."""

from __future__ import annotations

from datetime import timedelta

from moderation.types import Role
from server.actions.services import Services
from tests.harness import fast_forward, member, staff


async def test_people_of_a_test_are_real_accounts(services: Services) -> None:
    """A member and a moderator made by the harness are two accounts with a session each."""
    amber, morgan = await member(services, "amber"), await staff(services, "Morgan", Role.MODERATOR)
    assert (amber.role, morgan.role) == (Role.MEMBER, Role.MODERATOR)
    assert len({amber.account, morgan.account, amber.session, morgan.session}) == 4


async def test_the_clock_steps_forward(services: Services) -> None:
    """Stepping forward moves the service's time by that much, and the database's too."""
    before = services.clock.now()
    await fast_forward(services, timedelta(hours=5))
    assert timedelta(hours=5) <= services.clock.now() - before < timedelta(hours=5, minutes=1)
    assert (await services.store.write(lambda tx: tx.now)) - before >= timedelta(hours=5)
