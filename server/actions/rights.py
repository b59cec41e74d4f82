"""Rights that somebody is given or loses: another role, a closed account. Either ends their sessions at once."""

from __future__ import annotations

from moderation.types import Role
from server.actions.accounts import request_id_now
from server.actions.services import Services
from server.auth.permissions import require
from server.auth.requester import Requester
from server.errors import NotFound, Refused
from server.ids import inbox_feed
from server.store import accounts as rows
from server.store.accounts import AccountState
from server.store.unit import AuditEntry, Tx


async def set_role(services: Services, actor: Requester | None, account: str, role: Role) -> None:
    """Give an account another role and end its sessions, so that nothing goes on under the old one.

    Args:
        actor: who decides; None for the operator's own commands.

    Raises:
        Refused: `actor` may not, or it is their own account.
        NotFound: no such account.
    """
    _check_actor(actor, "admin.set_role", account)
    await _change(services, actor, account, "set_role", role.value, role=role)


async def disable_account(services: Services, actor: Requester | None, account: str) -> None:
    """Close an account to its bearer and end its sessions; what it wrote stays.

    Raises:
        Refused: `actor` may not, or it is their own account.
        NotFound: no such account.
    """
    _check_actor(actor, "admin.disable_account", account)
    await _change(services, actor, account, "disable_account", "", state=AccountState.DISABLED)


async def _change(
    services: Services,
    actor: Requester | None,
    account: str,
    act: str,
    detail: str,
    *,
    role: Role | None = None,
    state: AccountState | None = None,
) -> None:
    request_id = request_id_now()

    def run(tx: Tx) -> tuple[str, ...]:
        if rows.lock_account(tx, account) is None:
            raise NotFound("There is no such account.")
        ended = rows.revoke(tx, account_id=account)
        rows.change_account(tx, account, role=role, state=state)
        tx.audit(AuditEntry(act, "account", account, request_id, actor.account if actor else None, detail))
        return ended

    services.revoked(await services.store.write(run, [inbox_feed(account)]))


def _check_actor(actor: Requester | None, operation: str, account: str) -> None:
    if actor is None:
        return
    require(actor, operation)
    if actor.account == account:
        raise Refused("Ask somebody else to change your own account.", code="own_account")
