"""
Takes finished spans to a collector, by OTLP over HTTP, and never makes anybody wait for it.

    span ends ──> queue (MAX_WAITING) ──> thread ──> batches (MAX_BATCH) ──> collector
                     │ full: dropped, counted            │ refused, late: lost, counted

A span's end puts it into a queue in memory and returns. A thread of its own sends what is there every `PAUSE_S`, or
when a batch is full; a collector that is away costs it `TIMEOUT_S` a batch, and jobs nothing. What does not fit any
more is dropped. The end of the process waits `STOP_S` at most for the last batches. All of it is counted in
`taskflow_trace_spans_total`.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Literal, TypeAlias

from opentelemetry import context as contexts
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider, sampling
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

import taskflow
from taskflow.telemetry.log import get_logger
from taskflow.telemetry.metrics import TRACE_SPANS
from taskflow.telemetry.tracing import wanted_trace_id

MAX_WAITING = 8192  # spans in memory
MAX_BATCH = 512
PAUSE_S = 1.0
TIMEOUT_S = 5.0  # for a batch, all tries together
STOP_S = 1.0
COMPLAINT_PAUSE_S = 60.0  # between log lines about spans that got lost
EXPORTER_LOG = "opentelemetry.exporter.otlp.proto.http.trace_exporter"

Sampler: TypeAlias = Literal[
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
]

_log = get_logger(__name__)
_EXPORTED, _LOST, _DROPPED = (TRACE_SPANS.labels(outcome) for outcome in ("exported", "lost", "dropped"))


class Outbox(SpanProcessor):
    """See the module. The thread starts with it; `shutdown` ends it."""

    def __init__(self, exporter: SpanExporter, *, complaints: "_Complaints | None" = None) -> None:
        self._exporter = exporter
        self._complaints = complaints or _Complaints()
        self._waiting: deque[ReadableSpan] = deque()
        self._pid = os.getpid()
        self._wake = threading.Event()
        self._done = threading.Condition()
        self._busy = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="taskflow-traces", daemon=True)
        self._thread.start()

    def on_start(self, span: Span, parent_context: contexts.Context | None = None) -> None:
        """Nothing is sent of a span that has not ended."""

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is None or not span.context.trace_flags.sampled:
            return
        # In a fork of this process nobody would send it: the thread is here.
        if len(self._waiting) >= MAX_WAITING or self._stopping or os.getpid() != self._pid:
            _DROPPED.inc()
            return
        self._waiting.append(span)
        if len(self._waiting) >= MAX_BATCH and not self._wake.is_set():
            self._wake.set()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until all that has ended by now is sent or lost; False if that takes longer."""
        self._wake.set()
        with self._done:
            return self._done.wait_for(lambda: not self._waiting and not self._busy, timeout_millis / 1000)

    def shutdown(self) -> None:
        """Send what is there and end the thread; what has not gone after `STOP_S` is lost."""
        self._stopping = True
        self._wake.set()
        self._thread.join(STOP_S)
        self._exporter.shutdown()  # takes nothing any more, so that a thread which is late ends soon

    def _run(self) -> None:
        # Where an application has its HTTP calls traced, ours to the collector shall not be.
        contexts.attach(contexts.set_value(contexts._SUPPRESS_INSTRUMENTATION_KEY, True))  # noqa: SLF001
        while not self._stopping:
            self._wake.wait(PAUSE_S)
            self._wake.clear()
            self._send_all()
        self._send_all()

    def _send_all(self) -> None:
        while self._waiting:
            self._busy = True
            self._send([self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))])
            with self._done:
                self._busy = False
                self._done.notify_all()

    def _send(self, batch: list[ReadableSpan]) -> None:
        try:
            taken = self._exporter.export(batch) is SpanExportResult.SUCCESS
        except Exception as error:  # noqa: BLE001 -- the edge of the thread: whatever it is, the next batch may do
            taken = False
            self._complaints.reason = type(error).__name__
        if taken:
            _EXPORTED.inc(len(batch))
        else:
            _LOST.inc(len(batch))
            self._complaints.lost(len(batch))


class _Complaints(logging.Handler):
    """Says now and then that spans get lost, with the reason that the exporter gives for each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.reason = "the collector did not take them"
        self._spans = 0
        self._said_s: float | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.reason = record.getMessage()

    def lost(self, spans: int) -> None:
        self._spans += spans
        now_s = time.monotonic()
        if self._said_s is None or now_s - self._said_s >= COMPLAINT_PAUSE_S:
            self._said_s = now_s
            _log.warning("taskflow.trace.lost", spans=self._spans, error=self.reason[:300])
            self._spans = 0


class TraceIds(RandomIdGenerator):
    """Random ids, unless the one who starts a root span wants it to be in a certain trace."""

    def generate_trace_id(self) -> int:
        return wanted_trace_id.get() or super().generate_trace_id()


def make_provider(
    endpoint: str, headers: Mapping[str, str], *, service: str | None, sampler: Sampler, ratio: float
) -> TracerProvider:
    """
    Return a provider whose spans go to a collector.

    Args:
        endpoint: of the collector for all signals, such as `http://localhost:4318`.
        headers: sent along with each batch; perhaps a secret.
        ratio: of traces that are recorded, for samplers with a ratio.
    """
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", headers=dict(headers), timeout=TIMEOUT_S)
    complaints = _Complaints()
    talk = logging.getLogger(EXPORTER_LOG)  # a line per batch and try: one a minute is enough
    talk.handlers = [complaints]
    talk.propagate = False
    provider = TracerProvider(
        sampler=_sampler(sampler, ratio),
        resource=_resource(service),
        shutdown_on_exit=False,  # we end it ourselves, and in time
        id_generator=TraceIds(),
    )
    provider.add_span_processor(Outbox(exporter, complaints=complaints))
    return provider


def _resource(service: str | None) -> Resource:
    said = Resource.create({"service.version": taskflow.__version__})  # and what OTEL_RESOURCE_ATTRIBUTES says
    if service is None and str(said.attributes["service.name"]).startswith("unknown_service"):
        service = "taskflow"
    return said if service is None else said.merge(Resource({"service.name": service}))


def _sampler(name: Sampler, ratio: float) -> sampling.Sampler:
    match name:
        case "always_on":
            return sampling.ALWAYS_ON
        case "always_off":
            return sampling.ALWAYS_OFF
        case "traceidratio":
            return sampling.TraceIdRatioBased(ratio)
        case "parentbased_always_on":
            return sampling.DEFAULT_ON
        case "parentbased_always_off":
            return sampling.DEFAULT_OFF
        case "parentbased_traceidratio":
            return sampling.ParentBasedTraceIdRatio(ratio)
