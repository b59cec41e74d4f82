"""The pages of the watchword lists: what is in force, proposals, trials, and what the lists say of a text typed in.

Plain forms: everything here works without a script. What a person may do is asked of the actions, which decide again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from starlette.responses import Response

from moderation.workload import rounded
from server.errors import BadRequest, Conflict, NotFound, Refused, ServiceError
from server.web import verbs
from server.web.forms import strict
from server.web.verbs import Category, Change, Level, TrialKind, WordKind
from server.web.visit import Visit, see_other

HERE: Final = "/staff/watchwords"
_BESIDE_THE_FORM: Final = (BadRequest, Conflict, Refused)
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_ENTRY: Final = re.compile(r"[a-z0-9-]{1,80}")
_OF_PROPOSALS: Final = ("add", "change", "remove", "document")


async def index(visit: Visit) -> Response:
    return await _index(visit)


async def _index(visit: Visit, status: int = 200, **more: object) -> Response:
    found = await verbs.viewing.overview(visit.services, visit.who)
    return visit.page(
        "words.jinja", status, here="staff", w=found, when=when, is_lead=visit.who.role in verbs.LEADS, **more
    )


async def list_page(visit: Visit) -> Response:
    """One list, with the forms that propose a change of it.

    `?entry=` fills one entry in; `?about=` and `?level=` begin a new one, `?beside=` one that leaves out what an entry
    finds; `?origin=` is kept with what is proposed.
    """
    asked = visit.request.query_params
    origin = verbs.sources.checked_origin(asked.get("origin", ""))
    begun = _begun(visit)
    given = {"origin": origin} | ({"kind": "add", "text": begun} if begun else {})
    return await _list(visit, visit.path("name"), asked.get("entry", ""), given=given)


def _begun(visit: Visit) -> str:
    asked = visit.request.query_params
    if beside := asked.get("beside", ""):
        why = f"Not what {beside} is about." if _ENTRY.fullmatch(beside) else ""
        return verbs.sources.begun(Category.CRISIS, Level.NONE, reason=why, beginning="idiom-")
    if asked.get("about", "") not in set(Category):
        return ""
    level = Level(int(asked["level"])) if asked.get("level", "") in ("1", "2", "3") else Level.HIGH_NEED
    return verbs.sources.begun(Category(asked["about"]), level)


async def case_words(visit: Visit) -> Response:
    """From a case that was no concern: the entries that were wrong, each with a change to propose."""
    case = visit.path("case")
    blamed = await verbs.sources.blamed_in(visit.services, visit.who, case, visit.request_id)
    return visit.page("case_words.jinja", here="staff", case=case, blamed=blamed, idioms=verbs.sources.IDIOMS)


async def _list(
    visit: Visit, name: str, entry: str, error: ServiceError | None = None, given: Mapping[str, str] = _NOTHING
) -> Response:
    """`given`: what was sent and could not be taken, which is still there."""
    of, text = (given.get("form") or given.get("kind", "")), given.get("text", "")
    document = await verbs.viewing.entry_text(visit.services, visit.who, name, "")
    shown = await verbs.viewing.entry_text(visit.services, visit.who, name, entry) if entry else ""
    found = await verbs.viewing.overview(visit.services, visit.who)
    return visit.page(
        "words_list.jinja",
        200 if error is None else error.status,
        here="staff",
        list=next(each for each in found.lists if each.name == name),
        document=text if of == "document" else document,
        table=text if of == "csv" else "",
        entry=entry,
        text=text if of in ("add", "change") else shown,
        reason=given.get("reason", ""),
        of=of,
        origin=given.get("origin", ""),
        error=error,
    )


async def download(visit: Visit) -> Response:
    """A list in force as a file, TOML or CSV."""
    name, form = visit.path("name"), visit.path("form")
    if form == "csv":
        text = await verbs.sheets.sheet(visit.services, visit.who, name)
    elif form == "toml":
        text = await verbs.viewing.entry_text(visit.services, visit.who, name, "")
    else:
        raise NotFound(visit.texts("error.not_found"))
    kept = {"content-disposition": f'attachment; filename="{name}.{form}"'}
    return Response(text, media_type="text/csv" if form == "csv" else "text/plain", headers=kept)


async def propose(visit: Visit) -> Response:
    fields = strict(visit.fields, "client_id", "kind", "name", "reason", optional=("entry", "text", "form", "origin"))
    change = _change(visit, fields)
    given = (visit.services, visit.who, fields["client_id"])
    try:
        if fields["form"] == "csv" and change.kind is WordKind.DOCUMENT:
            version = await verbs.sheets.propose_sheet(
                *given, change.name, change.text, fields["reason"], visit.request_id
            )
        else:
            version = await verbs.proposals.propose(*given, change, fields["reason"], visit.request_id)
    except _BESIDE_THE_FORM as error:
        return await _list(visit, change.name, change.entry, error, fields)
    return see_other(f"{HERE}/versions/{version}")


def _change(visit: Visit, fields: dict[str, str]) -> Change:
    if fields["kind"] not in _OF_PROPOSALS:
        raise BadRequest(visit.texts("error.bad_request"), field="kind")
    origin = verbs.sources.checked_origin(fields.get("origin", ""))
    return Change(WordKind(fields["kind"]), fields["name"], fields["entry"], fields["text"], origin)


async def version_page(visit: Visit) -> Response:
    return await _version(visit, visit.path("version"))


async def _version(visit: Visit, version: str, error: ServiceError | None = None) -> Response:
    page = await verbs.viewing.version_page(visit.services, visit.who, version)
    return visit.page(
        "words_version.jinja",
        200 if error is None else error.status,
        here="staff",
        v=page,
        when=when,
        rounded=rounded,
        error=error,
    )


async def revise(visit: Visit) -> Response:
    """Another wording of a proposal, the same change asked of the lists in force now, or its end."""
    fields = strict(visit.fields, "client_id", "version", "act", optional=("kind", "name", "entry", "text"))
    version, at = visit.path("version"), _number(visit, fields["version"], "version")
    given = (visit.services, visit.who, fields["client_id"], version, at)
    try:
        if fields["act"] == "refuse":
            await verbs.proposals.refuse(*given, visit.request_id)
            return see_other(HERE)
        if fields["act"] not in ("update", "revise"):
            raise BadRequest(visit.texts("error.bad_request"), field="act")
        change = _change(visit, fields) if fields["act"] == "revise" else None
        await verbs.proposals.revise(*given, change, visit.request_id)
    except _BESIDE_THE_FORM as error:
        return await _version(visit, version, error)
    return see_other(f"{HERE}/versions/{version}")


async def decide(visit: Visit) -> Response:
    """What only a lead does: sign, go back, begin a trial."""
    fields = strict(visit.fields, "client_id", "version", "act", optional=("digest", "reason", "span"))
    version, at = visit.path("version"), _number(visit, fields["version"], "version")
    who, services, client_id = visit.who, visit.services, fields["client_id"]
    try:
        match fields["act"]:
            case "sign":
                await verbs.proposals.sign(services, who, client_id, version, at, fields["digest"], visit.request_id)
            case "roll_back":
                await verbs.proposals.roll_back(
                    services, who, client_id, version, at, fields["reason"], visit.request_id
                )
                return see_other(HERE)
            case "shadow" | "corpus" | "stored":
                span = _number(visit, fields["span"] or "0", "span")
                kind = TrialKind(fields["act"])
                await verbs.trials.begin(services, who, client_id, version, at, kind, span, visit.request_id)
            case _:
                raise BadRequest(visit.texts("error.bad_request"), field="act")
    except _BESIDE_THE_FORM as error:
        return await _version(visit, version, error)
    return see_other(f"{HERE}/versions/{version}")


async def trial_page(visit: Visit) -> Response:
    page = await verbs.viewing.trial_page(visit.services, visit.who, visit.path("trial"))
    is_lead = visit.who.role in verbs.LEADS
    return visit.page("words_trial.jinja", here="staff", p=page, when=when, rounded=rounded, is_lead=is_lead)


async def stop_trial(visit: Visit) -> Response:
    strict(visit.fields, optional=("client_id",))
    await verbs.trials.stop(visit.services, visit.who, visit.path("trial"), visit.request_id)
    return see_other(f"{HERE}/trials/{visit.path('trial')}")


async def trial_text(visit: Visit) -> Response:
    """One text of a trial; that it was read is written down by the action."""
    trial, ref = visit.path("trial"), visit.path("ref")
    text = await verbs.trials.show_text(visit.services, visit.who, trial, ref, visit.request_id)
    return visit.page("words_text.jinja", here="staff", trial=trial, ref=ref, text=text)


async def try_text(visit: Visit) -> Response:
    """What the lists say of a text. The answer is the page: there is nothing to go back to, since nothing is kept."""
    fields = strict(visit.fields, "text", optional=("client_id", "version"))
    tried = await verbs.trying.try_text(visit.services, visit.who, fields["text"], fields["version"])
    return visit.page("words_tried.jinja", here="staff", tried=tried, text=fields["text"], version=fields["version"])


def when(moment: datetime) -> str:
    """A time as these pages write it, with its zone."""
    return f"{moment:%d %b %Y %H:%M} UTC"


def _number(visit: Visit, given: str, field: str) -> int:
    if not (given.isascii() and given.isdigit() and len(given) < 16):
        raise BadRequest(visit.texts("error.bad_request"), field=field)
    return int(given)
