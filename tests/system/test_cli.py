"""The command line beside a running `taskflow up`: what a newcomer does after the first start."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.operator import MAIL, Operator
from tests.support.up import Up

ELSEWHERE = "postgresql://nobody@127.0.0.1:1/elsewhere"


def taskflow(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command whose environment names another database, and no kind of deployment."""
    operator = Operator(ELSEWHERE)
    environ = {name: value for name, value in operator.environ().items() if name != "TASKFLOW_ENV"}
    return subprocess.run(operator.command(*words), env=environ, capture_output=True, text=True, check=False)


@pytest.mark.covers("S2-19")
def test_a_data_directory_leads_to_its_database_and_a_job_is_followed_through_its_retry(
    made: Path, up: Callable[..., Up]
) -> None:
    up().wait_ready()
    here = ("--data-dir", str(made))
    done = taskflow("jobs", "submit", "send_email", json.dumps(MAIL), "--wait", "--json", *here)
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)
    assert job["status"] == "completed"
    assert job["result"]["delivery"] == "file"
    logs = taskflow("jobs", "logs", job["jobId"], *here)
    assert "handed over by file" in logs.stdout

    failing = json.dumps({**MAIL, "forceFail": True})  # allowed: a `taskflow up` on loopback is for development
    failed = taskflow("jobs", "submit", "send_email", failing, "--retries", "1", "--wait", *here)
    assert failed.returncode == 1
    assert "  retrying in " in failed.stderr
    assert "failed (exhausted): ForcedFailure" in failed.stderr.splitlines()[-1]

    status = json.loads(taskflow("status", "--json", *here).stdout)
    assert status["deadLetters"] == 1
    assert status["warnings"] == []
    assert [worker["workerId"] for worker in status["workers"]] == [status["leader"]["workerId"]]
