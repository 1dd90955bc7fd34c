"""Claiming: which jobs, in which order, for whom, and what the worker gets to know."""

from datetime import timedelta
from uuid import uuid4

import pytest
import structlog
from tests.engine.worksite import Worksite, succeeded

from taskflow.engine.job import State, WorkerId
from taskflow.engine.store import LEASE_S, attempts, new_lease_ids


async def count_leases(site: Worksite) -> int:
    count: int = await site.connection.fetchval("SELECT count(*) FROM taskflow.lease")
    return count


@pytest.mark.covers("S3-19", "S2-12")
async def test_a_claimed_job_is_active_and_nobody_else_gets_it(site: Worksite) -> None:
    job_id = await site.submit()
    site.clock.advance(seconds=3)
    claim = await site.claim_one()
    job = await site.job(job_id)
    assert claim.job_id == job_id
    assert (job.state, job.attempt, job.started_at, job.run_at) == (State.ACTIVE, 1, site.clock.now, None)
    assert await site.claim(worker_id=await site.start_worker()) == []


@pytest.mark.covers("S2-18")
async def test_higher_priorities_go_first_then_the_one_that_waits_longest(site: Worksite) -> None:
    low = await site.submit(priority=2)
    normal = await site.submit(priority=5)
    site.clock.advance(seconds=1)
    high = await site.submit(priority=8)
    later = await site.submit(priority=5)
    claims = [await site.claim_one() for _ in range(4)]
    assert [claim.job_id for claim in claims] == [high, normal, later, low]


async def test_one_batch_is_in_the_same_order_and_numbered_from_zero(site: Worksite) -> None:
    low, high = await site.submit(priority=0), await site.submit(priority=9)
    claims = await site.claim()
    assert [(claim.position, claim.job_id) for claim in claims] == [(0, high), (1, low)]
    assert {claim.lease_id for claim in claims} == {claims[0].lease_id}
    assert [claim.lease_size for claim in claims] == [2, 2]


async def test_queues_are_served_in_the_order_given_whatever_their_priorities(site: Worksite) -> None:
    first = await site.submit_many(3, queue="a", priority=0)
    await site.submit_many(3, queue="b", priority=9)
    assert {claim.job_id for claim in await site.claim(3, queues=["a", "b"])} == set(first)


async def test_a_queue_that_runs_dry_is_topped_up_from_the_next(site: Worksite) -> None:
    await site.submit_many(2, queue="a")
    await site.submit_many(9, queue="b")
    claims = await site.claim(5, queues=["a", "b"])
    assert sorted(claim.queue for claim in claims) == ["a", "a", "b", "b", "b"]


async def test_a_claim_takes_no_more_than_its_limit(site: Worksite) -> None:
    await site.submit_many(20)
    assert len(await site.claim(7)) == 7
    assert await site.connection.fetchval("SELECT count(*) FROM taskflow.ready") == 13


async def test_only_named_queues_and_kinds_are_taken(site: Worksite) -> None:
    await site.submit(kind="thumbnail", priority=9)
    await site.submit(queue="images", priority=9)
    wanted = await site.submit()
    assert [claim.job_id for claim in await site.claim()] == [wanted]
    assert await site.claim(kinds=[]) == []
    assert await site.claim(queues=[]) == []


async def test_a_claim_that_finds_nothing_leaves_no_lease(site: Worksite) -> None:
    assert await site.claim() == []
    assert await count_leases(site) == 0


async def test_a_worker_that_is_not_registered_gets_nothing(site: Worksite) -> None:
    await site.submit()
    assert await site.claim(worker_id=WorkerId(uuid4())) == []
    assert len(await site.claim()) == 1


async def test_a_worker_that_was_declared_dead_gets_nothing(site: Worksite) -> None:
    await site.submit()
    site.clock.advance(seconds=LEASE_S + 1)
    await site.store.bury_workers(site.connection)
    assert await site.claim() == []
    assert len(await site.claim(worker_id=await site.start_worker())) == 1


async def test_a_claim_that_is_rolled_back_leaves_the_job_where_it_was(site: Worksite) -> None:
    job_id = await site.submit()
    before = await site.job(job_id)
    block = site.connection.transaction()
    await block.start()
    assert len(await site.claim()) == 1
    await block.rollback()
    assert await site.job(job_id) == before
    assert await count_leases(site) == 0


async def test_a_worker_that_missed_the_answer_finds_its_claim_by_the_lease_it_named(site: Worksite) -> None:
    job_id = await site.submit()
    lease_ids = new_lease_ids(["default"])
    await site.claim(lease_ids=lease_ids, incarnation=3)
    own = await site.store.list_own_leases(site.connection, worker_id=site.worker_id, incarnation=3)
    assert [(lease.id, list(lease.job_ids)) for lease in own] == [(lease_ids[0], [job_id])]


@pytest.mark.parametrize("limit", [1, 10])
async def test_jobs_whose_bodies_somebody_dropped_are_reported_and_hold_up_no_other(
    site: Worksite, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = structlog.testing.CapturingLogger()
    monkeypatch.setattr(attempts, "_log", log)
    *lost, kept = await site.submit_many(4)
    await site.connection.execute("DELETE FROM taskflow.job WHERE id = ANY($1)", lost)
    [claim] = await site.claim(limit)
    assert claim.job_id == kept
    assert {(call.method_name, *call.args) for call in log.calls} == {("error", "taskflow.claim.no_body")}
    said = [job_id for call in log.calls for job_id in call.kwargs["job_ids"]]
    assert sorted(said) == sorted(str(job_id) for job_id in lost)
    [held] = await site.store.list_own_leases(site.connection, worker_id=site.worker_id, incarnation=1)
    assert list(held.job_ids) == [kept]
    assert await site.store.complete(site.connection, [succeeded(claim)]) == []
    assert await count_leases(site) == 0
    assert await site.claim() == []


async def test_a_claim_carries_what_the_handler_needs(site: Worksite) -> None:
    await site.submit(payload={"to": "ü"}, headers={"request_id": "r-1"}, retries=4, timeout_s=1.5, priority=8)
    claim = await site.claim_one()
    assert claim.payload == '{"to": "ü"}'
    assert claim.headers == {"request_id": "r-1"}
    assert (claim.kind, claim.queue, claim.priority) == ("mail", "default", 8)
    assert (claim.retries, claim.timeout_s, claim.attempt, claim.failures) == (4, 1.5, 1, 0)


async def test_the_wait_in_the_queue_counts_from_when_the_job_was_due(site: Worksite) -> None:
    await site.submit(run_after=timedelta(seconds=10))
    site.clock.advance(seconds=12)
    await site.store.stage(site.connection, limit=10)
    site.clock.advance(seconds=1)
    assert (await site.claim_one()).queue_wait_s == pytest.approx(3.0, abs=0.001)


async def test_a_job_claimed_in_the_instant_of_its_submit_has_not_waited_less_than_nothing(site: Worksite) -> None:
    """Jobs of one batch are a microsecond apart, so the last are made a little ahead of the clock."""
    await site.submit_many(50)
    assert {claim.queue_wait_s for claim in await site.claim(50)} == {0.0}
