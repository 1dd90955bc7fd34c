"""What a job may cost the database: commits, log and dead rows, counted while a real worker runs a thousand of them."""

from dataclasses import dataclass

import pytest
from tests.support.waiting import eventually
from tests.support.workers import Number, working

from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine.client import Engine
from taskflow.engine.job import NewJob
from taskflow.engine.registry import JobContext, Registry

JOBS = 1000
PAYLOAD = {"number": 1}
COUNTERS = """
    SELECT
        pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS log_bytes,
        (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()) AS commits,
        (SELECT sum(n_tup_upd + n_tup_del) FROM pg_stat_user_tables WHERE schemaname = 'taskflow') AS dead_rows
"""


@dataclass(frozen=True)
class Cost:
    """Of one job, on average."""

    log_bytes: float
    commits: float
    dead_rows: float


async def read(connection: Connection) -> dict[str, float]:
    await connection.execute("SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot()")
    row = await connection.fetchrow(COUNTERS)
    return {name: float(value) for name, value in dict(row or {}).items()}


@pytest.fixture
async def cost(database_url: str, database: Database, connection: Connection) -> Cost:
    """What a thousand plain jobs cost from submit to completion, all that runs beside them included."""
    registry = Registry()

    @registry.job("noop", payload=Number)
    async def noop(ctx: JobContext, payload: Number) -> None:
        return None

    async with Engine(database) as engine, working(database_url, registry, concurrency=200):
        await engine.enqueue_many([NewJob("noop", PAYLOAD)])
        await eventually("a first job to be done", lambda: done(connection, 1))
        before = await read(connection)
        for _ in range(2):
            await engine.enqueue_many([NewJob("noop", PAYLOAD)] * (JOBS // 2))
        await eventually("all jobs to be done", lambda: done(connection, JOBS + 1), within_s=30)

    async def all_counted() -> bool:
        """The sessions of workers have ended, and report what they did."""
        return (await read(connection))["dead_rows"] - before["dead_rows"] >= JOBS

    await eventually("every deleted row to be counted", all_counted)
    after = await read(connection)
    return Cost(**{name: (after[name] - before[name]) / JOBS for name in after})


async def done(connection: Connection, count: int) -> bool:
    return bool(await connection.fetchval("SELECT count(*) = $1 FROM taskflow.done", count))


async def test_a_plain_job_stays_within_its_budgets(cost: Cost) -> None:
    """One row of a plain job dies, that in `ready`; batches share commits and leases."""
    assert cost.log_bytes <= 1300
    assert cost.commits <= 0.2
    assert cost.dead_rows <= 1.3
