"""
Makes spans with OpenTelemetry's API, which is imported here and only here and in `export`.

Whatever provider the process has set makes them: ours, or that of the application whose jobs run here.
"""

from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState

import taskflow
from taskflow.telemetry.log import get_logger
from taskflow.telemetry.tracing import TraceContext, wanted_trace_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextvars import Token

SCOPE = "taskflow"
SERVER, CLIENT, PRODUCER, CONSUMER = SpanKind.SERVER, SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.CONSUMER

Attributes: TypeAlias = Mapping[str, str | int | float | bool]

_log = get_logger(__name__)


class Spans:
    """See the module. What the provider raises ends here: the work that a span is about does not depend on it."""

    def __init__(self, provider: trace.TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer(SCOPE, taskflow.__version__, provider)

    @property
    def is_of_use(self) -> bool:
        """Whether somebody has set a provider, or passes on a context."""
        if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            return True
        return trace.get_current_span() is not trace.INVALID_SPAN

    def start(self, name: str, kind: SpanKind, attributes: Attributes, *, parent: TraceContext | None = None) -> Span:
        """Start a span below *parent*, or below the current one; without either it begins a trace."""
        return self._start(name, kind, attributes, None if parent is None else _below(parent))

    def start_root(self, name: str, kind: SpanKind, attributes: Attributes, *, trace_id: int) -> Span:
        """Start a span that begins the trace *trace_id*, or stands in it beside others that did."""
        token = wanted_trace_id.set(trace_id)
        try:
            return self._start(name, kind, attributes, contexts.Context())
        finally:
            wanted_trace_id.reset(token)

    def _start(self, name: str, kind: SpanKind, attributes: Attributes, where: contexts.Context | None) -> Span:
        try:
            return self._tracer.start_span(name, context=where, kind=kind, attributes=attributes)
        except Exception as error:  # noqa: BLE001 -- samplers and processors may be the application's
            _log.warning("taskflow.trace.exception", error=type(error).__name__)
            return trace.INVALID_SPAN

    def current(self) -> TraceContext | None:
        """Return the context of the current span."""
        return context_of(trace.get_current_span())

    @contextmanager
    def inside(self, span: Span) -> "Iterator[None]":
        """Make *span* the current one meanwhile; it is not ended by this."""
        token = self.enter(span)
        try:
            yield
        finally:
            contexts.detach(token)

    def enter(self, span: Span) -> "Token[contexts.Context]":
        """Make *span* the current one for the rest of the present task."""
        return contexts.attach(trace.set_span_in_context(span))

    @contextmanager
    def below(self, parent: TraceContext) -> "Iterator[None]":
        """Let spans made meanwhile be children of *parent*, a span of another process."""
        token = contexts.attach(_below(parent))
        try:
            yield
        finally:
            contexts.detach(token)


def context_of(span: Span) -> TraceContext | None:
    """Return a span's context as text; None if it has none, as where nobody traces."""
    found = span.get_span_context()
    if not found.is_valid:
        return None
    parent = f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}"
    return TraceContext(parent, found.trace_state.to_header() if found.trace_state else "")


def finish(span: Span, error_type: str | None = None, *, attributes: Attributes | None = None) -> None:
    """
    End *span*. With *error_type*, what it is about failed; a message is not said, which may hold what is private.
    """
    try:
        if attributes:
            span.set_attributes(attributes)
        if error_type is not None:
            span.set_attribute("error.type", error_type)
            span.set_status(Status(StatusCode.ERROR))
        span.end()
    except Exception as error:  # noqa: BLE001 -- as above
        _log.warning("taskflow.trace.exception", error=type(error).__name__)


def _below(parent: TraceContext) -> contexts.Context:
    _, trace_id, span_id, flags = parent.traceparent.split("-")
    return trace.set_span_in_context(
        NonRecordingSpan(
            SpanContext(
                int(trace_id, 16),
                int(span_id, 16),
                is_remote=True,
                trace_flags=TraceFlags(int(flags, 16)),
                trace_state=TraceState.from_header([parent.tracestate]) if parent.tracestate else None,
            )
        ),
        contexts.Context(),
    )
