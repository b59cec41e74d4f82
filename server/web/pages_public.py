"""Pages that need no account: the front, help, the house rules, joining, signing in, and getting back in."""

from __future__ import annotations

from starlette.responses import Response

from server.auth.requester import Requester, Role
from server.errors import BadRequest, Conflict, NotSignedIn, Refused, ServiceError, TooMany
from server.protocol.frames import MAX_BODY_CHARS, Help
from server.web import rows, verbs
from server.web.forms import strict
from server.web.security import clear_session_cookie, set_session_cookie
from server.web.visit import Visit, see_other

# Refusals that belong beside the form they are about, rather than on a page of their own.
BESIDE_THE_FORM = (BadRequest, Conflict, NotSignedIn, TooMany)


def home_of(requester: Requester) -> str:
    """Where somebody begins."""
    match requester.role:
        case Role.MEMBER:
            return "/rooms"
        case Role.CLINICIAN | Role.CLINICAL_LEAD:
            return "/staff/on-call"
        case Role.MODERATOR | Role.MODERATOR_LEAD | Role.FACILITATOR:
            return "/staff/console"
        case _:
            return "/staff"


async def landing(visit: Visit) -> Response:
    return visit.page("landing.jinja")


async def house_rules(visit: Visit) -> Response:
    return visit.page("house_rules.jinja", here="rules")


async def help_page(visit: Visit) -> Response:
    """The crisis page. It never fails because something else does: what the team knows is shown where it can be had."""
    items: tuple[rows.Handling, ...] = ()
    if visit.requester is not None:
        try:
            inbox = await verbs.follow(visit.services, visit.requester, "inbox", None)
            items = rows.handling(inbox.joined.items, visit.texts)
        except ServiceError:
            items = ()
    asked = visit.request.query_params.get("asked", "")
    return visit.page("help.jinja", handling_items=items, asked=asked if asked == "yes" else "")


async def ask_for_help(visit: Visit) -> Response:
    """ "Tell the team on duty": straight to the people on duty, never asked of the filter, never limited."""
    fields = strict(visit.fields, "client_id", optional=("body",))
    try:
        command = Help(client_id=fields["client_id"], body=fields["body"][:MAX_BODY_CHARS])
        await verbs.submit(visit.services, visit.who, command, visit.request_id)
    except ServiceError as error:
        return visit.page("help.jinja", error.status, handling_items=(), asked="failed")
    return see_other("/help?asked=yes")


async def sign_up_page(visit: Visit) -> Response:
    return visit.page("sign_up.jinja", values={}, error=None)


async def sign_up(visit: Visit) -> Response:
    fields = strict(visit.fields, "pseudonym", "password", "rules_version", "client_id", optional=("accept",))
    try:
        if fields["accept"] != "yes":
            raise BadRequest("Please say that you are 16 or over and agree to the house rules.", field="accept")
        joined = await verbs.accounts.register(
            visit.services,
            verbs.accounts.Origin(visit.address),
            fields["pseudonym"],
            fields["password"],
            fields["rules_version"],
            fields["client_id"],
        )
    except BESIDE_THE_FORM as error:
        values = {"pseudonym": fields["pseudonym"], "accept": fields["accept"]}
        return visit.page("sign_up.jinja", error.status, values=values, error=error)
    visit.requester = joined.requester
    response = visit.page("recovery_codes.jinja", codes=joined.recovery_codes)
    set_session_cookie(response, visit.settings, joined.token)
    return response


async def sign_in_page(visit: Visit) -> Response:
    return visit.page("sign_in.jinja", here="sign-in", values={}, error=None)


async def sign_in(visit: Visit) -> Response:
    fields = strict(visit.fields, "pseudonym", "password")
    try:
        entered = await verbs.accounts.sign_in(
            visit.services, verbs.accounts.Origin(visit.address), fields["pseudonym"], fields["password"]
        )
    except (*BESIDE_THE_FORM, Refused) as error:
        values = {"pseudonym": fields["pseudonym"]}
        return visit.page("sign_in.jinja", error.status, here="sign-in", values=values, error=error)
    response = see_other(home_of(entered.requester))
    set_session_cookie(response, visit.settings, entered.token)
    return response


async def recover_page(visit: Visit) -> Response:
    return visit.page("recover.jinja", values={}, error=None)


async def recover(visit: Visit) -> Response:
    fields = strict(visit.fields, "pseudonym", "code", "password")
    try:
        entered = await verbs.accounts.recover(
            visit.services,
            verbs.accounts.Origin(visit.address),
            fields["pseudonym"],
            fields["code"],
            fields["password"],
        )
    except (*BESIDE_THE_FORM, Refused) as error:
        values = {"pseudonym": fields["pseudonym"]}
        return visit.page("recover.jinja", error.status, values=values, error=error)
    response = see_other(home_of(entered.requester))
    set_session_cookie(response, visit.settings, entered.token)
    return response


async def sign_out(visit: Visit) -> Response:
    return await _leave(visit, everywhere=False)


async def sign_out_everywhere(visit: Visit) -> Response:
    return await _leave(visit, everywhere=True)


async def _leave(visit: Visit, *, everywhere: bool) -> Response:
    if visit.requester is not None:
        leave = verbs.sessions.sign_out_everywhere if everywhere else verbs.sessions.sign_out
        await leave(visit.services, visit.requester)
    response = see_other("/")
    clear_session_cookie(response, visit.settings)
    # The browser forgets drafts and anything else that it kept for this address.
    response.headers["clear-site-data"] = '"storage"'
    return response
