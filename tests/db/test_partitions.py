"""Daily partitions, made ahead and beside running work; and the vacuum of the tables that work passes through."""

import asyncio
from datetime import timedelta

import pytest
from tests.engine.worksite import Worksite, succeeded
from tests.support.clock import FakeClock
from tests.support.waiting import eventually

from taskflow.db.query import Connection
from taskflow.engine.job import State
from taskflow.engine.store import VACUUMED, Store

pytestmark = pytest.mark.usefixtures("spoilt_schema")


async def partitions(connection: Connection) -> list[str]:
    rows = await connection.fetch(
        "SELECT c.relname AS name FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid"
        " WHERE c.relkind = 'r' AND c.relnamespace = 'taskflow'::regnamespace ORDER BY 1"
    )
    return [row["name"] for row in rows]


async def test_partitions_are_made_ahead_and_only_where_they_are_missing(
    store: Store, connection: Connection, clock: FakeClock
) -> None:
    before = await partitions(connection)
    assert await store.make_partitions(connection, days=7) == 0
    clock.advance(seconds=3 * 86400)
    assert await store.make_partitions(connection, days=7) == 3 * 4
    assert await store.make_partitions(connection, days=7) == 0
    day = (clock.now + timedelta(days=7)).strftime("%Y%m%d")
    made = set(await partitions(connection)) - set(before)
    assert {f"{parent}_{day}" for parent in ("job", "done", "attempt_log", "job_log")} <= made


@pytest.mark.slow
async def test_a_job_lives_through_midnight(store: Store, connection: Connection, clock: FakeClock) -> None:
    """Body and end lie in partitions of different days, and are found by each other."""
    clock.now = (clock.now + timedelta(days=1)).replace(hour=23, minute=59, second=59, microsecond=999_000)
    site = Worksite(store, connection, clock)
    await site.start_worker(site.worker_id)
    ids = await site.submit_many(1500)  # a microsecond apart: the last half belongs to tomorrow
    days = await connection.fetch("SELECT DISTINCT tableoid::regclass::text FROM taskflow.job")
    assert len(days) == 2
    clock.advance(seconds=2)
    claims = await site.claim(1500)
    assert [claim.job_id for claim in claims] == ids
    await store.complete(connection, [succeeded(claim) for claim in claims])
    jobs = await store.read_jobs(connection, ids)
    assert {job.state for job in jobs} == {State.COMPLETED}
    assert await store.find_end(connection, await site.body(ids[0])) is State.COMPLETED


async def test_a_submit_in_an_open_transaction_does_not_hold_up_new_partitions(
    store: Store, connection: Connection, second: Connection, clock: FakeClock
) -> None:
    site = Worksite(store, connection, clock)
    block = connection.transaction()
    await block.start()
    job_id = await site.submit()
    clock.advance(seconds=86400)
    await second.execute("SET lock_timeout = '2s'")
    assert await store.make_partitions(second, days=7) == 4
    await block.commit()
    assert (await site.job(job_id)).state is State.PENDING


async def test_new_partitions_in_an_open_transaction_hold_up_no_submit_and_no_completion(
    store: Store, connection: Connection, second: Connection, clock: FakeClock
) -> None:
    site = Worksite(store, second, clock)
    await site.start_worker(site.worker_id)
    await second.execute("SET lock_timeout = '2s'")
    block = connection.transaction()
    await block.start()
    await store.make_partitions(connection, days=9)
    job_id = await site.submit()
    assert await store.complete(second, [succeeded(await site.claim_one())]) == []
    assert (await site.job(job_id)).state is State.COMPLETED
    await block.commit()


async def test_two_processes_that_make_partitions_take_turns(
    store: Store, connection: Connection, second: Connection
) -> None:
    block = connection.transaction()
    await block.start()
    made = await store.make_partitions(connection, days=9)
    other = asyncio.create_task(store.make_partitions(second, days=9))
    waits = "SELECT cardinality(pg_blocking_pids($1)) > 0"
    await eventually("the second to wait", lambda: connection.fetchval(waits, second.get_server_pid()))
    await block.commit()
    assert (made, await other) == (2 * 4, 0)


# Vacuum --------------------------------------------------------------------------------------------------------------


async def test_vacuum_removes_what_claims_left_behind(connection: Connection, store: Store, clock: FakeClock) -> None:
    site = Worksite(store, connection, clock)
    await site.start_worker(site.worker_id)
    await site.submit_many(500)
    await site.claim(500)
    await connection.execute("SELECT pg_stat_force_next_flush()")
    assert (await store.dead_entries(connection)).rows["ready"] == 500
    for table in VACUUMED:
        await store.vacuum(connection, table)
    await connection.execute("SELECT pg_stat_force_next_flush()")
    assert (await store.dead_entries(connection)).rows["ready"] == 0


async def test_vacuum_does_not_wait_for_a_table_that_somebody_locks(
    store: Store, connection: Connection, second: Connection
) -> None:
    await second.execute("SET lock_timeout = '2s'")
    async with connection.transaction():
        await connection.execute("LOCK TABLE taskflow.ready IN SHARE UPDATE EXCLUSIVE MODE")
        warnings: list[str] = []
        second.add_log_listener(lambda _, message: warnings.append(str(message)))
        await store.vacuum(second, "ready")
    assert any("ready" in warning for warning in warnings)


async def test_the_snapshot_that_keeps_dead_rows_is_named(
    store: Store, connection: Connection, second: Connection
) -> None:
    async with second.transaction(isolation="repeatable_read"):
        await second.fetchval("SELECT 1")
        held = await second.fetchval("SELECT backend_xmin::text FROM pg_stat_activity WHERE pid = pg_backend_pid()")
        oldest = (await store.dead_entries(connection)).oldest_xmin
        assert oldest is not None
        assert int(oldest) <= int(held)
