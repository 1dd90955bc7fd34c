"""`taskflow queues`, and what `taskflow jobs` says of queues' jobs before they are active."""

import os
import re

import pytest
from tests.support.operator import Operator

from taskflow.apps.cli import bulk

pytestmark = pytest.mark.slow


@pytest.fixture
def operator(database_url: str) -> Operator:
    operator = Operator(database_url)
    operator.publish()
    return operator


def submit(operator: Operator, *words: str) -> str:
    return operator.taskflow("jobs", "submit", "order", '{"number": 1}', *words).id


def status(operator: Operator, job_id: str) -> str:
    found: str = operator.taskflow("jobs", "show", job_id, "--json").json["status"]
    return found


def test_a_queue_is_limited_paused_drained_and_resumed(operator: Operator) -> None:
    assert operator.taskflow("queues", "limit", "orders", "4", "--json").json["concurrency"] == 4
    assert "paused since" in operator.taskflow("queues", "pause", "orders").out
    assert operator.taskflow("queues", "drain", "orders", "--json").json["draining"] is True
    refused = operator.taskflow("jobs", "submit", "order", '{"number": 1}')
    assert (refused.code, "drains" in refused.err) == (1, True)
    table = operator.taskflow("queues", "list").out.splitlines()
    assert [line.split()[0] for line in table] == ["QUEUE", "builtin", "orders"]
    assert "paused, draining" in table[2]
    shown = operator.taskflow("queues", "resume", "orders", "--json").json
    assert (shown["paused"], shown["draining"], shown["concurrency"]) == (False, False, 4)
    assert operator.taskflow("queues", "limit", "orders", "none", "--json").json["concurrency"] is None
    assert re.search(r"^limit +none$", operator.taskflow("queues", "show", "orders").out, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("limit", "orders", "many"), 2, "LIMIT: must be a whole number from 1 to 100000, or 'none', got 'many'"),
        (("limit", "orders", "--", "-1"), 2, "LIMIT: must be a whole number from 1 to 100000, or 'none', got '-1'"),
        (("limit", "orders", "0"), 2, "LIMIT: must be from 1 to 100000, got 0"),
        (("pause", "no queue"), 2, "QUEUE: must be 1 to 100 characters"),
        (("show", "nowhere"), 1, "there is no queue 'nowhere'"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(operator: Operator, words: tuple[str, ...], code: int, said: str) -> None:
    result = operator.taskflow("queues", *words)
    assert (result.code, result.out) == (code, "")
    assert said in result.err
    assert result.err.count("\n") == 1


def test_a_submit_with_a_key_that_is_held_prints_the_job_that_holds_it(operator: Operator) -> None:
    first = submit(operator, "--unique-key", "k", "--ttl-ms", "60000")
    again = operator.taskflow("jobs", "submit", "order", '{"number": 2}', "--unique-key", "k")
    assert (again.id, "holds the unique key" in again.err) == (first, True)
    shown = operator.taskflow("jobs", "submit", "order", '{"number": 2}', "--unique-key", "k", "--json").json
    assert (shown["jobId"], shown["duplicate"], shown["payload"]) == (first, True, {"number": 1})
    facts = operator.taskflow("jobs", "show", first).out
    assert "k (until_finished)" in facts
    assert "expires" in facts
    wrong = operator.taskflow("jobs", "submit", "order", '{"number": 1}', "--unique-scope", "window")
    assert (wrong.code, wrong.err) == (2, "taskflow: --unique-scope: goes with a unique key\n")


def test_waiting_jobs_are_changed_and_run_now(operator: Operator) -> None:
    job_id = submit(operator, "--delay-ms", "60000")
    assert operator.taskflow("jobs", "change", job_id, "--priority", "high").out == f"{job_id}  scheduled\n"
    assert operator.taskflow("jobs", "run-now", job_id).out == f"{job_id}  pending\n"
    again = operator.taskflow("jobs", "run-now", job_id)
    assert (again.code, "this one is pending" in again.err) == (1, True)
    nothing = operator.taskflow("jobs", "change", job_id)
    assert (nothing.code, nothing.out) == (2, "")


def test_all_jobs_that_options_choose_are_cancelled_and_deleted(operator: Operator) -> None:
    ids = [submit(operator, "--tag", "old") for _ in range(3)]
    other = submit(operator)
    assert operator.taskflow("jobs", "bulk", "cancel", "--tag", "old").out == "3 jobs cancelled, or asked to stop\n"
    assert [status(operator, job_id) for job_id in (*ids, other)] == ["cancelled"] * 3 + ["pending"]
    operation = operator.taskflow("jobs", "bulk", "delete", "--all", "--yes", "--json").json
    assert (operation["status"], operation["progress"]) == ("completed", {"done": 3, "failed": 0, "total": 3})
    assert operator.taskflow("jobs", "show", ids[0]).code == 1


def test_a_queue_that_nothing_names_is_taken_with_a_remark(operator: Operator) -> None:
    said = operator.taskflow("queues", "pause", "ordres")
    assert (said.code, "paused since" in said.out) == (0, True)
    named = "no pending job, live worker, kind or setting names queue"
    assert said.err == f"taskflow: {named} 'ordres' yet; did you mean 'orders'?\n"
    assert operator.taskflow("queues", "limit", "ordres", "none").err == "", "its setting names it now"
    table = operator.taskflow("queues", "list").out
    assert re.search(r"^ordres +paused, unused ", table, re.MULTILINE)
    assert re.search(r"^unused +no due or active job", operator.taskflow("queues", "show", "ordres").out, re.MULTILINE)
    assert operator.taskflow("queues", "resume", "ordres").code == 0
    assert "ordres" not in operator.taskflow("queues", "list").out
    assert operator.taskflow("queues", "resume", "ordres").err == said.err, "it is gone again"
    assert operator.taskflow("queues", "limit", "xyz", "3").err == f"taskflow: {named} 'xyz' yet\n"
    assert operator.taskflow("queues", "pause", "orders").err == ""


def test_a_submit_to_a_queue_that_nothing_names_is_taken_with_a_remark(operator: Operator) -> None:
    said = operator.taskflow("jobs", "submit", "order", '{"number": 1}', "--queue", "ordres")
    assert status(operator, said.id) == "pending"
    assert "names queue 'ordres' yet; did you mean 'orders'?" in said.err
    again = operator.taskflow("jobs", "submit", "order", '{"number": 1}', "--queue", "ordres")
    assert (again.code, again.err) == (0, "")


@pytest.mark.parametrize(
    "words",
    [("list",), ("list", "--json"), ("bulk", "cancel"), ("bulk", "delete", "--json"), ("bulk", "retry", "--dry-run")],
)
def test_a_filter_with_a_name_that_nothing_has_is_remarked_on(operator: Operator, words: tuple[str, ...]) -> None:
    def remarks(*filter_: str) -> list[str]:
        said = operator.taskflow("jobs", *words, *filter_)
        assert said.code == 0
        return [line for line in said.err.splitlines() if line.startswith("taskflow: ")]

    assert remarks("--queue", "ordres", "--task-type", "odrer") == [
        "taskflow: there is no kind 'odrer', and no job of it; did you mean 'order'?",
        "taskflow: there is no queue 'ordres', and no job of it; did you mean 'orders'?",
    ]
    assert remarks("--queue", "zzz") == ["taskflow: there is no queue 'zzz', and no job of it"]
    assert remarks("--queue", "orders", "--task-type", "order") == []
    submit(operator, "--queue", "elsewhere", "--delay-ms", "60000")
    assert remarks("--queue", "elsewhere", "--tag", "none") == []


def test_a_dry_run_says_how_many_jobs_it_would_be_and_changes_none(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [submit(operator, "--tag", "old") for _ in range(3)] + [
        submit(operator, "--tag", "old", "--delay-ms", "9000")
    ]
    operator.taskflow("jobs", "cancel", submit(operator, "--tag", "old"))
    said = operator.taskflow("jobs", "bulk", "cancel", "--tag", "old", "--dry-run")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("would cancel 4 jobs:\n")
    assert [line.split()[0] for line in said.out.splitlines()[2:]] == ids[::-1]
    document = operator.taskflow("jobs", "bulk", "delete", "--all", "--dry-run", "--json").json
    assert (document["matching"], document["more"], document["newest"][0]["status"]) == (1, False, "cancelled")
    monkeypatch.setattr(bulk, "MAX_COUNTED", 2)
    assert operator.taskflow("jobs", "bulk", "cancel", "--all", "--dry-run").out.startswith("would cancel more than 2")
    assert [status(operator, job_id) for job_id in ids] == ["pending"] * 3 + ["scheduled"]


@pytest.mark.slow
@pytest.mark.system
def test_whoever_means_all_jobs_is_asked_at_a_terminal(operator: Operator) -> None:
    job_id = submit(operator)
    for answer, code, state in ((b"n\n", 1, "pending"), (b"y\n", 0, "cancelled")):
        ours, theirs = os.openpty()
        with operator.start("jobs", "bulk", "cancel", "--all", stdin=theirs) as asking:
            os.write(ours, answer)
            _, err = asking.communicate(timeout=60)
        assert (asking.returncode, "cancel all jobs that can be? [y/N]" in err) == (code, True), err
        assert status(operator, job_id) == state
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("burn", "--all"), "ACTION: must be cancel, retry, delete"),
        (("cancel",), "choose jobs by options, or give --all alone"),
        (("cancel", "--all", "--queue", "x"), "choose jobs by options, or give --all alone"),
        (("cancel", "--all"), "--all: not a terminal, so nobody can be asked; give --yes to cancel all jobs"),
        (("cancel", "--status", "failed", "--dry-run"), "--status: must be pending, scheduled, retrying, active"),
        (("cancel", "--status", "failed"), "--status: must be pending, scheduled, retrying, active"),
        (("cancel", "--from", "yesterday"), "--from: must be an ISO 8601 instant"),
    ],
)
def test_a_bulk_that_cannot_be_is_refused(operator: Operator, words: tuple[str, ...], said: str) -> None:
    result = operator.taskflow("jobs", "bulk", *words)
    assert (result.code, result.out) == (2, "")
    assert said in result.err
