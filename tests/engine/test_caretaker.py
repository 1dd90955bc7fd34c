"""Upkeep: vacuum while it helps, and tomorrow's partitions."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest
from tests.support.waiting import eventually
from tests.support.workers import drop_partitions

from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine import caretaker as module
from taskflow.engine.caretaker import Caretaker
from taskflow.engine.job import NewJob, WorkerId
from taskflow.engine.leader import Leader
from taskflow.engine.store import VACUUMED, Store

STORE = Store()


@pytest.fixture
async def caretaker(database: Database) -> AsyncIterator[Caretaker]:
    leader = Leader(database, STORE, WorkerId(uuid4()))
    leading = asyncio.create_task(leader.run())
    await asyncio.wait_for(leader.elected.wait(), 8)
    yield Caretaker(database, STORE, leader)
    leading.cancel()
    await asyncio.gather(leading, return_exceptions=True)


@pytest.fixture(autouse=True)
async def no_autovacuum(connection: Connection) -> AsyncIterator[None]:
    """The server's own vacuum would now and then come first."""
    for table in VACUUMED:
        await connection.execute(f"ALTER TABLE taskflow.{table} SET (autovacuum_enabled = off)")
        await connection.execute(f"VACUUM taskflow.{table}")
    yield
    for table in VACUUMED:
        await connection.execute(f"ALTER TABLE taskflow.{table} RESET (autovacuum_enabled)")


async def leave_dead_rows(connection: Connection, rows: int) -> None:
    """As claims do: rows of ready that are gone."""
    while rows > 0:
        batch = min(rows, 1000)
        await STORE.enqueue(connection, [NewJob("noop", {})] * batch)
        await connection.execute("DELETE FROM taskflow.ready")
        rows -= batch
    await connection.execute("SELECT pg_stat_force_next_flush()")
    await connection.execute("SELECT 1")


async def test_dead_rows_are_vacuumed_once_there_are_enough_to_matter(
    caretaker: Caretaker, connection: Connection
) -> None:
    assert await caretaker.vacuum() == []
    await leave_dead_rows(connection, module.MIN_DEAD // 2)
    assert await caretaker.vacuum() == []
    await leave_dead_rows(connection, module.MIN_DEAD)
    assert await caretaker.vacuum() == ["ready"]
    dead = await STORE.dead_entries(connection)
    assert dead.rows["ready"] == 0
    assert await caretaker.vacuum() == []


async def test_while_an_old_snapshot_keeps_dead_rows_vacuum_is_left_out_until_it_has_moved(
    caretaker: Caretaker, database_url: str, connection: Connection
) -> None:
    reader = await asyncpg.connect(database_url)
    async with reader.transaction(isolation="repeatable_read"):
        await reader.fetchval("SELECT count(*) FROM taskflow.job")  # takes the snapshot
        await leave_dead_rows(connection, module.MIN_DEAD + 1)
        assert await caretaker.vacuum() == ["ready"]  # once: some of the dead may be older than the snapshot
        assert (await STORE.dead_entries(connection)).rows["ready"] > module.MIN_DEAD
        for _ in range(3):
            assert await caretaker.vacuum() == []
        await leave_dead_rows(connection, 10)
        assert await caretaker.vacuum() == []
    await reader.close()
    # Not at the first look for certain: the server's own vacuum of another table may hold a snapshot for a moment.
    assert await eventually("the table to be vacuumed", caretaker.vacuum) == ["ready"]
    assert (await STORE.dead_entries(connection)).rows["ready"] == 0


async def test_a_table_that_somebody_locks_is_left_out_and_nobody_waits(
    caretaker: Caretaker, connection: Connection, second: Connection
) -> None:
    await leave_dead_rows(connection, module.MIN_DEAD + 1)
    async with second.transaction(), asyncio.timeout(8):
        await second.execute("LOCK TABLE taskflow.ready IN SHARE UPDATE EXCLUSIVE MODE")
        await caretaker.vacuum()


@pytest.mark.usefixtures("spoilt_schema")
async def test_partitions_are_made_for_a_week_ahead_and_the_day_before(
    caretaker: Caretaker, connection: Connection
) -> None:
    for table in ("job", "done", "attempt_log", "job_log"):
        await drop_partitions(connection, table)
    assert await caretaker.make_partitions() > 0
    assert await caretaker.make_partitions() == 0
    today = datetime.now(UTC).date()
    for table in ("job", "done", "attempt_log", "job_log"):
        parts = await connection.fetch(
            "SELECT inhrelid::regclass::text AS part FROM pg_inherits WHERE inhparent = $1::regclass",
            f"taskflow.{table}",
        )
        days = {row["part"].rsplit("_", 1)[1] for row in parts}
        for ahead in range(-1, module.PARTITION_DAYS + 1):
            assert f"{today + timedelta(days=ahead):%Y%m%d}" in days


async def test_making_partitions_keeps_no_submit_waiting_behind_a_long_reader(
    caretaker: Caretaker, connection: Connection, second: Connection
) -> None:
    """It asks for no lock that a reader holds, so that nobody queues up behind it."""
    async with second.transaction():
        await second.fetchval("SELECT count(*) FROM taskflow.job")
        async with asyncio.timeout(8):
            await caretaker.make_partitions()
            await STORE.enqueue(connection, [NewJob("noop", {})])


async def test_the_week_is_looked_after_once_an_hour_and_vacuum_each_time(
    caretaker: Caretaker, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    async def make_partitions() -> int:
        made.append(1)
        return 0

    monkeypatch.setattr(caretaker, "make_partitions", make_partitions)
    assert await caretaker.tick() == module.IDLE_PAUSE_S
    await leave_dead_rows(connection, module.MIN_DEAD + 1)
    assert await caretaker.tick() == module.BUSY_PAUSE_S
    assert made == [1]
    await caretaker._leader.resign()
    await leave_dead_rows(connection, module.MIN_DEAD + 1)
    assert await caretaker.tick() == module.IDLE_PAUSE_S
    assert (await STORE.dead_entries(connection)).rows["ready"] > module.MIN_DEAD
