"""What ended long ago goes, what is needed stays, and nobody who works waits for it."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import asyncpg
import psycopg
import pytest
from tests.conftest import TEMPLATE
from tests.engine.worksite import Worksite, succeeded
from tests.support.clock import FakeClock
from tests.support.waiting import eventually
from tests.support.workers import metric, supervising

from taskflow.db.embedded import EmbeddedPostgres
from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine import retention as module
from taskflow.engine.client import Engine
from taskflow.engine.job import (
    DEFAULT_NAMESPACE,
    JobFilter,
    JobId,
    NewLogLine,
    NewProgress,
    State,
    WorkerId,
)
from taskflow.engine.leader import Leader
from taskflow.engine.retention import Retention
from taskflow.engine.store import Store
from taskflow.kernel.errors import NotFound

KEPT_DAYS = 30
DAYS_AGO = (45, 40, 31, 30, 20, 10)  # there are partitions of these; making more would take seconds
DAY_S = 86400.0
TABLES = ("done", "attempt_log", "job_log", "job")

_numbers = itertools.count(1)


@dataclass(slots=True)
class Archive:
    """A deployment whose clock the test moves, partitions of some old days, and the duty of its leader."""

    site: Worksite
    engine: Engine
    retention: Retention
    present: datetime

    @property
    def connection(self) -> Connection:
        return self.site.connection

    def go_to(self, days_ago: float) -> None:
        self.site.clock.now = self.present - timedelta(days=days_ago)

    async def end_one(self, *, days_ago: float, ended_days_ago: float | None = None, fails: bool = False) -> JobId:
        """Submit a job, and end it, so long ago; with a line, a report and an attempt that failed."""
        self.go_to(days_ago)
        job_id = await self.site.submit(retries=1)
        store, connection = self.site.store, self.connection
        claim = await self.site.claim_one()
        await store.write_logs(connection, [NewLogLine(claim, "info", "line", 0.0)], written_at_s=0.0)
        await store.write_progress(connection, [NewProgress(claim, 0.5, "half", 0.0)], written_at_s=0.0)
        await self.site.fail(claim)
        self.go_to(ended_days_ago if ended_days_ago is not None else days_ago - 0.01)
        await store.stage(connection, limit=10)
        claim = await self.site.claim_one()
        await (self.site.fail(claim) if fails else store.complete(connection, [succeeded(claim, "result")]))
        return job_id

    async def watch(self) -> None:
        """Look at the clock for a day, which ends at the present: it is believed."""
        for days_ago in (1.0, 0.5, 0.0):
            self.go_to(days_ago)
            await self.site.store.look_at_clock(self.connection, kept_days=KEPT_DAYS)

    async def days(self, table: str) -> set[date]:
        rows = await self.connection.fetch(
            "SELECT to_date(right(inhrelid::regclass::text, 8), 'YYYYMMDD') AS day FROM pg_inherits"
            " WHERE inhparent = $1::regclass AND NOT inhdetachpending",
            f"taskflow.{table}",
        )
        return {row["day"] for row in rows}

    def day(self, days_ago: float) -> date:
        return (self.present - timedelta(days=days_ago)).date()


@pytest.fixture(scope="module")
def template(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A migrated database with partitions of some old days: making them takes longer than a copy."""
    name = f"archive_{os.getpid()}"
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        today = datetime.now(UTC).date()
        with psycopg.connect(f"{postgres.url.rpartition('/')[0]}/{name}", autocommit=True) as connection:
            for days_ago in DAYS_AGO:
                connection.execute("SELECT taskflow.make_partitions(%s, 1)", [today - timedelta(days=days_ago)])
        yield name
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_url(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    name = f"retention_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield f"{postgres.url.rpartition('/')[0]}/{name}"
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def archive(store: Store, connection: Connection, clock: FakeClock, database: Database) -> AsyncIterator[Archive]:
    clock.now = clock.now.replace(hour=12, minute=0, second=0)
    site = Worksite(store, connection, clock)
    await site.start_worker(site.worker_id)
    leader = Leader(database, Store(), WorkerId(uuid4()))
    leading = asyncio.create_task(leader.run())
    await asyncio.wait_for(leader.elected.wait(), 8)
    retention = Retention(database, store, leader, kept_days=KEPT_DAYS)
    yield Archive(site, Engine(database, now=clock), retention, clock.now)
    leading.cancel()
    await asyncio.gather(leading, return_exceptions=True)


@asynccontextmanager
async def reading(url: str) -> AsyncIterator[Connection]:
    """A transaction that looked at the engine's tables and stays open."""
    reader = await asyncpg.connect(url)
    async with reader.transaction(isolation="repeatable_read"):
        for table in TABLES:
            await reader.fetchval(f"SELECT count(*) FROM taskflow.{table}")
        yield reader
    await reader.close()


# What goes and what stays --------------------------------------------------------------------------------------------


async def test_whole_days_go_when_all_of_them_is_older_than_the_time_they_are_kept(archive: Archive) -> None:
    await archive.watch()
    assert await archive.retention.drop_old()
    for table in TABLES:
        assert min(await archive.days(table)) == archive.day(KEPT_DAYS)
    assert await archive.retention.drop_old()
    assert min(await archive.days("done")) == archive.day(KEPT_DAYS)


async def test_a_dropped_job_is_not_found_and_the_answer_says_why(archive: Archive) -> None:
    old = await archive.end_one(days_ago=40)
    young = await archive.end_one(days_ago=20)
    await archive.watch()
    await archive.retention.drop_old()
    for look in (
        archive.engine.get_job(old),
        archive.engine.list_attempts(old),
        archive.engine.list_logs(old, limit=10),
        archive.engine.find_log_position(old),
        archive.engine.cancel(old),
        archive.engine.change(old, priority=3),
        archive.engine.run_now(old),
    ):
        with pytest.raises(NotFound, match=f"any more: those that ended before {archive.day(KEPT_DAYS)} are gone"):
            await look
    with pytest.raises(NotFound, match=r"there is no job '[0-9a-f-]+'$"):
        await archive.engine.get_job(JobId(uuid4()))
    job = await archive.engine.get_job(young)
    assert (job.state, job.result, job.progress is not None) == (State.COMPLETED, "result", True)
    assert len(await archive.engine.list_attempts(young)) == 2
    assert len(await archive.engine.list_logs(young, limit=10)) == 1


async def test_a_dropped_dead_letter_cannot_be_run_again_and_a_kept_one_can(archive: Archive) -> None:
    old = await archive.end_one(days_ago=40, fails=True)
    young = await archive.end_one(days_ago=20, fails=True)
    await archive.watch()
    await archive.retention.drop_old()
    with pytest.raises(NotFound, match="are gone"):
        await archive.engine.replay(old)
    assert (await archive.engine.replay(young)).state is State.PENDING


async def test_a_list_goes_on_over_days_that_were_dropped_between_two_pages(archive: Archive) -> None:
    jobs = [await archive.end_one(days_ago=days_ago) for days_ago in (45, 40, 31, 20, 10)]
    for chosen in (JobFilter(), JobFilter(state=State.COMPLETED)):
        first = await archive.engine.list_jobs(DEFAULT_NAMESPACE, chosen, limit=1)
        assert [job.id for job in first.items] == jobs[4:]
        if chosen.state is None:
            within = await archive.engine.list_jobs(DEFAULT_NAMESPACE, chosen, limit=4)
            await archive.watch()
            await archive.retention.drop_old()
            assert within.next_before is not None
            beyond = await archive.engine.list_jobs(DEFAULT_NAMESPACE, chosen, limit=4, before=within.next_before)
            assert (list(beyond.items), beyond.next_before) == ([], None)
        rest = await archive.engine.list_jobs(DEFAULT_NAMESPACE, chosen, limit=10, before=first.next_before)
        assert ([job.id for job in rest.items], rest.next_before) == ([jobs[3]], None)


async def test_statistics_of_dropped_jobs_stay(archive: Archive) -> None:
    await archive.end_one(days_ago=40)
    span = {"first": archive.present - timedelta(days=50), "past": archive.present}
    before = await archive.site.store.read_stats(archive.connection, DEFAULT_NAMESPACE, **span)
    assert before
    await archive.watch()
    await archive.retention.drop_old()
    assert await archive.site.store.read_stats(archive.connection, DEFAULT_NAMESPACE, **span) == before


async def test_a_job_that_ended_long_after_its_submit_is_kept_from_its_end_on(archive: Archive) -> None:
    late = await archive.end_one(days_ago=45, ended_days_ago=20)
    gone = await archive.end_one(days_ago=45)
    await archive.watch()
    await archive.retention.drop_old()
    job = await archive.engine.get_job(late)
    assert (job.state, job.result) == (State.COMPLETED, "result")
    with pytest.raises(NotFound):
        await archive.engine.get_job(gone)


async def test_jobs_that_live_keep_their_bodies_and_run_to_their_end(archive: Archive) -> None:
    """One is scheduled, one is ready, one is running; of their day nothing else is left."""
    archive.go_to(45)
    store, connection = archive.site.store, archive.connection
    later = await archive.site.submit(kind="later", payload={"n": 1}, run_at=archive.present + timedelta(days=1))
    ready = await archive.site.submit(kind="ready", payload={"n": 2})
    running = await archive.site.submit(kind="running", payload={"n": 3})
    [held] = await archive.site.claim(1, kinds=["running"])
    for _ in range(4):
        await archive.end_one(days_ago=45)
    await archive.watch()
    await archive.retention.drop_old()
    assert archive.day(45) in await archive.days("job")
    assert await connection.fetchval("SELECT count(*) FROM taskflow.job") == 3
    states = [(await archive.site.job(job_id)).state for job_id in (later, ready, running)]
    assert states == [State.SCHEDULED, State.PENDING, State.ACTIVE]
    await store.complete(connection, [succeeded(held)])
    archive.go_to(-2)
    await store.stage(connection, limit=10)
    claims = await archive.site.claim(10, kinds=["later", "ready"])
    assert {claim.job_id: claim.payload for claim in claims} == {later: '{"n": 1}', ready: '{"n": 2}'}
    assert await store.complete(connection, [succeeded(claim) for claim in claims]) == []
    for job_id in (later, ready, running):
        assert (await archive.site.job(job_id)).state is State.COMPLETED


async def test_of_a_day_of_which_most_is_needed_nothing_is_moved_and_ended_jobs_are_gone_all_the_same(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "THIN_MAX_JOBS", 1)
    archive.go_to(45)
    waiting = await archive.site.submit_many(2, kind="later", run_at=archive.present + timedelta(days=1))
    gone = [await archive.end_one(days_ago=45, fails=True) for _ in range(8)]
    await archive.watch()
    await archive.retention.drop_old()
    assert await archive.connection.fetchval("SELECT count(*) FROM taskflow.job") == 10
    assert [job.id for job in await archive.site.store.read_jobs(archive.connection, [*gone, *waiting])] == waiting[
        ::-1
    ]
    for call in (
        archive.engine.get_job,
        archive.engine.cancel,
        archive.engine.replay,
        archive.engine.find_log_position,
    ):
        with pytest.raises(NotFound, match="are gone"):
            await call(gone[0])
    # A schedule that must not overlap asks this of its last job.
    assert await archive.site.store.find_live_jobs(archive.connection, [*gone, *waiting]) == set(waiting)
    page = await archive.engine.list_jobs(DEFAULT_NAMESPACE, JobFilter(), limit=100)
    assert [job.id for job in page.items] == waiting[::-1]


async def test_bodies_of_a_day_whose_jobs_ran_over_midnight_are_not_moved_but_go_a_day_later(archive: Archive) -> None:
    days_ago = KEPT_DAYS + 1
    late = await archive.end_one(days_ago=days_ago, ended_days_ago=days_ago - 1)
    for _ in range(4):
        await archive.end_one(days_ago=days_ago)
    await archive.watch()
    await archive.retention.drop_old()
    assert await archive.connection.fetchval("SELECT count(*) FROM taskflow.job") == 5
    assert (await archive.site.job(late)).state is State.COMPLETED
    archive.go_to(-1)
    await archive.retention.drop_old()
    assert archive.day(days_ago) not in await archive.days("job")


async def test_rows_of_tables_without_partitions_go_in_batches(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PRUNE_ROWS", 2)
    url = "http://127.0.0.1/callback"
    connection, store = archive.connection, archive.site.store
    for days_ago in (45, 45, 45, 20):
        await archive.end_one(days_ago=days_ago)
        job_id = await archive.site.submit(callback_url=url)
        claim = await archive.site.claim_one()
        async with connection.transaction():
            await store.complete(connection, [succeeded(claim)])
        if days_ago == 45:
            [sending] = await archive.site.claim(1, queues=["webhooks"], kinds=["deliver_webhook"])
            await connection.execute(
                "INSERT INTO taskflow.webhook_response VALUES ($1, 1, $2, 5, 200)", sending.job_id, archive.present
            )
            async with connection.transaction():
                await store.complete(connection, [succeeded(sending)])
        await connection.execute(
            "INSERT INTO taskflow.operation VALUES ($1, $2, 'cancel', '{}', 'completed', NULL, 1, 0, NULL, $3, $3)",
            job_id, DEFAULT_NAMESPACE, archive.site.clock.now,
        )  # fmt: skip
    await archive.watch()
    before = metric("taskflow_retention_rows_total", table="webhook_delivery")
    await archive.retention.drop_old()
    counts = {
        table: await connection.fetchval(f"SELECT count(*) FROM taskflow.{table}")
        for table in ("job_progress", "webhook_delivery", "webhook_response", "operation")
    }
    assert counts == {"job_progress": 1, "webhook_delivery": 1, "webhook_response": 0, "operation": 1}
    assert metric("taskflow_retention_rows_total", table="webhook_delivery") == before + 3


async def test_without_a_time_everything_is_kept(archive: Archive, database: Database) -> None:
    keeping = Retention(database, archive.site.store, archive.retention._leader, kept_days=None)
    old = await archive.end_one(days_ago=45)
    for days_ago in (1.0, 0.5, 0.0):
        archive.go_to(days_ago)
        assert await keeping.drop_old()
    assert (await archive.site.job(old)).state is State.COMPLETED
    said = await archive.site.store.read_retention(archive.connection)
    assert (said.is_looked_after, said.kept_days, said.kept_from, said.behind_days) == (True, None, None, 0)


async def test_what_is_said_of_retention(archive: Archive) -> None:
    store, connection = archive.site.store, archive.connection
    archive.go_to(0)
    assert not (await store.read_retention(connection)).is_looked_after
    await archive.watch()
    said = await store.read_retention(connection)
    assert (said.kept_days, said.waits_s, said.kept_from) == (KEPT_DAYS, 0, None)
    assert said.oldest is not None
    assert said.behind_days == (archive.day(KEPT_DAYS) - said.oldest).days == 15
    dropped = metric("taskflow_partitions_dropped_total", table="done")
    await archive.retention.drop_old()
    assert metric("taskflow_partitions_dropped_total", table="done") == dropped + 3
    said = await store.read_retention(connection)
    assert (said.oldest, said.kept_from, said.behind_days) == (archive.day(KEPT_DAYS), archive.day(KEPT_DAYS), 0)


async def test_every_table_that_knows_jobs_has_its_time(connection: Connection) -> None:
    """A new table belongs in one of these, and the live ones into `taskflow.needed_jobs`."""
    live = {"ready", "deferred", "lease"}
    by_days = {"done", "attempt_log", "job_log"}
    in_batches = {"job_progress", "webhook_delivery", "operation"}
    by_others = {"unique_claim", "file", "schedule_tick"}  # its end, its own time, 30 days
    rows = await connection.fetch(
        "SELECT DISTINCT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = 'taskflow'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
        " AND a.attname IN ('job_id', 'job_ids')"
    )
    assert {row["relname"] for row in rows} == live | by_days | in_batches | by_others
    source = await connection.fetchval("SELECT prosrc FROM pg_proc WHERE proname = 'needed_jobs'")
    assert all(f"taskflow.{table} " in source for table in (*live, "done"))


# The clock -----------------------------------------------------------------------------------------------------------


async def test_a_clock_that_jumps_ahead_drops_nothing_for_a_day(archive: Archive) -> None:
    young = await archive.end_one(days_ago=1)
    await archive.watch()
    archive.go_to(-40)
    assert await archive.retention.drop_old()
    archive.go_to(-40.9)
    assert await archive.retention.drop_old()
    assert (await archive.site.job(young)).state is State.COMPLETED
    waits_s = (await archive.site.store.read_retention(archive.connection)).waits_s
    assert waits_s == pytest.approx(0.1 * DAY_S, abs=1)
    archive.go_to(0)  # set right again: that is a jump as well
    assert await archive.retention.drop_old()
    assert (await archive.site.job(young)).state is State.COMPLETED
    assert min(await archive.days("done")) < archive.day(KEPT_DAYS)


async def test_a_first_leader_and_one_after_a_long_sleep_watch_the_clock_for_a_day_first(archive: Archive) -> None:
    await archive.end_one(days_ago=45)
    for sleep in (0, 3):
        archive.go_to(-sleep)
        await archive.retention.drop_old()
        archive.go_to(-sleep - 0.5)
        await archive.retention.drop_old()
        assert await archive.connection.fetchval("SELECT count(*) FROM taskflow.done") == 1
    archive.go_to(-4.1)
    await archive.retention.drop_old()
    assert await archive.connection.fetchval("SELECT count(*) FROM taskflow.done") == 0


async def test_bodies_that_are_needed_again_by_the_time_they_would_be_dropped_are_put_back(archive: Archive) -> None:
    """A clock that was set back submits jobs into a day that is on its way out."""
    await archive.watch()
    part = next(
        part
        for part in await archive.site.store.list_old_partitions(archive.connection, before=archive.day(40))
        if part.table == "job"
    )
    archive.site.clock.now = datetime.combine(part.day, datetime.min.time(), UTC) + timedelta(hours=3)
    job_id = await archive.site.submit()
    await archive.site.store.note_drop(archive.connection, part)
    await archive.site.store.detach(archive.connection, part)
    archive.go_to(0)
    assert await archive.site.store.read_jobs(archive.connection, [job_id]) == []
    await archive.retention.drop_old()
    assert (await archive.site.job(job_id)).state is State.PENDING
    assert await archive.connection.fetchval("SELECT count(*) FROM taskflow.partition_drop") == 0


# Deaths, and others at the same time ---------------------------------------------------------------------------------


async def test_what_was_detached_by_a_leader_that_died_is_dropped_by_the_next(archive: Archive) -> None:
    await archive.end_one(days_ago=45)
    await archive.watch()
    store, connection = archive.site.store, archive.connection
    parts = await store.list_old_partitions(connection, before=archive.day(40))
    for part in parts:
        await store.note_drop(connection, part)
        await store.detach(connection, part)
    await archive.retention.drop_old()
    for part in parts:
        assert await connection.fetchval("SELECT to_regclass($1)", f"taskflow.{part.name}") is None
    assert await connection.fetchval("SELECT count(*) FROM taskflow.partition_drop") == 0


async def test_what_an_operator_detached_is_not_touched(archive: Archive) -> None:
    await archive.watch()
    name = f"job_log_{archive.day(45):%Y%m%d}"
    await archive.connection.execute(f"ALTER TABLE taskflow.job_log DETACH PARTITION taskflow.{name}")
    await archive.retention.drop_old()
    assert await archive.connection.fetchval("SELECT to_regclass($1)", f"taskflow.{name}") is not None


async def test_a_long_reader_holds_up_dropping_and_nobody_else(
    archive: Archive, database_url: str, second: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sees what it saw, submits and completions go on, and what was begun is finished when it has gone."""
    monkeypatch.setattr(module, "LOCK_WAIT_S", 0.25)
    old = await archive.end_one(days_ago=45)
    await archive.watch()
    beside = Worksite(archive.site.store, second, archive.site.clock, archive.site.worker_id)
    await second.execute("SET lock_timeout = '50ms'")  # a statement that waits for a lock longer than this fails
    rounds = 0
    async with reading(database_url) as reader:
        dropping = asyncio.create_task(archive.retention.drop_old())
        while not dropping.done():
            await beside.submit()
            assert await beside.store.complete(second, [succeeded(await beside.claim_one())]) == []
            rounds += 1
        assert await dropping is False
        assert rounds > 1  # it went on for a quarter of a second, for each table
        assert await reader.fetchval("SELECT count(*) FROM taskflow.done WHERE job_id = $1", old) == 1
        assert archive.day(45) not in await archive.days("done")  # leaving: others see it no more
        assert await archive.retention.drop_old() is False
    assert await archive.retention.drop_old() is True
    for table in TABLES:
        assert min(await archive.days(table)) == archive.day(KEPT_DAYS)


async def test_thinning_out_gives_way_to_whoever_reads(archive: Archive, database_url: str, second: Connection) -> None:
    archive.go_to(45)
    waiting = await archive.site.submit(kind="later", run_at=archive.present + timedelta(days=1))
    for _ in range(4):
        await archive.end_one(days_ago=45)
    await archive.watch()
    part = f"taskflow.job_{archive.day(45):%Y%m%d}"
    beside = Worksite(archive.site.store, second, archive.site.clock, archive.site.worker_id)
    reader = await asyncpg.connect(database_url)
    async with reader.transaction():
        await reader.fetchval(f"SELECT count(*) FROM {part}")
        thinning = asyncio.create_task(archive.retention.drop_old())
        waits = "SELECT count(*) FROM pg_locks WHERE relation = $1::regclass AND NOT granted"
        await eventually("it to wait", lambda: archive.connection.fetchval(waits, part))
        await second.execute("SET lock_timeout = '10ms'")
        await beside.submit()  # new jobs are elsewhere
        await second.execute(f"SET lock_timeout = '{module.THIN_WAIT_S + 0.1:g}s'")
        [claim] = await beside.claim(1)
        assert await thinning is False
    await reader.close()
    assert await beside.store.complete(second, [succeeded(claim)]) == []
    assert await archive.retention.drop_old() is True
    assert await archive.connection.fetchval(f"SELECT array_agg(id) FROM {part}") == [waiting]


async def test_two_leaders_at_once_drop_each_day_once(archive: Archive, database: Database, second: Connection) -> None:
    await archive.watch()
    other = Retention(database, archive.site.store, archive.retention._leader, kept_days=KEPT_DAYS)
    assert await archive.site.store.try_session_lock(second, module.DUTY, lock_wait_s=1.0)
    assert await other.drop_old()
    assert min(await archive.days("done")) < archive.day(KEPT_DAYS)
    await archive.site.store.free_session_lock(second, module.DUTY)
    assert await second.fetchval("SHOW lock_timeout") == "0"
    before = metric("taskflow_partitions_dropped_total", table="job")
    expected = len([day for day in await archive.days("job") if day < archive.day(KEPT_DAYS)])
    await asyncio.gather(*(duty.drop_old() for duty in (archive.retention, other, archive.retention, other)))
    assert metric("taskflow_partitions_dropped_total", table="job") == before + expected
    for table in TABLES:
        assert min(await archive.days(table)) == archive.day(KEPT_DAYS)


async def test_a_replay_that_is_not_committed_yet_keeps_its_job(
    archive: Archive, second: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job was in a day that is being dropped, and lives again: its body stays."""
    monkeypatch.setattr(module, "LOCK_WAIT_S", 0.2)
    job_id = await archive.end_one(days_ago=45, fails=True)
    await archive.watch()
    body = await archive.site.body(job_id)
    async with second.transaction():
        assert await archive.site.store.replay(second, body)
        assert await archive.retention.drop_old() is False
    assert await archive.retention.drop_old() is True
    assert (await archive.site.job(job_id)).state is State.PENDING
    claim = await archive.site.claim_one()
    assert await archive.site.store.complete(archive.connection, [succeeded(claim)]) == []


async def test_the_supervisor_that_leads_looks_after_it(database_url: str, connection: Connection) -> None:
    async with supervising(database_url, kept_days=7):
        kept = "SELECT kept_days FROM taskflow.retention"
        assert await eventually("the first look", lambda: connection.fetchval(kept)) == 7
