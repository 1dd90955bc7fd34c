"""
A callback's place in the trace of its job: the CLIENT span of one call, and the headers that continue it over there.

The span names scheme, host and port, never path and query: they hold tokens. A process that does not trace passes the
job's context on.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from taskflow.engine.job import Claim
from taskflow.engine.trace import context_of_job
from taskflow.telemetry.tracing import TRACEPARENT, TRACESTATE, TraceContext, active

if TYPE_CHECKING:
    from opentelemetry.trace import Span


class Call:
    """One call that is under way. *headers* go with it."""

    def __init__(self, context: TraceContext | None, span: "Span | None" = None) -> None:
        self.headers: Mapping[str, str] = {}
        self._span = span
        if context is not None:
            self.headers = {TRACEPARENT: context.traceparent}
            if context.tracestate:
                self.headers = {**self.headers, TRACESTATE: context.tracestate}

    def end(self, status: int | None, fault: str | None = None) -> None:
        """End the span: the receiver answered with *status*, or there was a *fault*, by its class."""
        if self._span is None:
            return
        from taskflow.telemetry.spans import finish

        if status is None:
            finish(self._span, fault or "cancelled")
        else:
            finish(
                self._span,
                str(status) if status >= 400 else None,
                attributes={"http.response.status_code": status},
            )


def begin_call(method: str, url: str, claim: Claim) -> Call:
    """Begin a call for an attempt, whose span is the current one if this process traces."""
    if (spans := active()) is None:
        return Call(context_of_job(claim.headers))
    from taskflow.telemetry.spans import CLIENT, context_of

    attributes: dict[str, str | int] = {"http.request.method": method}
    try:
        parts = urlsplit(url)
        attributes["url.scheme"] = parts.scheme
        attributes["server.address"] = parts.hostname or ""
        attributes["server.port"] = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        pass  # whoever calls it will say so
    if claim.failures:
        attributes["http.request.resend_count"] = claim.failures
    span = spans.start(method, CLIENT, attributes)
    return Call(context_of(span), span)
