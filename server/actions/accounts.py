"""Who somebody is: accounts, signing in, and what proves that it is them.

Decided here: what each of these does, in which order, and what an outsider can learn from it (nothing: a name that
exists and one that does not take the same work and get the same answer). How often it may be tried is in `limits`,
what a password costs in `passwords`, what is accepted in `auth.credentials`.

A new password ends every other session in the same transaction; what a session is from then on is in `sessions`, and
how rights are given and taken in `rights`.

A unit that changes rows of somebody who has an account (it, its sessions, tickets, codes) names their inbox: its feed
is the lock of them all, so that two processes never wait for each other in a circle (decision 0002).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog

from moderation.types import Category, Disposition, Role, TextKind
from server.actions import limits
from server.actions.limits import HELP_NOW
from server.actions.services import Services
from server.auth import credentials
from server.auth.requester import Requester
from server.errors import BadRequest, Conflict, NotSignedIn, Refused
from server.ids import inbox_feed, new_id
from server.store import accounts as rows
from server.store.accounts import Account, AccountState, NewAccount, NewSession
from server.store.unit import AuditEntry, Tx

# For so long a registration whose answer was lost may be sent again and be answered with fresh recovery codes.
REGISTER_AGAIN_WITHIN: Final = timedelta(hours=1)

_SELF_HARM: Final = frozenset({Category.SUICIDE, Category.SELF_HARM, Category.OVERDOSE})


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from: the client's address, behind any trusted proxy."""

    address: str


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session has begun; `token` is the only copy of what the browser must keep."""

    token: str = field(repr=False)
    requester: Requester


@dataclass(frozen=True, slots=True)
class Registered:
    """An account was made and signed in; `recovery_codes` are shown once and never again."""

    token: str = field(repr=False)
    requester: Requester
    recovery_codes: tuple[str, ...] = field(repr=False)


# --- joining ----------------------------------------------------------------------------------------------------------


async def register(
    services: Services, origin: Origin, pseudonym: str, password: str, rules_version: str, client_id: str
) -> Registered:
    """Make a member's account and sign it in.

    A repeat with the same client id, name and password within an hour, before any recovery code was used, makes no
    second account: it signs in to the first and replaces the codes, for the answer that showed them was lost.

    Raises:
        BadRequest: `bad_name`, `name_not_available` (taken, misleading or refused by the filter: never said which),
            `password_*`, `rules_changed`.
        TooMany, Unavailable: try again after `retry_after_ms`.
    """
    if rules_version != services.settings.rules_version:
        raise BadRequest(
            "Our house rules have changed. Please read the current ones and agree to them.",
            code="rules_changed",
            field="rules_version",
        )
    name = credentials.check_name(pseudonym)
    credentials.check_password(password, name)
    key = credentials.name_key(name)
    services.throttle.check("register", limits.REGISTER, key, origin.address, services.clock.now())
    password_hash = await services.passwords.hash(password)
    _check_name_allowed(services, name, Role.MEMBER)
    codes = credentials.new_recovery_codes()
    hashes = tuple(credentials.recovery_hash(code) for code in codes)
    token, session = _new_session(services)
    new = NewAccount(
        new_id(), name, key, Role.MEMBER, password_hash, services.settings.rules_version, hashes, client_id
    )

    def run(tx: Tx) -> Account | None:
        """Make the account; return the one that has the name already, if it is another."""
        found = rows.account_by_key(tx.conn, key)
        if found is not None and found.id != new.id:
            if rows.registered_with(tx.conn, found.id, client_id):
                return found
            raise _name_not_available()
        if found is None:
            rows.insert_account(tx, services.store.keys, new)
        rows.start_session(tx, new.id, session)
        return None

    earlier = await services.store.write(run)
    if earlier is None:
        return Registered(token, Requester(new.id, name, Role.MEMBER, session.id), codes)
    return await _registered_before(services, earlier, password=password, token=token, session=session, codes=codes)


async def _registered_before(
    services: Services, earlier: Account, *, password: str, token: str, session: NewSession, codes: tuple[str, ...]
) -> Registered:
    """The answer to a registration that was carried out already, if it is the same person who asks."""
    if not await services.passwords.holds(earlier.password_hash, password):
        raise _name_not_available()

    def run(tx: Tx) -> None:
        found = rows.lock_account(tx, earlier.id)
        if (
            found is None
            or found.version != earlier.version
            or found.state is not AccountState.ACTIVE
            or tx.now - found.created_at > REGISTER_AGAIN_WITHIN
            or rows.recovery_codes_used(tx.conn, found.id)
        ):
            raise _name_not_available()
        rows.replace_recovery_codes(tx, found.id, [credentials.recovery_hash(code) for code in codes])
        rows.start_session(tx, found.id, session)

    await services.store.write(run, [inbox_feed(earlier.id)])
    return Registered(token, Requester(earlier.id, earlier.name, earlier.role, session.id), codes)


async def create_staff(services: Services, name: str, role: Role, password: str, *, by: str | None = None) -> str:
    """Make an account for a member of staff and return its id. For the operator alone (see `operating`).

    Args:
        by: who the audit row names.

    Raises:
        BadRequest: as `register`; a staff name may say what its bearer does.
    """
    if role is Role.MEMBER:
        raise BadRequest("Members sign up for themselves; choose a staff role.", field="role")
    shown = credentials.check_name(name)
    credentials.check_password(password, shown)
    _check_name_allowed(services, shown, role)
    key = credentials.name_key(shown)
    new = NewAccount(
        new_id(), shown, key, role, await services.passwords.hash(password), services.settings.rules_version
    )
    request_id = request_id_now()

    def run(tx: Tx) -> None:
        found = rows.account_by_key(tx.conn, key)
        if found is not None:
            if found.id != new.id:
                raise _name_not_available()
            return
        rows.insert_account(tx, services.store.keys, new)
        tx.audit(AuditEntry("create_staff", "account", new.id, request_id, by, role.value))

    await services.store.write(run)
    return new.id


# --- signing in -------------------------------------------------------------------------------------------------------


async def sign_in(services: Services, origin: Origin, pseudonym: str, password: str) -> SignedIn:
    """Begin a session for whoever knows the password; every sign-in has an id and a token of its own.

    Raises:
        NotSignedIn: `sign_in_failed`, the same for a wrong password and for a name that does not exist.
        Refused: `account_disabled`, told only to somebody who gave the right password.
        TooMany, Unavailable: try again after `retry_after_ms`; the right password then always works.
    """
    key = credentials.name_key(pseudonym)
    services.throttle.check("sign_in", limits.SIGN_IN, key, origin.address, services.clock.now())
    found = await services.store.read(lambda conn: rows.account_by_key(conn, key))
    if not await services.passwords.holds(found.password_hash if found else None, password) or found is None:
        raise _sign_in_failed()
    services.throttle.succeeded("sign_in", key, origin.address)
    if services.passwords.outdated(found.password_hash):
        await _rehash(services, found, password)
    token, session = _new_session(services)
    account_id, version = found.id, found.version
    request_id = request_id_now()

    def run(tx: Tx) -> Requester:
        now = rows.lock_account(tx, account_id)
        if now is None or now.version != version:
            raise _sign_in_failed()  # the password or the role was changed while this one was being compared
        if now.state is not AccountState.ACTIVE:
            raise _disabled()
        rows.start_session(tx, account_id, session)
        if now.role is not Role.MEMBER:
            tx.audit(AuditEntry("staff_sign_in", "account", account_id, request_id, account_id, now.role.value))
        return Requester(account_id, now.name, now.role, session.id)

    return SignedIn(token, await services.store.write(run, [inbox_feed(account_id)]))


async def recover(services: Services, origin: Origin, pseudonym: str, code: str, new_password: str) -> SignedIn:
    """Set a new password with a recovery code, which is used up, and end every session that there was.

    Raises:
        NotSignedIn: `recovery_failed`, the same for a wrong or used code and for a name that does not exist.
        Refused: `account_disabled`, told only to somebody who gave a right code; the code is not used up.
        BadRequest: the new password is not accepted.
        TooMany, Unavailable: try again after `retry_after_ms`.
    """
    credentials.check_password(new_password, credentials.normal_name(pseudonym))
    key = credentials.name_key(pseudonym)
    services.throttle.check("recover", limits.RECOVER, key, origin.address, services.clock.now())
    password_hash = await services.passwords.hash(new_password)
    hashed = credentials.recovery_hash(code)
    token, session = _new_session(services)
    known = await services.store.read(lambda conn: rows.account_by_key(conn, key))
    request_id = request_id_now()

    def run(tx: Tx) -> tuple[Requester, tuple[str, ...]]:
        found = rows.lock_account(tx, known.id) if known is not None else None
        if found is None or not rows.use_recovery_code(tx, found.id, hashed):
            raise NotSignedIn(
                "That name and code do not belong together, or the code has been used already.",
                code="recovery_failed",
                field="code",
            )
        if found.state is not AccountState.ACTIVE:
            raise _disabled()
        ended = rows.revoke(tx, account_id=found.id)
        rows.change_account(tx, found.id, password_hash=password_hash)
        rows.start_session(tx, found.id, session)
        tx.audit(AuditEntry("recover", "account", found.id, request_id, found.id))
        return Requester(found.id, found.name, found.role, session.id), ended

    requester, ended = await services.store.write(run, [inbox_feed(known.id)] if known is not None else ())
    services.throttle.succeeded("sign_in", key, origin.address)
    services.revoked(ended)
    return SignedIn(token, requester)


async def change_password(
    services: Services, origin: Origin, requester: Requester, password: str, new_password: str
) -> SignedIn:
    """Set a new password, end every session of the account, and begin a new one here.

    Raises:
        BadRequest: `wrong_password` (the present one), or the new one is not accepted.
        Conflict: it was changed elsewhere at the same time.
        TooMany, Unavailable: try again after `retry_after_ms`.
    """
    credentials.check_password(new_password, requester.name)
    found = await _check_own_password(services, origin, requester, password)
    password_hash = await services.passwords.hash(new_password)
    token, session = _new_session(services)
    request_id = request_id_now()

    def run(tx: Tx) -> tuple[str, ...]:
        _unchanged(tx, found)
        ended = rows.revoke(tx, account_id=found.id)
        rows.change_account(tx, found.id, password_hash=password_hash)
        rows.start_session(tx, found.id, session)
        tx.audit(AuditEntry("change_password", "account", found.id, request_id, found.id))
        return ended

    services.revoked(await services.store.write(run, [inbox_feed(found.id)]))
    return SignedIn(token, Requester(found.id, found.name, found.role, session.id))


async def renew_recovery_codes(
    services: Services, origin: Origin, requester: Requester, password: str
) -> tuple[str, ...]:
    """Ten new recovery codes in the place of all earlier ones; the present password is asked for again.

    Raises:
        BadRequest: `wrong_password`.
        Conflict: the password was changed elsewhere at the same time.
        TooMany, Unavailable: try again after `retry_after_ms`.
    """
    found = await _check_own_password(services, origin, requester, password)
    codes = credentials.new_recovery_codes()
    request_id = request_id_now()

    def run(tx: Tx) -> None:
        _unchanged(tx, found)
        rows.replace_recovery_codes(tx, found.id, [credentials.recovery_hash(code) for code in codes])
        tx.audit(AuditEntry("renew_recovery_codes", "account", found.id, request_id, found.id))

    await services.store.write(run, [inbox_feed(found.id)])
    return codes


# --- sessions ---------------------------------------------------------------------------------------------------------


# --- shared steps -----------------------------------------------------------------------------------------------------


def _new_session(services: Services) -> tuple[str, NewSession]:
    token = credentials.new_token()
    return token, NewSession(new_id(), credentials.token_hash(token), services.settings.session_absolute)


async def _rehash(services: Services, found: Account, password: str) -> None:
    """Bring a password that was just proven right to the parameters in force."""
    fresh = await services.passwords.hash(password)
    await services.store.write(lambda tx: rows.rehash(tx, found.id, found.password_hash, fresh), [inbox_feed(found.id)])


async def _check_own_password(services: Services, origin: Origin, requester: Requester, password: str) -> Account:
    """The account of somebody who is signed in and has just given the right password again."""
    key = credentials.name_key(requester.name)
    services.throttle.check("own_password", limits.SIGN_IN, key, origin.address, services.clock.now())
    found = await services.store.read(lambda conn: rows.account_by_id(conn, requester.account))
    if not await services.passwords.holds(found.password_hash if found else None, password) or found is None:
        raise BadRequest("That is not your present password.", code="wrong_password", field="password")
    services.throttle.succeeded("own_password", key, origin.address)
    return found


def _unchanged(tx: Tx, found: Account) -> None:
    now = rows.lock_account(tx, found.id)
    if now is None or now.version != found.version or now.state is not AccountState.ACTIVE:
        raise Conflict("This account was changed elsewhere just now. Sign in again.")


def _check_name_allowed(services: Services, name: str, role: Role) -> None:
    """Refuse a name that the filter refuses or that a member would mislead with, as if it were taken."""
    verdict = services.screening.screen(name, TextKind.NICKNAME, None, role)
    if verdict.disposition is Disposition.REFUSE:
        raise _name_not_available(help_too=not _SELF_HARM.isdisjoint(verdict.categories))
    if role is Role.MEMBER and credentials.may_mislead(name):
        raise _name_not_available()


def _name_not_available(*, help_too: bool = False) -> BadRequest:
    text = "This name can not be used. Please choose another."
    return BadRequest(
        f"{text} You are welcome here, and there is help for how you feel. {HELP_NOW}" if help_too else text,
        code="name_not_available",
        field="pseudonym",
    )


def _sign_in_failed() -> NotSignedIn:
    return NotSignedIn(
        "That name and password do not belong together. If the password is lost, use one of your recovery codes.",
        code="sign_in_failed",
        field="password",
    )


def _disabled() -> Refused:
    return Refused(f"This account has been closed. {HELP_NOW}", code="account_disabled")


def request_id_now() -> str:
    """The request that this is done for. Asked before a unit, since the writer that runs it serves all requests."""
    return structlog.contextvars.get_contextvars().get("request_id") or new_id()
