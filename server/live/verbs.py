"""What the hub asks of the rest of the service; nothing else is known here of rooms, stores or permissions.

Every call may raise `ServiceError`, whose code, text and retry advice then reach the client. Whoever implements this
checks permission in each call anew: the hub remembers who asked, never what they may do.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from server.auth.requester import Requester
from server.feeds import FeedEvent, Following
from server.protocol.frames import AnyCommand, AnyReply, Hello, Position, Welcome


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A request to open a socket, before anything is answered.

    Attributes:
        path: request target as sent, with the query.
        headers: (lower-case name, value) in the order sent; a name may come more than once.
        peer: (address, port) of the other end of the TCP connection, which may be a proxy; None for a local socket.
        scheme: "ws" or "wss", as this process sees it.
        offered: subprotocols in the client's order of preference.
        request_id: goes into the answer and the log.
    """

    path: str
    headers: tuple[tuple[str, str], ...]
    peer: tuple[str, int] | None
    scheme: str
    offered: tuple[str, ...]
    request_id: str


class Verbs(Protocol):
    """The service as the hub sees it."""

    async def open_connection(self, upgrade: Upgrade) -> Requester:
        """Decide before the 101 who this is: path, client address, Host, Origin, session, how many connections.

        Raises:
            ServiceError: its `status` and texts become the HTTP answer.
        """
        ...

    async def redeem_ticket(self, requester: Requester, upgrade: Upgrade, ticket: str | None) -> None:
        """Use up the one-time ticket of `hello`; called for each hello, also where no ticket is needed or given.

        Raises:
            ServiceError: a ticket is needed for what `upgrade` shows (a cookie), and this is none.
        """
        ...

    async def welcome(self, requester: Requester, hello: Hello) -> Welcome:
        """The answer to `hello`; its `features` decide what the connection is sent from then on."""
        ...

    async def run(self, requester: Requester, command: AnyCommand, request_id: str) -> AnyReply:
        """Carry out a command other than hello, join, leave and beat, checking pace and permission first.

        It is cancelled when it takes longer than a command may; then it must have stored all or nothing.
        """
        ...

    def check_pace(self, requester: Requester, command: AnyCommand) -> None:
        """Count a join or a leave, which `run` is not given.

        Raises:
            ServiceError: it is too many for this account.
        """
        ...

    async def follow(self, requester: Requester, feed: str, after: Position | None) -> Following:
        """Check that `requester` may read `feed` now, and answer where it stands, from a read begun after the call."""
        ...

    async def events_after(self, positions: Mapping[str, int]) -> Mapping[str, Sequence[FeedEvent]]:
        """For each feed the committed events after that seq: ascending, without gaps, perhaps only the first of them.

        Rendered as they may be seen now, with the epoch that the feed is in now.
        """
        ...

    async def heads(self, feeds: Sequence[str]) -> Mapping[str, tuple[int, int]]:
        """(epoch, seq) of each feed as committed; feeds that are gone are left out."""
        ...

    async def sessions_alive(self, session_ids: Collection[str]) -> set[str]:
        """Those of the sessions that are still valid."""
        ...

    async def hear_refused(self, requester: Requester, command: AnyCommand, request_id: str) -> None:
        """Screen a command that will not be carried out, since its session ended, so that a risk in it is seen."""
        ...
