"""A worker under real supervision, in the test's own event loop, on a real database."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from tests.support.proxy import Proxy
from tests.support.waiting import eventually
from tests.support.workers import Nothing, Number, metric, reaches, stopped, supervising, working

from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine import agenda
from taskflow.engine import worker as module
from taskflow.engine.client import Engine
from taskflow.engine.job import (
    MAX_LOG_LINES,
    PRIORITY_HIGH,
    PRIORITY_LOW,
    Enqueued,
    FailureReason,
    Job,
    JobId,
    NewJob,
    OutcomeKind,
    State,
)
from taskflow.engine.registry import Cancel, JobContext, Registry, Retry, Snooze
from taskflow.engine.store import LEASE_S, Store
from taskflow.engine.supervision import HEARTBEAT_S
from taskflow.kernel.errors import Permanent

STORE = Store()


def at_once(failures: int) -> float:
    """A backoff that no test waits for."""
    return 0.01


@dataclass
class Application:
    """Handlers that a test can watch and hold up."""

    registry: Registry = field(default_factory=Registry)
    started: "asyncio.Queue[JobContext]" = field(default_factory=asyncio.Queue)
    order: list[int] = field(default_factory=list)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: list[JobId] = field(default_factory=list)
    running: int = 0
    most: int = 0

    def __post_init__(self) -> None:
        @self.registry.job("noop", payload=Number)
        async def noop(ctx: JobContext, payload: Number) -> int:
            self.order.append(payload.number)
            return payload.number

        @self.registry.job("hold", payload=Number)
        async def hold(ctx: JobContext, payload: Number) -> str:
            """Run until the test lets go, or until it is stopped."""
            self.started.put_nowait(ctx)
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                self.stopped.append(ctx.job_id)
                raise
            finally:
                self.running -= 1
            return f"attempt {ctx.attempt}"

        @self.registry.job("hang", payload=Number)
        async def hang(ctx: JobContext, payload: Number) -> None:
            """Never end before the test lets go, whatever anybody says."""
            self.started.put_nowait(ctx)
            while not self.let_go.is_set():
                try:
                    await self.let_go.wait()
                except asyncio.CancelledError:
                    self.stopped.append(ctx.job_id)

    async def next_started(self) -> JobContext:
        return await asyncio.wait_for(self.started.get(), 8)


@pytest.fixture
async def app() -> AsyncIterator[Application]:
    app = Application()
    yield app
    app.let_go.set()


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[Engine]:
    async with Engine(database) as engine:
        yield engine


@pytest.fixture(autouse=True)
def quick_stager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agenda, "MAX_AGE_S", 0.02)


@pytest.fixture
def never_reconcile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is found out by comparing with the database, so that other ways are seen to work."""
    monkeypatch.setattr(module, "RECONCILE_S", 3600.0)


@pytest.fixture
def reconcile_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECONCILE_S", 0.05)


async def history(engine: Engine, job: Enqueued | Job) -> list[tuple[int, OutcomeKind]]:
    return [(attempt.attempt, attempt.outcome) for attempt in await engine.list_attempts(job.id)]


# Running jobs --------------------------------------------------------------------------------------------------------


@pytest.mark.covers("S2-2", "S2-3", "S2-12", "S2-16", "S2-17", "S3-13", "S3-14")
async def test_a_job_is_completed_with_its_result(database_url: str, engine: Engine, app: Application) -> None:
    async with working(database_url, app.registry):
        jobs = await engine.enqueue_many([NewJob("noop", {"number": n}) for n in range(100)])
        for number, job in enumerate(jobs):
            ended = await reaches(engine, job)
            assert (ended.state, ended.result, ended.attempt, ended.failures) == (State.COMPLETED, number, 1, 0)
            assert ended.started_at is not None
            assert ended.finished_at is not None
            assert job.created_at <= ended.finished_at
        assert await history(engine, jobs[0]) == [(1, OutcomeKind.COMPLETED)]
    assert sorted(app.order) == list(range(100))
    assert await engine.list_workers() == []


@pytest.mark.covers("S2-16")
async def test_a_worker_publishes_its_kinds_and_says_what_it_runs(
    database_url: str, engine: Engine, app: Application
) -> None:
    async with working(database_url, app.registry, concurrency=7) as worker:

        async def both_known() -> bool:
            [info] = await engine.list_workers()
            return list(info.kinds) == ["hang", "hold", "noop"] and len(await engine.list_kinds()) == 3

        await eventually("the kinds to be known", both_known)
        [info] = await engine.list_workers()
        assert (info.id, info.queues, info.concurrency, info.alive) == (worker._worker_id, ["default"], 7, True)
        kinds = {kind.kind: kind for kind in await engine.list_kinds()}
        assert '"number"' in str(kinds["noop"].schema).replace("'", '"')


@pytest.mark.covers("S2-2", "S2-19", "S2-20", "S2-34")
async def test_failures_are_retried_until_one_succeeds_or_retries_are_used_up(
    database_url: str, engine: Engine
) -> None:
    registry = Registry()

    @registry.job("flaky", payload=Number, backoff=at_once)
    async def flaky(ctx: JobContext, payload: Number) -> str:
        if ctx.failures < payload.number:
            raise KeyError(f"failure {ctx.failures + 1}")
        return f"attempt {ctx.attempt}"

    async with working(database_url, registry):
        twice = await engine.enqueue(NewJob("flaky", {"number": 2}))
        always = await engine.enqueue(NewJob("flaky", {"number": 99}, retries=2))
        ended = await reaches(engine, twice)
        assert (ended.state, ended.result, ended.attempt, ended.failures, ended.error) == (
            State.COMPLETED, "attempt 3", 3, 2, None,
        )  # fmt: skip
        failed = await reaches(engine, always)
        assert (failed.state, failed.failure_reason, failed.attempt, failed.failures) == (
            State.FAILED, FailureReason.EXHAUSTED, 3, 3,
        )  # fmt: skip
        assert failed.error is not None
        assert failed.error.message == "'failure 3'"
        attempts = await engine.list_attempts(always.id)
        assert [attempt.outcome for attempt in attempts] == [OutcomeKind.ERROR] * 3
        assert [attempt.retry_at is None for attempt in attempts] == [False, False, True]


async def test_verdicts_of_handlers_are_carried_out(database_url: str, engine: Engine) -> None:
    registry = Registry()
    first = [Retry(0.01), Snooze(0.01), Cancel(), Permanent("never"), SystemExit(1), asyncio.CancelledError()]

    @registry.job("verdict", payload=Number, backoff=at_once)
    async def verdict(ctx: JobContext, payload: Number) -> int:
        if ctx.attempt == 1:
            raise first[payload.number]
        return ctx.attempt

    async with working(database_url, registry):
        jobs = await engine.enqueue_many([NewJob("verdict", {"number": n}) for n in range(len(first))])
        ended = [await reaches(engine, job) for job in jobs]
    assert [(job.state, job.attempt, job.failures) for job in ended] == [
        (State.COMPLETED, 2, 1),
        (State.COMPLETED, 2, 0),
        (State.CANCELLED, 1, 0),
        (State.FAILED, 1, 1),
        (State.COMPLETED, 2, 1),
        (State.COMPLETED, 2, 1),
    ]
    assert await history(engine, jobs[1]) == [(1, OutcomeKind.SNOOZED), (2, OutcomeKind.COMPLETED)]


@pytest.mark.covers("S2-21")
async def test_a_job_over_its_timeout_is_stopped_and_retried(
    database_url: str, engine: Engine, app: Application
) -> None:
    async with working(database_url, app.registry):
        job = await engine.enqueue(NewJob("hold", {}, timeout_s=0.05))
        await app.next_started()
        ended = await reaches(engine, job, State.RETRYING)
        assert app.stopped == [job.id]
        assert (ended.failures, ended.error and ended.error.type) == (1, "Timeout")
        assert await history(engine, job) == [(1, OutcomeKind.TIMEOUT)]


@pytest.mark.covers("S2-18")
async def test_with_one_place_higher_priorities_go_first_and_equal_ones_in_order(
    database_url: str, engine: Engine, app: Application
) -> None:
    for number, priority in enumerate((PRIORITY_LOW, 5, PRIORITY_HIGH, 5, PRIORITY_HIGH, 0, 9)):
        await engine.enqueue(NewJob("noop", {"number": number}, priority=priority))
    async with working(database_url, app.registry, concurrency=1):
        await eventually("all to run", lambda: len(app.order) == 7)
    assert app.order == [6, 2, 4, 1, 3, 0, 5]


async def test_queues_take_turns_so_that_none_starves_another(
    database_url: str, engine: Engine, app: Application
) -> None:
    await engine.enqueue_many([NewJob("noop", {"number": 0}, queue="a")] * 20)
    await engine.enqueue_many([NewJob("noop", {"number": 1}, queue="b")] * 20)
    async with working(database_url, app.registry, queues=["a", "b"], concurrency=1):
        await eventually("all to run", lambda: len(app.order) == 40)
    assert app.order[0::2] == [app.order[0]] * 20
    assert app.order[1::2] == [1 - app.order[0]] * 20


async def test_kinds_and_queues_that_it_does_not_have_are_left_alone(
    database_url: str, engine: Engine, app: Application
) -> None:
    stranger = await engine.enqueue(NewJob("stranger", {}, priority=9))
    elsewhere = await engine.enqueue(NewJob("noop", {}, queue="elsewhere"))
    own = await engine.enqueue(NewJob("noop", {}, priority=0))
    async with working(database_url, app.registry, concurrency=1):
        await reaches(engine, own, State.COMPLETED)
        for job in (stranger, elsewhere):
            found = await engine.get_job(job.id)
            assert (found.state, found.attempt) == (State.PENDING, 0)


@pytest.mark.covers("S2-32")
async def test_concurrency_is_used_and_never_exceeded(database_url: str, engine: Engine, app: Application) -> None:
    await engine.enqueue_many([NewJob("hold", {})] * 30)
    async with working(database_url, app.registry, concurrency=4):
        await eventually("four to run", lambda: app.running == 4)
        app.let_go.set()
        await eventually("all to have started", lambda: app.started.qsize() == 30)
    assert app.most == 4


@pytest.mark.covers("S2-9", "S2-22")
async def test_lines_that_a_handler_wrote_are_kept_in_order_and_capped(database_url: str, engine: Engine) -> None:
    registry = Registry()

    @registry.job("chatty", payload=Number)
    async def chatty(ctx: JobContext, payload: Number) -> None:
        for number in range(payload.number):
            ctx.log(f"line {number}", "warning" if number % 2 else "info")

    async with working(database_url, registry):
        few = await engine.enqueue(NewJob("chatty", {"number": 5}))
        many = await engine.enqueue(NewJob("chatty", {"number": MAX_LOG_LINES + 7}))
        await reaches(engine, few, State.COMPLETED)
        await reaches(engine, many, State.COMPLETED)
    lines = await engine.list_logs(few.id, limit=100)
    assert [(line.message, line.level, line.attempt) for line in lines] == [
        (f"line {number}", "warning" if number % 2 else "info", 1) for number in range(5)
    ]
    assert await engine.list_logs(few.id, after_seq=lines[2].seq, limit=100) == lines[3:]
    capped = await engine.list_logs(many.id, limit=2 * MAX_LOG_LINES)
    assert len(capped) == MAX_LOG_LINES
    assert capped[-2].message == f"line {MAX_LOG_LINES - 2}"
    assert f"keeps {MAX_LOG_LINES} lines" in capped[-1].message


async def test_handlers_find_what_the_lifespan_opened(database_url: str, engine: Engine) -> None:
    events: list[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Mapping[str, Any]]:
        events.append("opened")
        yield {"greeting": "hello"}
        events.append("closed")

    registry = Registry()

    @registry.job("greet", payload=Nothing)
    async def greet(ctx: JobContext, payload: Nothing) -> str:
        events.append("used")
        return str(ctx.state["greeting"])

    async with working(database_url, registry, lifespan=lifespan):
        job = await engine.enqueue(NewJob("greet", {}))
        assert (await reaches(engine, job)).result == "hello"
    assert events == ["opened", "used", "closed"]


# Cancelling ----------------------------------------------------------------------------------------------------------


@pytest.mark.covers("S2-10")
@pytest.mark.usefixtures("never_reconcile")
async def test_a_cancel_reaches_an_active_job_by_notification(
    database_url: str, engine: Engine, app: Application
) -> None:
    async with working(database_url, app.registry) as worker:
        await worker._listener.connected.wait()
        job, neighbour = await engine.enqueue_many([NewJob("hold", {})] * 2)
        contexts = {ctx.job_id: ctx for ctx in (await app.next_started(), await app.next_started())}
        assert (await engine.cancel(job.id)).state is State.ACTIVE
        ended = await reaches(engine, job)
        assert (ended.state, ended.failures) == (State.CANCELLED, 0)
        assert contexts[job.id].cancelled
        assert app.stopped == [job.id]
        assert not contexts[neighbour.id].cancelled
        app.let_go.set()
        assert (await reaches(engine, neighbour)).state is State.COMPLETED


@pytest.mark.covers("S2-10")
@pytest.mark.usefixtures("reconcile_often")
async def test_a_cancel_whose_notification_is_lost_is_found_by_comparing(
    database_url: str, engine: Engine, app: Application
) -> None:
    """As behind a pooler that takes no LISTEN: polling alone is correct."""
    async with Proxy(database_url) as proxy:
        proxy.refuse(b"LISTEN")
        async with working(proxy.url, app.registry) as worker:
            job = await engine.enqueue(NewJob("hold", {}))
            await app.next_started()
            assert not worker._listener.connected.is_set()
            await engine.cancel(job.id)
            assert (await reaches(engine, job)).state is State.CANCELLED


@pytest.mark.usefixtures("never_reconcile")
async def test_a_cancel_of_an_earlier_attempt_does_not_stop_the_replay(
    database_url: str, engine: Engine, app: Application, connection: Connection
) -> None:
    """The lease that the cancel was asked of may live on, for a neighbour's sake, when the job runs again."""

    @app.registry.job("fail_once", payload=Nothing)
    async def fail_once(ctx: JobContext, payload: Nothing) -> None:
        app.started.put_nowait(ctx)
        if ctx.attempt == 1:
            await fail.wait()
            raise Permanent
        await app.let_go.wait()

    fail = asyncio.Event()
    [job, _] = await engine.enqueue_many([NewJob("fail_once", {}), NewJob("hold", {})])
    async with working(database_url, app.registry, concurrency=2) as worker:
        await app.next_started()
        await app.next_started()
        assert await STORE.request_cancel(connection, job.id)
        fail.set()
        await reaches(engine, job, State.FAILED)
        await engine.replay(job.id)
        assert (await app.next_started()).attempt == 2
        await worker._reconcile()
        app.let_go.set()
        assert (await reaches(engine, job)).state is State.COMPLETED


# Draining ------------------------------------------------------------------------------------------------------------


async def test_a_drain_lets_attempts_end_and_claims_nothing_more(
    database_url: str, engine: Engine, app: Application
) -> None:
    jobs = await engine.enqueue_many([NewJob("hold", {})] * 3)
    async with working(database_url, app.registry, concurrency=2) as worker:
        for _ in range(2):
            await app.next_started()
        worker.request_stop()
        app.let_go.set()
        await stopped(worker)
        assert not worker.is_stuck
        states = [(await engine.get_job(job.id)).state for job in jobs]
        assert states == [State.COMPLETED, State.COMPLETED, State.PENDING]
    assert app.started.empty()


async def test_what_does_not_end_within_its_grace_is_handed_back_uncharged(
    database_url: str, engine: Engine, app: Application
) -> None:
    async with working(database_url, app.registry, grace_s=0.05) as worker:
        job = await engine.enqueue(NewJob("hold", {}))
        await app.next_started()
        worker.request_stop()
        await stopped(worker)
        assert not worker.is_stuck
        back = await engine.get_job(job.id)
        assert (back.state, back.attempt, back.failures) == (State.PENDING, 1, 0)
        assert await history(engine, job) == [(1, OutcomeKind.HANDED_BACK)]


async def test_a_second_stop_does_not_wait_for_the_grace(database_url: str, engine: Engine, app: Application) -> None:
    async with working(database_url, app.registry, grace_s=3600.0) as worker:
        job = await engine.enqueue(NewJob("hold", {}))
        await app.next_started()
        worker.request_stop()
        await asyncio.sleep(0)
        worker.request_stop()
        await stopped(worker)
        assert (await engine.get_job(job.id)).state is State.PENDING


@pytest.mark.slow
async def test_a_stuck_handler_costs_its_process_and_its_neighbours_nothing(
    database_url: str, engine: Engine, app: Application
) -> None:
    """Its own job becomes what it was stopped for; the others are handed back at once, whatever the grace."""
    async with working(database_url, app.registry, grace_s=3600.0, cancel_grace_s=0.1) as worker:
        neighbour = await engine.enqueue(NewJob("hold", {}))
        stuck = await engine.enqueue(NewJob("hang", {}, timeout_s=0.05))
        await app.next_started()
        await app.next_started()
        await stopped(worker)
        assert worker.is_stuck
        assert (await engine.get_job(neighbour.id)).state is State.PENDING
        assert await history(engine, neighbour) == [(1, OutcomeKind.HANDED_BACK)]
        late = await engine.get_job(stuck.id)
        assert (late.state, late.failures) == (State.RETRYING, 1)
        assert await history(engine, stuck) == [(1, OutcomeKind.TIMEOUT)]


async def test_a_worker_stopped_before_it_could_start_stops(database_url: str, app: Application) -> None:
    async with supervising(database_url) as supervisor, Proxy(database_url) as proxy:
        await proxy.close_door()
        tried = metric("taskflow_db_reconnects_total")
        async with working(proxy.url, app.registry, under=supervisor) as worker:
            await eventually("a try to connect", lambda: metric("taskflow_db_reconnects_total") > tried)
            worker.request_stop()
            await stopped(worker)


async def test_what_cannot_be_written_at_the_end_is_said(
    database_url: str, engine: Engine, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = structlog.testing.CapturingLogger()
    monkeypatch.setattr(module, "_log", log)
    monkeypatch.setattr(module, "FLUSH_PATIENCE_S", 0.1)
    async with (
        Proxy(database_url) as proxy,
        supervising(database_url) as supervisor,
        working(proxy.url, app.registry, under=supervisor) as worker,
    ):
        await engine.enqueue(NewJob("hold", {}))
        await app.next_started()
        await proxy.close_door()
        worker.request_stop()
        app.let_go.set()
        await stopped(worker)
    assert [call.kwargs for call in log.calls if call.args == ("taskflow.worker.unwritten",)] == [{"jobs": 1}]


# Losing the right to work --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("reconcile_often")
async def test_a_claim_whose_answer_was_lost_is_handed_back_and_run(
    database_url: str, engine: Engine, app: Application
) -> None:
    """Nobody here knows that it holds the job: only the database does."""
    async with Proxy(database_url) as proxy, supervising(database_url) as supervisor:
        proxy.lose_answer("claim")
        job = await engine.enqueue(NewJob("noop", {"number": 1}))
        async with working(proxy.url, app.registry, under=supervisor):
            ended = await reaches(engine, job)
            assert proxy.lost == 1
            assert (ended.state, ended.attempt, ended.failures) == (State.COMPLETED, 2, 0)
            assert await history(engine, job) == [(1, OutcomeKind.HANDED_BACK), (2, OutcomeKind.COMPLETED)]
    assert app.order == [1]


@pytest.mark.usefixtures("reconcile_often")
async def test_an_attempt_whose_lease_was_taken_away_is_stopped_and_its_outcome_dropped(
    database_url: str, engine: Engine, app: Application, connection: Connection
) -> None:
    lost = metric("taskflow_leases_lost_total")
    async with working(database_url, app.registry, concurrency=1):
        job = await engine.enqueue(NewJob("hold", {}))
        first = await app.next_started()
        leases = await connection.fetch("SELECT id FROM taskflow.lease")
        await STORE.return_leases(connection, [row["id"] for row in leases], OutcomeKind.LOST)
        second = await app.next_started()
        assert (first.attempt, second.attempt) == (1, 2)
        assert app.stopped == [job.id]
        assert app.most == 1  # the first kept its place until it had ended
        app.let_go.set()
        ended = await reaches(engine, job)
    assert (ended.result, ended.failures) == ("attempt 2", 0)
    assert await history(engine, job) == [(1, OutcomeKind.LOST), (2, OutcomeKind.COMPLETED)]
    assert metric("taskflow_leases_lost_total") == lost


@pytest.mark.slow
async def test_a_worker_without_heartbeats_hands_back_waits_and_goes_on(
    database_url: str, engine: Engine, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever cannot prove its life must expect its jobs to be given to others."""
    monkeypatch.setattr(module, "FENCE_S", 0.2)
    async with (
        supervising(database_url) as supervisor,
        working(database_url, app.registry, under=supervisor) as worker,
    ):
        job = await engine.enqueue(NewJob("hold", {}))
        await app.next_started()
        back = await reaches(engine, job, State.PENDING)
        assert (back.attempt, back.failures, app.stopped) == (1, 0, [job.id])
        assert await history(engine, job) == [(1, OutcomeKind.HANDED_BACK)]
        other = await engine.enqueue(NewJob("noop", {}))
        done, _ = await asyncio.wait({asyncio.ensure_future(app.started.get())}, timeout=0.3)
        assert not done
        assert (await engine.get_job(other.id)).state is State.PENDING
        monkeypatch.setattr(module, "FENCE_S", 3600.0)
        worker.beat()
        assert (await reaches(engine, other)).state is State.COMPLETED


def test_the_fence_falls_before_others_take_the_jobs_and_not_after_one_late_heartbeat() -> None:
    assert 2 * HEARTBEAT_S < module.FENCE_S <= LEASE_S - 3


# Outages -------------------------------------------------------------------------------------------------------------


@pytest.mark.covers("S2-2")
async def test_an_outage_in_the_middle_of_jobs_costs_time_and_nothing_else(
    database_url: str, engine: Engine, app: Application, connection: Connection
) -> None:
    async with Proxy(database_url) as proxy:
        jobs = await engine.enqueue_many([NewJob("hold", {"number": n}) for n in range(6)])
        async with working(proxy.url, app.registry, concurrency=3):
            for _ in range(3):
                await app.next_started()
            await proxy.close_door()
            app.let_go.set()
            await eventually("the attempts to end", lambda: app.running == 0)
            assert [(await engine.get_job(job.id)).state for job in jobs[:3]] == [State.ACTIVE] * 3
            await proxy.heal()
            ended = [await reaches(engine, job) for job in jobs]
    assert [(job.state, job.attempt, job.failures) for job in ended] == [(State.COMPLETED, 1, 0)] * 6
    assert await connection.fetchval("SELECT count(*) FROM taskflow.done") == 6


async def test_connections_cut_again_and_again_lose_no_job_and_complete_none_twice(
    database_url: str, engine: Engine, app: Application, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECONCILE_S", 0.05)
    async with Proxy(database_url) as proxy:
        async with working(proxy.url, app.registry, concurrency=5):
            jobs: list[Enqueued] = []
            for round_number in range(8):
                jobs += await engine.enqueue_many([NewJob("noop", {"number": len(jobs) + n}) for n in range(15)])
                lose = proxy.lose_answer if round_number % 2 else proxy.lose_request
                lose("claim" if round_number % 4 < 2 else "complete")
                if round_number % 5 == 4:
                    proxy.cut()
            ended = [await reaches(engine, job) for job in jobs]
        assert proxy.lost == 8
    assert {job.state for job in ended} == {State.COMPLETED}
    assert {job.failures for job in ended} == {0}
    assert await connection.fetchval("SELECT count(*) FROM taskflow.done") == len(jobs)
    assert await connection.fetchval("SELECT count(*) FROM taskflow.lease") == 0


@pytest.mark.slow
@pytest.mark.usefixtures("never_reconcile")
async def test_a_worker_that_was_behind_with_writing_claims_again_when_it_has_caught_up(
    database_url: str, engine: Engine, app: Application, connection: Connection
) -> None:
    """With every place free and no notification coming, only the end of a flush can tell it."""
    for _ in range(3):
        await engine.enqueue_many([NewJob("noop", {})] * 1000)
    async with connection.transaction():
        await connection.execute("LOCK TABLE taskflow.done IN SHARE MODE")
        async with working(database_url, app.registry, concurrency=250) as worker:

            def behind() -> bool:
                return len(worker._completer) > 2000 and worker._free_places() == 0

            await eventually("the buffer to be full", behind)
            assert len(app.order) < 3000
            await connection.execute("ROLLBACK; BEGIN")
            await eventually("the rest to run", lambda: len(app.order) == 3000)
