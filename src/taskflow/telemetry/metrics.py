"""
Metrics of this process, in Prometheus' terms: base units, and labels whose values are few.

`.labels(…)` costs more than the count itself: on hot paths keep the child it returns. Each process shows its own
numbers; what lies in the database (queue depths, workers) is added at scrape time by whoever answers `/metrics`.
"""

from collections.abc import Iterable, Iterator
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
    start_http_server,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

import taskflow
from taskflow.telemetry.distribution import Distribution

REGISTRY = CollectorRegistry(auto_describe=True)
OTHER = "(other)"  # a label whose values would be too many
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# From a job that does nothing to one at the default timeout and beyond.
_DURATION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_HTTP_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_BATCH_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 512, 1000)

BUILD = Info("taskflow_build", "The version that runs.", registry=REGISTRY)
BUILD.info({"version": taskflow.__version__})

JOBS_ENQUEUED = Counter(
    "taskflow_jobs_enqueued_total",
    "Jobs submitted and committed by this process.",
    ["queue", "kind"],
    registry=REGISTRY,
)
ATTEMPTS = Counter(
    "taskflow_attempts_total",
    "Attempts that ended in this process, by what they came to.",
    ["queue", "kind", "outcome"],
    registry=REGISTRY,
)
JOB_DURATION_SECONDS = Distribution(
    "taskflow_job_duration_seconds",
    "How long attempts ran.",
    ["queue", "kind"],
    buckets=_DURATION_BUCKETS_S,
    registry=REGISTRY,
)
JOB_QUEUE_WAIT_SECONDS = Distribution(
    "taskflow_job_queue_wait_seconds",
    "From due to claimed, by the database's clock.",
    ["queue", "kind"],
    buckets=_DURATION_BUCKETS_S,
    registry=REGISTRY,
)
CLAIM_BATCH_JOBS = Histogram(
    "taskflow_claim_batch_jobs", "Jobs taken by one claim that found any.", buckets=_BATCH_BUCKETS, registry=REGISTRY
)
CLAIM_FULL_SCAN_SECONDS = Gauge(
    "taskflow_claim_full_scan_seconds",
    "What the last claim that began at the front of its queues took; 20 times that, 10 s at most, is how long jobs can "
    "wait that were committed or given back in front of others.",
    registry=REGISTRY,
)
FLUSH_BATCH_JOBS = Histogram(
    "taskflow_flush_batch_jobs", "Outcomes written by one flush.", buckets=_BATCH_BUCKETS, registry=REGISTRY
)
LEASES_LOST = Counter(
    "taskflow_leases_lost_total", "Outcomes refused because the claim had been taken back.", registry=REGISTRY
)
RESCUED_JOBS = Counter("taskflow_rescued_jobs_total", "Jobs taken back from workers that are gone.", registry=REGISTRY)
STAGED_JOBS = Counter(
    "taskflow_staged_jobs_total", "Scheduled and retrying jobs made available when due.", registry=REGISTRY
)
EXPIRED_JOBS = Counter(
    "taskflow_expired_jobs_total", "Jobs that failed because nobody had claimed them in time.", registry=REGISTRY
)
SCHEDULE_TICKS = Counter(
    "taskflow_schedule_ticks_total",
    "Instants of schedules that were decided, by what became of them.",
    ["outcome"],
    registry=REGISTRY,
)
DROPPED_PARTITIONS = Counter(
    "taskflow_partitions_dropped_total",
    "Daily partitions dropped because what is in them ended long ago.",
    ["table"],
    registry=REGISTRY,
)
PRUNED_ROWS = Counter(
    "taskflow_retention_rows_total", "Old rows deleted from tables without partitions.", ["table"], registry=REGISTRY
)
RETENTION_BEHIND_SECONDS = Gauge(
    "taskflow_retention_behind_seconds",
    "How far dropping is behind, in whole days, as this process saw when it last looked as the leader.",
    registry=REGISTRY,
)
LEADER = Gauge("taskflow_leader", "1 while this process leads.", registry=REGISTRY)
DB_RECONNECTS = Counter(
    "taskflow_db_reconnects_total", "Failed tries to get a connection to the database.", registry=REGISTRY
)

HTTP_REQUESTS = Counter(
    "taskflow_http_requests_total",
    "Requests answered.",
    ["method", "route", "status_class"],
    registry=REGISTRY,
)
HTTP_RATE_LIMITED = Counter(
    "taskflow_http_rate_limited_total",
    "Requests refused because a rate limit was used up.",
    ["limit"],
    registry=REGISTRY,
)
HTTP_REQUEST_DURATION_SECONDS = Histogram(
    "taskflow_http_request_duration_seconds",
    "From the request's first byte to the answer's last.",
    ["method", "route"],
    buckets=_HTTP_BUCKETS_S,
    registry=REGISTRY,
)

TRACE_SPANS = Counter(
    "taskflow_trace_spans_total",
    "Spans that ended in this process: exported, lost (the collector did not take them), or dropped (too many waited).",
    ["outcome"],
    registry=REGISTRY,
)

ProcessCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)


def exposition(extra: Iterable[Metric] = ()) -> bytes:
    """Return this process' metrics and *extra* families in the text format."""
    return generate_latest(_WithExtra(extra))


def gauge(name: str, help_text: str, labels: Iterable[str], samples: Iterable[tuple[Iterable[str], float]]) -> Metric:
    """Build one gauge family whose values are known only now; *samples* are (label values, value)."""
    family = GaugeMetricFamily(name, help_text, labels=list(labels))
    for values, value in samples:
        family.add_metric(list(values), value)
    return family


def serve(port: int, *, host: str = "127.0.0.1") -> WSGIServer:
    """Serve this process' metrics on an own port, from a thread; `.shutdown()` ends it. OSError if it is taken."""
    server, _thread = start_http_server(port, addr=host, registry=REGISTRY)
    return server


class _WithExtra(Collector):
    """The process' registry with families computed for one scrape."""

    def __init__(self, extra: Iterable[Metric]) -> None:
        self._extra = extra

    def collect(self) -> Iterator[Metric]:
        yield from REGISTRY.collect()
        yield from self._extra
