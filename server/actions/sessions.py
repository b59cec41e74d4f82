"""A session from its first request to its end: whose it is, its sockets' tickets, signing out.

Everything that takes rights away (sign-out, a new password, another role, a closed account) ends sessions in the same
transaction, and then calls `services.revoked`, so that their sockets close at once in this process; other processes
ask `sessions_alive`.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from functools import partial
from typing import Final

from server.actions.services import Services
from server.auth import credentials
from server.auth.requester import Requester
from server.errors import NotSignedIn
from server.ids import inbox_feed
from server.store import accounts as rows
from server.store.unit import Tx

TICKET_LASTS: Final = timedelta(seconds=30)
TOUCH_EVERY: Final = timedelta(minutes=1)
# So many sessions are marked as used in one unit: their owners' inboxes are locked meanwhile.
TOUCH_TOGETHER: Final = 200


async def authenticate(services: Services, token: str | None) -> Requester:
    """Who holds this session token. Marks the session as used, at most once a minute.

    Raises:
        NotSignedIn: no token, or the session ended, idled out, or came to its absolute end.
    """
    if token is None or not credentials.looks_like_token(token):
        raise _not_signed_in()
    now, idle = services.clock.now(), services.settings.session_idle
    hashed = credentials.token_hash(token)
    live = await services.store.read(lambda conn: rows.session_by_token(conn, hashed, now, idle), snapshot=False)
    if live is None:
        raise _not_signed_in()
    if now - live.seen_at >= TOUCH_EVERY:
        await keep_alive(services, (live.requester.session,))
    return live.requester


async def sessions_alive(services: Services, session_ids: Collection[str]) -> set[str]:
    """Those of the sessions that are still alive, in one query; the hub asks every few seconds for its sockets."""
    if not session_ids:
        return set()
    now, idle = services.clock.now(), services.settings.session_idle
    return await services.store.read(lambda conn: rows.alive(conn, session_ids, now, idle), snapshot=False)


async def keep_alive(services: Services, session_ids: Collection[str]) -> None:
    """Mark sessions as used, so that nobody who is talking idles out; the absolute end does not move."""
    idle = services.settings.session_idle
    owners = sorted((await services.store.read(lambda conn: rows.owners(conn, session_ids))).items())
    for start in range(0, len(owners), TOUCH_TOGETHER):
        some = dict(owners[start : start + TOUCH_TOGETHER])
        await services.store.write(partial(rows.touch, sessions=some, idle=idle), {*map(inbox_feed, some.values())})


async def issue_ticket(services: Services, requester: Requester) -> str:
    """A ticket that opens one socket of this session within 30 s (ASVS 5.0, V4.4.4)."""
    ticket = credentials.new_token()
    hashed = credentials.token_hash(ticket)
    await services.store.write(
        lambda tx: rows.add_ticket(tx, requester.session, hashed, TICKET_LASTS), [inbox_feed(requester.account)]
    )
    return ticket


async def redeem_ticket(services: Services, requester: Requester, ticket: str) -> None:
    """Use a ticket up. Raises NotSignedIn (`bad_ticket`) if it is unknown, used, too old or another session's."""
    hashed, session_id = credentials.token_hash(ticket), requester.session
    idle = services.settings.session_idle

    def run(tx: Tx) -> None:
        if not rows.use_ticket(tx, session_id, hashed) or not rows.alive(tx.conn, (session_id,), tx.now, idle):
            raise NotSignedIn("This connection could not be opened. Load the page again.", code="bad_ticket")

    await services.store.write(run, [inbox_feed(requester.account)])


async def sign_out(services: Services, requester: Requester) -> None:
    """End this session."""
    await _revoke(services, requester.account, only=requester.session)


async def sign_out_everywhere(services: Services, requester: Requester) -> None:
    """End every session of this account, this one too."""
    await _revoke(services, requester.account)


async def _revoke(services: Services, account: str, only: str | None = None) -> None:
    services.revoked(
        await services.store.write(lambda tx: rows.revoke(tx, account_id=account, only=only), [inbox_feed(account)])
    )


def _not_signed_in() -> NotSignedIn:
    return NotSignedIn("Please sign in.")
