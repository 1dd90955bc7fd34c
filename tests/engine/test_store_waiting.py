"""Jobs that nobody holds: made ready when due, cancelled, run again."""

from datetime import timedelta

import pytest
from tests.engine.worksite import OOPS, Worksite, failed, succeeded

from taskflow.engine import policy
from taskflow.engine.job import State

# Becoming due ---------------------------------------------------------------------------------------------------------


async def test_a_scheduled_job_becomes_ready_at_its_time_and_not_before(site: Worksite) -> None:
    at = site.clock.now + timedelta(seconds=60)
    job_id = await site.submit(run_at=at)
    site.clock.advance(seconds=59.999)
    assert await site.store.stage(site.connection, limit=10) == {}
    assert (await site.job(job_id)).state is State.SCHEDULED
    site.clock.advance(seconds=0.001)
    assert await site.store.stage(site.connection, limit=10) == {"default": 1}
    job = await site.job(job_id)
    assert (job.state, job.run_at) == (State.PENDING, at)
    assert await site.store.stage(site.connection, limit=10) == {}


async def test_the_soonest_are_staged_first_and_no_more_than_the_limit(site: Worksite) -> None:
    later = await site.submit(run_after=timedelta(seconds=3))
    sooner = await site.submit(run_after=timedelta(seconds=2))
    soonest = await site.submit(run_after=timedelta(seconds=1))
    site.clock.advance(seconds=9)
    await site.store.stage(site.connection, limit=2)
    pending = await site.store.read_jobs(site.connection, [later, sooner, soonest])
    assert {job.id for job in pending if job.state is State.PENDING} == {sooner, soonest}


async def test_what_became_ready_is_counted_by_queue_so_that_its_workers_can_be_woken(site: Worksite) -> None:
    for queue, count in (("a", 2), ("b", 3)):
        await site.submit_many(count, queue=queue, run_after=timedelta(seconds=1))
    site.clock.advance(seconds=2)
    assert await site.store.stage(site.connection, limit=10) == {"a": 2, "b": 3}


async def test_a_staged_job_takes_the_place_of_its_time(site: Worksite) -> None:
    """It has waited since it was due, not since somebody noticed."""
    due_first = await site.submit(run_after=timedelta(seconds=1))
    site.clock.advance(seconds=2)
    submitted_later = await site.submit()
    site.clock.advance(seconds=1)
    await site.store.stage(site.connection, limit=10)
    assert [claim.job_id for claim in await site.claim()] == [due_first, submitted_later]


async def test_the_next_due_time_is_that_of_the_soonest_job_and_negative_once_overdue(site: Worksite) -> None:
    assert (await site.ahead()).due_s is None
    await site.submit(run_at=site.clock.now + timedelta(seconds=60))
    await site.submit(run_at=site.clock.now + timedelta(seconds=9))
    assert (await site.ahead()).due_s == 9
    site.clock.advance(seconds=10)
    assert (await site.ahead()).due_s == -1


# Cancelling -----------------------------------------------------------------------------------------------------------


@pytest.mark.covers("S2-10", "S2-12")
@pytest.mark.parametrize("state", [State.PENDING, State.SCHEDULED, State.RETRYING])
async def test_a_job_that_nobody_holds_is_cancelled_at_once(site: Worksite, state: State) -> None:
    job_id = await site.submit(run_after=timedelta(seconds=60) if state is State.SCHEDULED else None)
    if state is State.RETRYING:
        await site.fail(await site.claim_one())
    before = await site.job(job_id)
    assert before.state is state
    assert await site.store.cancel_waiting(site.connection, await site.body(job_id))
    job = await site.job(job_id)
    assert (job.state, job.finished_at, job.run_at) == (State.CANCELLED, site.clock.now, None)
    assert (job.attempt, job.failures, job.error) == (before.attempt, before.failures, before.error)
    site.clock.advance(seconds=3600)
    assert await site.store.stage(site.connection, limit=10) == {}
    assert await site.claim() == []


async def test_a_job_that_waits_again_is_cancelled_as_well(site: Worksite) -> None:
    handed_back, staged, replayed = await site.submit_many(3, retries=0)
    first, second, third = await site.claim()
    await site.store.finish(
        site.connection, [policy.handed_back(first), policy.snoozed(second, 1.0, 0.1), failed(third)]
    )
    site.clock.advance(seconds=1)
    await site.store.stage(site.connection, limit=1)
    await site.store.replay(site.connection, await site.body(replayed))
    for job_id in (handed_back, staged, replayed):
        assert (await site.job(job_id)).state is State.PENDING
        assert await site.store.cancel_waiting(site.connection, await site.body(job_id))
    assert await site.claim() == []


@pytest.mark.covers("S2-10")
async def test_an_active_job_is_asked_to_stop_and_goes_on_until_its_worker_answers(site: Worksite) -> None:
    job_id = await site.submit()
    claim = await site.claim_one()
    body = await site.body(job_id)
    assert not await site.store.cancel_waiting(site.connection, body)
    assert await site.store.request_cancel(site.connection, job_id) == site.clock.now
    job = await site.job(job_id)
    assert (job.state, job.cancel_requested_at) == (State.ACTIVE, site.clock.now)
    assert await site.store.finish(site.connection, [policy.cancelled(claim, 0.1)]) == []
    job = await site.job(job_id)
    assert (job.state, job.cancel_requested_at) == (State.CANCELLED, None)


async def test_asking_twice_keeps_the_first_instant(site: Worksite) -> None:
    job_id, other = await site.submit_many(2)
    await site.claim()
    first = await site.store.request_cancel(site.connection, job_id)
    site.clock.advance(seconds=5)
    assert await site.store.request_cancel(site.connection, other) == site.clock.now
    assert await site.store.request_cancel(site.connection, job_id) == first
    assert (await site.job(job_id)).cancel_requested_at == first


@pytest.mark.covers("S2-10")
@pytest.mark.parametrize("end", [State.COMPLETED, State.FAILED, State.CANCELLED])
async def test_a_job_that_has_ended_is_not_cancelled(site: Worksite, end: State) -> None:
    job_id = await site.submit()
    claim = await site.claim_one()
    if end is State.COMPLETED:
        await site.store.complete(site.connection, [succeeded(claim)])
    else:
        ended = policy.cancelled(claim, 0.1) if end is State.CANCELLED else policy.failed_for_good(claim, OOPS, 0.1)
        await site.store.finish(site.connection, [ended])
    before, body = await site.job(job_id), await site.body(job_id)
    assert await site.store.find_end(site.connection, body) is end
    assert not await site.store.cancel_waiting(site.connection, body)
    assert await site.store.request_cancel(site.connection, job_id) is None
    assert await site.job(job_id) == before


async def test_a_job_whose_neighbours_are_still_active_can_no_longer_be_asked_once_it_has_ended(site: Worksite) -> None:
    ended, _ = await site.submit_many(2)
    claim, _ = await site.claim()
    await site.store.complete(site.connection, [succeeded(claim)])
    assert await site.store.request_cancel(site.connection, ended) is None


async def test_a_live_job_has_no_end(site: Worksite) -> None:
    job_id = await site.submit()
    assert await site.store.find_end(site.connection, await site.body(job_id)) is None


# Running again --------------------------------------------------------------------------------------------------------


@pytest.mark.covers("S2-12", "S2-20")
async def test_a_replayed_job_starts_with_no_failures_and_counts_its_attempts_on(site: Worksite) -> None:
    job_id = await site.submit(retries=0)
    await site.fail(await site.claim_one())
    site.clock.advance(seconds=60)
    assert await site.store.replay(site.connection, await site.body(job_id))
    job = await site.job(job_id)
    assert (job.state, job.attempt, job.failures, job.run_at) == (State.PENDING, 1, 0, site.clock.now)
    assert (job.finished_at, job.failure_reason, job.error) == (None, None, OOPS)
    claim = await site.claim_one()
    assert (claim.attempt, claim.failures) == (2, 0)
    await site.store.complete(site.connection, [succeeded(claim)])
    history = await site.store.list_attempts(site.connection, await site.body(job_id))
    assert [(attempt.attempt, attempt.outcome) for attempt in history] == [(1, "error"), (2, "completed")]


async def test_a_replayed_job_has_all_its_retries_again(site: Worksite) -> None:
    job_id = await site.submit(retries=1)
    for _ in range(2):
        await site.fail(await site.claim_one(), retry_after_s=0)
        await site.store.stage(site.connection, limit=1)
    await site.store.replay(site.connection, await site.body(job_id))
    await site.fail(await site.claim_one(), retry_after_s=0)
    assert (await site.job(job_id)).state is State.RETRYING


async def test_only_a_failed_job_can_be_replayed(site: Worksite) -> None:
    completed, cancelled, active, pending = await site.submit_many(4)
    scheduled = await site.submit(run_after=timedelta(seconds=9))
    first, second, _ = await site.claim(3)
    await site.store.complete(site.connection, [succeeded(first)])
    await site.store.finish(site.connection, [policy.cancelled(second, 0.1)])
    for job_id in (completed, cancelled, active, pending, scheduled):
        before = await site.job(job_id)
        assert not await site.store.replay(site.connection, await site.body(job_id))
        assert await site.job(job_id) == before


async def test_a_job_is_replayed_once(site: Worksite) -> None:
    job_id = await site.submit(retries=0)
    await site.fail(await site.claim_one())
    body = await site.body(job_id)
    assert await site.store.replay(site.connection, body)
    assert not await site.store.replay(site.connection, body)
    assert len(await site.claim()) == 1
