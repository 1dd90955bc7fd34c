"""Giving back the jobs of workers that are gone, and of nobody else."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from uuid import uuid4

import pytest
from tests.support.clock import FakeClock
from tests.support.waiting import eventually
from tests.support.workers import claim, metric, register

from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine import leader as leader_module
from taskflow.engine import policy, reaper
from taskflow.engine.job import Claim, NewJob, State, WorkerId
from taskflow.engine.leader import TERM_S, Leader
from taskflow.engine.reaper import Reaper
from taskflow.engine.store import LEASE_S, Store


class Deployment:
    """A reaper whose leader really leads, by a clock that the test moves; and workers that die when it says so."""

    def __init__(self, database: Database, connection: Connection, clock: FakeClock) -> None:
        self.clock = clock
        self.store = Store(clock)
        self.connection = connection
        self.woken: list[str] = []
        self.leader = Leader(database, self.store, WorkerId(uuid4()))
        self.reaper = Reaper(database, self.store, self.leader, wake=self.woken.extend)

    async def pass_time(self, seconds: float, *alive: WorkerId) -> None:
        """Let time pass while these workers, and the leader, prove that they live."""
        while seconds > 0:
            step = min(seconds, 5.0)
            self.clock.advance(seconds=step)
            seconds -= step
            for worker_id in alive:
                assert await self.store.heartbeat(self.connection, worker_id)
            await self.renewed()

    async def renewed(self) -> None:
        """Wait until the leader has asked again, and so knows how late it is."""
        now_s = time.monotonic()
        await eventually("the leader's next renewal", lambda: self.leader._asked_s > now_s)

    async def start_worker(self) -> WorkerId:
        return await register(self.connection, store=self.store)

    async def claim(self, worker_id: WorkerId, jobs: int = 1) -> list[Claim]:
        await self.store.enqueue(self.connection, [NewJob("noop", {}, queue="default")] * jobs)
        return await claim(self.connection, worker_id, kinds=["noop"], limit=jobs, store=self.store)

    async def states(self, claims: Sequence[Claim]) -> list[State]:
        ids = [held.job_id for held in claims]
        found = {job.id: job.state for job in await self.store.read_jobs(self.connection, ids)}
        return [found[job_id] for job_id in ids]


@pytest.fixture
async def deployment(
    database: Database, connection: Connection, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Deployment]:
    monkeypatch.setattr(leader_module, "RENEW_S", 0.005)
    deployment = Deployment(database, connection, clock)
    leading = asyncio.create_task(deployment.leader.run())
    await asyncio.wait_for(deployment.leader.elected.wait(), 8)
    yield deployment
    leading.cancel()
    await asyncio.gather(leading, return_exceptions=True)


@pytest.mark.covers("S2-2", "X-14", "S2-44")
async def test_a_worker_that_lost_its_lease_cannot_complete(deployment: Deployment) -> None:
    """Completion is fenced by the claim: a late acknowledgement changes nothing."""
    rescued = metric("taskflow_rescued_jobs_total")
    dead, alive = await deployment.start_worker(), await deployment.start_worker()
    [late] = await deployment.claim(dead)
    await deployment.pass_time(LEASE_S + 0.1, alive)
    await deployment.reaper.tick()
    assert await deployment.states([late]) == [State.PENDING]
    assert deployment.woken == ["default"]
    assert metric("taskflow_rescued_jobs_total") == rescued + 1

    [current] = await claim(deployment.connection, alive, kinds=["noop"], store=deployment.store)
    assert (current.job_id, current.attempt, current.failures) == (late.job_id, 2, 0)
    lost = policy.succeeded(late, "too late", 99.0)
    assert await deployment.store.complete(deployment.connection, [lost]) == [lost]
    assert await deployment.states([current]) == [State.ACTIVE]
    assert not await deployment.store.complete(deployment.connection, [policy.succeeded(current, "in time", 1.0)])
    [job] = await deployment.store.read_jobs(deployment.connection, [late.job_id])
    assert (job.state, job.result) == (State.COMPLETED, "in time")


async def test_only_what_the_dead_had_open_comes_back(deployment: Deployment) -> None:
    dead, alive = await deployment.start_worker(), await deployment.start_worker()
    theirs = await deployment.claim(dead, 3)
    ours = await deployment.claim(alive, 2)
    done = policy.succeeded(theirs[1], None, 0.1)
    assert not await deployment.store.complete(deployment.connection, [done])
    await deployment.pass_time(LEASE_S + 0.1, alive)
    await deployment.reaper.tick()
    assert await deployment.states(theirs) == [State.PENDING, State.COMPLETED, State.PENDING]
    assert await deployment.states(ours) == [State.ACTIVE] * 2
    assert [worker.id for worker in await deployment.store.list_workers(deployment.connection)] == [alive]
    assert not await deployment.store.heartbeat(deployment.connection, dead)


async def test_nobody_is_rescued_before_the_lease_is_over(deployment: Deployment) -> None:
    await deployment.pass_time(LEASE_S)
    dead = await deployment.start_worker()
    held = await deployment.claim(dead)
    await deployment.pass_time(LEASE_S)
    await deployment.reaper.tick()
    assert await deployment.states(held) == [State.ACTIVE]
    await deployment.pass_time(0.1)
    await deployment.reaper.tick()
    assert await deployment.states(held) == [State.PENDING]


async def test_an_outage_of_the_database_is_nobodys_death(deployment: Deployment) -> None:
    """While it is away nobody can prove his life: a term that lapsed begins a new lease's wait."""
    await deployment.pass_time(LEASE_S)
    worker_id = await deployment.start_worker()
    held = await deployment.claim(worker_id)
    deployment.clock.advance(seconds=60)  # nobody renews, nobody beats
    await deployment.renewed()
    await deployment.reaper.tick()
    assert await deployment.states(held) == [State.ACTIVE]
    assert await deployment.store.heartbeat(deployment.connection, worker_id)
    for _ in range(4):
        await deployment.pass_time(5, worker_id)
        await deployment.reaper.tick()
    assert await deployment.states(held) == [State.ACTIVE]


async def test_who_stays_away_after_an_outage_is_rescued_one_lease_into_the_new_term(deployment: Deployment) -> None:
    await deployment.pass_time(LEASE_S)
    held = await deployment.claim(await deployment.start_worker())
    deployment.clock.advance(seconds=60)
    await deployment.renewed()
    await deployment.pass_time(LEASE_S - 0.1)
    await deployment.reaper.tick()
    assert await deployment.states(held) == [State.ACTIVE]
    await deployment.pass_time(0.2)
    await deployment.reaper.tick()
    assert await deployment.states(held) == [State.PENDING]


async def test_a_process_that_does_not_lead_rescues_nobody(deployment: Deployment, database: Database) -> None:
    held = await deployment.claim(await deployment.start_worker())
    await deployment.pass_time(LEASE_S + 0.1)
    other = Leader(database, deployment.store, WorkerId(uuid4()))
    await Reaper(database, deployment.store, other, wake=deployment.woken.extend).tick()
    assert await deployment.states(held) == [State.ACTIVE]
    assert deployment.woken == []


async def test_two_who_both_believe_to_lead_take_turns(deployment: Deployment, second: Connection) -> None:
    held = await deployment.claim(await deployment.start_worker())
    await deployment.pass_time(LEASE_S + 0.1)
    async with second.transaction():
        assert await deployment.store.try_duty_lock(second, reaper.DUTY)
        assert await deployment.reaper.reap() == 0
        assert await deployment.states(held) == [State.ACTIVE]
    assert await deployment.reaper.reap() == 1
    assert await deployment.states(held) == [State.PENDING]


async def test_a_claim_that_slipped_in_after_its_worker_was_buried_is_found(
    deployment: Deployment, second: Connection
) -> None:
    """Its statement began while the worker still lived, and committed when it did not."""
    worker_id = await deployment.start_worker()
    await deployment.store.enqueue(deployment.connection, [NewJob("noop", {})])
    async with second.transaction():
        late = await claim(second, worker_id, kinds=["noop"], store=deployment.store)
        await deployment.pass_time(LEASE_S + 0.1)
        await deployment.reaper.tick()
        assert await deployment.store.list_workers(deployment.connection) == []
    assert await deployment.states(late) == [State.ACTIVE]
    await deployment.reaper.tick()
    assert await deployment.states(late) == [State.PENDING]


async def test_many_leases_are_returned_in_batches_without_a_pause(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaper, "MAX_LEASES", 2)
    worker_id = await deployment.start_worker()
    held = [(await deployment.claim(worker_id))[0] for _ in range(5)]
    await deployment.pass_time(LEASE_S + 0.1)
    assert [await deployment.reaper.tick() for _ in range(3)] == [0.0, 0.0, reaper.PAUSE_S]
    assert await deployment.states(held) == [State.PENDING] * 5


async def test_a_rescue_finds_the_cancel_that_its_worker_never_carried_out(deployment: Deployment) -> None:
    [held] = await deployment.claim(await deployment.start_worker())
    assert await deployment.store.request_cancel(deployment.connection, held.job_id)
    await deployment.pass_time(LEASE_S + 0.1)
    await deployment.reaper.tick()
    assert await deployment.states([held]) == [State.CANCELLED]


@pytest.mark.covers("X-14", "S3-21")
def test_a_vanished_machine_is_mended_within_thirty_seconds() -> None:
    assert TERM_S + LEASE_S + 2 * reaper.PAUSE_S <= 30
