"""Proof of life, and mending what children leave, on a real database."""

import asyncio
from typing import Any

import pytest
from tests.support.proxy import Proxy
from tests.support.waiting import eventually
from tests.support.workers import Number, claim, metric, reaches, supervising, working

from taskflow.db import pool
from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine import supervision as module
from taskflow.engine.client import Engine
from taskflow.engine.job import JobId, NewJob, OutcomeKind, State
from taskflow.engine.registry import JobContext, Registry
from taskflow.engine.store import Store
from taskflow.engine.worker import FENCE_S

STORE = Store()


@pytest.fixture
def engine(database: Database) -> Engine:
    return Engine(database)


async def submit(engine: Engine, jobs: int) -> list[JobId]:
    return [answer.id for answer in await engine.enqueue_many([NewJob("noop", {})] * jobs)]


async def test_a_worker_is_registered_beats_and_signs_off(
    database_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_S", 0.02)
    async with supervising(database_url, queues=["a", "b"], concurrency=12) as supervisor:
        [first] = await engine.list_workers()
        assert (first.id, first.queues, first.concurrency, first.alive) == (supervisor.id, ["a", "b"], 12, True)
        beats = supervisor.beats
        await eventually("three more heartbeats", lambda: supervisor.beats >= beats + 3)
        [later] = await engine.list_workers()
        assert later.heartbeat_at > first.heartbeat_at
        assert later.started_at == first.started_at
    assert await engine.list_workers() == []


async def test_no_heartbeat_is_passed_on_that_the_database_did_not_take(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Children go on by this: it must not say more than is true."""
    monkeypatch.setattr(module, "HEARTBEAT_S", 0.02)
    async with Proxy(database_url) as proxy, supervising(proxy.url) as supervisor:
        await proxy.close_door()
        await eventually("the connections to be lost", lambda: proxy.open == 0)
        await asyncio.sleep(0.05)
        beats = supervisor.beats
        await asyncio.sleep(0.1)
        assert supervisor.beats == beats
        await proxy.heal()
        await eventually("the next heartbeat", lambda: supervisor.beats > beats)


@pytest.mark.slow
async def test_a_half_open_connection_does_not_keep_it_from_its_heartbeat(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting for the network's own verdict would take longer than the lease."""
    monkeypatch.setattr(module, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(module, "PULSE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(module, "STOP_PATIENCE_S", 0.1)
    monkeypatch.setattr(pool, "CONNECT_TIMEOUT_S", 0.5)
    async with Proxy(database_url) as proxy, supervising(proxy.url) as supervisor:
        proxy.swallow()
        await asyncio.sleep(0.2)
        await proxy.heal(cut=False)  # what was open stays silent, what is new passes
        beats = supervisor.beats
        await eventually("a heartbeat on a new connection", lambda: supervisor.beats > beats, within_s=4)


async def test_a_supervisor_that_was_declared_dead_registers_again_and_goes_on(
    database_url: str, engine: Engine, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its jobs were given to others; its children claim again under the same id, and publish their kinds."""
    monkeypatch.setattr(module, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr("taskflow.engine.worker.RECONCILE_S", 0.05)
    registry, started, let_go = Registry(), asyncio.Queue[int](), asyncio.Event()

    @registry.job("hold", payload=Number)
    async def hold(ctx: JobContext, payload: Number) -> int:
        started.put_nowait(ctx.attempt)
        await let_go.wait()
        return ctx.attempt

    async with supervising(database_url) as supervisor, working(database_url, registry, under=supervisor):
        job = await engine.enqueue(NewJob("hold", {}))
        assert await asyncio.wait_for(started.get(), 8) == 1
        leases = await connection.fetch("SELECT id FROM taskflow.lease")
        async with connection.transaction():
            await STORE.remove_worker(connection, supervisor.id)
            await STORE.return_leases(connection, [row["id"] for row in leases], OutcomeKind.LOST)
        assert await asyncio.wait_for(started.get(), 8) == 2
        let_go.set()
        ended = await reaches(engine, job)
        assert (ended.state, ended.result, ended.failures) == (State.COMPLETED, 2, 0)

        async def known_again() -> bool:
            return [list(worker.kinds) for worker in await engine.list_workers()] == [["hold"]]

        await eventually("the worker's kinds to be known again", known_again)


@pytest.mark.covers("S2-2")
async def test_the_death_of_one_child_returns_its_jobs_alone(
    database_url: str, engine: Engine, connection: Connection
) -> None:
    rescued = metric("taskflow_rescued_jobs_total")
    async with supervising(database_url) as supervisor:
        jobs = await submit(engine, 4)
        for incarnation in (1, 2):
            await claim(connection, supervisor.id, kinds=["noop"], limit=2, incarnation=incarnation)
        await supervisor.supervision.child_died(1)
        states = [(await engine.get_job(job_id)).state for job_id in jobs]
        assert states == [State.PENDING, State.PENDING, State.ACTIVE, State.ACTIVE]
        [attempt] = await engine.list_attempts(jobs[0])
        assert attempt.outcome is OutcomeKind.LOST
        assert (await engine.get_job(jobs[0])).failures == 0
        assert metric("taskflow_rescued_jobs_total") == rescued + 2
        await supervisor.supervision.child_died(7)
    assert [(await engine.get_job(job_id)).state for job_id in jobs] == [State.PENDING] * 4
    [attempt] = await engine.list_attempts(jobs[3])
    assert attempt.outcome is OutcomeKind.HANDED_BACK


async def test_the_death_of_a_child_in_an_outage_is_mended_after_it(
    database_url: str, engine: Engine, connection: Connection
) -> None:
    async with Proxy(database_url) as proxy, supervising(proxy.url) as supervisor:
        [job_id] = await submit(engine, 1)
        await claim(connection, supervisor.id, kinds=["noop"])
        await proxy.close_door()
        mending = asyncio.create_task(supervisor.supervision.child_died(1))
        done, _ = await asyncio.wait({mending}, timeout=0.1)
        assert not done
        await proxy.heal()
        await asyncio.wait_for(mending, 8)
        assert (await engine.get_job(job_id)).state is State.PENDING


async def test_a_claim_that_commits_after_its_child_has_died_is_returned_too(
    database_url: str, engine: Engine, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A killed process' last statement lives on in the server and may commit when its leases have been looked for.

    Its worker's row lives, so the reaper would leave that lease alone for ever.
    """
    monkeypatch.setattr(module, "HEARTBEAT_S", 0.05)
    async with supervising(database_url) as supervisor:
        [job_id] = await submit(engine, 1)
        async with connection.transaction():
            [held] = await STORE.claim(
                connection,
                worker_id=supervisor.id,
                incarnation=1,
                queues=["default"],
                kinds=["noop"],
                limit=1,
                lease_ids=None,
            )
            await supervisor.supervision.child_died(1)
        assert held.job_id == job_id
        back = await reaches(engine, job_id, State.PENDING)
        assert (back.attempt, back.failures) == (1, 0)


async def test_suspects_are_known_whoever_mends_first(
    database_url: str, engine: Engine, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look for late claims may come while `child_died` waits for its next try after an outage."""
    monkeypatch.setattr(module, "HEARTBEAT_S", 0.05)
    async with supervising(database_url) as supervisor:
        [job_id] = await submit(engine, 1)
        await claim(connection, supervisor.id, kinds=["noop"])
        rescue = supervisor.supervision._rescue
        died, mended = asyncio.current_task(), asyncio.Event()

        async def refuses_the_first(*args: Any) -> None:
            if asyncio.current_task() is died and not mended.is_set():
                await mended.wait()
                raise ConnectionResetError
            await rescue(*args)
            mended.set()

        monkeypatch.setattr(supervisor.supervision, "_rescue", refuses_the_first)
        await supervisor.supervision.child_died(1, [job_id])
        assert await connection.fetchval("SELECT suspect FROM taskflow.ready WHERE job_id = $1", job_id)


def test_a_half_open_connection_is_given_up_before_anybody_is_fenced() -> None:
    """A statement's timeout, as long again for its cancel, and the wait since the heartbeat before."""
    assert module.HEARTBEAT_S + 2 * module.PULSE_TIMEOUT_S < FENCE_S


@pytest.mark.slow
async def test_signing_off_without_a_database_is_bounded(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_PATIENCE_S", 0.1)
    monkeypatch.setattr(pool, "CONNECT_TIMEOUT_S", 0.1)
    async with Proxy(database_url) as proxy, asyncio.timeout(8), supervising(proxy.url):
        proxy.swallow()
