"""`report`: what it counts, how it is written, and what spreadsheets must not run."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jsonschema_rs
import msgspec
import pytest
from tests.handlers.running import Bench
from tests.handlers.test_pdf import text_of

from taskflow import kinds
from taskflow.db.pool import Database
from taskflow.engine.client import Engine
from taskflow.engine.job import DEFAULT_NAMESPACE
from taskflow.engine.record import EndedJob
from taskflow.handlers import report
from taskflow.handlers.forced import ForcedFailure
from taskflow.handlers.report import COLUMNS, neutral
from taskflow.handlers.tally import MAX_ERRORS, MAX_KINDS, OTHER, Tally
from taskflow.kernel.errors import Permanent
from taskflow.kinds.report import MakeReport

NOW = datetime.now(UTC).replace(minute=30, second=0, microsecond=0)
HOUR = NOW.replace(minute=0)
PERIOD = {"from": (NOW - timedelta(hours=3)).isoformat(), "to": (NOW + timedelta(hours=1)).isoformat()}
TIMES_MS = [float(number) for number in range(1, 101)]
ERROR = '=cmd|"/C calc"!A0'


@pytest.fixture
def bench(database: Database) -> Bench:
    bench = Bench(database)
    report.register(bench.registry, bench.files, Engine(database), retries=3, timeout_s=30.0)
    return bench


async def ended(
    database: Database,
    state: str = "completed",
    *,
    kind: str = "mail",
    at: datetime = NOW,
    took_ms: float = 10.0,
    error: str | None = None,
    namespace: UUID = DEFAULT_NAMESPACE,
) -> None:
    """Leave a job that ended."""
    told = None if error is None else msgspec.json.encode({"type": "ValueError", "message": error}).decode()
    async with database.acquire() as connection:
        await connection.execute(
            "INSERT INTO taskflow.done (job_id, namespace, queue, kind, state, attempt, failures, error, started_at, "
            "finished_at) VALUES ($1, $2, 'default', $3, $4, 1, 0, $5, $6, $7)",
            uuid4(),
            namespace,
            kind,
            state,
            told,
            at - timedelta(milliseconds=took_ms),
            at,
        )


async def fill(database: Database) -> None:
    """A hundred mails that took 1 to 100 ms, some that failed, one that was cancelled, and others around them."""
    for took_ms in TIMES_MS:
        await ended(database, took_ms=took_ms)
    for _ in range(3):
        await ended(database, "failed", error=ERROR, at=NOW - timedelta(hours=1))
    await ended(
        database, "failed", kind="=evil|kind", error="postgresql://ada:hunter2@db *no*", at=NOW - timedelta(hours=1)
    )
    await ended(database, "cancelled")
    await ended(database, at=NOW - timedelta(hours=3, microseconds=1))
    await ended(database, at=NOW + timedelta(hours=1))
    await ended(database, namespace=uuid4())


@pytest.mark.covers("S3-20")
async def test_a_report_counts_by_kind_state_and_hour_and_names_what_failed(bench: Bench) -> None:
    await fill(bench.database)
    result = await bench.run("report", PERIOD)
    file, content = await bench.made(result["file"])
    assert (file.type, result["format"], result["size"]) == ("application/json", "json", file.size)
    summary = result["summary"]
    assert {state: summary[state] for state in ("jobs", "completed", "failed", "cancelled")} == {
        "jobs": 105,
        "completed": 100,
        "failed": 4,
        "cancelled": 1,
    }
    assert summary["durations"] == {"p50Ms": 50.0, "p95Ms": 95.0, "maxMs": 100.0}
    assert [(item["taskType"], item["completed"], item["failed"]) for item in summary["kinds"]] == [
        ("mail", 100, 3),
        ("=evil|kind", 0, 1),
    ]
    assert summary["kinds"][1]["durations"] == {"p50Ms": None, "p95Ms": None, "maxMs": None}
    assert summary["errors"][0] == {"taskType": "mail", "error": f"ValueError: {ERROR}", "jobs": 3}
    whole = msgspec.json.decode(content)
    assert whole["summary"] == summary
    before = (HOUR - timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    assert {(item["hour"], item["taskType"], item["status"], item["jobs"]) for item in whole["hours"]} == {
        (HOUR.isoformat().replace("+00:00", "Z"), "mail", "completed", 100),
        (HOUR.isoformat().replace("+00:00", "Z"), "mail", "cancelled", 1),
        (before, "mail", "failed", 3),
        (before, "=evil|kind", "failed", 1),
    }
    assert b"hunter2" not in content


async def test_a_csv_is_one_table_without_formulas(bench: Bench) -> None:
    await fill(bench.database)
    result = await bench.run("report", {**PERIOD, "format": "csv"})
    file, content = await bench.made(result["file"])
    assert (file.type, file.name.rpartition(".")[2]) == ("text/csv", "csv")
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert tuple(rows[0]) == COLUMNS
    assert {row["section"] for row in rows} == {"total", "kind", "hour", "error"}
    assert [row["jobs"] for row in rows if row["section"] == "total"] == ["100", "4", "1"]
    assert {row["taskType"] for row in rows} == {"", "mail", "'=evil|kind"}
    for row in rows:
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row.values())


def test_each_beginning_of_a_formula_is_made_text() -> None:
    for begin in "=+-@\t\r":
        assert neutral(f"{begin}1") == f"'{begin}1"
    assert [neutral("a=1"), neutral(-1), neutral("")] == ["a=1", -1, ""]


async def test_a_pdf_shows_the_same_numbers(bench: Bench) -> None:
    await fill(bench.database)
    result = await bench.run("report", {**PERIOD, "format": "pdf"})
    file, content = await bench.made(result["file"])
    assert file.type == "application/pdf"
    text = text_of(content)
    for said in ("all 105", "failed 4", "mail 100 3 1 50.0 ms 95.0 ms 100.0 ms", "=evil|kind 0 1 0 - - -", "By hour"):
        assert said in text, said
    assert ERROR.replace(" ", "") in text.replace(" ", "")
    assert "hunter2" not in text


async def test_a_period_without_jobs_is_a_report_too(bench: Bench) -> None:
    for format_ in ("json", "csv", "pdf"):
        result = await bench.run("report", {**PERIOD, "format": format_})
        assert result["summary"]["jobs"] == 0
        assert result["summary"]["durations"]["p50Ms"] is None


async def test_a_period_that_cannot_be_is_refused_for_good(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for begin, end, says in (
        ("2026-01-02T00:00:00Z", "2026-01-02T00:00:00Z", "'to' must be after 'from'"),
        ("2026-01-01T00:00:00Z", "2026-04-03T00:00:01Z", "at most 92 days"),
    ):
        with pytest.raises(Permanent, match=says):
            await bench.run("report", {"from": begin, "to": end})
    monkeypatch.setattr(report, "MAX_JOBS", 2)
    for _ in range(2):
        await ended(bench.database)
    assert (await bench.run("report", PERIOD))["summary"]["jobs"] == 2
    await ended(bench.database)
    with pytest.raises(Permanent, match="over 2 jobs ended"):
        await bench.run("report", PERIOD)


@pytest.mark.covers("S2-42")
async def test_a_forced_failure_fails(bench: Bench) -> None:
    with pytest.raises(ForcedFailure):
        await bench.run("report", {**PERIOD, "forceFail": True})


def test_more_kinds_and_errors_than_a_report_holds_are_counted_together() -> None:
    tally = Tally()
    for number in range(MAX_ERRORS + 500):
        tally.add(EndedJob(f"kind {number}", "failed", NOW, 0.1, "E", f"error {number}"))
    assert tally.summary().failed == MAX_ERRORS + 500
    assert len(tally.kinds()) == MAX_KINDS + 1
    assert len(tally.errors()) <= MAX_ERRORS + 1
    assert sum(error.jobs for error in tally.errors()) == MAX_ERRORS + 500
    assert OTHER in {kind.task_type for kind in tally.kinds()}


def test_the_name_that_another_system_uses_leads_here() -> None:
    assert kinds.canonical("REPORT") == "report"


_VALIDATOR = jsonschema_rs.validator_for(msgspec.json.schema(MakeReport))


@pytest.mark.parametrize(
    ("fields", "taken"),
    [
        ({}, True),
        ({"from": "2026-11-01T00:00:00.5+02:00", "format": "pdf"}, True),
        ({"from": "2026-11-01"}, False),
        ({"from": "2026-11-01T00:00:00"}, False),
        ({"from": "2026-13-01T00:00:00Z"}, False),
        ({"from": "yesterday"}, False),
        ({"from": None}, False),
        ({"format": "xlsx"}, False),
        ({"kind": "mail"}, False),
    ],
)
def test_the_api_and_the_worker_agree_on_what_a_payload_is(fields: dict[str, Any], taken: bool) -> None:
    payload = {"from": "2026-11-01T00:00:00Z", "to": "2026-11-02T00:00:00Z", **fields}
    assert _VALIDATOR.is_valid(payload) == taken
    try:
        msgspec.json.decode(msgspec.json.encode(payload), type=MakeReport)
        assert taken
    except msgspec.ValidationError:
        assert not taken
