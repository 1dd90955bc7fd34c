"""What a submit stores, and where the job waits."""

from datetime import timedelta

import pytest
from tests.engine.worksite import NOTABLE, Worksite, new_job

from taskflow.engine.job import MAX_PAYLOAD_BYTES, State
from taskflow.engine.store import id_floor
from taskflow.kernel.errors import PayloadTooLarge


@pytest.mark.covers("S2-8", "S2-12", "S3-13")
async def test_a_submitted_job_is_pending_and_due_at_once(site: Worksite) -> None:
    answer = await site.enqueue()
    job = await site.job(answer.id)
    assert answer.state is job.state is State.PENDING
    assert answer.run_at == answer.created_at == job.run_at == job.created_at
    assert (job.attempt, job.failures, job.started_at, job.finished_at) == (0, 0, None, None)


@pytest.mark.covers("S2-8")
async def test_a_job_is_read_back_as_it_was_submitted(site: Worksite) -> None:
    new = NOTABLE
    (answer,) = await site.store.enqueue(site.connection, [new])
    job = await site.job(answer.id)
    assert (job.payload, job.tags, job.headers) == (new.payload, list(new.tags), new.headers)
    assert (job.kind, job.queue, job.namespace) == (new.kind, new.queue, new.namespace)
    assert (job.priority, job.retries, job.timeout_s) == (9, 10, 0.001)


async def test_the_order_of_a_batch_is_the_order_of_its_ids_and_of_its_claims(site: Worksite) -> None:
    answers = await site.store.enqueue(site.connection, [new_job(payload={"n": n}) for n in range(1000)])
    ids = [answer.id for answer in answers]
    assert ids == sorted(set(ids))
    assert [claim.job_id for claim in await site.claim(1000)] == ids


async def test_an_id_tells_when_the_job_was_made(site: Worksite) -> None:
    answer = await site.enqueue()
    assert id_floor(answer.created_at) <= answer.id < id_floor(answer.created_at + timedelta(milliseconds=1))


async def test_a_rolled_back_submit_leaves_nothing(site: Worksite) -> None:
    block = site.connection.transaction()
    await block.start()
    ids = [await site.submit(), await site.submit(run_after=timedelta(seconds=9))]
    await block.rollback()
    assert await site.store.read_jobs(site.connection, ids) == []
    assert await site.claim() == []
    assert (await site.ahead()).due_s is None


async def test_nothing_submitted_is_nothing_stored(site: Worksite) -> None:
    assert await site.store.enqueue(site.connection, []) == []


async def test_a_job_with_a_later_time_is_scheduled_until_then(site: Worksite) -> None:
    at = site.clock.now + timedelta(hours=2)
    answer = await site.enqueue(run_at=at)
    job = await site.job(answer.id)
    assert answer.state is job.state is State.SCHEDULED
    assert answer.run_at == job.run_at == at
    assert await site.claim() == []


async def test_a_delay_counts_from_the_moment_of_the_submit(site: Worksite) -> None:
    answer = await site.enqueue(run_after=timedelta(seconds=90))
    assert answer.state is State.SCHEDULED
    assert answer.run_at - answer.created_at == timedelta(seconds=90)


@pytest.mark.parametrize("when", [{"run_after": timedelta(0)}, {"run_at": None}])
async def test_no_delay_means_now(site: Worksite, when: dict[str, timedelta | None]) -> None:
    assert (await site.enqueue(**when)).state is State.PENDING


async def test_a_time_that_has_passed_means_now_and_jumps_no_queue(site: Worksite) -> None:
    """Otherwise a job dated 1970 would stand before everything that waits."""
    first = await site.submit()
    site.clock.advance(seconds=1)
    answer = await site.enqueue(run_at=site.clock.now - timedelta(days=20_000))
    assert (answer.state, answer.run_at) == (State.PENDING, answer.created_at)
    assert [claim.job_id for claim in await site.claim()] == [first, answer.id]


async def test_a_payload_at_the_limit_is_stored_and_one_byte_more_is_refused(site: Worksite) -> None:
    fits = {"t": "x" * (MAX_PAYLOAD_BYTES - len('{"t":""}'))}
    job_id = await site.submit(payload=fits)
    assert (await site.job(job_id)).payload == fits
    with pytest.raises(PayloadTooLarge, match=str(MAX_PAYLOAD_BYTES)):
        await site.submit(payload={"t": fits["t"] + "x"})
