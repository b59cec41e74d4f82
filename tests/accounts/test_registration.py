"""Signing up: one account, once, under a name that everybody may see."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Connection, func, select

from moderation.types import Role
from server.actions.accounts import create_staff, register, sign_in
from server.actions.services import Services
from server.actions.sessions import authenticate
from server.errors import BadRequest, ServiceError
from server.ids import inbox_feed, new_id
from server.store.keys import Realm, Retention
from server.store.schema import account, data_key, feed, recovery_code, session
from tests.harness import PASSWORD, fast_forward, member, open_services, origin, registered


async def count(services: Services) -> int:
    return await services.store.read(lambda conn: conn.execute(select(func.count()).select_from(account)).scalar_one())


async def refusal(services: Services, name: str, password: str = PASSWORD) -> ServiceError:
    with pytest.raises(BadRequest) as caught:
        await register(services, origin(), name, password, services.settings.rules_version, new_id())
    return caught.value


async def test_a_new_member_is_complete_at_once(services: Services) -> None:
    """An account comes with its data key, its inbox, ten recovery codes and a session that works."""
    made = await registered(services, "Quiet River")
    who = made.requester
    assert await authenticate(services, made.token) == who
    assert (who.name, who.role) == ("Quiet River", Role.MEMBER)
    assert len(set(made.recovery_codes)) == 10

    def read(conn: Connection) -> tuple[Sequence[object], object, int]:
        keys = conn.execute(select(data_key.c.realm, data_key.c.retention).where(data_key.c.subject == who.account))
        head = conn.execute(select(feed.c.epoch, feed.c.seq).where(feed.c.id == inbox_feed(who.account)))
        codes = conn.execute(select(func.count()).where(recovery_code.c.account == who.account))
        return [tuple(row) for row in keys], tuple(head.one()), codes.scalar_one()

    keys, head, codes = await services.store.read(read)
    assert (keys, head, codes) == ([(Realm.COMMUNITY, Retention.COMMUNITY_POST)], (1, 0), 10)


async def test_nothing_secret_is_stored_as_it_is(services: Services) -> None:
    """Neither the password, the token nor a recovery code can be read in the database."""
    made = await registered(services, "amber")

    def everything(conn: Connection) -> str:
        rows = [conn.execute(select(table)).all() for table in (account, session, recovery_code)]
        return repr(rows)

    stored = await services.store.read(everything)
    assert PASSWORD not in stored
    assert made.token not in stored
    assert not any(code in stored for code in made.recovery_codes)
    assert made.token not in repr(made)


async def test_the_rules_agreed_to_must_be_the_current_ones(services: Services) -> None:
    """Agreeing to an older version of the house rules makes no account."""
    with pytest.raises(BadRequest) as caught:
        await register(services, origin(), "amber", PASSWORD, "2019-01", new_id())
    assert caught.value.error_code == "rules_changed"
    assert await count(services) == 0


async def test_a_registration_sent_twice_makes_one_account(services: Services) -> None:
    """The same client id, name and password again sign in to the first account, with codes in place of the lost."""
    client_id, version = new_id(), services.settings.rules_version
    first = await register(services, origin(), "amber", PASSWORD, version, client_id)
    again = await register(services, origin(), "amber", PASSWORD, version, client_id)
    assert again.requester == replace(first.requester, session=again.requester.session)
    assert again.requester.session != first.requester.session
    assert not set(again.recovery_codes) & set(first.recovery_codes)
    assert await count(services) == 1
    assert await authenticate(services, first.token) == first.requester


@pytest.mark.parametrize("change", ["password", "client_id", "an hour later"])
async def test_a_repeat_that_is_not_one_is_a_taken_name(services: Services, change: str) -> None:
    """Another password, another client id, or an hour between: the name is taken and nothing is given away."""
    client_id, version = new_id(), services.settings.rules_version
    await register(services, origin(), "amber", PASSWORD, version, client_id)
    if change == "an hour later":
        await fast_forward(services, timedelta(hours=1, seconds=1))
    with pytest.raises(BadRequest) as caught:
        await register(
            services,
            origin(),
            "amber",
            "another good password" if change == "password" else PASSWORD,
            version,
            new_id() if change == "client_id" else client_id,
        )
    assert caught.value.error_code == "name_not_available"
    assert await count(services) == 1


@pytest.mark.parametrize("name", ["Amber", "AMBER", "am ber", "a-m-b-e-r", "аmber", "ａｍｂｅｒ", "arnber"])
async def test_a_name_that_looks_alike_is_taken(services: Services, name: str) -> None:
    """Case, spaces, hyphens and look-alike letters do not make another name."""
    await member(services, "amber")
    assert (await refusal(services, name)).error_code == "name_not_available"


@pytest.mark.parametrize("name", ["Moderator Amy", "M0derator", "evenkeel", "NHS", "Staff", "my-therapist"])
async def test_a_member_can_not_be_taken_for_the_team(services: Services, name: str) -> None:
    """A name that says it is staff or a help line is answered like a taken one; staff may have it."""
    await member(services, "amber")
    taken, misleading = await refusal(services, "amber"), await refusal(services, name)
    assert (misleading.text, misleading.error_code) == (taken.text, taken.error_code)
    assert await create_staff(services, name, Role.MODERATOR, PASSWORD)


async def test_a_name_that_the_filter_refuses_offers_help(services: Services) -> None:
    """A name that speaks of suicide has the code of a taken name, and its text says where help is now."""
    await member(services, "amber")
    taken, disclosure = await refusal(services, "amber"), await refusal(services, "want to die")
    assert disclosure.error_code == taken.error_code
    assert disclosure.text.startswith(taken.text)
    assert "116 123" in disclosure.text
    assert "want to die" not in disclosure.text
    assert await count(services) == 1


@pytest.mark.parametrize(
    ("name", "password", "code"),
    [
        ("a", PASSWORD, "bad_name"),
        ("x" * 31, PASSWORD, "bad_name"),
        ("two\nlines", "short", "password_too_short"),
        ("<b>bold</b>", PASSWORD, "bad_name"),
        ("amber", "short", "password_too_short"),
        ("amber", "x" * 201, "too_long"),
        ("amber", "Password-123", "password_too_common"),
        ("long amber river", "LongAmberRiver1", "password_is_name"),
    ],
)
async def test_what_can_not_be_accepted_is_said_kindly(services: Services, name: str, password: str, code: str) -> None:
    """A name or password outside the rules is refused with its own code, and costs no hash."""
    error = await refusal(services, name, password)
    assert error.error_code == code
    assert password not in error.text
    assert services.passwords.hashes == 0


async def test_names_can_not_be_found_out_by_work(services: Services) -> None:
    """A free, a taken, a misleading and a refused name cost one hash each."""
    await member(services, "amber")
    for name in ("amber", "evenkeel", "want to die"):
        before = services.passwords.hashes
        await refusal(services, name)
        assert services.passwords.hashes - before == 1
    before = services.passwords.hashes
    await member(services, "birch")
    assert services.passwords.hashes - before == 1


async def test_staff_are_not_made_by_signing_up(services: Services) -> None:
    """Registration makes members only, and the operator's command makes no members."""
    assert (await member(services, "amber")).role is Role.MEMBER
    with pytest.raises(BadRequest):
        await create_staff(services, "Birch", Role.MEMBER, PASSWORD)


async def test_words_of_sql_are_a_name_like_any_other(services: Services) -> None:
    """What a person types never becomes part of a query (reliability 3.1, item 17)."""
    await member(services, "amber")
    for name in ("' OR '1'='1", "amber' OR 1=1 --", '{"$ne": null}', "amber%", "a_ber"):
        with pytest.raises(ServiceError) as caught:
            await sign_in(services, origin(), name, PASSWORD)
        assert caught.value.error_code == "sign_in_failed"


async def test_one_name_taken_by_two_processes_at_once_is_one_account(services: Services, database_url: str) -> None:
    """Of two people who choose the same name at the same moment, one has it and the other is asked for another."""
    async with AsyncExitStack() as stack:
        # One process alone writes to a SQLite file: there both ask the same one.
        second = services
        if not database_url.startswith("sqlite"):
            second = await stack.enter_async_context(open_services(database_url))
        version = services.settings.rules_version
        outcomes = await asyncio.gather(
            *(register(each, origin(), "amber", PASSWORD, version, new_id()) for each in (services, second)),
            return_exceptions=True,
        )
    refused = [outcome.error_code for outcome in outcomes if isinstance(outcome, BadRequest)]
    assert refused == ["name_not_available"]
    assert await count(services) == 1
