"""Metrics: the exposition, and the port of their own."""

import socket
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from taskflow.telemetry import metrics
from taskflow.telemetry.distribution import Distribution


def test_the_exposition_can_be_parsed_and_has_what_is_added() -> None:
    extra = metrics.gauge("taskflow_depth", "How deep.", ["queue"], [(["a"], 2), (['b"\n'], 3)])
    families = {family.name: family for family in text_string_to_metric_families(metrics.exposition([extra]).decode())}
    assert [(sample.labels["queue"], sample.value) for sample in families["taskflow_depth"].samples] == [
        ("a", 2),
        ('b"\n', 3),
    ]
    for name in ("taskflow_attempts", "taskflow_job_duration_seconds", "taskflow_http_requests", "taskflow_leader"):
        assert name in families


def test_labels_are_few_and_bounded() -> None:
    few = {"queue", "kind", "outcome", "method", "route", "status_class", "version", "generation", "table", "limit"}
    for family in metrics.REGISTRY.collect():
        for sample in family.samples:
            assert set(sample.labels) <= {*few, "le"}, family.name


def test_a_distribution_shows_what_the_library_shows() -> None:
    shown = []
    for kind in (Histogram, Distribution):
        registry = CollectorRegistry(auto_describe=True)
        histogram = kind("size_bytes", "How big.", ["queue"], buckets=(0.5, 1, 2500), registry=registry)
        child = histogram.labels("a\n")
        for value in (0.5, 0.75, 1, 1.0001, 2500, 1e9):
            child.observe(value)
        assert histogram.labels("a\n") is child
        histogram.labels("b")
        text = generate_latest(registry).decode()
        shown.append([line for line in text.splitlines() if "_created" not in line])
        with pytest.raises(ValueError, match="size_bytes"):
            kind("size_bytes", "Again.", [], buckets=(1,), registry=registry)
    assert shown[0] == shown[1]
    with pytest.raises(ValueError, match="has the labels queue, got 2 values"):
        histogram.labels("a", "b")


@pytest.mark.slow
def test_a_worker_can_show_its_metrics_on_a_port_of_its_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = metrics.serve(port)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
            assert b"taskflow_attempts_total" in response.read()
        with pytest.raises(OSError, match="in use"):
            metrics.serve(port)
    finally:
        server.shutdown()
        server.server_close()
