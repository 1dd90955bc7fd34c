"""Attempts of workers over HTTP that outlive their timeout, or a cancel, are ended for them."""

import asyncio
from uuid import uuid4

import pytest
from tests.engine.worksite import KIND, QUEUE, Worksite, succeeded

from taskflow.db.pool import Database
from taskflow.engine.agenda import GRACE_S, Agenda
from taskflow.engine.deadlines import PAUSE_S, Deadlines
from taskflow.engine.job import DEFAULT_NAMESPACE, Claim, JobId, OutcomeKind, State, WorkerId
from taskflow.engine.leader import Leader
from taskflow.engine.record import RemoteWorker


@pytest.fixture
def deadlines(database: Database, site: Worksite) -> Deadlines:
    leader = Leader(database, site.store, WorkerId(uuid4()))
    return Deadlines(database, site.store, leader, Agenda(database, site.store), wake=lambda _queues: None)


async def claim_remotely(site: Worksite, limit: int = 10) -> list[Claim]:
    worker_id = WorkerId(uuid4())
    worker = RemoteWorker(DEFAULT_NAMESPACE, [QUEUE], [KIND], limit)
    assert await site.store.register_remote_worker(site.connection, worker_id, worker, limit=10)
    return await site.store.claim(
        site.connection,
        worker_id=worker_id,
        incarnation=0,
        queues=[QUEUE],
        kinds=[KIND],
        limit=limit,
        namespace=DEFAULT_NAMESPACE,
    )


async def outcomes(site: Worksite, job_id: JobId) -> list[OutcomeKind]:
    return [attempt.outcome for attempt in await site.store.list_attempts(site.connection, await site.body(job_id))]


async def test_an_attempt_past_its_timeout_is_ended_as_one_and_retried(site: Worksite, deadlines: Deadlines) -> None:
    slow = await site.submit(timeout_s=60, retries=1)
    quick = await site.submit(timeout_s=5, retries=1)
    claims = {claim.job_id: claim for claim in await claim_remotely(site)}
    site.clock.advance(seconds=5 + GRACE_S)
    assert await deadlines.enforce() == 0  # to the instant
    site.clock.advance(seconds=1)
    assert await deadlines.enforce() == 1
    job = await site.job(quick)
    assert (job.state, job.failures) == (State.RETRYING, 1)
    assert job.error is not None
    assert (job.error.type, job.error.message) == ("Timeout", "not ended by its worker 11 s after the job's timeout")
    assert await outcomes(site, quick) == [OutcomeKind.TIMEOUT]
    late = succeeded(claims[quick])
    assert await site.store.complete(site.connection, [late]) == [late]
    assert await site.store.complete(site.connection, [succeeded(claims[slow])]) == []  # its neighbour lives on


async def test_the_last_timeout_fails_the_job(site: Worksite, deadlines: Deadlines) -> None:
    job_id = await site.submit(timeout_s=5, retries=0)
    await claim_remotely(site)
    site.clock.advance(seconds=16 + GRACE_S)
    assert await deadlines.enforce() == 1
    assert (await site.job(job_id)).state is State.FAILED


async def test_an_end_is_counted_but_not_a_wait_that_nobody_knows_any_more(
    site: Worksite, deadlines: Deadlines
) -> None:
    await site.submit(timeout_s=5, retries=0)
    cancelled = await site.submit(timeout_s=3600)
    site.clock.advance(seconds=60)
    await claim_remotely(site)
    await site.cancel(cancelled)
    site.clock.advance(seconds=16 + GRACE_S)
    assert await deadlines.enforce() == 2
    counted = await site.connection.fetch("SELECT state, measure, jobs FROM taskflow.stat_delta ORDER BY state")
    assert [tuple(row) for row in counted] == [("cancelled", "run", 1), ("failed", "run", 1)]


async def test_a_cancel_that_its_worker_does_not_heed_is_carried_out(site: Worksite, deadlines: Deadlines) -> None:
    job_id = await site.submit(timeout_s=3600)
    await claim_remotely(site)
    site.clock.advance(seconds=60)
    await site.cancel(job_id)
    site.clock.advance(seconds=GRACE_S - 1)
    assert await deadlines.enforce() == 0
    site.clock.advance(seconds=2)
    assert await deadlines.enforce() == 1
    assert (await site.job(job_id)).state is State.CANCELLED
    assert await outcomes(site, job_id) == [OutcomeKind.CANCELLED]


async def test_workers_of_our_own_are_left_to_watch_over_themselves(site: Worksite, deadlines: Deadlines) -> None:
    await site.submit(timeout_s=5)
    claim = await site.claim_one()
    site.clock.advance(seconds=3600)
    assert await deadlines.enforce() == 0
    assert await site.store.complete(site.connection, [succeeded(claim)]) == []


async def test_only_a_leader_enforces(site: Worksite, deadlines: Deadlines) -> None:
    job_id = await site.submit(timeout_s=5)
    await claim_remotely(site)
    site.clock.advance(seconds=3600)
    await deadlines.tick()
    assert (await site.job(job_id)).state is State.ACTIVE
    leading = asyncio.create_task(deadlines._leader.run())
    try:
        await asyncio.wait_for(deadlines._leader.elected.wait(), 8)
        assert await deadlines.tick() == PAUSE_S
        assert (await site.job(job_id)).state is State.RETRYING
        assert await deadlines.tick() == PAUSE_S  # there is none
    finally:
        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)
