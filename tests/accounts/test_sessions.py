"""Sessions: how long they live, what ends them, and who hears of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from moderation.types import Role
from server.actions import accounts, rights, sessions
from server.actions.accounts import Registered, sign_in
from server.actions.services import Services
from server.actions.sessions import authenticate, issue_ticket, keep_alive, redeem_ticket, sessions_alive
from server.errors import Misconfigured, NotFound, NotSignedIn, Refused
from server.ids import new_id
from server.store.schema import session
from tests.harness import PASSWORD, fast_forward, member, open_services, origin, registered, staff

NEW = "seven lamps on a hill"


async def is_in(services: Services, token: str) -> bool:
    try:
        await authenticate(services, token)
    except NotSignedIn:
        return False
    return True


async def seen_at(services: Services, session_id: str) -> object:
    return await services.store.read(
        lambda conn: conn.execute(select(session.c.seen_at).where(session.c.id == session_id)).scalar_one()
    )


async def test_a_session_that_is_not_used_idles_out(services: Services) -> None:
    """Just before the idle time a session works and begins anew to idle; at its end it is over (3.1, item 5)."""
    made = await registered(services, "amber")
    idle = services.settings.session_idle
    for _ in range(2):
        await fast_forward(services, idle - timedelta(minutes=1))
        assert await is_in(services, made.token)
    await fast_forward(services, idle)
    assert not await is_in(services, made.token)
    assert await sessions_alive(services, [made.requester.session]) == set()


async def test_a_session_ends_however_much_it_is_used(services: Services) -> None:
    """At the absolute end a session in constant use is over, for pages and for sockets alike (item 5)."""
    made = await registered(services, "amber")
    step = services.settings.session_idle - timedelta(minutes=1)
    used = timedelta(0)
    while used + step < services.settings.session_absolute:
        await fast_forward(services, step)
        used += step
        assert await is_in(services, made.token)
    await fast_forward(services, services.settings.session_absolute - used)
    assert not await is_in(services, made.token)
    assert await sessions_alive(services, [made.requester.session]) == set()


async def test_talking_keeps_a_session_alive(services: Services) -> None:
    """A socket in use keeps its session from idling out; one that has ended is not brought back by it."""
    made = await registered(services, "amber")
    idle = services.settings.session_idle
    for _ in range(3):
        await fast_forward(services, idle - timedelta(minutes=1))
        await keep_alive(services, [made.requester.session])
    assert await is_in(services, made.token)
    await fast_forward(services, idle)
    await keep_alive(services, [made.requester.session])
    assert not await is_in(services, made.token)


async def test_use_is_written_down_once_a_minute(services: Services) -> None:
    """Requests within a minute write nothing; the first after it moves the time of use."""
    made = await registered(services, "amber")
    first = await seen_at(services, made.requester.session)
    units = services.store.database.writer.units
    for _ in range(5):
        await authenticate(services, made.token)
    assert services.store.database.writer.units == units
    await fast_forward(services, timedelta(minutes=1))
    await authenticate(services, made.token)
    assert await seen_at(services, made.requester.session) != first


Ending = Callable[[Services, Registered], Awaitable[object]]
ENDINGS: dict[str, tuple[Ending, bool]] = {
    "sign out": (lambda s, made: sessions.sign_out(s, made.requester), False),
    "sign out everywhere": (lambda s, made: sessions.sign_out_everywhere(s, made.requester), True),
    "new password": (lambda s, made: accounts.change_password(s, origin(), made.requester, PASSWORD, NEW), True),
    "recovery": (lambda s, made: accounts.recover(s, origin(), "amber", made.recovery_codes[0], NEW), True),
    "role change": (lambda s, made: rights.set_role(s, None, made.requester.account, Role.MODERATOR), True),
    "disabled": (lambda s, made: rights.disable_account(s, None, made.requester.account), True),
}


@pytest.mark.parametrize("name", ENDINGS)
async def test_what_takes_rights_away_ends_sessions_at_once(services: Services, name: str) -> None:
    """Each such act ends the sessions it should, tells listeners exactly those, and leaves everybody else (item 6)."""
    end, everywhere = ENDINGS[name]
    made, bystander = await registered(services, "amber"), await registered(services, "birch")
    other = await sign_in(services, origin(), "amber", PASSWORD)
    heard: list[str] = []
    services.revoked.listen(heard.extend)
    await end(services, made)
    assert set(heard) == ({made.requester.session, other.requester.session} if everywhere else {made.requester.session})
    assert not await is_in(services, made.token)
    assert await is_in(services, other.token) is not everywhere
    assert await is_in(services, bystander.token)
    sessions = [made.requester.session, other.requester.session, bystander.requester.session]
    assert await sessions_alive(services, sessions) == set(sessions) - set(heard)


async def test_other_processes_find_ended_sessions_in_the_database(services: Services, database_url: str) -> None:
    """A session ended by one process is dead for another that was told nothing (item 6).

    On SQLite there is no other: a second process that would write is refused, and is told why.
    """
    made = await registered(services, "amber")
    if database_url.startswith("sqlite"):
        with pytest.raises(Misconfigured, match="Another evenkeel process"):
            async with open_services(database_url):
                pass
        return
    async with open_services(database_url) as second:
        assert await sessions_alive(second, [made.requester.session]) == {made.requester.session}
        await sessions.sign_out(services, made.requester)
        assert await sessions_alive(second, [made.requester.session]) == set()
        with pytest.raises(NotSignedIn):
            await authenticate(second, made.token)


async def test_an_ended_session_is_told_once(services: Services) -> None:
    """Signing out twice ends and tells nothing the second time."""
    made = await registered(services, "amber")
    heard: list[tuple[str, ...]] = []
    services.revoked.listen(heard.append)
    await sessions.sign_out(services, made.requester)
    await sessions.sign_out(services, made.requester)
    assert heard == [(made.requester.session,)]


async def test_a_ticket_opens_one_socket_of_its_own_session(services: Services) -> None:
    """A ticket works once, for the session that it was given to, and another session can not use it up (item 4)."""
    amber, birch = await member(services, "amber"), await member(services, "birch")
    ticket = await issue_ticket(services, amber)
    with pytest.raises(NotSignedIn):
        await redeem_ticket(services, birch, ticket)
    await redeem_ticket(services, amber, ticket)
    with pytest.raises(NotSignedIn) as caught:
        await redeem_ticket(services, amber, ticket)
    assert caught.value.error_code == "bad_ticket"


async def test_a_ticket_lasts_half_a_minute(services: Services) -> None:
    """At 29 s a ticket opens a socket, at 30 s it does not (item 4, ASVS V4.4.4)."""
    amber = await member(services, "amber")
    ticket, late = await issue_ticket(services, amber), await issue_ticket(services, amber)
    await fast_forward(services, timedelta(seconds=29))
    await redeem_ticket(services, amber, ticket)
    await fast_forward(services, timedelta(seconds=1))
    with pytest.raises(NotSignedIn):
        await redeem_ticket(services, amber, late)


async def test_two_tabs_open_their_sockets_side_by_side(services: Services) -> None:
    """A second ticket of a session leaves the first one valid."""
    amber = await member(services, "amber")
    tickets = [await issue_ticket(services, amber) for _ in range(3)]
    for ticket in tickets:
        await redeem_ticket(services, amber, ticket)


async def test_a_ticket_dies_with_its_session(services: Services) -> None:
    """After signing out, a ticket given before opens nothing (item 6)."""
    amber = await member(services, "amber")
    ticket = await issue_ticket(services, amber)
    await sessions.sign_out(services, amber)
    with pytest.raises(NotSignedIn):
        await redeem_ticket(services, amber, ticket)


async def test_an_id_is_not_a_credential(services: Services) -> None:
    """Knowing the id of a session or account, or sending anything else, signs nobody in (items 14 and 17)."""
    made = await registered(services, "amber")
    guesses = [
        None,
        "",
        made.requester.session,
        made.requester.account,
        made.token[:-1],
        made.token + "A",
        made.token.swapcase(),
        "' OR 1=1 --",
        "\ud800" * 43,
        '{"$ne": ""}',
    ]
    for guess in guesses:
        with pytest.raises(NotSignedIn):
            await authenticate(services, guess)


async def test_only_administrators_change_accounts(services: Services) -> None:
    """Other roles are refused before they learn whether the account exists; nobody changes their own (items 12, 14)."""
    amber = await member(services, "amber")
    people = [amber, *[await staff(services, f"S {role.value}", role) for role in Role if role is not Role.MEMBER]]
    for who in people:
        for target in (amber.account if who is not amber else people[1].account, new_id()):
            if who.role is Role.ADMIN:
                continue
            with pytest.raises(Refused) as caught:
                await rights.set_role(services, who, target, Role.ADMIN)
            assert not isinstance(caught.value, NotFound)
            with pytest.raises(Refused) as caught:
                await rights.disable_account(services, who, target)
            assert not isinstance(caught.value, NotFound)
    admin = people[-1]
    assert admin.role is Role.ADMIN
    with pytest.raises(Refused):
        await rights.set_role(services, admin, admin.account, Role.MEMBER)
    with pytest.raises(NotFound):
        await rights.disable_account(services, admin, new_id())


async def test_a_new_role_needs_a_new_sign_in(services: Services) -> None:
    """After a role change the old session is over and the next one has the new role."""
    made = await registered(services, "amber")
    await rights.set_role(services, None, made.requester.account, Role.FACILITATOR)
    assert not await is_in(services, made.token)
    assert (await sign_in(services, origin(), "amber", PASSWORD)).requester.role is Role.FACILITATOR
