"""`taskflow jobs import` and `taskflow jobs logs --follow`."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.support.operator import Operator

from taskflow.apps.cli import intake
from taskflow.jobs import streams


@pytest.fixture
def operator(database_url: str) -> Operator:
    operator = Operator(database_url)
    operator.publish()
    return operator


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MAX_BATCH_LINES", 3)


def order(number: int, **more: Any) -> str:
    return json.dumps({"taskType": "order", "payload": {"number": number}, **more}) + "\n"


def numbers(operator: Operator) -> list[int]:
    rows = operator.do(
        lambda connection: connection.fetch("SELECT (payload->>'number')::int AS n FROM taskflow.job ORDER BY id")
    )
    return [row["n"] for row in rows]


def test_every_line_becomes_a_job(operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "jobs.ndjson"
    file.write_text("".join(order(number) for number in range(7)))
    said = operator.taskflow("jobs", "import", str(file))
    assert (said.code, said.out, said.err) == (0, "7 accepted, 0 rejected\n", "")
    assert numbers(operator) == list(range(7))


def test_an_import_that_is_complete_stores_nothing_again(operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "jobs.ndjson"
    file.write_text(order(1) + "nonsense\n")
    first = operator.taskflow("jobs", "import", str(file))
    again = operator.taskflow("jobs", "import", str(file))
    assert (first.code, first.out) == (1, "1 accepted, 1 rejected\n")
    assert (again.code, again.out) == (1, "1 accepted (0 new, 1 imported before), 1 rejected\n")
    assert again.err.splitlines()[0] == "going on after line 2, where this import was before"
    assert again.err.splitlines()[1:] == first.err.splitlines()
    assert numbers(operator) == [1]
    assert operator.taskflow("jobs", "import", str(file), "--key", "again").code == 1
    assert numbers(operator) == [1, 1]


def test_jobs_whose_unique_key_is_held_are_not_counted_as_new(operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "jobs.ndjson"
    file.write_text(order(1, uniqueKey="one") + order(2, uniqueKey="one") + order(3))
    said = operator.taskflow("jobs", "import", str(file))
    assert said.out == "3 accepted (2 new, 1 there already under their unique keys), 0 rejected\n"
    document = operator.taskflow("jobs", "import", str(file), "--json").json
    assert (document["accepted"], document["new"], document["known"], document["duplicates"]) == (3, 0, 3, 0)


def test_wrong_lines_are_told_and_left_out(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MAX_ERRORS_TOLD", 2)
    lines = order(1) + '{"taskType": "order", "payload": {"number": "x"}}\n' + "x\n" * 3
    said = operator.taskflow("jobs", "import", "-", stdin=lines)
    assert (said.code, said.out) == (1, "1 accepted, 4 rejected\n")
    told = said.err.splitlines()
    assert told[0].startswith("line 2: /payload/number: ")
    assert told[1].startswith("line 3: is not JSON")
    assert told[2] == "and 2 more wrong lines; --json shows 1,000"
    document = operator.taskflow("jobs", "import", "-", "--json", stdin=lines).json
    assert (document["key"], document["accepted"], document["rejected"]) == (None, 1, 4)
    assert [error["line"] for error in document["errors"]] == [2, 3, 4, 5]


def test_an_import_that_broke_off_goes_on(operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "jobs.ndjson"
    file.write_text("".join(order(number) for number in range(8)))
    real = streams.SubmitStream.store
    stored: list[Any] = []

    async def breaks(self: streams.SubmitStream, checked: Any) -> Any:
        if len(stored) == 2:
            raise RuntimeError("the process dies here")
        stored.append(await real(self, checked))
        return stored[-1]

    monkeypatch.setattr(streams.SubmitStream, "store", breaks)
    with pytest.raises(RuntimeError):
        operator.taskflow("jobs", "import", str(file))
    assert numbers(operator) == list(range(6))
    monkeypatch.setattr(streams.SubmitStream, "store", real)
    said = operator.taskflow("jobs", "import", str(file))
    assert (said.code, said.out) == (0, "8 accepted (2 new, 6 imported before), 0 rejected\n")
    assert "going on after line 6" in said.err
    assert numbers(operator) == list(range(8))


def test_an_outage_is_waited_out_with_a_key_and_told_without(
    operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "RETRY_S", 0.01)
    file = tmp_path / "jobs.ndjson"
    file.write_text(order(1))
    real = streams.SubmitStream._write
    left = [3]

    async def away(self: streams.SubmitStream, checked: Any, *, apart: bool) -> Any:
        batches = await real(self, checked, apart=apart)
        left[0] -= 1
        if left[0] > 0:
            raise ConnectionResetError("cut after the commit")
        return batches

    monkeypatch.setattr(streams.SubmitStream, "_write", away)
    said = operator.taskflow("jobs", "import", str(file))
    assert (said.code, said.out) == (0, "1 accepted, 0 rejected\n")
    assert said.err.count("the database is away, trying again") == 1
    assert numbers(operator) == [1]
    left[0] = 3
    said = operator.taskflow("jobs", "import", "-", stdin=order(2))
    assert (said.code, said.out) == (1, "")
    assert said.err.endswith("lines 1 to 1 may have been stored, those after them are not\n")


def test_what_cannot_be_imported_is_said(operator: Operator, tmp_path: Path) -> None:
    said = operator.taskflow("jobs", "import", str(tmp_path / "none"))
    assert said.code == 2
    assert said.err.startswith("taskflow: FILE: cannot read ")
    said = operator.taskflow("jobs", "import", "-", "--key", "a b", stdin="")
    assert said.code == 1
    assert "must be 1 to 255 visible ASCII characters" in said.err


@pytest.mark.slow
@pytest.mark.system
def test_ctrl_c_says_how_to_go_on(operator: Operator, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = operator.start("jobs", "import", str(pipe), "--key", "k")
    with pipe.open("w") as writer:
        writer.write("".join(order(number) for number in range(1000)))
        writer.flush()
        for _ in range(1000):
            if len(numbers(operator)) == 1000:
                break
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "stopped after line 1,000; run it again to go on" in err


# Following a log -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.system
def test_a_log_is_followed_to_the_end_of_the_job(operator: Operator) -> None:
    job_id = str(operator.enqueue())
    [claim] = operator.claim()
    operator.write_logs(claim, ("info", "one"))
    process = operator.start("jobs", "logs", "--follow", job_id)
    assert process.stdout is not None
    assert process.stdout.readline().endswith("  attempt 1  info     one\n")
    operator.write_logs(claim, ("warning", "two"))
    assert process.stdout.readline().endswith("  attempt 1  warning  two\n")
    operator.complete(claim, None)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "the job is completed\n")


def test_following_a_job_that_has_ended_prints_its_log(operator: Operator) -> None:
    job_id = str(operator.enqueue())
    [claim] = operator.claim()
    operator.write_logs(claim, ("info", "one"), ("info", "two"))
    operator.fail(claim, for_good=True)
    said = operator.taskflow("jobs", "logs", "-f", job_id, "--json")
    assert (said.code, said.err) == (0, "the job is failed\n")
    assert [json.loads(line)["message"] for line in said.out.splitlines()] == ["one", "two"]
    missing = operator.taskflow("jobs", "logs", "--follow", "019ab0f2-6b3e-7c41-9d5a-3f6f0c9d2e11")
    assert missing.code == 1
