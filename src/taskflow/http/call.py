"""What is known about the request being answered; it rides in the ASGI scope."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from taskflow.engine.trace import headers_with
from taskflow.telemetry.tracing import TraceContext

SCOPE_KEY = "taskflow.call"
PROBES = frozenset({"/live", "/ready", "/health", "/metrics"})  # asked every few seconds, by machines
MAX_BODY_BYTES = 1024 * 1024  # a payload at its limit fits, however its JSON is written


@dataclass(slots=True)
class Call:
    """
    One request, for its log line, its metrics and its answers.

    Args:
        request_id: taken from `X-Request-Id` or made; at most 128 visible ASCII characters.
        route: the template of the route that took it, such as `/api/v1/jobs/{jobId}`.
        principal: id of the key that asked, once known.
        streams: the body is read while the answer is written, so neither is bounded or drained at the edge.
        limit: which rate limit the route falls under.
        rate_headers: of the answer: what the limit is and how much of it is left.
        headers: the request's, names in lower case; of one sent twice, the last.
        body_limit: how long the body may be, in bytes; a route that takes more than others says so before it reads.
        is_head: the answer's body will not be sent, so nobody need make it.
        trace: where in a trace the request is, by its own header or by the span that this process made for it.
    """

    request_id: str
    headers: dict[str, str]
    route: str = "unmatched"
    principal: str | None = None
    body_limit: int = MAX_BODY_BYTES
    is_head: bool = False
    streams: bool = False
    limit: str = "read"
    rate_headers: tuple[tuple[bytes, bytes], ...] = ()
    trace: TraceContext | None = None

    @property
    def job_headers(self) -> Mapping[str, str]:
        """What rides along with a job that the request submits."""
        return headers_with({"request_id": self.request_id}, self.trace)

    @staticmethod
    def of(scope: MutableMapping[str, Any]) -> "Call":
        """Return the call of *scope*; the edge has put it there."""
        call: Call = scope[SCOPE_KEY]
        return call
