"""
For tests of applications: jobs in the test's own transaction, on a clock that the test moves, run when it says so.

    async with in_transaction(app) as jobs:
        await sign_up("ada@example.org")             # your code, which submits jobs with `app`
        assert [job.kind for job in await jobs.run_until_idle()] == ["welcome"]
        await jobs.advance(days=1)                   # what was delayed is due
        await jobs.run_until_idle()

Everything is rolled back at the end, so tests need no clean-up and do not see each other. The statements are those of
production, on your PostgreSQL; only the worker is replaced by `run_until_idle`, which runs one attempt after another in
this process, without timeouts. `in_transaction_sync` is the same over psycopg, for tests without an event loop.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn, cast
from uuid import uuid4

import msgspec

from taskflow.apps.sdk.app import TaskFlow
from taskflow.apps.sdk.database import AppDatabase
from taskflow.apps.sdk.threads import Statements, run_now
from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine.client import Engine
from taskflow.engine.context import JobContext
from taskflow.engine.isolation.ending import Ending, bad_payload, raised, returned
from taskflow.engine.job import Claim, Enqueued, Job, JobFilter, NewJob, NewLogLine, NewProgress, WorkerId
from taskflow.engine.outcome import outcome_of
from taskflow.engine.registry import Kind
from taskflow.engine.store import Store

if TYPE_CHECKING:
    import asyncpg
    import psycopg

__all__ = ["Jobs", "SyncJobs", "in_transaction", "in_transaction_sync"]

MAX_ATTEMPTS = 10_000  # of one run_until_idle
PAGE = 200


@asynccontextmanager
async def in_transaction(
    app: TaskFlow,
    connection: "asyncpg.Connection[Any] | None" = None,
    *,
    state: Mapping[str, Any] | None = None,
) -> "AsyncIterator[Jobs]":
    """
    Let everything that *app* does happen in one transaction, which is rolled back at the end.

    Args:
        connection: asyncpg's, of your test, in a transaction that you roll back yourself; by default one of the app's.
        state: what job functions find at `ctx.state`; by default the app's lifespan runs.
    """
    if connection is not None:
        async with _running(app, connection, state) as jobs:
            yield jobs
        return
    async with app.database.transaction_async() as own:
        try:
            async with _running(app, own, state) as jobs:
                yield jobs
        finally:
            await own.execute("ROLLBACK; BEGIN")  # the pool's own COMMIT finds nothing


@asynccontextmanager
async def _running(
    app: TaskFlow, connection: "asyncpg.Connection[Any]", state: Mapping[str, Any] | None
) -> "AsyncIterator[Jobs]":
    bench = _Bench(app, cast("Connection", connection))
    await bench.start()
    with _instead(app, _AsyncDatabase(bench, connection)):
        if state is not None:
            bench.state = state
            yield Jobs(bench)
        else:
            async with app.open_state() as opened:
                bench.state = opened
                yield Jobs(bench)


@contextmanager
def in_transaction_sync(
    app: TaskFlow,
    connection: "psycopg.Connection[Any] | None" = None,
    *,
    state: Mapping[str, Any] | None = None,
) -> "Iterator[SyncJobs]":
    """As `in_transaction`, with a psycopg connection and *state* in place of the lifespan."""
    if connection is not None:
        yield from _running_sync(app, connection, state or {})
        return
    with app.database.transaction_sync() as own:
        try:
            yield from _running_sync(app, own, state or {})
        finally:
            own.execute("ROLLBACK")
            own.execute("BEGIN")


def _running_sync(
    app: TaskFlow, connection: "psycopg.Connection[Any]", state: Mapping[str, Any]
) -> "Iterator[SyncJobs]":
    bench = _Bench(app, cast("Connection", Statements(connection)), in_loop=False)
    bench.state = state
    run_now(bench.start())
    with _instead(app, _SyncDatabase(bench, connection)):
        yield SyncJobs(bench)


class Jobs:
    """The jobs of a test, and its time."""

    def __init__(self, bench: "_Bench") -> None:
        self._bench = bench

    @property
    def now(self) -> datetime:
        """The present instant, for the jobs of this test."""
        return self._bench.now

    async def advance(self, **by: float) -> None:
        """Move the clock on by what `timedelta` takes: `seconds=`, `hours=`, `days=` …; runs nothing."""
        await self._bench.advance(timedelta(**by))

    async def run_until_idle(self) -> list[Job]:
        """
        Run what is due, and what that submits, one attempt after another, until nothing is due.

        Returns:
            the jobs that had an attempt, in the order of their first, as they are now.
        """
        return await self._bench.run_until_idle()

    async def submitted(self, kind: str | None = None) -> list[Job]:
        """Return the newest jobs, `PAGE` at most, oldest first, in whatever state."""
        return await self._bench.submitted(kind)


class SyncJobs:
    """As `Jobs`, without an event loop."""

    def __init__(self, bench: "_Bench") -> None:
        self._bench = bench

    @property
    def now(self) -> datetime:
        return self._bench.now

    def advance(self, **by: float) -> None:
        run_now(self._bench.advance(timedelta(**by)))

    def run_until_idle(self) -> list[Job]:
        return run_now(self._bench.run_until_idle())

    def submitted(self, kind: str | None = None) -> list[Job]:
        return run_now(self._bench.submitted(kind))


@dataclass(frozen=True, slots=True)
class _Ended:
    claim: Claim
    kind: Kind[Any]
    elapsed_s: float


class _Bench:
    """A worker that works in the test's transaction, one attempt at a time. Be it over asyncpg or over psycopg."""

    def __init__(self, app: TaskFlow, connection: Connection, *, in_loop: bool = True) -> None:
        self.app = app
        self.connection = connection
        self.state: Mapping[str, Any] = {}
        self.store = Store(self._tick)
        self.engine = Engine(_OneConnection(connection), now=self._tick)
        self._in_loop = in_loop
        self._worker_id = WorkerId(uuid4())
        self._lines: list[NewLogLine] = []
        self._reports: list[NewProgress] = []

    async def start(self) -> None:
        self.now: datetime = await self.connection.fetchval("SELECT now()")
        await self.store.register_worker(
            self.connection, worker_id=self._worker_id, host="test", pid=0, queues=[], concurrency=1
        )

    def _tick(self) -> datetime:
        """The time for one statement: later than the last one's, so that jobs are in the order of their submits."""
        self.now += timedelta(microseconds=1)
        return self.now

    async def advance(self, by: timedelta) -> None:
        if by < timedelta(0):
            raise ValueError("time does not go back")
        self.now += by
        await self.store.make_partitions(self.connection, days=2)

    async def submitted(self, kind: str | None) -> list[Job]:
        chosen = JobFilter(kind=kind)
        ids, _ = await self.store.list_ids(self.connection, self.app.namespace, chosen, limit=PAGE, before=None)
        return (await self.store.read_jobs(self.connection, ids))[::-1]

    async def run_until_idle(self) -> list[Job]:
        kinds = self.app.registry.names
        tried: dict[Any, None] = {}
        for _ in range(MAX_ATTEMPTS):
            await self.store.stage(self.connection, limit=1000)
            queues = {depth.queue for depth in await self.store.queue_depths(self.connection) if depth.kind in kinds}
            claims = await self.store.claim(
                self.connection,
                worker_id=self._worker_id,
                incarnation=1,
                queues=sorted(queues),
                kinds=kinds,
                limit=1,
            )
            if not claims:
                return [job for job_id in tried for job in await self.store.read_jobs(self.connection, [job_id])]
            tried[claims[0].job_id] = None
            await self._attempt(claims[0])
        raise AssertionError(f"jobs are still due after {MAX_ATTEMPTS} attempts: do they submit each other for ever?")

    async def _attempt(self, claim: Claim) -> None:
        kind = self.app.registry[claim.kind]
        began = time.monotonic()
        ending = await self._call(claim, kind)
        outcome = outcome_of(_Ended(claim, kind, time.monotonic() - began), ending)
        written_at_s = time.monotonic()
        await self.store.write_logs(self.connection, self._lines, written_at_s=written_at_s)
        await self.store.write_progress(self.connection, self._reports[-1:], written_at_s=written_at_s)
        self._lines, self._reports = [], []
        if outcome.state == "completed":
            await self.store.complete(self.connection, [outcome])
        else:
            await self.store.finish(self.connection, [outcome])

    async def _call(self, claim: Claim, kind: Kind[Any]) -> Ending:
        """Call the function as a worker would; a statement of its that fails does not spoil the test's transaction."""
        try:
            payload = kind.decode(claim.payload)
        except msgspec.ValidationError as error:
            return bad_payload(error)
        context = JobContext(claim, self.state, self)
        await self.connection.execute("SAVEPOINT taskflow_attempt")
        try:
            if not kind.is_async:
                ending: Ending = returned(kind.handler(context, payload))
            elif self._in_loop:
                ending = returned(await kind.handler(context, payload))
            else:
                ending = returned(asyncio.run(kind.handler(context, payload)))
        except Exception as error:  # noqa: BLE001 -- the edge of an attempt
            ending = raised(error)
        try:
            await self.connection.execute("RELEASE SAVEPOINT taskflow_attempt")
        except Exception:  # noqa: BLE001 -- of whichever driver: a statement had failed, and nothing else is taken
            await self.connection.execute("ROLLBACK TO SAVEPOINT taskflow_attempt")
        return ending

    def write_line(self, line: NewLogLine) -> None:
        self._lines.append(line)

    def write_progress(self, report: NewProgress) -> None:
        self._reports.append(report)


class _OneConnection(Database):
    """A pool that lends the test's connection again and again."""

    def __init__(self, connection: Connection) -> None:
        super().__init__("")
        self._connection = connection

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        yield self._connection

    @asynccontextmanager
    async def transaction(self, **_options: Any) -> AsyncIterator[Connection]:
        async with self._connection.transaction():
            yield self._connection


@contextmanager
def _instead(app: TaskFlow, database: AppDatabase) -> Iterator[None]:
    real, app.database = app.database, database
    try:
        yield
    finally:
        app.database = real


class _Here:
    """What `AppDatabase.here` gives."""

    def __init__(self, bench: _Bench) -> None:
        self.engine = bench.engine
        self.database = self.guests = _OneConnection(bench.connection)


class _AsyncDatabase(AppDatabase):
    def __init__(self, bench: _Bench, connection: "asyncpg.Connection[Any]") -> None:
        super().__init__("postgresql://", None)
        self._bench = bench
        self._connection = connection

    async def here(self) -> Any:
        return _Here(self._bench)

    @property
    def here_if_open(self) -> Any:
        return _Here(self._bench)

    @asynccontextmanager
    async def transaction_async(self) -> "AsyncIterator[asyncpg.Connection[Any]]":
        async with self._connection.transaction():
            yield self._connection

    def transaction_sync(self) -> Any:
        _refuse("in_transaction_sync")

    def run_sync(self, ask: Any, *, instead: str | None = None) -> Any:
        _refuse("in_transaction_sync")

    def submit_sync(self, jobs: Any, wake: Any) -> list[Enqueued]:
        _refuse("in_transaction_sync")

    async def close(self) -> None:
        """The connection is the test's."""


class _SyncDatabase(AppDatabase):
    def __init__(self, bench: _Bench, connection: "psycopg.Connection[Any]") -> None:
        super().__init__("postgresql://", None)
        self._bench = bench
        self._connection = connection

    async def here(self) -> Any:
        _refuse("in_transaction")

    def transaction_async(self) -> Any:
        _refuse("in_transaction")

    @contextmanager
    def transaction_sync(self) -> "Iterator[psycopg.Connection[Any]]":
        with self._connection.transaction():
            yield self._connection

    def run_sync(self, ask: Any, *, instead: str | None = None) -> Any:
        return run_now(ask(self._bench.engine, self._bench.connection))

    def submit_sync(self, jobs: Any, wake: Any) -> list[Enqueued]:
        async def store() -> list[Enqueued]:
            given: list[NewJob] = list(jobs)
            return await self._bench.engine.enqueue_many(given)

        stored = run_now(store())
        wake(jobs)
        return stored


def _refuse(other: str) -> NoReturn:
    raise TypeError(f"this test's jobs are on a connection of the other sort; use taskflow.testing.{other}")
