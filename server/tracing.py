"""Whether this process tells a collector what it does (OpenTelemetry), and all that a span may hold.

Off unless `OTEL_EXPORTER_OTLP_ENDPOINT` names a collector; then the packages of the extra `otel` must be there, and all
variables of opentelemetry-sdk mean what its documentation says. While it is off nothing is wrapped round anything that
carries messages.

A span holds ids of our own making, codes, counts and how long it took. `Facts` is the whole list, and nobody can add to
it in passing. Never what somebody wrote, is called or proves themselves with, and never a path as it was asked for:
routes are named by their template. Exceptions are not recorded, since their texts may quote. Trace ids that a client
sends are not taken up.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final, TypedDict

from structlog.contextvars import get_contextvars

from server.errors import Misconfigured, ServiceError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Span, Tracer

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
SPOKEN: Final = "http/protobuf"
# A collector that does not answer must not hold up a stop in order; what it was not given by then is lost.
CLOSE_S: Final = 3.0
FAULT: Final = 500


class Facts(TypedDict, total=False):
    """What a span may hold beside its name and its two times.

    Attributes:
        request: id of the request, the one that its answer and its log lines bear.
        outcome: code of the refusal, or the kind of error; none where all went well.
        obligation: id of the row that is climbed for.
        units, failed: how many were tried together, and how many of them were not carried out.
        method, route, status: of an HTTP request; the route is the template.
    """

    request: str
    outcome: str
    obligation: str
    units: int
    failed: int
    method: str
    route: str
    status: int


NAMES: Final[Mapping[str, str]] = {
    "request": "evenkeel.request_id",
    "outcome": "evenkeel.outcome",
    "obligation": "evenkeel.obligation_id",
    "units": "evenkeel.units",
    "failed": "evenkeel.failed",
    "method": "http.request.method",
    "route": "http.route",
    "status": "http.response.status_code",
}
Tell = Callable[[Facts], None]


class Tracing:
    """Spans, where there is somebody to tell.

    Args:
        tracer: None: nobody is told.
        close: called once at the end; it may take its time.
    """

    def __init__(self, tracer: Tracer | None = None, close: Callable[[], None] = lambda: None) -> None:
        self._tracer = tracer
        self._close = close

    @property
    def is_on(self) -> bool:
        """Asked once, when something is built that would be wrapped; not for each message."""
        return self._tracer is not None

    def span(self, name: str, facts: Facts | None = None) -> AbstractContextManager[Tell]:
        """A span for the block, by which more can be told of it; whatever the block raises is its outcome."""
        return _UNTOLD if self._tracer is None else _span(self._tracer, name, facts or {})

    def close(self) -> None:
        """Give the collector what it has not been given, for at most CLOSE_S. Never raises."""
        # The SDK itself would wait for half a minute; its own thread ends with the process.
        closing = threading.Thread(target=self._close, name="evenkeel-tracing", daemon=True)
        closing.start()
        closing.join(CLOSE_S)


def _nothing(facts: Facts) -> None:
    del facts


_UNTOLD: Final[AbstractContextManager[Tell]] = contextlib.nullcontext(_nothing)


@contextlib.contextmanager
def _span(tracer: Tracer, name: str, facts: Facts) -> Iterator[Tell]:
    from opentelemetry.trace import StatusCode

    with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
        request = get_contextvars().get("request_id")
        _tell(span, facts if request is None else {**facts, "request": str(request)})
        try:
            yield lambda more: _tell(span, more)
        except BaseException as error:
            if isinstance(error, ServiceError):
                _tell(span, {"outcome": error.error_code})
            else:
                _tell(span, {"outcome": type(error).__name__})
            if not isinstance(error, ServiceError) or error.status >= FAULT:
                span.set_status(StatusCode.ERROR)
            raise


def _tell(span: Span, facts: Facts) -> None:
    span.set_attributes({NAMES[name]: value for name, value in facts.items() if isinstance(value, str | int)})


def check_tracing() -> bool:
    """Whether the environment asks for spans.

    Raises:
        Misconfigured: it does, and what that needs is not installed, or it asks for what is not spoken here.
    """
    environ = os.environ
    asked = next((name for name in ENDPOINTS if environ.get(name)), None)
    if asked is None or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return False
    for name in PROTOCOLS:
        if environ.get(name, SPOKEN) != SPOKEN:
            raise Misconfigured(f"{name}: only {SPOKEN} is spoken. Give the collector's port for it (often 4318).")
    try:
        missing = any(
            importlib.util.find_spec(name) is None
            for name in ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")
        )
    except ModuleNotFoundError:
        missing = True
    if missing:
        raise Misconfigured(
            f"{asked} is set, and the packages for it are not installed. Run `pip install 'evenkeel[server,otel]'`, or "
            "unset it."
        )
    return True


def open_tracing() -> Tracing:
    """Spans as the environment asks for them; nothing of OpenTelemetry is loaded where it does not.

    Raises:
        Misconfigured: as `check_tracing`.
    """
    if not check_tracing():
        return Tracing()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return tracing_by(BatchSpanProcessor(OTLPSpanExporter()))


def tracing_by(processor: SpanProcessor) -> Tracing:
    """Spans that are handed to `processor`, as the service `evenkeel` unless OTEL_SERVICE_NAME says otherwise."""
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider

    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: "evenkeel"}
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return Tracing(provider.get_tracer("evenkeel"), provider.shutdown)
