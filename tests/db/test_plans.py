"""
How PostgreSQL runs the engine's statements: by the index that each is written for, touching no more than it must.

The plans are those that production gets, seen through auto_explain while the store does its work, on a backlog of
50,000 ready jobs, in the three conditions that matter to a planner whose tables fill and empty within seconds.
"""

import asyncio
import os
import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import psycopg
import pytest
from tests.conftest import TEMPLATE
from tests.db import (
    access_plans,
    bulk_plans,
    dataset_plans,
    file_plans,
    planning,
    queue_plans,
    reading_plans,
    schedule_plans,
    webhook_plans,
    worker_plans,
)
from tests.db.planning import ACTIVE, LEASES, Bench, Case, Sample, claim_of
from tests.engine.worksite import failed, new_job, succeeded
from tests.support.clock import FakeClock

import taskflow
from taskflow.db.embedded import EmbeddedPostgres
from taskflow.db.pool import session_settings
from taskflow.db.query import Connection, Query
from taskflow.engine.job import (
    DEFAULT_NAMESPACE,
    Claim,
    JobId,
    LeaseId,
    NewLogLine,
    NewProgress,
    WorkerId,
)
from taskflow.engine.store import VACUUMED, Store
from taskflow.engine.store.copying import MIN_ROWS

DRAINED, NEVER_ANALYSED, ANALYSED = "planned while drained", "never analysed", "analysed"


def ended(sample: Sample) -> Claim:
    """What the claim of a job that has ended was: its lease is gone."""
    return claim_of(LeaseId(UUID(int=0)), 0, sample.failed.id)


MOVES: Mapping[str, Case] = {
    "claim": Case(
        lambda store, connection, sample: store.claim(
            connection, worker_id=sample.worker_id, incarnation=1, queues=["default", "x"], kinds=["mail"], limit=10
        ),
        {"ready_claim", "job_pkey", "worker_pkey", "queue_pkey"},
        rows=43,
    ),
    "expire": Case(
        lambda store, connection, sample: store.expire(connection, limit=10),
        {"ready_expiry", "deferred_expiry"},
        rows=40,
    ),
    "claim of a namespace": Case(
        lambda store, connection, sample: store.claim(
            connection,
            worker_id=sample.worker_id,
            incarnation=1,
            queues=["default", "x"],
            kinds=["mail"],
            limit=10,
            namespace=DEFAULT_NAMESPACE,
        ),
        {"ready_claim", "job_pkey", "worker_pkey", "queue_pkey"},
        rows=43,
    ),
    "run_now": Case(
        lambda store, connection, sample: store.run_now(connection, sample.deferred), {"deferred_pkey"}, rows=1
    ),
    "change_waiting": Case(
        lambda store, connection, sample: store.change_waiting(
            connection, sample.ready, priority=9, run_at=None, run_after=None
        ),
        {"ready_pkey", "deferred_pkey", "job_pkey"},
        rows=2,
    ),
    "claim_unique_keys": Case(
        lambda store, connection, sample: store.enqueue(connection, [new_job(unique_key="new")] * 10), set(), rows=10
    ),
    "find_unique_holders": Case(
        lambda store, connection, sample: store.enqueue(connection, [new_job(unique_key="7")]),
        {"unique_claim_pkey"},
        rows=1,
    ),
    "free_unique_keys": Case(
        lambda store, connection, sample: store.enqueue(connection, [new_job(unique_key="window 1")]),
        {"unique_claim_pkey"},
        rows=2,
    ),
    "reclaim_key": Case(
        lambda store, connection, sample: store.is_key_held(connection, sample.failed), {"job_pkey"}, rows=1
    ),
    "free_key_of_job": Case(
        lambda store, connection, sample: store.is_key_held(connection, sample.failed), {"job_pkey"}, rows=1
    ),
    "prune_unique_keys": Case(
        lambda store, connection, sample: store.prune_keys(connection, limit=10), {"unique_claim_window"}, rows=20
    ),
    "enqueue": Case(
        lambda store, connection, sample: store.enqueue(connection, [new_job(expires_after=timedelta(hours=1))] * 10),
        {"queue_draining"},
        rows=13,
    ),
    "enqueue_now": Case(
        lambda store, connection, sample: store.enqueue(connection, [new_job()] * 10), {"queue_draining"}, rows=13
    ),
    "open_submit": Case(
        lambda store, connection, sample: store.enqueue(connection, [new_job()] * MIN_ROWS), {"queue_draining"}, rows=3
    ),
    "enqueue_one": Case(
        lambda store, connection, sample: store.enqueue(connection, [new_job()]), {"queue_draining"}, rows=3
    ),
    "complete": Case(
        lambda store, connection, sample: store.complete(connection, [succeeded(claim) for claim in sample.claims]),
        {"lease_pkey"},
        rows=3 * LEASES,
    ),
    "finish": Case(
        lambda store, connection, sample: store.finish(connection, [failed(claim) for claim in sample.claims]),
        {"lease_pkey"},
        rows=3 * LEASES,
    ),
    "find_settled": Case(
        lambda store, connection, sample: store.find_unsettled(
            connection, [*map(succeeded, sample.claims[:5]), *map(failed, sample.claims[5:])]
        ),
        {"done_job", "attempt_log_job"},
        rows=30,
    ),
    "write_logs": Case(
        lambda store, connection, sample: store.write_logs(
            connection, [NewLogLine(claim, "info", "line", 0.0) for claim in sample.claims], written_at_s=0.0
        ),
        {"lease_pkey"},
        rows=20,
    ),
    "write_progress": Case(
        lambda store, connection, sample: store.write_progress(
            connection, [NewProgress(claim, 0.5, "half", 0.0) for claim in sample.claims], written_at_s=0.0
        ),
        {"lease_pkey"},
        rows=20,
    ),
    "write_logs of an attempt that has ended": Case(
        lambda store, connection, sample: store.write_logs(
            connection, [NewLogLine(ended(sample), "info", "line", 0.0)], written_at_s=0.0
        ),
        {"lease_pkey", "done_job"},
        rows=20,
    ),
    "write_progress of an attempt that has ended": Case(
        lambda store, connection, sample: store.write_progress(
            connection, [NewProgress(ended(sample), 0.5, "half", 0.0)], written_at_s=0.0
        ),
        {"lease_pkey", "done_job"},
        rows=20,
    ),
    "stage": Case(lambda store, connection, sample: store.stage(connection, limit=10), {"deferred_due"}, rows=20),
    "cancel_many": Case(
        lambda store, connection, sample: store.cancel_many(connection, [sample.ready.id, sample.deferred.id]),
        {"ready_pkey", "deferred_pkey", "job_pkey"},
        rows=8,
    ),
    "find_active": Case(
        lambda store, connection, sample: store.find_active(connection, [sample.claims[0].job_id]),
        set(),
        rows=2 * ACTIVE,
        scans={"lease"},
    ),
    "cancel_waiting": Case(
        lambda store, connection, sample: store.cancel_waiting(connection, sample.ready),
        {"ready_pkey", "deferred_pkey"},
        rows=1,
    ),
    "request_cancel": Case(
        lambda store, connection, sample: store.request_cancel(connection, sample.claims[0].job_id),
        set(),
        rows=LEASES,
        scans={"lease"},
    ),
    "prune_progress": Case(
        lambda store, connection, sample: store.prune_progress(
            connection, after=JobId(UUID(int=0)), before=date(9000, 1, 1), limit=10
        ),
        {"job_progress_pkey", "job_pkey"},
        rows=40,
    ),
    "replay": Case(lambda store, connection, sample: store.replay(connection, sample.failed), {"done_job"}, rows=1),
}


NOUNS = (
    queue_plans,
    reading_plans,
    worker_plans,
    bulk_plans,
    webhook_plans,
    schedule_plans,
    dataset_plans,
    file_plans,
    access_plans,
)
CASES: Mapping[str, Case] = {**MOVES, **{name: case for noun in NOUNS for name, case in noun.CASES.items()}}
FILL = "".join([planning.FILL, *(noun.FILL for noun in NOUNS)])
TABLES = [*planning.TABLES, *(table for noun in NOUNS for table in noun.TABLES)]


def statement_of(name: str) -> str:
    return name.partition(" of ")[0]


@pytest.fixture(scope="module", params=[DRAINED, NEVER_ANALYSED, ANALYSED])
def bench(postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[Bench]:
    name = f"plans_{os.getpid()}_{request.param.replace(' ', '_')}"
    url = f"{postgres.url.rsplit('/', 1)[0]}/{name}"
    clock = FakeClock()
    worker_id = WorkerId(uuid4())
    with asyncio.Runner() as runner, psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as filler:
            for (table,) in filler.execute(planning.LEAVES).fetchall():
                filler.execute(f"ALTER TABLE taskflow.{table} SET (autovacuum_enabled = false)")
            filler.execute(planning.NUMBERS)
            index_of = dict(filler.execute(planning.INDEXES).fetchall())
            connection = runner.run(asyncpg.connect(url, server_settings=session_settings("test")))
            runner.run(connection.execute(planning.EXPLAIN))
            bench = Bench(request.param, runner, connection, Store(clock), planning.nothing(clock), index_of)
            connection.add_log_listener(bench.listen)
            if request.param == DRAINED:
                filler.execute(FILL, {"now": clock.now, "worker": worker_id})
                filler.execute(
                    "DELETE FROM taskflow.ready; DELETE FROM taskflow.lease; DELETE FROM taskflow.deferred;"
                    "DELETE FROM taskflow.unique_claim"
                )
                for table in VACUUMED:
                    runner.run(Store().vacuum(connection, table))
                for case in CASES.values():
                    bench.run(case.work)
            filler.execute(FILL, {"now": clock.now, "worker": worker_id})
            filler.execute(
                "INSERT INTO taskflow.worker VALUES (%s, 'here', 1, '{}', '{}', 1, now(), now())", [worker_id]
            )
            if request.param == ANALYSED:
                filler.execute(f"VACUUM ANALYZE {', '.join(f'taskflow.{table}' for table in TABLES)}")
            bench.sample = planning.sample(filler, worker_id)
            bench.filled = {name for (name,) in filler.execute(planning.FILLED).fetchall()}
        yield bench
        runner.run(connection.close(timeout=5))
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.covers("S3-17")
@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_statement_runs_by_its_index_and_touches_no_more_than_it_must(bench: Bench, name: str) -> None:
    case = CASES[name]
    plan = bench.run(case.work)[statement_of(name)]
    assert plan.indexes == case.indexes
    assert {scan.relation for scan in plan.scans if scan.node == "Seq Scan"} <= case.scans
    assert plan.touched <= case.rows
    assert plan.sorted_rows <= case.rows
    assert plan.buffers <= case.buffers


@pytest.mark.parametrize("name", ["find_ends"])
async def test_a_look_at_what_ended_that_was_planned_before_anything_had_is_by_its_index(
    connection: Connection, name: str
) -> None:
    """A connection keeps its plan while the table behind it grows."""
    statement = next(path for known, path in QUERIES.items() if known == f"engine/{name}")
    sql = Query(name, statement.read_text()).sql
    count = len((await connection.prepare(sql)).get_parameters())
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    await connection.execute(f"PREPARE early AS {sql}")
    rows = await connection.fetch(f"EXPLAIN EXECUTE early({', '.join(['NULL'] * count)})")
    plan = "\n".join(row[0] for row in rows)
    assert "Hash" not in plan
    assert "Merge Join" not in plan
    assert re.search(r"Index.*Scan.* on done", plan)


_ADVISORY = "an advisory lock; reads no table"
_CATALOGUE = "reads PostgreSQL's catalogue or counters"
_SETTING = "a setting of the session; reads no table"
_ONE_ROW = "its table has a row or two"
_FUNCTION = "a call of a function, whose statements have no names to be seen by"
_VACUUM = "VACUUM has no plan"
WITHOUT_A_PLAN = {
    "bounds_of_jobs": "an expression",
    "read_now": "an expression",
    **dict.fromkeys(("lock_bootstrap", "lock_kinds", "try_duty_lock"), _ADVISORY),
    **dict.fromkeys(("lock_duty_of_session", "unlock_duty_of_session"), _ADVISORY),
    **dict.fromkeys(("limit_lock_wait", "reset_lock_wait"), _SETTING),
    **dict.fromkeys(("count_partition_days", "list_old_partitions", "partition_size"), _CATALOGUE),
    **dict.fromkeys(("count_written", "dead_entries", "read_retention"), _CATALOGUE),
    **dict.fromkeys(("lead", "resign", "read_leader"), _ONE_ROW),
    **dict.fromkeys(("look_at_clock", "note_kept_from", "find_kept_from"), _ONE_ROW),
    **dict.fromkeys(("note_drop", "forget_drop"), _ONE_ROW),
    **dict.fromkeys(("complete_one", "enqueue_and_wake", "enqueue_elsewhere", "make_partitions"), _FUNCTION),
    **dict.fromkeys(("needed_jobs", "thin_out_jobs"), _FUNCTION),
    **dict.fromkeys((f"vacuum_{table}" for table in VACUUMED), _VACUUM),
}

FOLDERS = sorted(Path(taskflow.__file__).parent.rglob("queries"))
QUERIES: Mapping[str, Path] = {
    f"{path.parents[1].name}/{path.stem}": path for folder in FOLDERS for path in sorted(folder.glob("*.sql"))
}


def header_of(path: Path) -> str:
    lines = path.read_text().splitlines()
    return " ".join(line[2:] for line in lines[: next(n for n, line in enumerate(lines) if not line.startswith("--"))])


@pytest.mark.parametrize("name", QUERIES)
def test_a_statement_says_what_it_is_for_and_what_it_locks(name: str) -> None:
    header = header_of(QUERIES[name])
    assert len(header) > 20
    body = QUERIES[name].read_text()
    if re.search(r"\b(INSERT INTO|UPDATE|DELETE FROM|VACUUM|pg_\w*advisory\w*)\b", body):
        assert re.search(r"\b[Ll]ock|\bheld\b", header), "names no locks"


def test_every_statement_has_a_case_or_a_reason() -> None:
    statements = [path.stem for path in QUERIES.values()]
    assert len(set(statements)) == len(statements), "cases know statements by their names"
    assert {*map(statement_of, CASES)} | WITHOUT_A_PLAN.keys() == set(statements)
    assert not {*map(statement_of, CASES)} & WITHOUT_A_PLAN.keys()


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.indexes])
def test_a_statement_names_the_indexes_that_it_is_written_for(name: str) -> None:
    (path,) = (path for known, path in QUERIES.items() if known.endswith(f"/{statement_of(name)}"))
    header = header_of(path)
    for index in CASES[name].indexes:
        table, _, kind = index.rpartition("_")
        if table in ("lease", "worker"):
            continue  # as small as the work in flight
        assert index in header or (kind == "pkey" and re.search(r"\bkeys?\b", header)), index


async def test_every_statement_prepares_on_the_migrated_schema(connection: Connection) -> None:
    """None names a table, a column or a function that is not there, or leaves a parameter's type open."""
    for name, path in QUERIES.items():
        sql = Query(path.stem, path.read_text()).sql
        if "VACUUM" in sql:
            continue
        statement = await connection.prepare(sql)
        types = [parameter.name for parameter in statement.get_parameters()]
        assert "unknown" not in types, name
