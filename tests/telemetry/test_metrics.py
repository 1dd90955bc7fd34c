"""Metrics: the exposition, and the port of their own."""

import socket
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from taskflow.telemetry import metrics


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
