"""Making jobs ready when they are due."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest
from tests.support.clock import FakeClock
from tests.support.waiting import eventually
from tests.support.workers import claim, register, supervising

from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine import stager as module
from taskflow.engine.agenda import MAX_AGE_S, PAUSE_FLOOR_S, Agenda
from taskflow.engine.job import JobId, NewJob, State, WorkerId
from taskflow.engine.leader import Leader
from taskflow.engine.stager import Stager
from taskflow.engine.store import Store


class Stage:
    """A stager whose leader leads, by a clock that the test moves."""

    def __init__(self, database: Database, connection: Connection, clock: FakeClock) -> None:
        self.clock, self.connection, self.store = clock, connection, Store(clock)
        self.woken: list[str] = []
        self.leader = Leader(database, self.store, WorkerId(uuid4()))
        self.agenda = Agenda(database, self.store)
        self.stager = Stager(database, self.store, self.leader, self.agenda, wake=self.woken.extend)

    async def tick(self) -> float:
        """Tick with a new look: the clock has been moved, which the agenda does not know."""
        self.agenda.forget()
        return await self.stager.tick()

    async def schedule(self, *seconds: float, queue: str = "default") -> list[JobId]:
        jobs = [NewJob("noop", {}, queue=queue, run_after=timedelta(seconds=wait_s)) for wait_s in seconds]
        return [answer.id for answer in await self.store.enqueue(self.connection, jobs)]

    async def states(self, jobs: list[JobId]) -> list[State]:
        found = {job.id: job.state for job in await self.store.read_jobs(self.connection, jobs)}
        return [found[job_id] for job_id in jobs]


@pytest.fixture
async def stage(database: Database, connection: Connection, clock: FakeClock) -> AsyncIterator[Stage]:
    stage = Stage(database, connection, clock)
    leading = asyncio.create_task(stage.leader.run())
    await asyncio.wait_for(stage.leader.elected.wait(), 8)
    yield stage
    leading.cancel()
    await asyncio.gather(leading, return_exceptions=True)


async def test_what_is_due_becomes_ready_and_its_queue_is_woken(stage: Stage) -> None:
    jobs = await stage.schedule(10, 20, 30)
    other = await stage.schedule(10, queue="other")
    stage.clock.advance(seconds=20.001)  # jobs of one batch are a microsecond apart
    await stage.tick()
    assert await stage.states(jobs + other) == [State.PENDING, State.PENDING, State.SCHEDULED, State.PENDING]
    assert sorted(stage.woken) == ["default", "other"]


async def test_nothing_is_ready_before_its_time(stage: Stage) -> None:
    jobs = await stage.schedule(10)
    stage.clock.advance(seconds=9.99)
    await stage.tick()
    assert await stage.states(jobs) == [State.SCHEDULED]
    assert stage.woken == []


async def test_batches_go_soonest_first_without_a_pause(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_JOBS", 2)
    jobs = await stage.schedule(50, 10, 40, 20, 30)
    stage.clock.advance(seconds=100)
    assert await stage.tick() == 0.0
    assert await stage.states(jobs) == [State.SCHEDULED, State.PENDING, State.SCHEDULED, State.PENDING, State.SCHEDULED]
    assert await stage.tick() == 0.0
    assert await stage.tick() > 0.0
    assert await stage.states(jobs) == [State.PENDING] * 5
    claims = await claim(stage.connection, await register(stage.connection), kinds=["noop"], store=stage.store)
    assert [held.job_id for held in claims] == [jobs[1], jobs[3], jobs[4], jobs[2], jobs[0]]


async def test_it_sleeps_until_the_next_is_due_but_never_longer_than_a_second(stage: Stage) -> None:
    assert 0.5 < await stage.tick() <= MAX_AGE_S <= 1.0
    await stage.schedule(3600)
    assert 0.5 < await stage.tick() <= MAX_AGE_S
    await stage.schedule(0.25)
    assert 0.2 < await stage.tick() < 0.26
    stage.clock.advance(seconds=0.249)
    assert await stage.tick() == PAUSE_FLOOR_S


async def test_who_does_not_lead_or_finds_another_at_it_stages_nothing(
    stage: Stage, database: Database, second: Connection
) -> None:
    jobs = await stage.schedule(1)
    stage.clock.advance(seconds=2)
    follower = Leader(database, stage.store, WorkerId(uuid4()))
    await Stager(database, stage.store, follower, stage.agenda, wake=stage.woken.extend).tick()
    async with second.transaction():
        assert await stage.store.try_duty_lock(second, module.DUTY)
        assert await stage.stager.stage() == 0
    assert await stage.states(jobs) == [State.SCHEDULED]
    assert await stage.stager.stage() == 1


async def test_a_row_that_somebody_cancels_is_left_to_them(stage: Stage, second: Connection) -> None:
    [kept, cancelled] = await stage.schedule(1, 1)
    stage.clock.advance(seconds=2)
    body = await stage.store.find_body(second, cancelled, None)
    assert body is not None
    async with second.transaction():
        assert await stage.store.cancel_waiting(second, body)
        assert await stage.stager.stage() == 1
    assert await stage.states([kept, cancelled]) == [State.PENDING, State.CANCELLED]


@pytest.mark.slow
async def test_under_supervision_a_scheduled_job_is_ready_in_time(database_url: str, connection: Connection) -> None:
    """The real loop, on the database's clock."""
    store = Store()
    async with supervising(database_url):
        [answer] = await store.enqueue(connection, [NewJob("noop", {}, run_after=timedelta(seconds=0.3))])

        async def is_ready() -> bool:
            [job] = await store.read_jobs(connection, [answer.id])
            return job.state is State.PENDING

        assert not await is_ready()
        await eventually("the job to be ready", is_ready)
        late_s = await connection.fetchval("SELECT extract(epoch FROM now() - $1::timestamptz)::float8", answer.run_at)
        assert 0 <= late_s < 3
