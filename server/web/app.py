"""The web edge: every route with its operation, and the order of what a request goes through.

Read from top to bottom: the table of routes, then `build_app`.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from server.errors import Misconfigured, ServiceError
from server.web import (
    api,
    health,
    pages_member,
    pages_public,
    pages_quality,
    pages_replay,
    pages_review,
    pages_rota,
    pages_staff,
    pages_words,
)
from server.web.assets import PREFIX, Assets
from server.web.demo import DemoPages
from server.web.forms import MAX_LIST_BYTES
from server.web.policy import Entry, route
from server.web.security import AllowedHosts, RequestId, SecurityHeaders
from server.web.settings import WebSettings
from server.web.texts import Texts
from server.web.verbs import Services
from server.web.visit import Edge, Visit, environment

MIN_SECRET_BYTES = 32


async def _asset(visit: Visit) -> Response:
    return visit.edge.assets.answer(visit.request, visit.path("digest"), visit.path("name"))


ROUTES = (
    # Open to anyone.
    Entry("GET", "/", "route.home", pages_public.landing),
    Entry("GET", "/help", "route.help_now", pages_public.help_page),
    Entry("GET", "/house-rules", "route.rules", pages_public.house_rules),
    Entry("GET", "/sign-up", "route.sign_up", pages_public.sign_up_page),
    Entry("POST", "/sign-up", "route.sign_up", pages_public.sign_up),
    Entry("GET", "/sign-in", "route.sign_in", pages_public.sign_in_page),
    Entry("POST", "/sign-in", "route.sign_in", pages_public.sign_in),
    Entry("GET", "/recover", "route.recover", pages_public.recover_page),
    Entry("POST", "/recover", "route.recover", pages_public.recover),
    Entry("POST", "/sign-out", "route.sign_out", pages_public.sign_out),
    # Signed in.
    Entry("POST", "/sign-out-everywhere", "route.sign_out_everywhere", pages_public.sign_out_everywhere),
    Entry("POST", "/help", "route.help", pages_public.ask_for_help),
    Entry("GET", "/rooms", "route.rooms", pages_member.rooms_page),
    Entry("GET", "/rooms/{room}", "route.room", pages_member.room_page),
    Entry("POST", "/rooms/{room}/send", "route.send", pages_member.send),
    Entry("GET", "/rooms/{room}/messages/{message}", "route.message", pages_member.message_page),
    Entry("POST", "/rooms/{room}/messages/{message}/edit", "route.edit", pages_member.edit),
    Entry("POST", "/rooms/{room}/messages/{message}/remove", "route.remove", pages_member.remove),
    Entry("POST", "/rooms/{room}/messages/{message}/report", "route.report", pages_member.report),
    # Staff.
    Entry("GET", "/staff", "route.staff", pages_staff.index),
    Entry("GET", "/staff/console", "route.console", pages_staff.console),
    Entry("GET", "/staff/on-call", "route.on_call", pages_staff.on_call),
    Entry("GET", "/staff/cases/{case}", "route.case", pages_staff.case_page),
    Entry("POST", "/staff/cases/{case}/act", "route.act", pages_staff.act),
    Entry("GET", "/staff/cases/{case}/words", "route.words_propose", pages_words.case_words),
    Entry("GET", "/staff/cases/{case}/replay", "route.replay", pages_replay.replay_page),
    Entry("GET", "/staff/review", "route.review", pages_review.index),
    Entry("GET", "/staff/review/{item}", "route.review", pages_review.item_page),
    Entry("POST", "/staff/review/{item}", "route.review_judge", pages_review.judge),
    Entry("GET", "/staff/rota", "route.rota", pages_rota.index),
    Entry("GET", "/staff/rota/rota.ics", "route.rota", pages_rota.calendar, kind="file"),
    Entry("POST", "/staff/rota/checks/{check}", "route.rota_own", pages_rota.answer),
    Entry("POST", "/staff/rota/swaps", "route.rota_own", pages_rota.ask_swap),
    Entry("POST", "/staff/rota/swaps/{swap}", "route.rota_own", pages_rota.settle_swap),
    Entry("POST", "/staff/rota/handovers/{handover}", "route.rota_own", pages_rota.hand_over),
    Entry("GET", "/staff/rota/book", "route.rota_change", pages_rota.book),
    Entry("POST", "/staff/rota/book/rotation", "route.rota_change", pages_rota.rotation),
    Entry("POST", "/staff/rota/book/extra", "route.rota_change", pages_rota.extra),
    Entry("POST", "/staff/rota/book/cover", "route.rota_change", pages_rota.cover),
    Entry("POST", "/staff/rota/book/leave", "route.rota_change", pages_rota.leave),
    Entry("POST", "/staff/rota/book/skill", "route.rota_change", pages_rota.skill),
    Entry("POST", "/staff/rota/book/withdraw", "route.rota_change", pages_rota.withdraw),
    Entry("GET", "/staff/watchwords", "route.words", pages_words.index),
    Entry("GET", "/staff/watchwords/quality", "route.quality", pages_quality.quality_page),
    Entry("GET", "/staff/watchwords/lists/{name}", "route.words", pages_words.list_page),
    Entry("GET", "/staff/watchwords/lists/{name}/{form}", "route.words", pages_words.download, kind="file"),
    Entry("POST", "/staff/watchwords/propose", "route.words_propose", pages_words.propose, most_bytes=MAX_LIST_BYTES),
    Entry("POST", "/staff/watchwords/try", "route.words_try", pages_words.try_text),
    Entry("GET", "/staff/watchwords/versions/{version}", "route.words", pages_words.version_page),
    Entry(
        "POST",
        "/staff/watchwords/versions/{version}/revise",
        "route.words_propose",
        pages_words.revise,
        most_bytes=MAX_LIST_BYTES,
    ),
    Entry("POST", "/staff/watchwords/versions/{version}/decide", "route.words_decide", pages_words.decide),
    Entry("GET", "/staff/watchwords/trials/{trial}", "route.words", pages_words.trial_page),
    Entry("POST", "/staff/watchwords/trials/{trial}/stop", "route.words_decide", pages_words.stop_trial),
    Entry("GET", "/staff/watchwords/trials/{trial}/texts/{ref}", "route.words_text", pages_words.trial_text),
    # Programs.
    Entry("POST", "/api/register", "route.sign_up", api.register, "json"),
    Entry("POST", "/api/sign-in", "route.sign_in", api.sign_in, "json"),
    Entry("POST", "/api/recover", "route.recover", api.recover, "json"),
    Entry("POST", "/api/sign-out", "route.sign_out", api.sign_out, "json"),
    Entry("POST", "/api/ticket", "route.ticket", api.ticket, "json"),
    Entry("GET", "/api/rooms", "route.rooms", api.rooms, "json"),
    Entry("POST", "/api/commands", "route.commands", api.commands, "json"),
    # Machines.
    Entry("GET", "/healthz", "route.health", health.alive, "bare"),
    Entry("GET", "/readyz", "route.health", health.ready, "bare"),
    Entry("GET", "/watch", "route.watch", health.watched, "bare"),
    Entry("GET", "/metrics", "route.metrics", health.metrics, "bare"),
    Entry("GET", PREFIX + "/{digest}/{name:path}", "route.asset", _asset, "bare"),
)


def demo_routes() -> tuple[Entry, ...]:
    """The routes that only a demonstration has."""
    pages = DemoPages()
    return (
        Entry("GET", "/demo", "route.demo", pages.page),
        Entry("POST", "/demo/enter", "route.demo_enter", pages.enter),
        Entry("GET", "/demo/progress", "route.demo", pages.progress, "json"),
    )


def build_app(services: Services, *, settings: WebSettings) -> Starlette:
    """The web edge over `services`.

    Raises:
        Misconfigured: a route without a rule, assets that were not built, no texts, or a secret that is too short.
    """
    if len(settings.secret) < MIN_SECRET_BYTES:
        raise Misconfigured(f"The secret for forms needs at least {MIN_SECRET_BYTES} bytes.")
    assets = Assets.load(settings.web / "built")
    texts = Texts.load(settings.web / "texts.toml")
    edge = Edge(services, settings, assets, texts, environment(settings, assets, texts))

    async def outside(request: Request, error: Exception) -> Response:
        """What the router itself refuses: no such page, or not by this method."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        code = {404: "not_found", 405: "method"}.get(status, "bad_request")
        refusal = ServiceError(texts(f"error.{code}"), code=code)
        refusal.status = status  # type: ignore[misc]
        visit = Visit(edge, request, request.state.request_id)
        return visit.refusal(refusal, json=request.url.path.startswith("/api/"))

    entries = ROUTES + (demo_routes() if settings.demo else ())
    return Starlette(
        routes=[route(edge, entry) for entry in entries],
        exception_handlers={HTTPException: outside},
        # From the outside in: a name for the request, headers on every answer, then whether it is for us at all.
        middleware=[
            Middleware(RequestId),
            Middleware(SecurityHeaders, settings=settings),
            Middleware(AllowedHosts, hosts=settings.hosts),
        ],
    )
