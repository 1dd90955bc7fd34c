"""Queues with settings: paused, draining, limited."""

import asyncio
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from tests.engine.test_store_races import overtake, pass_by
from tests.engine.worksite import KIND, Worksite, failed, new_job, succeeded

from taskflow.db.query import Connection
from taskflow.engine import policy
from taskflow.engine.job import DEFAULT_NAMESPACE, Claim, OutcomeKind, QueueInfo, WorkerId
from taskflow.engine.record import RemoteWorker
from taskflow.kernel.errors import Conflict

BOTH = ("default", "images")


async def say(site: Worksite, queue: str = "default", **settings: Any) -> None:
    if "concurrency" in settings:
        settings["limits"] = True
    await site.store.set_queue(site.connection, queue, **settings)


async def look(site: Worksite, queue: str = "default") -> QueueInfo:
    [found] = await site.store.read_queues(site.connection, name=queue)
    return found


def queues_of(claims: list[Claim]) -> list[str]:
    return sorted(claim.queue for claim in claims)


# Pausing -------------------------------------------------------------------------------------------------------------


async def test_a_paused_queue_hands_out_nothing_until_it_is_resumed(site: Worksite) -> None:
    await site.submit_many(2)
    await site.submit(queue="images")
    await say(site, paused=True)
    assert queues_of(await site.claim(queues=BOTH)) == ["images"]
    await say(site, paused=False)
    assert queues_of(await site.claim(queues=BOTH)) == ["default", "default"]


async def test_pausing_leaves_alone_what_runs(site: Worksite) -> None:
    await site.submit()
    claim = await site.claim_one()
    await say(site, paused=True)
    assert await site.store.complete(site.connection, [succeeded(claim)]) == []


async def test_pausing_twice_keeps_the_first_instant(site: Worksite) -> None:
    await say(site, paused=True)
    first_at = (await look(site)).paused_at
    site.clock.advance(seconds=5)
    await say(site, paused=True)
    assert (await look(site)).paused_at == first_at is not None


async def test_settings_are_said_one_by_one(site: Worksite) -> None:
    await say(site, concurrency=3)
    await say(site, paused=True)
    await say(site, draining=True)
    queue = await look(site)
    assert (queue.concurrency, queue.paused_at is None, queue.draining_at is None) == (3, False, False)
    await say(site, paused=False, draining=False)
    queue = await look(site)
    assert (queue.concurrency, queue.paused_at, queue.draining_at) == (3, None, None)
    await say(site, concurrency=None)
    assert (await look(site)).concurrency is None


# Draining ------------------------------------------------------------------------------------------------------------


async def test_a_draining_queue_takes_no_new_jobs_and_runs_empty(site: Worksite) -> None:
    job_id = await site.submit()
    await say(site, draining=True)
    with pytest.raises(Conflict) as refusal:
        await site.submit()
    assert (refusal.value.code, refusal.value.facts) == ("queue_draining", {"queue": "default"})
    claim = await site.claim_one()
    assert claim.job_id == job_id
    await site.fail(claim, retry_after_s=0.0)
    assert await site.store.stage(site.connection, limit=9) == {"default": 1}
    assert len(await site.claim()) == 1
    await say(site, draining=False)
    await site.submit()


async def test_of_a_batch_with_one_job_for_a_draining_queue_none_is_stored(site: Worksite) -> None:
    await say(site, "images", draining=True)
    batch = [new_job(), new_job(queue="images"), new_job()]
    with pytest.raises(Conflict) as refusal:
        await site.store.enqueue(site.connection, batch)
    assert [error.pointer for error in refusal.value.errors] == ["/1/queue"]
    assert await site.connection.fetchval("SELECT count(*) FROM taskflow.job") == 0


async def test_among_jobs_of_different_callers_only_those_for_a_draining_queue_are_refused(site: Worksite) -> None:
    await say(site, "images", draining=True)
    batch = [new_job(), new_job(queue="images"), new_job()]
    answers = await site.store.store(site.connection, batch, atomic=False)
    assert [answer is not None for answer in answers] == [True, False, True]
    assert len(await site.claim()) == 2


async def test_sql_submits_to_a_draining_queue_are_refused(site: Worksite) -> None:
    await say(site, draining=True)
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match="queue 'default' drains"):
        await site.connection.fetchval("SELECT taskflow.enqueue('mail', '{}')")
    await say(site, draining=False)
    assert await site.connection.fetchval("SELECT taskflow.enqueue('mail', '{}')") is not None


# Limits --------------------------------------------------------------------------------------------------------------


async def test_a_limit_counts_what_is_open_in_leases(site: Worksite) -> None:
    await site.submit_many(6)
    await say(site, concurrency=2)
    first = await site.claim()
    assert len(first) == 2
    assert await site.claim() == []
    await site.store.complete(site.connection, [succeeded(first[0])])
    assert len(await site.claim()) == 1
    await site.fail(first[1])
    assert len(await site.claim()) == 1
    assert await site.claim() == []


async def test_a_queue_without_a_limit_is_claimed_beside_a_full_one(site: Worksite) -> None:
    await site.submit_many(4)
    await site.submit_many(4, queue="images")
    await say(site, concurrency=1)
    claims = await site.claim(10, queues=BOTH)
    assert queues_of(claims) == ["default", *["images"] * 4]
    leases = {claim.queue: (claim.lease_id, claim.lease_size) for claim in claims}
    assert leases["default"][0] != leases["images"][0]
    assert (leases["default"][1], leases["images"][1]) == (1, 4)
    assert await site.store.complete(site.connection, [succeeded(claim) for claim in claims]) == []
    assert await site.connection.fetchval("SELECT count(*) FROM taskflow.lease") == 0


async def test_a_claim_of_two_limited_queues_keeps_both_limits(site: Worksite) -> None:
    for queue, limit in zip(BOTH, (2, 3), strict=True):
        await site.submit_many(5, queue=queue)
        await say(site, queue, concurrency=limit)
    assert queues_of(await site.claim(20, queues=BOTH)) == [*["default"] * 2, *["images"] * 3]
    assert await site.claim(20, queues=BOTH[::-1]) == []


async def test_a_limit_never_gives_more_than_was_asked_for(site: Worksite) -> None:
    await site.submit_many(5)
    await say(site, concurrency=4)
    assert [len(await site.claim(3)) for _ in range(3)] == [3, 1, 0]


async def test_jobs_claimed_before_the_limit_was_declared_count(site: Worksite) -> None:
    """They are in leases that name no queue, side by side with jobs of other queues."""
    await site.submit_many(3)
    await site.submit_many(3, queue="images")
    mixed = await site.claim(4, queues=BOTH)
    assert queues_of(mixed) == [*["default"] * 3, "images"]
    await say(site, concurrency=4)
    await site.submit_many(5)
    assert len(await site.claim()) == 1
    ended = [succeeded(claim) for claim in mixed if claim.queue == "default"][:2]
    await site.store.complete(site.connection, ended)
    assert len(await site.claim()) == 2
    site.clock.advance(seconds=3600)  # however long they take
    assert await site.claim() == []


async def test_a_limit_lowered_below_what_runs_waits_for_its_end(site: Worksite) -> None:
    await site.submit_many(6)
    await say(site, concurrency=4)
    claims = await site.claim()
    await say(site, concurrency=1)
    await site.store.complete(site.connection, [succeeded(claim) for claim in claims[:3]])
    assert await site.claim() == []
    await site.store.complete(site.connection, [succeeded(claims[3])])
    assert len(await site.claim()) == 1


async def test_a_limit_that_is_lifted_and_declared_again_counts_the_leases_in_between(site: Worksite) -> None:
    await site.submit_many(6)
    await say(site, concurrency=1)
    await site.claim()
    await say(site, concurrency=None)
    assert len(await site.claim(2)) == 2
    site.clock.advance(seconds=300)
    await say(site, concurrency=4)
    assert len(await site.claim()) == 1


async def test_a_rescue_frees_the_places_of_the_lost(site: Worksite) -> None:
    await site.submit_many(3)
    await say(site, concurrency=2)
    claims = await site.claim()
    await site.store.return_leases(site.connection, [claims[0].lease_id], OutcomeKind.LOST)
    assert len(await site.claim()) == 2


async def test_a_claim_for_kinds_that_are_not_there_makes_nobody_wait(site: Worksite, second: Connection) -> None:
    await site.submit_many(2)
    await say(site, concurrency=1)
    mine, others = await pass_by(site.connection, site.claim(), site.claim(connection=second, kinds=["thumbnail"]))
    assert (len(mine), others) == (1, [])


async def test_of_two_claims_of_a_limited_queue_the_second_counts_the_first(site: Worksite, second: Connection) -> None:
    await site.submit_many(5)
    await say(site, concurrency=3)
    mine, yours = await overtake(site.connection, second, site.claim(2), site.claim(9, connection=second))
    assert (len(mine), len(yours)) == (2, 1)


async def test_a_claim_that_fails_frees_its_places_for_the_one_that_waited(site: Worksite, second: Connection) -> None:
    await site.submit_many(5)
    await say(site, concurrency=3)
    _, yours = await overtake(site.connection, second, site.claim(), site.claim(connection=second), commit=False)
    assert len(yours) == 3


async def test_claims_of_two_limited_queues_in_opposite_order_never_wait_in_a_circle(
    site: Worksite, second: Connection
) -> None:
    for queue in BOTH:
        await site.submit_many(40, queue=queue)
        await say(site, queue, concurrency=2)

    async def work(connection: Connection, queues: tuple[str, ...]) -> None:
        for _ in range(20):
            claims = await site.claim(3, connection=connection, queues=queues)
            await site.store.complete(connection, [succeeded(claim) for claim in claims])

    await asyncio.gather(work(site.connection, BOTH), work(second, BOTH[::-1]))
    assert await site.connection.fetchval("SELECT count(*) FROM taskflow.done") > 40


async def test_hand_back_frees_a_place(site: Worksite) -> None:
    await site.submit_many(2)
    await say(site, concurrency=1)
    claim = await site.claim_one()
    await site.store.finish(site.connection, [policy.handed_back(claim)])
    assert (await site.claim_one()).job_id == claim.job_id


# Looking -------------------------------------------------------------------------------------------------------------


async def test_queues_are_those_that_somebody_names(site: Worksite) -> None:
    await site.submit_many(3)
    await site.submit(queue="images")
    await say(site, "reports", paused=True)
    await site.claim(2)
    await site.claim(1, queues=["images"])
    site.clock.advance(seconds=3)
    found = await site.store.read_queues(site.connection)
    assert [(queue.name, queue.pending, queue.active, queue.workers) for queue in found] == [
        ("default", 1, 2, 1),
        ("images", 0, 1, 0),
        ("reports", 0, 0, 0),
    ]
    assert [queue.oldest_due_age_s for queue in found] == [pytest.approx(3, abs=0.01), None, None]
    after = await site.store.read_queues(site.connection, after="default", limit=1)
    assert [queue.name for queue in after] == ["images"]
    assert await site.store.read_queues(site.connection, name="nowhere") == []


async def test_a_worker_that_asked_for_a_long_lease_counts_for_as_long(site: Worksite) -> None:
    worker = RemoteWorker(namespace=DEFAULT_NAMESPACE, queues=["images"], kinds=[KIND], capacity=1, lease_s=300.0)
    await site.store.register_remote_worker(site.connection, WorkerId(uuid4()), worker, limit=10)
    site.clock.advance(seconds=60)
    assert (await look(site, "images")).workers == 1
    site.clock.advance(seconds=300)
    assert await site.store.read_queues(site.connection, name="images") == []


async def test_the_active_of_limited_queues_are_counted_too(site: Worksite) -> None:
    await site.submit_many(3)
    await say(site, concurrency=2)
    claims = await site.claim()
    await site.store.finish(site.connection, [failed(claims[0])])
    assert (await look(site)).active == 1
