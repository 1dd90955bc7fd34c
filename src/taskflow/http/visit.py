"""
Requests in traces: a SERVER span below the caller's, with OpenTelemetry's names and attributes for HTTP.

A process that does not trace passes the caller's context on to the jobs that a request submits.
"""

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from taskflow.http.call import PROBES, Call
from taskflow.telemetry.tracing import active, context_in

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.trace import Span


def begin_visit(scope: MutableMapping[str, Any], call: Call) -> "Visit | None":
    """Start the span of a request and make it the current one, and note in *call* which trace it is in."""
    call.trace = context_in(call.headers)
    spans = active()
    if spans is None or scope["path"] in PROBES:
        return None
    from taskflow.telemetry.spans import SERVER, context_of

    attributes: dict[str, str | int] = {
        "url.scheme": scope.get("scheme", "http"),
        "url.path": scope["path"],
        "taskflow.request_id": call.request_id,
    }
    if scope.get("server"):
        attributes["server.address"], attributes["server.port"] = scope["server"]
    if scope.get("client"):
        attributes["client.address"] = scope["client"][0]
    if agent := call.headers.get("user-agent"):
        attributes["user_agent.original"] = agent[:200]
    span = spans.start("HTTP", SERVER, attributes, parent=call.trace)
    call.trace = context_of(span) or call.trace
    return Visit(span, spans.enter(span))


class Visit:
    """A request that is being answered."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: "Span", token: "Token[Context]") -> None:
        self._span = span
        self._token = token

    def end(self, method: str | None, call: Call, status: int) -> None:
        """End the span, named by the route that was found. *status* is 0 if there was no answer."""
        from opentelemetry import context

        from taskflow.telemetry.spans import finish

        context.detach(self._token)
        attributes: dict[str, str | int] = {"http.request.method": method or "_OTHER"}
        name = method or "HTTP"
        if call.route != "unmatched":
            attributes["http.route"] = call.route
            name = f"{name} {call.route}"
        self._span.update_name(name)
        if status:
            attributes["http.response.status_code"] = status
        failure = None
        if status >= 500 or not status:
            failure = str(status) if status else "no_answer"
        finish(self._span, failure, attributes=attributes)
