"""Signing in and recovering: what works, and what an outsider can learn from it."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select, update

from moderation.types import Role
from server.actions import accounts, limits, rights
from server.actions.accounts import Origin, recover, register, sign_in
from server.actions.passwords import LINE, WORKERS
from server.actions.services import Services
from server.actions.sessions import authenticate
from server.errors import BadRequest, NotSignedIn, Refused, ServiceError, TooMany, Unavailable
from server.ids import new_id
from server.store.schema import account, audit
from server.store.unit import Tx
from tests.harness import PASSWORD, fast_forward, member, origin, registered, staff

WRONG = "another quiet green boat"
NEW = "seven lamps on a hill"


async def failure(services: Services, name: str, password: str, at: Origin | None = None) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await sign_in(services, at or origin(), name, password)
    return caught.value


async def failed_recovery(services: Services, name: str, code: str) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await recover(services, origin(), name, code, NEW)
    return caught.value


def told(error: ServiceError) -> tuple[object, ...]:
    return type(error), error.status, error.text, error.error_code, error.field, error.retry, error.retry_after_ms


async def stored_hash(services: Services, who: str) -> str:
    return await services.store.read(
        lambda conn: str(conn.execute(select(account.c.password_hash).where(account.c.id == who)).scalar_one())
    )


async def test_every_sign_in_is_a_session_of_its_own(services: Services) -> None:
    """Signing in twice gives two ids and two tokens of 256 random bits, both new (reliability 3.1, item 4)."""
    made = await registered(services, "amber")
    one = await sign_in(services, origin(), "amber", PASSWORD)
    two = await sign_in(services, origin(), "AMBER", PASSWORD)
    tokens = {made.token, one.token, two.token}
    assert len(tokens) == len({made.requester.session, one.requester.session, two.requester.session}) == 3
    assert all(len(token) == 43 for token in tokens)
    for entered in (one, two):
        assert await authenticate(services, entered.token) == entered.requester


async def test_known_and_unknown_names_are_answered_alike(services: Services) -> None:
    """A wrong password and a name that does not exist give one answer for the same work (3.1, item 10)."""
    await member(services, "amber")
    answers = []
    for name in ("amber", "nobody here"):
        before = services.passwords.hashes
        answers.append((told(await failure(services, name, WRONG)), services.passwords.hashes - before))
    assert answers[0] == answers[1]
    assert answers[0][1] == 1


async def test_recovery_does_not_tell_who_exists(services: Services) -> None:
    """A wrong code and a name that does not exist give one answer for the same work (3.1, item 10)."""
    await member(services, "amber")
    answers = []
    for name in ("amber", "nobody here"):
        before = services.passwords.hashes
        answers.append((told(await failed_recovery(services, name, "0" * 20)), services.passwords.hashes - before))
    assert answers[0] == answers[1]
    assert answers[0][1] == 1


async def test_a_closed_account_is_told_only_to_its_bearer(services: Services) -> None:
    """A closed account answers a wrong password like any other; the right one says so, and where help is."""
    amber = await member(services, "amber")
    unknown = await failure(services, "nobody here", WRONG)
    await rights.disable_account(services, None, amber.account)
    assert told(await failure(services, "amber", WRONG)) == told(unknown)
    closed = await failure(services, "amber", PASSWORD)
    assert (type(closed), closed.error_code) == (Refused, "account_disabled")
    assert "116 123" in closed.text


async def test_passwords_are_hashed_beside_the_loop(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """No hash is made on the thread that serves the chat (3.1, item 8)."""
    seen: set[str] = set()
    real_hash, real_verify = PasswordHasher.hash, PasswordHasher.verify

    def spy_hash(self: PasswordHasher, password: str) -> str:
        seen.add(threading.current_thread().name)
        return real_hash(self, password)

    def spy_verify(self: PasswordHasher, stored: str, password: str) -> bool:
        seen.add(threading.current_thread().name)
        return real_verify(self, stored, password)

    monkeypatch.setattr(PasswordHasher, "hash", spy_hash)
    monkeypatch.setattr(PasswordHasher, "verify", spy_verify)
    await member(services, "amber")
    await sign_in(services, origin(), "amber", PASSWORD)
    assert seen
    assert all(name.startswith("evenkeel-hash") for name in seen)


async def test_a_password_is_hashed_anew_when_the_parameters_changed(services: Services) -> None:
    """Signing in brings a hash made with other parameters to those in force; it then signs in as before (item 8)."""
    amber = await member(services, "amber")
    old = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(PASSWORD)

    def make_old(tx: Tx) -> None:
        tx.conn.execute(update(account).where(account.c.id == amber.account).values(password_hash=old))

    await services.store.write(make_old)
    await sign_in(services, origin(), "amber", PASSWORD)
    new = await stored_hash(services, amber.account)
    assert new.startswith("$argon2id$")
    assert "m=8,t=1,p=1" in new
    await sign_in(services, origin(), "amber", PASSWORD)
    assert await stored_hash(services, amber.account) == new


async def test_a_flood_of_sign_ins_is_a_short_line(services: Services) -> None:
    """Beyond the workers and their line a sign-in is told to come back; the others are answered (item 8)."""
    await member(services, "amber")
    gate = threading.Event()
    blocked = [asyncio.ensure_future(services.passwords._run(gate.wait)) for _ in range(WORKERS + LINE)]
    await asyncio.sleep(0)
    try:
        error = await failure(services, "amber", PASSWORD)
        assert (type(error), error.error_code, error.retry) == (Unavailable, "busy", "later")
        assert error.retry_after_ms
    finally:
        gate.set()
        await asyncio.gather(*blocked)
    assert (await sign_in(services, origin(), "amber", PASSWORD)).requester.name == "amber"


async def test_many_wrong_passwords_never_lock_anybody_out(services: Services) -> None:
    """Guessed at from a hundred addresses, a name is still open to its bearer after one short wait (items 11, H17)."""
    await member(services, "amber")
    limit = limits.SIGN_IN.per_name
    assert limit is not None
    for _ in range(limit.amount * 3):
        await failure(services, "amber", WRONG)
    home = origin()
    told_to_wait = await failure(services, "amber", PASSWORD, home)
    assert isinstance(told_to_wait, TooMany)
    assert told_to_wait.retry_after_ms is not None
    assert "116 123" in told_to_wait.text
    for _ in range(20):
        await failure(services, "amber", WRONG)
    await fast_forward(services, timedelta(milliseconds=told_to_wait.retry_after_ms))
    assert (await sign_in(services, home, "amber", PASSWORD)).requester.name == "amber"


async def test_waits_grow_to_half_a_minute_and_end_with_the_right_password(services: Services) -> None:
    """Each wrong guess after a wait doubles the next one up to 30 s; the right password clears it (item 11)."""
    await member(services, "amber")
    at, waits = origin(), []
    for _ in range(40):
        error = await failure(services, "amber", WRONG, at)
        if isinstance(error, TooMany):
            assert error.retry_after_ms is not None
            waits.append(error.retry_after_ms)
            await fast_forward(services, timedelta(milliseconds=error.retry_after_ms))
        if len(waits) == 8:
            break
    seconds = [round(wait / 1000) for wait in waits]
    assert seconds == [1, 2, 4, 8, 16, 30, 30, 30]
    await sign_in(services, at, "amber", PASSWORD)
    again = await failure(services, "amber", WRONG, at)
    assert again.retry_after_ms is None or again.retry_after_ms <= 1_000


async def test_registration_and_recovery_are_slowed_down_too(services: Services) -> None:
    """Many sign-ups from one address, and many codes tried on one name, are told to wait a moment (item 11)."""
    at = origin()
    for n in range(limits.REGISTER.per_address.amount):
        await register(services, at, f"amber {n}x", PASSWORD, services.settings.rules_version, new_id())
    with pytest.raises(TooMany):
        await register(services, at, "birch", PASSWORD, services.settings.rules_version, new_id())
    recover_limit = limits.RECOVER.per_name
    assert recover_limit is not None
    for _ in range(recover_limit.amount):
        assert isinstance(await failed_recovery(services, "cedar", "0" * 20), NotSignedIn)
    assert isinstance(await failed_recovery(services, "cedar", "0" * 20), TooMany)


async def test_a_recovery_code_sets_a_password_once(services: Services) -> None:
    """A code, typed carelessly, sets a new password and signs in; a second time it is worth nothing."""
    made = await registered(services, "amber")
    code = made.recovery_codes[3]
    entered = await recover(services, origin(), "amber", f" {code.lower().replace('-', ' ')} ", NEW)
    assert entered.requester.account == made.requester.account
    assert (await failed_recovery(services, "amber", code)).error_code == "recovery_failed"
    assert (await failure(services, "amber", PASSWORD)).error_code == "sign_in_failed"
    await sign_in(services, origin(), "amber", NEW)
    await recover(services, origin(), "amber", made.recovery_codes[4], PASSWORD)


async def test_a_code_is_worth_nothing_to_somebody_else(services: Services) -> None:
    """A code of one account does not open another."""
    amber = await registered(services, "amber")
    await member(services, "birch")
    assert (await failed_recovery(services, "birch", amber.recovery_codes[0])).error_code == "recovery_failed"


async def test_one_code_used_twice_at_once_counts_once(services: Services) -> None:
    """Of two people with the same code at the same moment one gets in."""
    made = await registered(services, "amber")
    outcomes = await asyncio.gather(
        *(recover(services, origin(), "amber", made.recovery_codes[0], NEW) for _ in range(2)), return_exceptions=True
    )
    assert sorted(isinstance(outcome, NotSignedIn) for outcome in outcomes) == [False, True]


async def test_new_recovery_codes_replace_the_old(services: Services) -> None:
    """Asking for new codes needs the password, and makes the earlier ones worthless."""
    made = await registered(services, "amber")
    with pytest.raises(BadRequest):
        await accounts.renew_recovery_codes(services, origin(), made.requester, WRONG)
    codes = await accounts.renew_recovery_codes(services, origin(), made.requester, PASSWORD)
    assert (await failed_recovery(services, "amber", made.recovery_codes[0])).error_code == "recovery_failed"
    await recover(services, origin(), "amber", codes[0], NEW)


async def test_changing_a_password_needs_the_present_one(services: Services) -> None:
    """With a wrong password nothing changes; with the right one the new one signs in and the old does not."""
    made = await registered(services, "amber")
    with pytest.raises(BadRequest) as caught:
        await accounts.change_password(services, origin(), made.requester, WRONG, NEW)
    assert caught.value.error_code == "wrong_password"
    assert await authenticate(services, made.token) == made.requester
    changed = await accounts.change_password(services, origin(), made.requester, PASSWORD, NEW)
    assert await authenticate(services, changed.token) == changed.requester
    assert (await failure(services, "amber", PASSWORD)).error_code == "sign_in_failed"
    await sign_in(services, origin(), "amber", NEW)


async def test_decisions_about_accounts_leave_audit_rows(services: Services) -> None:
    """A staff sign-in, a recovery, a new role and a closed account leave rows; a member's sign-in does not."""
    made = await registered(services, "amber")
    await sign_in(services, origin(), "amber", PASSWORD)
    boss = await staff(services, "Robin", Role.ADMIN)
    await recover(services, origin(), "amber", made.recovery_codes[0], NEW)
    await rights.set_role(services, boss, made.requester.account, Role.MODERATOR)
    await rights.disable_account(services, boss, made.requester.account)
    rows = await services.store.read(
        lambda conn: [
            tuple(row)
            for row in conn.execute(
                select(audit.c.act, audit.c.actor, audit.c.subject, audit.c.detail).order_by(audit.c.n)
            )
        ]
    )
    amber = made.requester.account
    assert rows == [
        ("create_staff", None, boss.account, "admin"),
        ("staff_sign_in", boss.account, boss.account, "admin"),
        ("recover", amber, amber, ""),
        ("set_role", boss.account, amber, "moderator"),
        ("disable_account", boss.account, amber, ""),
    ]
