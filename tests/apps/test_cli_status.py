"""`taskflow status` on databases and workers in every condition."""

import asyncio
import re
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.support.clock import FakeClock
from tests.support.operator import Operator
from tests.support.schema import saying
from tests.support.waiting import eventually
from tests.support.workers import supervising

from taskflow.apps.cli import overview
from taskflow.engine.job import WorkerId
from taskflow.engine.leader import NAME
from taskflow.engine.store import Store, reading

ISO = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def operator(database_url: str) -> Operator:
    operator = Operator(database_url)
    operator.publish()
    return operator


def lead(operator: Operator, holder: WorkerId) -> None:
    operator.do(lambda connection: operator.store.lead(connection, NAME, holder, term_s=60))


def execute(url: str, statement: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(run())


def test_a_deployment_at_work_is_shown_with_its_parts(operator: Operator) -> None:
    worker_id = operator.register_worker(kinds=["order", "send_email"])
    lead(operator, worker_id)
    operator.failed_job()
    for _ in range(2):
        operator.enqueue()
    said = operator.taskflow("status")
    assert (said.code, said.err) == (0, "")
    facts = dict(re.findall(r"^([a-z ]+?)  +(.*)$", said.out.partition("\n\n")[0], re.MULTILINE))
    assert re.fullmatch(r"PostgreSQL [\d.]+ at 127\.0\.0\.1:\d+/test_\w+, [\d.]+ MiB", facts["database"])
    assert re.fullmatch(r"\d+ \(current\)", facts["schema"])
    assert re.fullmatch(r"there:77, term 1, for \d+m?s|there:77, term 1, for [\d.]+s", facts["leader"])
    assert facts["workers"] == "2 alive"
    assert facts["dead letters"] == "1  (taskflow jobs list --status failed)"
    assert re.search(rf"^there:77 +builtin,orders  order,send_email +4 +{ISO}  {ISO}$", said.out, re.MULTILINE)
    assert re.search(r"^orders  order  2        [\d.]+m?s +yes$", said.out, re.MULTILINE)
    assert "warning" not in said.out


def test_the_document_has_everything_that_is_shown(operator: Operator) -> None:
    worker_id = operator.register_worker(kinds=["order"])
    lead(operator, worker_id)
    operator.enqueue()
    document = operator.taskflow("status", "--json").json
    assert document["database"]["reachable"] is True
    assert document["database"]["sizeBytes"] > 1_000_000
    assert "@" not in document["database"]["address"]
    assert document["schema"]["revision"] == document["schema"]["expected"]
    assert document["schema"]["current"] is True
    assert (document["leader"]["workerId"], document["leader"]["term"]) == (str(worker_id), 1)
    assert 0 <= document["leader"]["heldMs"] < 60_000 - document["leader"]["expiresInMs"] + 1_000
    [worker] = document["workers"]
    assert (worker["host"], worker["pid"], worker["alive"], worker["kinds"]) == ("there", 77, True, ["order"])
    assert 0 <= worker["heartbeatAgeMs"] < 15_000
    [queue] = document["queues"]
    assert (queue["queue"], queue["taskType"], queue["pending"], queue["hasWorker"]) == ("orders", "order", 1, True)
    assert document["deadLetters"] == 0
    assert document["limits"] == {"pending": 10_000, "deadLetters": 10_000}
    assert document["warnings"] == []


def test_how_long_ended_jobs_are_kept_is_said_with_the_oldest_day(operator: Operator) -> None:
    today = operator.do(lambda connection: operator.store.read_retention(connection)).oldest
    words = re.compile(r"^retention +(.*)$", re.MULTILINE)

    def shown() -> tuple[list[str], dict[str, Any]]:
        return words.findall(operator.taskflow("status").out), operator.taskflow("status", "--json").json["retention"]

    assert shown() == (
        [f"nobody has looked after it yet; the oldest day is {today}"],
        {"known": False, "days": None, "oldestDay": str(today)},
    )
    for kept_days, said in ((14, "14 days are kept"), (None, "everything is kept")):
        operator.do(partial(operator.store.look_at_clock, kept_days=kept_days))
        assert shown() == (
            [f"{said}; the oldest day is {today}"],
            {"known": True, "days": kept_days, "oldestDay": str(today)},
        )


def test_a_deployment_without_workers_is_warned_of(operator: Operator) -> None:
    operator.enqueue()
    said = operator.taskflow("status")
    assert said.code == 0, "a warning is for a person; the database is there"
    assert re.search(r"^leader +nobody$", said.out, re.MULTILINE)
    assert re.search(r"^workers +none alive$", said.out, re.MULTILINE)
    assert said.out.endswith(
        "\n\nwarning: no worker is alive, so nothing runs: start `taskflow up` or `taskflow worker`\n"
    )


def test_jobs_of_a_kind_that_no_live_worker_runs_there_are_warned_of(operator: Operator) -> None:
    lead(operator, operator.register_worker(queues=["orders", "builtin"], kinds=["send_email"]))
    operator.enqueue("order")
    operator.enqueue("send_email", queue="elsewhere")
    assert operator.taskflow("status", "--json").json["warnings"] == [
        "1 job of send_email in queue elsewhere: no live worker runs that kind there",
        "1 job of order in queue orders: no live worker runs that kind there",
    ]


def test_a_paused_queue_with_jobs_is_warned_of(operator: Operator) -> None:
    lead(operator, operator.register_worker(kinds=["order"]))
    operator.taskflow("queues", "pause", "orders")
    operator.enqueue()
    document = operator.taskflow("status", "--json").json
    assert [(queue["hasWorker"], queue["paused"]) for queue in document["queues"]] == [(True, True)]
    assert document["warnings"] == ["queue orders is paused, 1 job waiting in it: `taskflow queues resume orders`"]
    assert re.search(r"^orders +order +1 .* paused$", operator.taskflow("status").out, re.MULTILINE)
    assert re.search(r"^orders +1 .* paused$", operator.taskflow("top", "--once").out, re.MULTILINE)


def test_a_worker_that_fell_silent_is_not_alive(operator: Operator) -> None:
    clock = FakeClock()
    clock.advance(seconds=-600)
    operator.store = Store(clock)
    operator.register_worker(kinds=["order"])
    said = operator.taskflow("status")
    assert re.search(r"silent for 10m$", said.out, re.MULTILINE)
    assert "warning: no worker is alive" in said.out
    assert operator.taskflow("status", "--json").json["workers"][0]["alive"] is False


def test_a_term_that_has_lapsed_leads_nothing(operator: Operator) -> None:
    worker_id = operator.register_worker(kinds=["order"])
    lead(operator, worker_id)
    operator.do(lambda connection: operator.store.resign(connection, NAME, worker_id))
    document = operator.taskflow("status", "--json").json
    assert document["leader"] is None
    assert [warning.partition(",")[0] for warning in document["warnings"]] == ["nobody leads"]


def test_counts_stop_at_their_limit_and_say_so(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (reading, overview):
        monkeypatch.setattr(module, "DEPTH_ROWS", 2)
        monkeypatch.setattr(module, "DEAD_LETTER_ROWS", 1)
    for _ in range(2):
        operator.failed_job()
    for _ in range(3):
        operator.enqueue()
    said = operator.taskflow("status")
    assert re.search(r"^dead letters +1\+ ", said.out, re.MULTILINE)
    assert re.search(r"^orders +order +2\+ ", said.out, re.MULTILINE)
    assert "only the first 2 ready jobs were counted" in said.out


def test_a_database_that_is_away_is_a_document_a_line_and_an_exit_code(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskflow.apps.cli.session.PATIENCE_S", 0.0)
    said = operator.taskflow("status", "--json", "--database-url", "postgresql://u:hush@127.0.0.1:1/x")
    assert said.code == 1
    assert said.err.startswith("taskflow: the database at 127.0.0.1:1/x cannot be reached: ")
    assert said.err.count("\n") == 1
    assert said.json["database"]["reachable"] is False
    assert said.json["database"]["error"] in said.err
    assert said.json.keys() == {"database"}
    assert "hush" not in said.out + said.err


def test_a_newer_schema_that_fits_is_shown_and_worked_on(operator: Operator) -> None:
    execute(operator.url, saying("9999", None))
    said = operator.taskflow("status")
    assert said.code == 0
    assert re.search(r"9999 \(newer than \d+, and fit for it\)", said.out)
    schema = operator.taskflow("status", "--json").json["schema"]
    assert (schema["revision"], schema["current"], schema["fits"]) == ("9999", False, True)


@pytest.mark.parametrize(
    ("change", "revision", "shown"),
    [
        ("DROP SCHEMA taskflow CASCADE", None, "none, needs"),
        ("UPDATE taskflow.alembic_version SET version_num = '0000'", "0000", "0000, needs"),
        (saying("9999", "9999"), "9999", "9999, too new for"),
    ],
)
def test_a_schema_that_does_not_fit_is_shown_and_refused(
    operator: Operator, change: str, revision: str | None, shown: str
) -> None:
    execute(operator.url, change)
    said = operator.taskflow("status")
    assert said.code == 1
    assert shown in said.out
    assert said.err.endswith((": run `taskflow migrate`\n", ": use the version that migrated it, or a newer one\n"))
    document = operator.taskflow("status", "--json").json
    assert (document["schema"]["revision"], document["schema"]["fits"]) == (revision, False)
    assert document["database"]["reachable"] is True
    assert "workers" not in document


def test_without_a_database_it_says_what_to_do(operator: Operator, tmp_path: Path) -> None:
    said = operator.taskflow("status", TASKFLOW_DATABASE_URL=None, TASKFLOW_DATA_DIR=str(tmp_path))
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("taskflow: no database: start `taskflow up` (none runs on ")


@pytest.mark.slow
async def test_a_supervision_shows_as_leader_and_worker(database_url: str) -> None:
    async def look() -> Any:
        document = (await asyncio.to_thread(Operator(database_url).taskflow, "status", "--json")).json
        return document if document["leader"] else None

    async with supervising(database_url, queues=["orders"], concurrency=3) as supervisor:
        document = await eventually("somebody to lead", look)
    assert document["leader"]["workerId"] == str(supervisor.id)
    [worker] = document["workers"]
    assert (worker["workerId"], worker["queues"], worker["concurrency"]) == (str(supervisor.id), ["orders"], 3)
