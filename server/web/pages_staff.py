"""Staff pages: the index, the console, the on-call page, one case. The live modules take over where they run."""

from __future__ import annotations

from starlette.responses import Response

from server.auth.permissions import POLICY
from server.errors import BadRequest, Refused
from server.ids import STAFF_FEEDS
from server.protocol.frames import Act, CasePage, OpenCase, Placed
from server.web import rows, verbs
from server.web.forms import strict
from server.web.pages_rota import clock, iso
from server.web.visit import STAFF_TEXTS, Visit, see_other

ON_MESSAGE = ("release_message", "hold_message", "remove_message")


async def index(visit: Visit) -> Response:
    may = POLICY["route.console"].roles or frozenset()
    sees_rota = visit.who.role in (POLICY["route.rota"].roles or frozenset())
    return visit.page(
        "staff.jinja",
        here="staff",
        works_on_cases=visit.who.role in may,
        reads_blind=visit.who.role in (POLICY["route.review"].roles or frozenset()),
        looks_after_words=visit.who.role in (POLICY["route.words"].roles or frozenset()),
        troubles=visit.services.lists.troubles,
        sees_rota=sees_rota,
        gaps=await verbs.rota_view.warnings(visit.services, visit.who) if sees_rota else [],
        clock=clock,
        iso=iso,
    )


async def console(visit: Visit) -> Response:
    open_to: list[str] = []
    items: list[Placed] = []
    for feed in STAFF_FEEDS:
        try:
            items.extend((await verbs.follow(visit.services, visit.who, feed, None, visit.request_id)).joined.items)
        except Refused:
            continue
        open_to.append(feed)
    own = await verbs.cases_of_own_groups(visit.services, visit.who, visit.request_id)
    items.extend(Placed(0, case) for case in own)
    return visit.page(
        "console.jinja",
        here="staff",
        feeds=open_to,
        cases=rows.queue(items, visit.texts),
        client_texts=visit.texts.sections(*STAFF_TEXTS),
    )


async def on_call(visit: Visit) -> Response:
    inbox = (await verbs.follow(visit.services, visit.who, "inbox", None)).joined.items
    return visit.page(
        "oncall.jinja",
        here="staff",
        feeds=["inbox"],
        pages=rows.calls(inbox, f"f-{visit.request_id}"),
        client_texts=visit.texts.sections(*STAFF_TEXTS),
    )


async def case_page(visit: Visit) -> Response:
    """One case with the conversation around it; reading it is written down by the action."""
    command = OpenCase(client_id=f"p-{visit.request_id}", case=visit.path("case"))
    page = await verbs.submit(visit.services, visit.who, command, visit.request_id)
    if not isinstance(page, CasePage):
        raise BadRequest(visit.texts("error.bad_request"))
    me, texts = visit.who.account, visit.texts
    return visit.page(
        "case.jinja",
        here="staff",
        c=rows.case_line(page.case, texts),
        rows=rows.rows(page.items, me, texts),
        private=rows.rows(page.private, me, texts),
        history=rows.facts(page.history, texts),
        allowed=page.allowed,
        allowed_message=[act for act in ON_MESSAGE if act in page.allowed],
        report=page.report,
        may_replay=visit.who.role in (POLICY["route.replay"].roles or frozenset()),
        may_propose=visit.who.role in (POLICY["route.words_propose"].roles or frozenset()),
        earlier=rows.earlier(page.earlier, texts),
        first=rows.facts([page.first_read] if page.first_read else [], texts),
        closing=rows.closing(page.closing, texts),
        outcomes=[{"value": "", "text": "Choose"}]
        + [{"value": code, "text": text} for code, text in texts.section("outcome").items()],
    )


async def act(visit: Visit) -> Response:
    fields = strict(visit.fields, "client_id", "version", "act", optional=("message", "outcome", "body"))
    version = fields["version"]
    if not (version.isascii() and version.isdigit() and len(version) < 16):
        raise BadRequest(visit.texts("error.bad_request"), field="version")
    command = Act(
        client_id=fields["client_id"],
        case=visit.path("case"),
        version=int(version),
        act=fields["act"],
        message=fields["message"] or None,
        outcome=fields["outcome"] or None,
        body=fields["body"].strip(),
    )
    await verbs.submit(visit.services, visit.who, command, visit.request_id)
    return see_other("/staff/console" if command.act == "close" else f"/staff/cases/{command.case}")
