"""One tree of spans for each turn, for whoever runs an OpenTelemetry collector; nothing at all for everybody else.

    http POST /chat/{chat_id}/completion
      └ turn ─ input_rails
          └ run ─ context ─ cache ─ gateway           a takeover: another `run` of the same trace, with a link

A span has ids, counts, codes and times. Never text of users or models. Off, a span is one comparison and OpenTelemetry
is not imported. The provider is our own, never the global one: what libraries trace (prompts, for instance) stays out.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

Attribute = str | int | float | bool
SpanKind = Literal["internal", "server", "client"]
FLUSH_MS = 2_000  # for the spans that wait, when the process closes

_provider: "TracerProvider | None" = None
_nothing: AbstractContextManager[None] = nullcontext()


def begin(endpoint: str | None, *, version: str = "", headers: Mapping[str, str] | None = None) -> None:
    """Send this process's spans to an OTLP receiver (`http://HOST:4318/v1/traces`); None: to nobody. `headers` may
    carry its key. Raises ImportError without the extra `otel`."""
    global _provider  # noqa: PLW0603  # one a process, as the logger is
    if endpoint is None:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    resource = Resource({"service.name": "parley", "service.version": version})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=endpoint, headers=dict(headers or {}), timeout=5)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _provider = provider


def end() -> None:
    """Send what waits, and nothing from now on. Blocks: to be called in a thread."""
    global _provider  # as above
    provider, _provider = _provider, None
    if provider is not None:
        provider.force_flush(FLUSH_MS)
        provider.shutdown()


def is_on() -> bool:
    return _provider is not None


def span(
    name: str,
    *,
    kind: SpanKind = "internal",
    parent: str | None = None,
    is_linked: bool = False,
    **attributes: Attribute | None,
) -> "AbstractContextManager[Span | None]":
    """A span around a block; None as long as tracing is off. Its parent is the span around it, or the W3C traceparent
    `parent`; with `is_linked` that one is linked to as well, because what it belongs to was broken off. An exception
    that leaves the block marks it by its class's name, without its words."""
    if _provider is None:
        return _nothing
    return _span(_provider, name, kind, parent, is_linked, attributes)


@contextmanager
def _span(
    provider: "TracerProvider",
    name: str,
    kind: SpanKind,
    parent: str | None,
    is_linked: bool,
    attributes: dict[str, Attribute | None],
) -> Iterator["Span"]:
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    context = TraceContextTextMapPropagator().extract({"traceparent": parent}) if parent else None
    links = [trace.Link(trace.get_current_span(context).get_span_context())] if is_linked and context else []
    with provider.get_tracer("parley").start_as_current_span(
        name,
        context=context,
        kind=trace.SpanKind[kind.upper()],
        links=links,
        attributes={f"parley.{key}": value for key, value in attributes.items() if value is not None},
        record_exception=False,  # an exception's words may be a user's
        set_status_on_exception=False,
    ) as current:
        try:
            yield current
        except BaseException as exc:
            current.set_attribute("error.type", type(exc).__name__)
            current.set_status(trace.StatusCode.ERROR)
            raise


def note(**attributes: Attribute | None) -> None:
    """Add to the span around this."""
    if _provider is None:
        return
    from opentelemetry import trace  # noqa: PLC0415

    known = {f"parley.{key}": value for key, value in attributes.items() if value is not None}
    trace.get_current_span().set_attributes(known)


def traceparent() -> str | None:
    """Of the span around this, in W3C's form; to be stored with a run, and sent to its node."""
    if _provider is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")
