"""
The workloads. Each gets a fresh database on a server that syncs every commit, and returns named figures.

All submit the same job: a no-op with about 200 bytes of JSON arguments. Rates are jobs per second, times milliseconds.
"""

import asyncio
import itertools
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from benchmarks import service
from benchmarks.figures import Figure, Figures, percentile
from taskflow.db.pool import Database
from taskflow.engine.client import Engine
from taskflow.engine.job import DEFAULT_NAMESPACE, JobFilter, JobId, NewJob, State
from taskflow.engine.store import id_floor
from taskflow.engine.supervision import SupervisorInfo, WorkerSupervision

PADDING = "x" * 160
BULK = 1000


async def single(url: str, seconds: float) -> Figures:
    """One caller, one job at a time: how long until it is durable. In turns with the least that this could take."""
    times, floor = [], []
    async with _engine(url) as (engine, _), _bare_table(url) as bare:
        for n in range(200):
            await engine.enqueue(_noop(n))
            await bare.execute(ONE_ROW)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            begin = time.perf_counter()
            await engine.enqueue(_noop(0))
            between = time.perf_counter()
            await bare.execute(ONE_ROW)
            times.append((between - begin) * 1000)
            floor.append((time.perf_counter() - between) * 1000)
    return {
        "single enqueue p50": Figure(statistics.median(times), "ms", "≤ 0.35"),
        "single enqueue p99": Figure(percentile(times, 99), "ms"),
        "one row in a table without an index p50": Figure(statistics.median(floor), "ms"),
    }


async def bulk(url: str, seconds: float) -> Figures:
    """
    One caller, a thousand jobs per call. By turns of a second with the least that this could take: the same rows,
    ready-made, for tables with the same columns and indexes, by COPYs of 250 rows in one transaction.
    """
    took, stored, floor_took, floor_stored = 0.0, 0, 0.0, 0
    async with _engine(url) as (engine, _):
        bare = await asyncpg.connect(url)
        for table in BULK_TABLES:
            await bare.execute(f"CREATE TABLE bare_{table} (LIKE taskflow.{table} INCLUDING ALL)")
        jobs = [_noop(n) for n in range(BULK)]
        while took + floor_took < seconds:
            batches: list[list[JobId]] = []
            begin = time.perf_counter()
            while (elapsed := time.perf_counter() - begin) < BULK_TURN_S:
                batches.append([job.id for job in await engine.enqueue_many(jobs)])
            took, stored = took + elapsed, stored + BULK * len(batches)
            rows = [await _copies_of(bare, batch) for batch in batches]
            begin = time.perf_counter()
            for copies in rows:
                async with bare.transaction():
                    for table, copy in copies:
                        # A buffer is sent in one go; the stubs know of files and iterators only.
                        await bare.copy_to_table(table, source=copy, format="binary")  # type: ignore[arg-type]
            floor_took, floor_stored = floor_took + time.perf_counter() - begin, floor_stored + BULK * len(batches)
        await bare.close()
    return {
        "bulk enqueue": Figure(stored / took, "jobs/s", "≥ 100,000"),
        "the same rows ready-made": Figure(floor_stored / floor_took, "jobs/s"),
    }


BULK_TURN_S = 1.0
BULK_TABLES = {"ready": "job_id", "job": "id"}  # each with the column of the job


async def _copies_of(
    connection: "asyncpg.Connection[asyncpg.Record]", ids: Sequence[JobId]
) -> list[tuple[str, bytearray]]:
    """Return the rows of these jobs in the format of COPY, 250 at a time, each with the table that they are for."""
    copies = []
    for begin in range(0, len(ids), 250):
        for table, column in BULK_TABLES.items():
            rows = bytearray()

            async def take(piece: bytes, rows: bytearray = rows) -> None:
                rows.extend(piece)

            query = f"SELECT * FROM taskflow.{table} WHERE {column} = ANY($1)"
            await connection.copy_from_query(query, ids[begin : begin + 250], output=take, format="binary")
            copies.append((f"bare_{table}", rows))
    return copies


async def drain(url: str, seconds: float, *, concurrency: int = 1000, rate_guess: float = 45_000) -> Figures:
    """A full queue, one worker process: the rate of each second while there is work, and whether it stays flat."""
    async with _engine(url) as (engine, database):
        rates, cpu_us = await _drain(url, engine, database, seconds, concurrency=concurrency, rate_guess=rate_guess)
        async with database.acquire() as connection:
            twice = await connection.fetchval("SELECT count(*) - count(DISTINCT job_id) FROM taskflow.done")
        if twice:
            raise AssertionError(f"{twice} jobs are done twice")
        fifth = max(1, len(rates) // 5)
        first, last = statistics.median(rates[:fifth]), statistics.median(rates[-fifth:])
        return {
            "drain, median second": Figure(statistics.median(rates), "jobs/s", "≥ 40,000"),
            "drain, slowest second": Figure(min(rates), "jobs/s"),
            "drain, last fifth against first": Figure(last / first, "ratio", "≥ 0.9"),
            "drain, seconds measured": Figure(len(rates), "s"),
            "drain, CPU of the worker process": Figure(cpu_us, "us/job", "≤ 20"),
        }


async def steady(url: str, seconds: float, *, callers: int = 10) -> Figures:
    """Ten concurrent callers of single enqueue, one worker process: jobs that went all the way."""
    async with _engine(url) as (engine, database), _worker(url, 100):
        await _warm_up(engine)
        end = time.perf_counter() + seconds

        async def call() -> int:
            calls = 0
            while time.perf_counter() < end:
                await engine.enqueue(_noop(calls))
                calls += 1
            return calls

        begin = time.perf_counter()
        calls = sum(await asyncio.gather(*(call() for _ in range(callers))))
        await _until_none_is_ready(database)
        return {"steady, 10 callers, end to end": Figure(calls / (time.perf_counter() - begin), "jobs/s", "≥ 10,000")}


async def pickup(url: str, seconds: float) -> Figures:
    """
    An idle system: from the return of enqueue (and from its call) until the handler starts. In turns with the least
    that this could take: a NOTIFY on its way, and one row written by who hears it.
    """
    called, returned, floor = [], [], []
    ids: list[JobId] = []
    async with _engine(url) as (engine, database), _worker(url, 10), _bare_table(url) as bare:
        await _warm_up(engine)
        listener = await asyncpg.connect(url)
        heard = asyncio.Event()
        await listener.add_listener("heard", lambda *_: heard.set())
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            called.append(time.monotonic_ns())
            ids.append((await engine.enqueue(NewJob("pickup", {"n": 0, "padding": PADDING}))).id)
            returned.append(time.monotonic_ns())
            await asyncio.sleep(0.02)
            begin = time.perf_counter()
            heard.clear()
            await bare.execute("NOTIFY heard")
            await heard.wait()
            await bare.execute(ONE_ROW)
            floor.append((time.perf_counter() - begin) * 1000)
            await asyncio.sleep(0.02)
        await listener.close()
        await _until_none_is_ready(database)
        await asyncio.sleep(0.5)  # the last results are on their way
        started = [(await engine.get_job(job_id)).result for job_id in ids]
        since_return = [(int(str(at)) - since) / 1e6 for at, since in zip(started, returned, strict=True)]
        since_call = [(int(str(at)) - since) / 1e6 for at, since in zip(started, called, strict=True)]
        return {
            "pick-up from return p50": Figure(statistics.median(since_return), "ms", "≤ 1"),
            "pick-up from return p99": Figure(percentile(since_return, 99), "ms", "≤ 3"),
            "pick-up from call p50": Figure(statistics.median(since_call), "ms", "≤ 2.5"),
            "a NOTIFY and one row p50": Figure(statistics.median(floor), "ms"),
        }


async def history(url: str, seconds: float, *, empty_url: str, jobs: int = 2_000_000) -> Figures:
    """
    The same work on a database in which *jobs* have ended in the last thirty days and on an empty one: what does it
    cost that they are kept? In turns, so that whatever else the machine does meets both.
    """
    rates: dict[str, list[int]] = {"empty": [], "full": []}
    times: dict[str, list[float]] = defaultdict(list)
    async with _engine(empty_url) as empty, _engine(url) as full:
        await _past(empty[1], 0)  # the same partitions in both, so that rows alone differ
        begin = time.perf_counter()
        await _past(full[1], jobs)
        filled_s = time.perf_counter() - begin
        size_bytes = await _size_bytes(full[1])
        both = (("empty", empty_url, *empty), ("full", url, *full))
        for turn in range(2 * HISTORY_ROUNDS):
            for name, at, engine, database in both if turn % 2 else both[::-1]:
                rates[name] += (await _drain(at, engine, database, seconds / 2, rate_guess=30_000))[0]
                for look, call in _looks(engine).items():
                    if name == "full" or look in ("single enqueue", "list, newest 50"):
                        times[f"{look}, {name}"] += await _timed(call, seconds / 10)
    median = {name: statistics.median(found) for name, found in rates.items()}
    return {
        "history, jobs that have ended": Figure(jobs, "jobs"),
        "history, filled in": Figure(filled_s, "s"),
        "history, size on disk": Figure(size_bytes / jobs, "bytes/job"),
        **{f"drain, {name}, median second": Figure(value, "jobs/s") for name, value in median.items()},
        "drain, full against empty": Figure(median["full"] / median["empty"], "ratio", "≥ 0.9"),
        **{f"{look}, p50": Figure(statistics.median(took), "ms") for look, took in times.items()},
        **{f"{look}, p99": Figure(percentile(took, 99), "ms") for look, took in times.items()},
    }


HISTORY_ROUNDS = 2  # each both ways round


async def snapshot(url: str, seconds: float, *, empty_url: str, minutes: float = 10.0) -> Figures:
    """
    The same work while somebody's transaction sees an old snapshot for *minutes*, so that no dead row can be removed,
    and on a database without one, in turns.
    """
    rates: dict[str, list[int]] = {"free": [], "held": []}
    idler = await asyncpg.connect(url)  # a session without our limits
    async with _engine(empty_url) as free, _engine(url) as held:
        await idler.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await idler.execute("SELECT pg_current_snapshot()")
        begin = time.perf_counter()
        while (held_s := time.perf_counter() - begin) < minutes * 60:
            for name, at, engine, database in (("free", empty_url, *free), ("held", url, *held)):
                rates[name] += (await _drain(at, engine, database, seconds, rate_guess=30_000))[0]
    await idler.close()
    median = {name: statistics.median(found) for name, found in rates.items()}
    fifth = max(1, len(rates["held"]) // 5)
    first, last = statistics.median(rates["held"][:fifth]), statistics.median(rates["held"][-fifth:])
    return {
        "snapshot, held for": Figure(held_s, "s"),
        "snapshot, jobs that were started under it": Figure(sum(rates["held"]), "jobs"),
        **{f"drain, {name}, median second": Figure(value, "jobs/s") for name, value in median.items()},
        "drain, held against free": Figure(median["held"] / median["free"], "ratio", "≥ 0.9"),
        "drain, held, last fifth against first": Figure(last / first, "ratio", "≥ 0.9"),
    }


def _looks(engine: Engine) -> Mapping[str, Callable[[int], Coroutine[Any, Any, Any]]]:
    failed = JobFilter(state=State.FAILED)
    return {
        "single enqueue": lambda n: engine.enqueue(_noop(n)),
        "list, newest 50": lambda _: engine.list_jobs(DEFAULT_NAMESPACE, JobFilter(), limit=50),
        "list, newest 50 failed": lambda _: engine.list_jobs(DEFAULT_NAMESPACE, failed, limit=50),
        "list, 50 from two weeks ago": lambda _: engine.list_jobs(
            DEFAULT_NAMESPACE, JobFilter(), limit=50, before=id_floor(datetime.now(UTC) - timedelta(days=14))
        ),
    }


PAST_DAYS = 30

# One day's share of ended jobs, as the engine writes them, spread over its hours; every fiftieth failed.
_FILL = """
WITH made AS MATERIALIZED (
    SELECT n, taskflow.uuid_v7(at) AS id, at
    FROM (
        SELECT n, ($1::date::timestamp AT TIME ZONE 'UTC') + n * (interval '23 hours' / $2) AS at
        FROM generate_series(0, $2 - 1) AS n
    ) AS numbers
), bodies AS (
    INSERT INTO taskflow.job
        (id, namespace, queue, kind, payload, priority, retries, timeout_ms, tags, headers, created_at)
    SELECT id, $3, 'default', 'noop', jsonb_build_object('n', n, 'padding', $4::text), 5, 3, 30000, '{}', '{}', at
    FROM made
)
INSERT INTO taskflow.done
    (job_id, namespace, queue, kind, state, failure_reason, attempt, failures, error, started_at, finished_at)
SELECT
    id, $3, 'default', 'noop', CASE WHEN n % 50 = 0 THEN 'failed' ELSE 'completed' END,
    CASE WHEN n % 50 = 0 THEN 'permanent' END, 1, 0,
    CASE WHEN n % 50 = 0 THEN jsonb_build_object('type', 'ValueError', 'message', 'no', 'traceback', NULL) END,
    at + interval '5 ms', at + interval '10 ms'
FROM made
"""


async def _past(database: Database, jobs: int) -> None:
    """Make the partitions of the last thirty days, and *jobs* in them that have ended."""
    async with database.acquire() as connection:
        today = (await connection.fetchval("SELECT now() AT TIME ZONE 'UTC'")).date()
        for days_ago in range(PAST_DAYS, 0, -1):
            day = today - timedelta(days=days_ago)
            await connection.execute("SELECT taskflow.make_partitions($1, 1)", day, timeout=60)
            if jobs:
                await connection.execute(_FILL, day, jobs // PAST_DAYS, DEFAULT_NAMESPACE, PADDING, timeout=3600)
        if jobs:
            for table in ("job", "done"):
                await connection.execute(f"VACUUM (ANALYZE) taskflow.{table}", timeout=3600)
        await connection.execute("CHECKPOINT", timeout=600)


async def _size_bytes(database: Database) -> int:
    """Bytes of bodies and ends of the last days, but not of today, with their indexes."""
    async with database.acquire() as connection:
        size: int = await connection.fetchval(
            "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid"
            " WHERE inhparent IN ('taskflow.job'::regclass, 'taskflow.done'::regclass)"
            " AND right(c.relname, 8) < to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')"
        )
    return size


async def _timed(call: Callable[[int], Coroutine[Any, Any, Any]], seconds: float) -> list[float]:
    """Make calls one after the other for *seconds*, after some to warm up; return how long each took, in ms."""
    for n in range(20):
        await call(n)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        await call(0)
        times.append((time.perf_counter() - begin) * 1000)
    return times


SCENARIOS: Mapping[str, Callable[..., Coroutine[Any, Any, Figures]]] = {
    "single": single,
    "bulk": bulk,
    "pickup": pickup,
    "steady": steady,
    "drain": drain,
    "rest": service.rest,
    "stream": service.stream,
    "idle": service.idle,
    "history": history,
    "snapshot": snapshot,
}
ASKED_FOR = {"history", "snapshot"}  # take minutes and gigabytes: run only when they are named


async def _drain(
    url: str, engine: Engine, database: Database, seconds: float, *, concurrency: int = 1000, rate_guess: float = 45_000
) -> tuple[list[int], float]:
    """
    Fill the queue and let one worker process empty it.

    Returns the jobs of each second in which there was work, and the CPU time of the process per job, in microseconds.
    """
    total = int(rate_guess * seconds) // BULK * BULK
    jobs = [_noop(n) for n in range(BULK)]
    for _ in range(total // BULK):
        await engine.enqueue_many(jobs)
    async with database.acquire() as connection:
        await connection.execute("CHECKPOINT", timeout=600)
    counts, cpu_s = [0], [0.0]
    async with _worker(url, concurrency) as (process, lines):
        begin = time.perf_counter()
        async for count in lines:
            counts.append(count)
            cpu_s.append(service.cpu_s(process.pid))
            if count >= total or time.perf_counter() - begin > seconds:
                break
    rates = [after - before for before, after in itertools.pairwise(counts)][1:]  # the first second is start-up
    cpu_us = 1e6 * (cpu_s[-1] - cpu_s[1]) / max(1, counts[-1] - counts[1])
    return (rates[:-1] if counts[-1] >= total else rates), cpu_us


def _noop(n: int) -> NewJob:
    return NewJob("noop", {"n": n, "padding": PADDING})


async def _until_none_is_ready(database: Database) -> None:
    async with database.acquire() as connection:
        while await connection.fetchval("SELECT EXISTS (SELECT FROM taskflow.ready)"):  # noqa: ASYNC110 -- in a table
            await asyncio.sleep(0.01)


async def _warm_up(engine: Engine) -> None:
    for n in range(100):
        await engine.enqueue(_noop(n))
    await asyncio.sleep(1.0)


@asynccontextmanager
async def _engine(url: str) -> AsyncIterator[tuple[Engine, Database]]:
    database = Database(url, application_name="benchmark")
    await database.start()
    async with Engine(database) as engine:
        yield engine, database
    await database.stop()


ONE_ROW = f"INSERT INTO bare VALUES (gen_random_uuid(), '{PADDING}')"


@asynccontextmanager
async def _bare_table(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection to write to a table with, of which nothing else is asked than to be durable."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CREATE TABLE bare (id uuid, body text)")
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def _worker(url: str, concurrency: int) -> AsyncIterator[tuple[asyncio.subprocess.Process, AsyncIterator[int]]]:
    """One worker process, watched over from here; gives its count of started jobs, once a second."""
    process: asyncio.subprocess.Process | None = None

    def pass_on() -> None:
        if process is not None and process.stdin is not None:
            process.stdin.write(b"beat\n")

    supervision = WorkerSupervision(url, SupervisorInfo("benchmark", 0, ["default"], concurrency), on_beat=pass_on)
    watching = asyncio.create_task(supervision.run())
    await supervision.wait_registered()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.worker",
        url,
        str(supervision.worker_id),
        str(concurrency),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process, _counts(process)
    finally:
        process.terminate()
        await process.communicate()
        watching.cancel()
        await asyncio.wait([watching])
        await supervision.stop()


async def _counts(process: asyncio.subprocess.Process) -> AsyncIterator[int]:
    if process.stdout is None:
        raise AssertionError("the worker was started with a pipe")
    async for line in process.stdout:
        yield int(line)
