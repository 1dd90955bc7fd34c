"""Ends that have consequences: each is written with its end, whoever writes that, and once."""

import asyncpg
import pytest
from tests.engine.worksite import OOPS, QUEUE, Worksite, failed, succeeded

from taskflow.db.query import Connection
from taskflow.engine import policy
from taskflow.engine.job import (
    DELIVERY_KIND,
    DELIVERY_QUEUE,
    MAX_CALLBACK_URL_LENGTH,
    SYSTEM_NAMESPACE,
    Claim,
    JobId,
    NewJob,
    OutcomeKind,
)
from taskflow.kernel.errors import Invalid

URL = "https://shop.example/done"


async def events_of(connection: Connection, job_id: JobId) -> list[str]:
    """What is to be told of a job, oldest first; each has the engine's own job that tells it."""
    rows = await connection.fetch(
        """
        SELECT v.event FROM taskflow.webhook_delivery v
        JOIN taskflow.job j ON j.id = v.id AND j.kind = 'deliver_webhook'
        WHERE v.job_id = $1 ORDER BY v.id
        """,
        job_id,
    )
    return [row["event"] for row in rows]


async def deliveries(site: Worksite) -> list[Claim]:
    return await site.claim(queues=[DELIVERY_QUEUE], kinds=[DELIVERY_KIND])


@pytest.mark.covers("S2-23", "X-9")
async def test_a_delivery_is_a_job_of_the_engine_itself(site: Worksite) -> None:
    """No caller's list shows it, and it has retries of its own."""
    job_id = await site.submit(callback_url=URL, headers={"request_id": "r-1"})
    claim = await site.claim_one()
    assert claim.settles
    assert await site.store.complete(site.connection, [succeeded(claim, "done")]) == []
    (delivery,) = await deliveries(site)
    assert (delivery.namespace, delivery.retries, delivery.settles) == (SYSTEM_NAMESPACE, 9, True)
    assert delivery.headers == {"request_id": "r-1"}
    assert str(job_id) in delivery.payload
    assert await events_of(site.connection, job_id) == ["job.completed"]


async def test_a_job_without_a_callback_settles_nothing(site: Worksite) -> None:
    job_id = await site.submit()
    claim = await site.claim_one()
    assert not claim.settles
    assert await site.store.complete(site.connection, [succeeded(claim)]) == []
    assert await events_of(site.connection, job_id) == []


async def test_a_retry_is_no_end(site: Worksite) -> None:
    job_id = await site.submit(callback_url=URL, retries=1)
    await site.fail(await site.claim_one(), retry_after_s=0.0)
    assert await events_of(site.connection, job_id) == []
    site.clock.advance(seconds=1)
    await site.store.stage(site.connection, limit=10)
    await site.fail(await site.claim_one())
    assert await events_of(site.connection, job_id) == ["job.failed"]


async def test_a_flush_sent_twice_tells_once(site: Worksite) -> None:
    job_id = await site.submit(callback_url=URL)
    outcome = succeeded(await site.claim_one())
    assert await site.store.complete(site.connection, [outcome]) == []
    assert await site.store.complete(site.connection, [outcome]) == [outcome]
    await site.store.settle(site.connection, [job_id])
    assert await events_of(site.connection, job_id) == ["job.completed"]


async def test_an_end_that_is_rolled_back_tells_nothing(site: Worksite) -> None:
    job_id = await site.submit(callback_url=URL)
    outcome = succeeded(await site.claim_one())
    block = site.connection.transaction()
    await block.start()
    assert await site.store.complete(site.connection, [outcome]) == []
    await block.rollback()
    assert await events_of(site.connection, job_id) == []
    assert await site.store.complete(site.connection, [outcome]) == []
    assert await events_of(site.connection, job_id) == ["job.completed"]


async def test_an_end_and_what_follows_from_it_are_one_transaction(site: Worksite, spoilt_schema: None) -> None:
    """Where the delivery cannot be stored the job has not ended, and the flush comes again."""
    job_id = await site.submit(callback_url=URL)
    outcome = succeeded(await site.claim_one())
    await site.connection.execute("ALTER TABLE taskflow.webhook_delivery RENAME TO away")
    with pytest.raises(asyncpg.UndefinedTableError):
        await site.store.complete(site.connection, [outcome])
    await site.connection.execute("ALTER TABLE taskflow.away RENAME TO webhook_delivery")
    assert (await site.job(job_id)).state == "active"
    assert await site.store.complete(site.connection, [outcome]) == []


@pytest.mark.covers("S2-10", "X-9")
async def test_a_cancel_tells_wherever_it_finds_the_job(site: Worksite) -> None:
    """Waiting, asked for while it runs, and carried out by a rescue."""
    waiting = await site.submit(callback_url=URL)
    assert await site.cancel(waiting)
    assert not await site.store.cancel_waiting(site.connection, await site.body(waiting))
    assert await events_of(site.connection, waiting) == ["job.cancelled"]

    running = await site.submit(callback_url=URL)
    claim = await site.claim_one()
    assert await site.cancel(running)
    assert await events_of(site.connection, running) == []
    assert await site.store.finish(site.connection, [failed(claim)]) == []
    assert await events_of(site.connection, running) == ["job.cancelled"]

    lost = await site.submit(callback_url=URL)
    claim = await site.claim_one()
    assert await site.cancel(lost)
    assert await site.store.return_leases(site.connection, [claim.lease_id], OutcomeKind.LOST) == {QUEUE: 1}
    assert await site.store.return_leases(site.connection, [claim.lease_id], OutcomeKind.LOST) == {}
    assert await events_of(site.connection, lost) == ["job.cancelled"]


async def test_a_job_that_is_replayed_tells_of_each_end(site: Worksite) -> None:
    job_id = await site.submit(callback_url=URL)
    await site.store.finish(site.connection, [policy.failed_for_good(await site.claim_one(), OOPS, 0.1)])
    site.clock.advance(seconds=1)
    assert await site.store.replay(site.connection, await site.body(job_id))
    await site.store.complete(site.connection, [succeeded(await site.claim_one())])
    assert await events_of(site.connection, job_id) == ["job.failed", "job.completed"]


async def test_what_became_of_a_delivery_is_noted_with_its_end(site: Worksite) -> None:
    for _ in range(2):
        await site.submit(callback_url=URL)
    await site.store.complete(site.connection, [succeeded(claim) for claim in await site.claim()])
    good, bad = await deliveries(site)
    await site.store.complete(site.connection, [succeeded(good)])
    await site.store.finish(site.connection, [policy.failed_for_good(bad, OOPS, 0.1)])
    rows = await site.connection.fetch("SELECT id, status FROM taskflow.webhook_delivery")
    assert {row["id"]: row["status"] for row in rows} == {good.job_id: "delivered", bad.job_id: "failed"}


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://shop.example/", "invalid_url"),
        ("/done", "invalid_url"),
        ("https://shop.example/a b", "invalid_url"),
        ("https://shop.example/\n", "invalid_url"),
        ("https://shop.example/" + "a" * MAX_CALLBACK_URL_LENGTH, "invalid_url"),
    ],
)
def test_a_callback_url_that_cannot_be_called_is_refused(url: str, code: str) -> None:
    with pytest.raises(Invalid) as refusal:
        policy.check_new_job(NewJob("mail", {}, callback_url=url))
    assert [(error.pointer, error.code) for error in refusal.value.errors] == [("/callbackUrl", code)]
