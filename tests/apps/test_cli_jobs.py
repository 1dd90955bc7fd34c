"""`taskflow jobs` on a real database, its output going into pipes: what scripts rely on."""

import asyncio
import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from tests.support.api import Api, api, client
from tests.support.operator import MAIL, Operator, Said
from tests.support.schema import saying

from taskflow.apps.cli import submission, view
from taskflow.engine.job import JobError, NewProgress, OutcomeKind
from taskflow.engine.notifier import CANCEL_CHANNEL, WAKE_CHANNEL

__all__ = ["api", "client"]

ISO = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def operator(database_url: str) -> Operator:
    operator = Operator(database_url)
    operator.publish()
    return operator


@pytest.fixture
def listening(operator: Operator) -> Iterator["subprocess.Popen[str]"]:
    """A process that prints the wake-ups it hears, after a first line that says that it listens."""
    program = f"""
import asyncio, asyncpg, sys
async def main():
    connection = await asyncpg.connect(sys.argv[1])
    for channel in ({WAKE_CHANNEL!r}, {CANCEL_CHANNEL!r}):
        await connection.add_listener(channel, lambda *heard: print(*heard[2:], flush=True))
    print("listening", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    words = [*operator.command()[:1], "-c", program, operator.url]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "listening\n"
        yield listener
        listener.kill()


def hear(listener: "subprocess.Popen[str]", line: str) -> None:
    """Wait for that wake-up; one may come twice."""
    assert listener.stdout is not None
    while listener.stdout.readline() != f"{line}\n":
        assert listener.poll() is None


def check_refused(said: Said, code: int, line: str) -> None:
    """Assert that a command ended with that one line on stderr and nothing on stdout."""
    assert (said.code, said.err, said.out) == (code, f"taskflow: {line}\n", "")


# Submitting ----------------------------------------------------------------------------------------------------------


def test_a_submit_prints_the_id_alone_and_stores_what_it_was_told(operator: Operator) -> None:
    options = ["--priority", "high", "--retries", "7", "--timeout-ms", "1500", "--queue", "orders", "--tag", "a b"]
    said = operator.taskflow("jobs", "submit", "send_email", json.dumps(MAIL), *options, "--tag", "c")
    assert (said.code, said.err) == (0, "")
    assert UUID(said.id).version == 7
    job = operator.taskflow("jobs", "show", said.id, "--json").json
    told = {"taskType": "send_email", "payload": MAIL, "priority": 8, "retries": 7, "timeout": 1500, "queue": "orders"}
    assert {name: job[name] for name in told} == told
    assert job["tags"] == ["a b", "c"]


def test_what_a_submit_leaves_out_comes_from_its_kind(operator: Operator) -> None:
    job = operator.taskflow("jobs", "submit", "order", '{"number": 1}', "--json").json
    assert (job["queue"], job["priority"], job["retries"], job["timeout"]) == ("orders", 5, 1, 5000)


@pytest.mark.covers("S2-13")
def test_an_alias_is_stored_under_the_name_of_the_kind(operator: Operator) -> None:
    said = operator.taskflow("jobs", "submit", "EMAIL", json.dumps(MAIL), "--json")
    assert said.json["taskType"] == "send_email"


def test_a_payload_comes_from_a_file_or_from_standard_input(operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "mail.json"
    file.write_text(json.dumps({**MAIL, "subject": "ümläut"}))
    by_file = operator.taskflow("jobs", "submit", "send_email", f"@{file}", "--json")
    by_stdin = operator.taskflow("jobs", "submit", "send_email", "-", "--json", stdin=file.read_bytes())
    assert by_file.json["payload"] == by_stdin.json["payload"] == {**MAIL, "subject": "ümläut"}


def test_a_job_can_wait_for_an_instant_or_a_while(operator: Operator) -> None:
    submit = ("jobs", "submit", "order", '{"number": 1}', "--json")
    later = operator.taskflow(*submit, "--run-at", "2126-01-01T02:00:00+02:00").json
    assert (later["status"], later["runAt"]) == ("scheduled", "2126-01-01T00:00:00Z")
    delayed = operator.taskflow(*submit, "--delay-ms", "60000").json
    assert delayed["status"] == "scheduled"
    assert delayed["runAt"] > delayed["createdAt"]


def test_every_wrong_field_of_a_submit_is_named_with_its_limit_and_nothing_is_stored(operator: Operator) -> None:
    options = ["--priority", "77", "--retries", "11", "--timeout-ms", "0", "--delay-ms", "-1", "--run-at", "tomorrow"]
    said = operator.taskflow("jobs", "submit", "send_email", '{"to": "ada@example.com", "cc": 1}', *options)
    assert (said.code, said.out) == (2, "")
    assert said.err.count("\n") == 1
    for part in (
        "--priority: must be high, normal, low or a whole number from 0 to 9",
        "--retries: must be from 0 to 10",
        "--timeout-ms: must be from 1 to 86400000 ms",
        "--delay-ms: must be from 0 to 31622400000 ms",
        "--run-at: must be an ISO 8601 instant with a time zone",
        "/payload/subject: is required",
        "/payload/cc: is not a field of this payload",
    ):
        assert part in said.err
    assert operator.taskflow("jobs", "list", "--json").json == {"items": [], "nextCursor": None}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["send_email", "{to"], "PAYLOAD: must be JSON text, @FILE or -: JSON is malformed: .*"),
        (["send_email", "@/nowhere.json"], "PAYLOAD: cannot read '/nowhere.json': No such file or directory"),
        (["send_email", "@/"], "PAYLOAD: cannot read '/': Is a directory"),
        (["send_email", "[1]"], "PAYLOAD: must be a JSON object"),
        (["nothing"], "TASK_TYPE: no worker has ever offered 'nothing'; known are: order, send_email"),
        (["order", '{"number": 1}', "--retries", "many"], "--retries: must be a whole number"),
        (["order", '{"number": 1}', "--tag", ""], "--tag: .*at least 1 character"),
        (["order", '{"number": 1}', "--queue", "a b"], "--queue: .*"),
        (["order", '{"number": 1}', "--timeout-s", "1"], "--timeout-s: goes with --wait; .*"),
        (["order", '{"number": 1}', "--wait", "--timeout-s", "0"], "--timeout-s: must be above 0 .*"),
        (["order", '{"number": 1, "note": "\\u0000"}'], "/payload/note: holds the character U.0000.*"),
    ],
)
def test_what_is_wrong_with_a_submit_is_one_line(operator: Operator, words: list[str], line: str) -> None:
    said = operator.taskflow("jobs", "submit", *words)
    assert (said.code, said.out) == (2, "")
    assert re.fullmatch(f"taskflow: {line}\n", said.err), said.err


@pytest.mark.parametrize(
    ("size", "line"),
    [
        (300_000, r"the payload is \d+ bytes of JSON, the limit is 262144"),
        (2_000_000, "PAYLOAD: standard input is over the limit of 1048576 bytes"),
    ],
)
def test_a_payload_over_its_limit_is_refused(operator: Operator, size: int, line: str) -> None:
    said = operator.taskflow("jobs", "submit", "order", "-", stdin=json.dumps({"number": 1, "note": "x" * size}))
    assert said.code == 2
    assert re.fullmatch(f"taskflow: {line}\n", said.err)


def test_before_any_worker_has_started_a_submit_says_so(database_url: str) -> None:
    said = Operator(database_url).taskflow("jobs", "submit", "send_email", json.dumps(MAIL))
    check_refused(said, 2, "TASK_TYPE: no worker has started yet")


def test_a_failure_on_purpose_is_for_development_alone(operator: Operator) -> None:
    submit = ("jobs", "submit", "send_email", json.dumps({**MAIL, "forceFail": True}))
    assert operator.taskflow(*submit).code == 0
    said = operator.taskflow(*submit, TASKFLOW_ENV="production")
    assert said.code == 2
    assert said.err.startswith("taskflow: /payload/forceFail: is for trying things out; this deployment runs in prod")
    assert operator.taskflow(*submit, TASKFLOW_ENV=None).code == 2, "a database of one's own is production"


@pytest.mark.slow
def test_workers_are_woken_before_the_command_ends(operator: Operator, listening: "subprocess.Popen[str]") -> None:
    operator.taskflow("jobs", "submit", "order", '{"number": 1}')
    hear(listening, f"{WAKE_CHANNEL} orders")
    [claim] = operator.claim()
    operator.taskflow("jobs", "cancel", str(claim.job_id))
    hear(listening, f"{CANCEL_CHANNEL} {claim.job_id}")
    operator.fail(claim, for_good=True)
    operator.taskflow("jobs", "retry", str(claim.job_id))
    hear(listening, f"{WAKE_CHANNEL} orders")


# Following -----------------------------------------------------------------------------------------------------------


def test_a_wait_that_is_given_up_says_where_the_job_is(operator: Operator) -> None:
    said = operator.taskflow("jobs", "submit", "order", '{"number": 1}', "--wait", "--timeout-s", "0.1")
    assert said.code == 1
    job_id = said.out.strip()
    *progress, end = said.err.splitlines()
    assert [line.split("s  ")[1] for line in progress] == ["pending in queue orders"]
    assert end == f"taskflow: job {job_id} is still pending after 0.1 s; it goes on"


def test_a_wait_for_a_job_that_nobody_runs_says_so(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "UNCLAIMED_S", 0.0)
    submit = ("jobs", "submit", "order", '{"number": 1}', "--wait", "--timeout-s", "0.2")
    reproach = "no live worker runs order in queue orders; to start one: taskflow worker --queues orders"
    assert reproach in operator.taskflow(*submit).err
    operator.register_worker(kinds=["order"])
    assert reproach not in operator.taskflow(*submit).err


def follow(operator: Operator, *options: str) -> tuple["subprocess.Popen[str]", str]:
    """Start to follow a new job as a process of its own; return it and the job's id once it is pending."""
    process = operator.start("jobs", "submit", "order", '{"number": 1}', "--wait", *options)
    assert process.stderr is not None
    assert "pending" in process.stderr.readline()
    return process, operator.taskflow("jobs", "list", "--json").json["items"][0]["jobId"]


@pytest.mark.slow
@pytest.mark.system
def test_a_followed_job_that_completes_ends_the_command_with_success(operator: Operator) -> None:
    process, job_id = follow(operator)
    [claim] = operator.claim()
    assert process.stderr is not None
    assert process.stderr.readline().endswith("s  active, attempt 1\n")
    operator.complete(claim, {"sum": 42})
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert out == f"{job_id}\n"
    assert err.endswith('s  completed: {"sum":42}\n')


@pytest.mark.slow
@pytest.mark.system
def test_a_followed_job_that_fails_ends_the_command_with_its_error(operator: Operator) -> None:
    process, job_id = follow(operator, "--json")
    [claim] = operator.claim()
    operator.fail(claim, for_good=True)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err.splitlines()[-1] == f"taskflow: job {job_id} failed (permanent): RuntimeError: boom"
    job = json.loads(out)
    assert (job["jobId"], job["status"], job["attempts"][0]["error"]) == (job_id, "failed", "boom")


@pytest.mark.slow
@pytest.mark.system
def test_a_followed_job_that_is_cancelled_is_not_done(operator: Operator) -> None:
    process, job_id = follow(operator)
    assert operator.taskflow("jobs", "cancel", job_id).code == 0
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err.splitlines()[-1] == f"taskflow: job {job_id} was cancelled"


@pytest.mark.slow
@pytest.mark.system
def test_ctrl_c_stops_watching_and_leaves_the_job(operator: Operator) -> None:
    process, job_id = follow(operator)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == f"taskflow: stopped watching; the job goes on: taskflow jobs show {job_id}\n"
    assert operator.taskflow("jobs", "show", job_id, "--json").json["status"] == "pending"


# Listing -------------------------------------------------------------------------------------------------------------


@pytest.mark.covers("X-13")
def test_a_list_goes_on_where_its_cursor_says(operator: Operator) -> None:
    made = [str(operator.enqueue()) for _ in range(5)]
    first = operator.taskflow("jobs", "list", "--limit", "3", "--json").json
    rest = operator.taskflow("jobs", "list", "--limit", "3", "--json", "--cursor", first["nextCursor"]).json
    assert [job["jobId"] for job in first["items"] + rest["items"]] == made[::-1]
    assert rest["nextCursor"] is None
    said = operator.taskflow("jobs", "list", "--limit", "3")
    assert said.err == f"more: --cursor {first['nextCursor']}\n"


def test_a_list_can_be_filtered(operator: Operator) -> None:
    failed = operator.failed_job(tags=["red"])
    order = str(operator.enqueue(tags=["blue"]))
    mail = operator.taskflow("jobs", "submit", "send_email", json.dumps(MAIL)).id

    def ids(*options: str) -> list[str]:
        return [job["jobId"] for job in operator.taskflow("jobs", "list", "--json", *options).json["items"]]

    assert ids() == [mail, order, failed]
    assert ids("--status", "failed") == [failed]
    assert ids("--task-type", "EMAIL") == [mail]
    assert ids("--queue", "orders") == [order, failed]
    assert ids("--tag", "blue") == [order]
    assert ids("--from", "2126-01-01T00:00:00Z") == []
    assert ids("--to", "2126-01-01T00:00:00Z") == [mail, order, failed]


def test_a_piped_list_has_every_column_uncut_and_times_in_iso(operator: Operator) -> None:
    long = "boom " * 40 + "end"
    failed = operator.failed_job(JobError("RuntimeError", long), tags=["red", "blue"])
    retrying = str(operator.enqueue())
    operator.fail(operator.claim()[0])
    said = operator.taskflow("jobs", "list", COLUMNS="60")
    header, second, first = said.out.splitlines()
    assert header.split() == [column.header for column in view.COLUMNS]
    assert re.fullmatch(rf"{retrying} +retrying +order +{ISO} +1 +{ISO} +- +orders +5 +- +RuntimeError: boom", second)
    assert re.fullmatch(
        rf"{failed} +failed +order +{ISO} +1 +- +{ISO} +orders +5 +red,blue +RuntimeError: {long}", first
    )
    assert len({line.index(word) for line, word in ((header, "TYPE"), (first, "order"), (second, "order"))}) == 1
    assert "\x1b" not in said.out
    assert said.err == ""


def test_an_empty_list_is_no_lines_on_standard_output(operator: Operator) -> None:
    said = operator.taskflow("jobs", "list")
    assert (said.code, said.out, said.err) == (0, "", "no jobs\n")


def test_every_wrong_option_of_a_list_is_named_with_its_limit(operator: Operator) -> None:
    check_refused(
        operator.taskflow("jobs", "list", "--limit", "201", "--status", "odd", "--from", "2026-01-01"),
        2,
        "--status: must be one of pending, scheduled, retrying, active, completed, failed, cancelled; --from: must be "
        "an ISO 8601 instant with a time zone, such as 2026-11-23T09:30:00Z; --limit: must be from 1 to 200",
    )
    check_refused(
        operator.taskflow("jobs", "list", "--cursor", "x"), 2, "--cursor: is not a cursor; take nextCursor as it came"
    )


@pytest.mark.slow
@pytest.mark.system
def test_a_reader_that_has_enough_ends_the_command_quietly(operator: Operator) -> None:
    for _ in range(3):
        operator.enqueue()
    with operator.start("jobs", "list") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""


# Looking at one ------------------------------------------------------------------------------------------------------


async def test_documents_are_what_the_api_answers(api: Api, client: httpx.AsyncClient, database_url: str) -> None:
    operator = Operator(database_url)
    created = (await client.post("/api/v1/jobs", json={"taskType": "order", "payload": {"number": 1}})).json()
    submitted = await asyncio.to_thread(operator.taskflow, "jobs", "submit", "order", '{"number": 1}', "--json")
    assert submitted.json.keys() == created.keys()
    [claim] = await api.claim()
    await api.fail(claim)
    path = f"/api/v1/jobs/{claim.job_id}"
    shown = await asyncio.to_thread(operator.taskflow, "jobs", "show", str(claim.job_id), "--json")
    assert shown.json == (await client.get(path)).json()
    listed = await asyncio.to_thread(operator.taskflow, "jobs", "list", "--json")
    assert listed.json == (await client.get("/api/v1/jobs")).json()
    logs = await asyncio.to_thread(operator.taskflow, "jobs", "logs", str(claim.job_id), "--json")
    assert logs.json == (await client.get(f"{path}/logs")).json()
    cancelled = await asyncio.to_thread(operator.taskflow, "jobs", "cancel", str(claim.job_id), "--json")
    assert cancelled.json["items"] == [{k: v for k, v in (await client.get(path)).json().items() if k != "attempts"}]


@pytest.mark.covers("S2-19")
def test_a_job_that_waits_for_its_retry_shows_its_error_its_history_and_the_next_attempt(operator: Operator) -> None:
    job_id = str(operator.enqueue(tags=["red"]))
    traceback = "\n".join(["Traceback (most recent call last):", *(f"  line {n}" for n in range(30)), "OSError: no"])
    operator.fail(operator.claim()[0], JobError("OSError", "no", traceback))
    said = operator.taskflow("jobs", "show", job_id)
    assert (said.code, said.err) == (0, "")
    facts = dict(re.findall(r"^(\w+) +(.*)$", said.out.partition("\n\n")[0], re.MULTILINE))
    assert re.fullmatch(rf"retrying, next attempt {ISO}", facts["status"])
    assert facts["id"] == job_id
    assert (facts["type"], facts["tags"], facts["timeout"]) == ("order", "red", "30000 ms")
    assert facts["attempts"] == "1, 1 failed, 3 retries allowed"
    assert facts["error"] == "OSError: no"
    assert 'payload\n  {\n    "number": 1\n  }\n' in said.out
    assert re.search(rf"^  1 +error +{ISO} +[\d.]+m?s +{ISO} +OSError: no$", said.out, re.MULTILINE)
    assert "  … 17 lines before; --json shows all\n    line 16\n" in said.out
    assert said.out.endswith("    line 29\n  OSError: no\n")


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (OutcomeKind.LOST, "its worker process, or machine, was gone"),
        (OutcomeKind.HANDED_BACK, "its worker ended before it"),
    ],
)
def test_an_attempt_that_left_no_error_says_why_it_ended(operator: Operator, outcome: OutcomeKind, why: str) -> None:
    operator.register_worker(kinds=["order"])
    job_id = operator.enqueue()
    [claim] = operator.claim()
    operator.do(lambda connection: operator.store.return_leases(connection, [claim.lease_id], outcome))
    assert re.search(rf"^  1 +{outcome} .* {why}$", operator.taskflow("jobs", "show", str(job_id)).out, re.MULTILINE)


def test_an_active_job_shows_how_far_it_said_it_is(operator: Operator) -> None:
    operator.register_worker(kinds=["order"])
    job_id = operator.enqueue()
    [claim] = operator.claim()
    report = NewProgress(claim, 0.4, "step 15", 0.0)
    operator.do(lambda connection: operator.store.write_progress(connection, [report], written_at_s=0.0))
    assert re.search(
        r"^progress +40%  step 15  \(.+\)$", operator.taskflow("jobs", "show", str(job_id)).out, re.MULTILINE
    )


def test_a_completed_job_shows_its_result(operator: Operator) -> None:
    job_id = str(operator.enqueue())
    operator.complete(operator.claim()[0], {"sum": 42})
    said = operator.taskflow("jobs", "show", job_id)
    assert re.search(r"^status +completed$", said.out, re.MULTILINE)
    assert 'result\n  {\n    "sum": 42\n  }\n' in said.out
    assert "traceback" not in said.out


def test_logs_are_lines_in_order_and_one_document(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "LOG_PAGE", 2)
    job_id = str(operator.enqueue())
    [claim] = operator.claim()
    operator.write_logs(claim, ("info", "one"), ("warning", "two"), ("info", "three"), ("error", "four"), ("info", "5"))
    said = operator.taskflow("jobs", "logs", job_id)
    assert re.fullmatch(rf"({ISO}  attempt 1  (info   |warning|error  )  (one|two|three|four|5)\n){{5}}", said.out)
    assert [line.split()[-1] for line in said.out.splitlines()] == ["one", "two", "three", "four", "5"]
    document = operator.taskflow("jobs", "logs", job_id, "--json").json
    assert [line["message"] for line in document["items"]] == ["one", "two", "three", "four", "5"]
    assert document["nextCursor"] is None


def test_a_job_without_lines_says_so_aside(operator: Operator) -> None:
    said = operator.taskflow("jobs", "logs", str(operator.enqueue()))
    assert (said.code, said.out, said.err) == (0, "", "no lines\n")


@pytest.mark.parametrize("command", ["show", "logs", "cancel", "retry"])
@pytest.mark.parametrize("job_id", ["019ab123-4567-7abc-8def-0123456789ab", "019ab123", "x" * 36])
def test_a_job_that_is_not_there_is_not_found(operator: Operator, command: str, job_id: str) -> None:
    check_refused(operator.taskflow("jobs", command, job_id), 1, f"there is no job {job_id!r}")


def test_what_a_terminal_would_obey_is_written_out(operator: Operator) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m"
    payload = {"number": 1, "note": evil}
    job_id = str(operator.enqueue(payload=payload, tags=["plain"]))
    [claim] = operator.claim()
    operator.write_logs(claim, ("info", f"log {evil}\nnext"))
    operator.fail(claim, JobError("OSError", f"error {evil}\nnext", f"trace {evil}"), for_good=True)
    for words in (["show", job_id], ["logs", job_id], ["list"]):
        said = operator.taskflow("jobs", *words)
        assert all(char.isprintable() or char == "\n" for char in said.out), words
        assert r"\x1b[2J\u202e\x9b31m" in said.out or words == ["list"], words
    assert operator.taskflow("jobs", "logs", job_id).out.endswith(r"31m\nnext" + "\n"), "a line stays a line"
    assert operator.taskflow("jobs", "show", job_id, "--json").json["payload"] == payload


# Cancelling and retrying ---------------------------------------------------------------------------------------------


@pytest.mark.covers("S2-9")
def test_a_job_that_waits_is_cancelled_and_one_that_runs_is_asked_to_stop(operator: Operator) -> None:
    running = str(operator.enqueue())
    operator.claim()
    waiting = str(operator.enqueue())
    said = operator.taskflow("jobs", "cancel", waiting, running)
    assert (said.code, said.err) == (0, "")
    assert said.out == f"{waiting}  cancelled\n{running}  active  cancel requested\n"


@pytest.mark.covers("S2-10")
def test_a_failed_job_is_run_again(operator: Operator) -> None:
    failed = operator.failed_job()
    said = operator.taskflow("jobs", "retry", failed)
    assert (said.code, said.out, said.err) == (0, f"{failed}  pending\n", "")


def test_each_job_is_a_case_of_its_own(operator: Operator) -> None:
    failed, pending = operator.failed_job(), str(operator.enqueue())
    said = operator.taskflow("jobs", "retry", pending, failed, "none")
    assert said.code == 1
    assert said.out == f"{failed}  pending\n"
    assert said.err.splitlines() == [
        f"taskflow: {pending}: only a failed job can be retried, this one is pending",
        "taskflow: there is no job 'none'",
    ]


def test_refusals_are_part_of_the_document(operator: Operator) -> None:
    failed, pending = operator.failed_job(), str(operator.enqueue())
    said = operator.taskflow("jobs", "cancel", failed, pending, "--json")
    assert said.code == 1
    document: dict[str, Any] = said.json
    assert [(item["jobId"], item["status"]) for item in document["items"]] == [(pending, "cancelled")]
    assert document["errors"] == [{"jobId": failed, "code": "already_final", "detail": "the job is failed already"}]


# The database --------------------------------------------------------------------------------------------------------


def test_without_a_database_a_command_says_what_to_do(operator: Operator, tmp_path: Path) -> None:
    line = (
        f"no database: start `taskflow up` (none runs on {tmp_path}; name another directory with --data-dir or "
        "TASKFLOW_DATA_DIR), or set TASKFLOW_DATABASE_URL"
    )
    nowhere = {"TASKFLOW_DATABASE_URL": None, "TASKFLOW_DATA_DIR": str(tmp_path)}
    check_refused(operator.taskflow("jobs", "list", **nowhere), 1, line)
    check_refused(operator.taskflow("jobs", "list", "--data-dir", str(tmp_path)), 1, line)


def test_an_option_names_the_database_too_but_not_two_of_them(operator: Operator) -> None:
    named = ("--database-url", operator.url)
    assert operator.taskflow("jobs", "list", *named, TASKFLOW_DATABASE_URL=None).code == 0
    check_refused(
        operator.taskflow("jobs", "list", *named, "--data-dir", "/tmp"),
        2,
        "give --data-dir or --database-url, not both",
    )


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("postgresql://u:hush@127.0.0.1:port/x", "the database URL is not valid: .*port.*"),
        ("mysql://u:hush@127.0.0.1/x", "--database-url must start with postgresql:// or postgres:// and name a host"),
        ("postgresql://u:hush@127.0.0.1:1/x", "the database at 127.0.0.1:1/x cannot be reached: .*"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line_without_its_password(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, url: str, line: str
) -> None:
    monkeypatch.setattr("taskflow.apps.cli.session.PATIENCE_S", 0.0)
    said = operator.taskflow("jobs", "list", "--database-url", url)
    assert (said.code, said.out) == (1, "")
    assert re.fullmatch(f"taskflow: {line}\n", said.err), said.err
    assert "hush" not in said.err


def test_what_postgresql_refuses_is_one_line(operator: Operator) -> None:
    said = operator.taskflow("jobs", "list", "--database-url", operator.url.rsplit("/", 1)[0] + "/nothing")
    check_refused(said, 1, 'the database refused: database "nothing" does not exist')


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("DROP SCHEMA taskflow CASCADE", "the database has no TaskFlow schema: run `taskflow migrate`"),
        (
            "UPDATE taskflow.alembic_version SET version_num = '0000'",
            r"the database's schema is at revision 0000, this TaskFlow needs \d+: run `taskflow migrate`",
        ),
        (
            saying("9999", "9999"),
            r"the database's schema is at revision 9999, this TaskFlow knows \d+ at most: use .* or a newer one",
        ),
    ],
)
def test_a_schema_that_this_version_does_not_know_is_refused(operator: Operator, change: str, line: str) -> None:
    async def alter() -> None:
        connection = await asyncpg.connect(operator.url)
        await connection.execute(change)
        await connection.close()

    asyncio.run(alter())
    said = operator.taskflow("jobs", "list")
    assert (said.code, said.out) == (1, "")
    assert re.fullmatch(f"taskflow: {line}\n", said.err), said.err
