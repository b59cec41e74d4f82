"""A demonstration's own page: enter as an invented person in one press, and ticks for what the server has stored.

These routes exist only where the settings name doors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from starlette.responses import JSONResponse, Response

from server.auth.requester import Requester, Role
from server.errors import BadRequest, NotSignedIn, ServiceError
from server.protocol.frames import AnyItem, CaseItem, PageItem, Position
from server.web import verbs
from server.web.forms import strict
from server.web.pages_public import home_of
from server.web.security import content_security_policy, set_session_cookie
from server.web.settings import DemoDoor
from server.web.visit import MEMBER_TEXTS, Visit, see_other

STEPS = ("case_opened", "case_claimed", "clinician_called", "acknowledged", "case_closed")


def steps_of(item: AnyItem, audience: Role) -> frozenset[str]:
    """Which steps of the story one event on a staff feed shows to have happened."""
    match item:
        case CaseItem():
            seen = {"case_opened"}
            if item.owner is not None:
                seen.add("case_claimed")
            if item.state == "closed":
                seen.add("case_closed")
            return frozenset(seen)
        case PageItem() if item.case and audience in (Role.CLINICIAN, Role.CLINICAL_LEAD):
            return frozenset({"clinician_called"} | ({"acknowledged"} if item.owner is not None else set()))
        case _:
            return frozenset()


@dataclass(slots=True)
class Watch:
    """Follows the staff feeds as the invented staff, from the first look on, through the ordinary actions."""

    FEEDS: ClassVar[dict[Role, tuple[str, ...]]] = {
        Role.MODERATOR: ("staff:moderation",),
        Role.CLINICIAN: ("inbox",),
    }
    seen: set[str] = field(default_factory=set)
    _who: dict[Role, Requester] = field(default_factory=dict)
    _at: dict[tuple[Role, str], Position] = field(default_factory=dict)

    async def look(self, visit: Visit) -> frozenset[str]:
        """Every step that has happened since the first look."""
        for door in visit.settings.doors:
            for feed in self.FEEDS.get(door.role, ()):
                try:
                    await self._read(visit, door, feed)
                except NotSignedIn:
                    self._who.pop(door.role, None)
                except ServiceError:
                    continue
        return frozenset(self.seen)

    async def _read(self, visit: Visit, door: DemoDoor, feed: str) -> None:
        who = self._who.get(door.role)
        if who is None:
            who = (await _enter(visit, door)).requester
            self._who[door.role] = who
        key = (door.role, feed)
        following = await verbs.follow(visit.services, who, feed, self._at.get(key))
        if key in self._at:
            for event in following.events:
                self.seen |= steps_of(event.item_for(following.audience, who.account), door.role)
        self._at[key] = Position(epoch=following.joined.epoch, seq=following.joined.seq)


async def _enter(visit: Visit, door: DemoDoor) -> verbs.accounts.SignedIn:
    origin = verbs.accounts.Origin(visit.address)
    return await verbs.accounts.sign_in(visit.services, origin, door.pseudonym, door.password)


class DemoPages:
    """The demonstration's routes; they share one watch."""

    def __init__(self) -> None:
        self._watch = Watch()

    async def page(self, visit: Visit) -> Response:
        seen = await self._watch.look(visit)
        doors = visit.settings.doors
        response = visit.page(
            "demo.jinja",
            doors=doors,
            steps=[{"key": step, "seen": step in seen} for step in STEPS],
            client_texts=visit.texts.sections(*MEMBER_TEXTS, "demo"),
        )
        # Each door may have an address of its own, so that three tabs of one browser can be three people.
        response.headers["content-security-policy"] = content_security_policy(d.origin for d in doors if d.origin)
        response.headers["referrer-policy"] = "strict-origin"
        return response

    async def enter(self, visit: Visit) -> Response:
        fields = strict(visit.fields, "door")
        door = next((d for d in visit.settings.doors if d.key == fields["door"]), None)
        if door is None:
            raise BadRequest(visit.texts("error.bad_request"), field="door")
        entered = await _enter(visit, door)
        response = see_other(door.start or home_of(entered.requester))
        set_session_cookie(response, visit.settings, entered.token)
        return response

    async def progress(self, visit: Visit) -> Response:
        return JSONResponse({"seen": sorted(await self._watch.look(visit))})
