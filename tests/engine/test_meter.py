"""Submits are counted by queue and kind, within bounds."""

from taskflow.engine.job import NewJob
from taskflow.engine.meter import SubmitMeter
from taskflow.telemetry.metrics import OTHER, REGISTRY


def test_a_flood_of_queue_names_shares_one_label() -> None:
    """Submitters choose queue names; metrics must not grow with them."""
    meter = SubmitMeter()
    before = REGISTRY.get_sample_value("taskflow_jobs_enqueued_total", {"queue": OTHER, "kind": OTHER}) or 0.0
    jobs = [NewJob("flood", {}, queue=f"flood-{number}") for number in range(SubmitMeter.MAX_PAIRS + 5)]
    for begin in range(0, len(jobs), 100):
        meter.count(jobs[begin : begin + 100])
    meter.count(jobs[:1])
    labels = {"queue": "flood-0", "kind": "flood"}
    assert REGISTRY.get_sample_value("taskflow_jobs_enqueued_total", labels) == 2.0
    assert REGISTRY.get_sample_value("taskflow_jobs_enqueued_total", {"queue": OTHER, "kind": OTHER}) == before + 5
