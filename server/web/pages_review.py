"""The pages of blind review: what waits, one message at a time, and what was made of it.

Plain forms: everything here works without a script. A page shows a text and the kind of room, and nothing else of it.
"""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from server.errors import BadRequest, ServiceError
from server.web import verbs
from server.web.forms import strict
from server.web.verbs import Category, Level
from server.web.visit import Visit, see_other

HERE: Final = "/staff/review"
_UNSURE: Final = "unsure"
_LEVELS: Final = {str(int(level)): level for level in Level}
_LETTERS: Final = tuple(str(category) for category in Category)
_ALSO: Final = {f"also_{letter}": letter for letter in _LETTERS}


async def index(visit: Visit) -> Response:
    """How much waits, and, with `?after=`, what came of the judgement that was just given."""
    waiting = await verbs.reviewing.waiting(visit.services, visit.who)
    after = visit.request.query_params.get("after", "")
    judged = await verbs.reviewing.outcome(visit.services, visit.who, after) if after else None
    name = ""
    if judged is not None and judged.missed:
        name = await verbs.sources.list_for(visit.services, visit.who, Category(judged.categories[0]))
    return visit.page("review.jinja", here="staff", waiting=waiting, judged=judged, name=name)


async def item_page(visit: Visit) -> Response:
    """One message to be judged; that it was opened is written down by the action."""
    return await _item(visit)


async def _item(visit: Visit, error: ServiceError | None = None) -> Response:
    shown = await verbs.reviewing.open_text(visit.services, visit.who, visit.path("item"), visit.request_id)
    return visit.page(
        "review_item.jinja",
        200 if error is None else error.status,
        here="staff",
        shown=shown,
        error=error,
        fields=visit.fields,
        levels=[*_LEVELS, _UNSURE],
        letters=_LETTERS,
    )


async def judge(visit: Visit) -> Response:
    fields = strict(visit.fields, "client_id", optional=("level", "main", *_ALSO))
    item = visit.path("item")
    try:
        level = _level(visit, fields["level"])
        letters = [fields["main"], *(letter for name, letter in _ALSO.items() if fields[name])]
        if any(letter and letter not in _LETTERS for letter in letters):
            raise BadRequest(visit.texts("error.bad_request"), field="main")
        about = tuple(Category(letter) for letter in letters if letter)
        await verbs.reviewing.judge(
            visit.services, visit.who, fields["client_id"], item, level, about, visit.request_id
        )
    except BadRequest as error:
        return await _item(visit, error)
    return see_other(f"{HERE}?after={item}")


def _level(visit: Visit, given: str) -> Level | None:
    """The level that was chosen; None for "can not say"."""
    if given == _UNSURE:
        return None
    if given not in _LEVELS:
        raise BadRequest(visit.texts("review.choose"), field="level-1")
    return _LEVELS[given]
