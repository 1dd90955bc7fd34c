"""
Jobs in traces: the span of a submit, the spans of attempts below it, and the context that a job carries between them.

    caller's span ──> send QUEUE (PRODUCER) ──┬─> process QUEUE (CONSUMER, attempt 1) ──> what the handler does
                                              ├─> process QUEUE (CONSUMER, attempt 2)
                                              └─> process webhooks (CONSUMER) ──> POST (CLIENT) ──> the receiver

A job carries the context of its submit in two headers of our own, which no handler sees among those that the submitter
gave; a `traceparent` that the submitter gave is left as it is, and counts if there is none of ours. The attempts of a
job without any (submitted by SQL, by a process that does not trace) are in a trace of their own, whose id is made from
the job's: they, and its callback, find each other. Names and attributes are OpenTelemetry's for messaging.
"""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from taskflow.engine.job import DELIVERY_KIND, Claim, Enqueued, NewJob, Outcome, OutcomeKind
from taskflow.telemetry.log import bind
from taskflow.telemetry.tracing import TRACEPARENT, TRACESTATE, TraceContext, active, context_in, read_context

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from taskflow.telemetry.spans import Attributes, Spans

PARENT_HEADER, STATE_HEADER = "taskflow.traceparent", "taskflow.tracestate"
FAILURES = frozenset({OutcomeKind.ERROR, OutcomeKind.TIMEOUT, OutcomeKind.CRASHED})


# The context that a job carries --------------------------------------------------------------------------------------


def headers_with(headers: Mapping[str, str], context: TraceContext | None) -> Mapping[str, str]:
    """Return a job's headers with *context* among them."""
    if context is None:
        return headers
    ours = {PARENT_HEADER: context.traceparent}
    if context.tracestate:
        ours[STATE_HEADER] = context.tracestate
    return {**headers, **ours}


def given_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return what a job's submitter gave."""
    if PARENT_HEADER not in headers:
        return headers
    return {name: value for name, value in headers.items() if name not in (PARENT_HEADER, STATE_HEADER)}


def portable_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return headers for a worker in any language: the context by the names that everybody knows."""
    if (context := _carried(headers)) is None:
        return headers
    known = {**given_headers(headers), TRACEPARENT: context.traceparent}
    known.pop(TRACESTATE, None)
    return {**known, TRACESTATE: context.tracestate} if context.tracestate else known


def context_of_job(headers: Mapping[str, str]) -> TraceContext | None:
    """Return the context that a job carries, ours or else the submitter's own."""
    if not headers:
        return None
    return _carried(headers) or context_in(headers)


def _carried(headers: Mapping[str, str]) -> TraceContext | None:
    return read_context(headers[PARENT_HEADER], headers.get(STATE_HEADER)) if PARENT_HEADER in headers else None


def _own_trace_id(claim: Claim) -> int:
    """A digest: as uniform as samplers want ids to be, which a UUID of version 7 is not."""
    job_id: UUID = claim.job_id
    if claim.kind == DELIVERY_KIND:  # it tells of another job's end, and belongs to that one's trace
        with suppress(msgspec.DecodeError):
            job_id = msgspec.json.decode(claim.payload, type=_Delivery).job_id
    return int.from_bytes(hashlib.blake2b(job_id.bytes, digest_size=16).digest(), "big")


class _Delivery(msgspec.Struct, rename="camel"):
    job_id: UUID


# Submits -------------------------------------------------------------------------------------------------------------


class Send:
    """
    The submit of one or more jobs: `with Send(jobs, active()) as send`, store `send.jobs`, and say `send.stored(…)`.

    Args:
        spans: None for a process that does not trace: the jobs are what they were.
    """

    __slots__ = ("_entered", "_span", "_spans", "jobs")

    def __init__(self, jobs: Sequence[NewJob], spans: "Spans | None") -> None:
        self.jobs = jobs
        self._spans = spans if jobs else None
        self._span: Span | None = None

    def __enter__(self) -> "Send":
        if self._spans is not None:
            self._begin(self._spans)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self._span is not None:
            from taskflow.telemetry.spans import finish

            finish(self._span, None if kind is None else kind.__name__)

    def stored(self, stored: Sequence[Enqueued | None]) -> None:
        """Note which jobs there are now."""
        if self._span is not None and len(stored) == 1 and stored[0] is not None:
            self.stored_as([stored[0].id])
            self._span.set_attribute("taskflow.job.duplicate", stored[0].duplicate)

    def stored_as(self, ids: Sequence[UUID]) -> None:
        """Note which jobs there are now, where nothing but their ids is known."""
        if self._span is not None and len(ids) == 1:
            self._span.set_attribute("messaging.message.id", str(ids[0]))

    def _begin(self, spans: "Spans") -> None:
        from taskflow.telemetry.spans import PRODUCER, context_of

        queues = {job.queue for job in self.jobs}
        attributes = _attributes("send", queues.pop() if len(queues) == 1 else None)
        kinds = {job.kind for job in self.jobs}
        if len(kinds) == 1:
            attributes["taskflow.job.kind"] = kinds.pop()
        if len(self.jobs) > 1:
            attributes["messaging.batch.message_count"] = len(self.jobs)
        self._span = spans.start(_name(attributes), PRODUCER, attributes)
        context = context_of(self._span)
        self.jobs = [
            job if TRACEPARENT in job.headers else replace(job, headers=headers_with(job.headers, context))
            for job in self.jobs
        ]


# Attempts ------------------------------------------------------------------------------------------------------------


def begin_process(claim: Claim) -> "Process | None":
    """
    Begin an attempt in its own task, whose lines of log have the trace's id from now on.

    Returns the attempt's span, which is the current one for the rest of the task; None where this process does not
    trace.
    """
    parent = context_of_job(claim.headers)
    if (spans := active()) is None:
        if parent is not None:
            bind(trace_id=parent.trace_id)
        return None
    from taskflow.telemetry.spans import CONSUMER, context_of

    attributes = _attributes("process", claim.queue)
    attributes |= {
        "messaging.message.id": str(claim.job_id),
        "taskflow.job.kind": claim.kind,
        "taskflow.job.attempt": claim.attempt,
        "taskflow.job.queue_wait_ms": round((claim.queue_wait_s or 0.0) * 1000, 3),
    }
    name = _name(attributes)
    if parent is not None:
        span = spans.start(name, CONSUMER, attributes, parent=parent)
    else:
        span = spans.start_root(name, CONSUMER, attributes, trace_id=_own_trace_id(claim))
    spans.enter(span)
    if (context := context_of(span)) is not None:
        bind(trace_id=context.trace_id)
    return Process(span)


class Process:
    """An attempt that is under way."""

    __slots__ = ("_span",)

    def __init__(self, span: "Span") -> None:
        self._span = span

    def end(self, outcome: Outcome | None) -> None:
        """End it; None for an attempt whose job is somebody else's by now."""
        from taskflow.telemetry.spans import finish

        if outcome is None:
            finish(self._span, attributes={"taskflow.job.outcome": str(OutcomeKind.LOST)})
            return
        failure = None
        if outcome.kind in FAILURES:
            failure = outcome.error.type if outcome.error else str(outcome.kind)
        said = {"taskflow.job.outcome": str(outcome.kind), "taskflow.job.state": str(outcome.state)}
        finish(self._span, failure, attributes=said)


def _attributes(operation: str, queue: str | None) -> dict[str, Any]:
    attributes = {
        "messaging.system": "taskflow",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
    }
    if queue is not None:
        attributes["messaging.destination.name"] = queue
    return attributes


def _name(attributes: "Attributes") -> str:
    operation = attributes["messaging.operation.name"]
    queue = attributes.get("messaging.destination.name")
    return f"{operation}" if queue is None else f"{operation} {queue}"
