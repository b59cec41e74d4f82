"""The hub's verbs, carried out by the actions: who may open a socket, and what each command does."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from server.actions import dispatch, feeds, sessions
from server.actions.refused import hear_refused
from server.actions.services import Services
from server.auth.origins import (
    bearer_token,
    check_host,
    check_origin,
    cookie_value,
    is_program,
    only,
)
from server.auth.requester import Requester
from server.clock import to_ms, to_us
from server.errors import BadRequest, NotFound, NotSignedIn, Refused
from server.feeds import FeedEvent, Following
from server.live.verbs import Upgrade
from server.protocol import frames

PATH = "/ws"
# A session that was found alive so long ago is asked after again before a frame is carried out. The look at the
# sessions comes every 5 s, so that this costs nothing as long as it does.
BELIEVED_US = 10_000_000
SERVER = "evenkeel/0.1.0"


class LiveVerbs:
    """The service as the hub sees it. A browser is known by its cookie, a program by a bearer token."""

    def __init__(self, services: Services) -> None:
        self._services = services
        settings = services.settings
        self._cookie = "__Host-evenkeel" if settings.tls else "evenkeel"
        self._active: set[str] = set()
        self._found_alive: dict[str, int] = {}
        self._touched_at = services.clock.now()

    async def open_connection(self, upgrade: Upgrade) -> Requester:
        settings = self._services.settings
        if upgrade.path.partition("?")[0] != PATH:
            raise NotFound("There is no socket here. Connect to /ws.")
        if not check_host(only(_values(upgrade, "host")), settings.allowed_hosts):
            raise BadRequest("This service is not reached by that name.", code="host")
        if _is_program(upgrade):
            return await sessions.authenticate(self._services, bearer_token(_values(upgrade, "authorization")))
        if not check_origin(only(_values(upgrade, "origin")), settings.allowed_origins):
            raise Refused("A socket can only be opened from this service's own pages.", code="origin")
        return await sessions.authenticate(self._services, cookie_value(_values(upgrade, "cookie"), self._cookie))

    async def redeem_ticket(self, requester: Requester, upgrade: Upgrade, ticket: str | None) -> None:
        if _is_program(upgrade):
            return
        if ticket is None:
            raise NotSignedIn("Ask for a ticket first (POST /api/ticket) and put it into hello.", code="ticket")
        await sessions.redeem_ticket(self._services, requester, ticket)

    async def welcome(self, requester: Requester, hello: frames.Hello) -> frames.Welcome:
        offered = {name for name in hello.features if name != "console" or requester.is_staff}
        return frames.Welcome(
            re=hello.client_id,
            server=SERVER,
            minor=frames.MINOR,
            you=frames.Person(requester.account, requester.name, requester.role),
            features=tuple(name for name in frames.FEATURES if name in offered),
            now=to_ms(self._services.clock.now()),
            limits=frames.Limits(),
        )

    async def run(self, requester: Requester, command: frames.AnyCommand, request_id: str) -> frames.AnyReply:
        try:
            await self._check_session(requester)
        except NotSignedIn:
            await hear_refused(self._services, requester, command, request_id)
            raise
        self._active.add(requester.session)
        return await dispatch.run(self._services, requester, command, request_id)

    async def follow(self, requester: Requester, feed: str, after: frames.Position | None) -> Following:
        await self._check_session(requester)
        return await feeds.follow(self._services, requester, feed, after)

    async def events_after(self, positions: Mapping[str, int]) -> Mapping[str, Sequence[FeedEvent]]:
        return await feeds.events_after(self._services, positions)

    async def heads(self, feeds_: Sequence[str]) -> Mapping[str, tuple[int, int]]:
        return await feeds.heads(self._services, feeds_)

    async def sessions_alive(self, session_ids: Collection[str]) -> set[str]:
        now = self._services.clock.now()
        alive = await sessions.sessions_alive(self._services, session_ids)
        # Asked after all sessions or only some: what is known of the others stands for as long as it is believed.
        known = {session: at for session, at in self._found_alive.items() if 0 <= to_us(now) - at < BELIEVED_US}
        self._found_alive = {**known, **dict.fromkeys(alive, to_us(now))}
        for session in set(session_ids) - alive:
            self._found_alive.pop(session, None)
            self._active.discard(session)
        if now - self._touched_at >= sessions.TOUCH_EVERY:
            # Whoever did something keeps their session; an open tab that nobody uses idles out.
            active, self._active, self._touched_at = self._active, set(), now
            await sessions.keep_alive(self._services, active)
        return alive

    async def _check_session(self, requester: Requester) -> None:
        """Raises NotSignedIn if the session idled out, came to its absolute end, or was ended elsewhere."""
        now, found = self._services.clock.now_us(), self._found_alive.get(requester.session)
        if found is not None and 0 <= now - found < BELIEVED_US:
            return
        if not await sessions.sessions_alive(self._services, (requester.session,)):
            raise NotSignedIn("Your session has ended. Please sign in again.", code="expired")
        self._found_alive[requester.session] = now

    def check_pace(self, requester: Requester, command: frames.AnyCommand) -> None:
        self._services.pace.check(requester, command)

    async def hear_refused(self, requester: Requester, command: frames.AnyCommand, request_id: str) -> None:
        await hear_refused(self._services, requester, command, request_id)


def _values(upgrade: Upgrade, name: str) -> list[str]:
    return [value for header, value in upgrade.headers if header == name]


def _is_program(upgrade: Upgrade) -> bool:
    return is_program({header for header, _ in upgrade.headers})
