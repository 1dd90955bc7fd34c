"""Alerts are over metrics that exist and lead to what to do; promtool, where it is, judges rules and metrics."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskflow.telemetry import metrics
from tests.support import reference
from tests.support.reference import ROOT

OPERATIONS = ROOT / "docs" / "operations"
RULES = OPERATIONS / "alerts.yml"
SAMPLES = re.compile(r"_(bucket|sum|count)$")


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def promtool() -> str:
    found = shutil.which("promtool", path=f"{os.environ['PATH']}{os.pathsep}{ROOT / 'build' / 'promtool'}")
    if found:
        return found
    if os.environ.get("CI"):
        pytest.fail("promtool is not here, and CI may skip nothing: .ci/run puts it into build/promtool")
    pytest.skip("promtool is not here: it comes with Prometheus")


def test_alerts_are_over_metrics_that_exist_and_labels_that_they_have() -> None:
    known = {family.name: {*family.labels, "instance", "job"} for family in reference.families()}
    for alert in alerts():
        names = re.findall(r"\btaskflow_[a-z_]+", alert["expr"])
        assert names, alert["alert"]
        assert {SAMPLES.sub("", name) for name in names} <= set(known), alert["alert"]
        used = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)\s*\"", alert["expr"]))
        for group in re.findall(r"(?:by|on) \(([^)]*)\)", alert["expr"]):
            used |= {label.strip() for label in group.split(",")}
        assert used <= set.union(*(known[SAMPLES.sub("", name)] for name in names)), alert["alert"]


def test_every_alert_leads_to_its_section_and_every_section_is_an_alerts() -> None:
    headings = re.findall(r"^## (\w+)$", (OPERATIONS / "alerts.md").read_text(), re.MULTILINE)
    assert [alert["annotations"]["runbook"] for alert in alerts()] == [
        f"alerts.md#{heading.lower()}" for heading in headings
    ]
    assert [alert["alert"] for alert in alerts()] == headings


def test_promtool_takes_the_rules() -> None:
    done = subprocess.run([promtool(), "check", "rules", RULES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_nothing_wrong_with_the_metrics(tmp_path: Path) -> None:
    """Those of every process; what the API adds at a scrape has names and labels of the same table."""
    added = [
        metrics.gauge(family.name, family.meaning, family.labels, [(["x"] * len(family.labels), 1)])
        for family in reference.families()
        if f"# HELP {family.name} " not in metrics.exposition().decode()
    ]
    assert added
    text = metrics.exposition(added)
    done = subprocess.run([promtool(), "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
