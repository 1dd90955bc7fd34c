"""Heartbeats over HTTP: what a worker hears by them, and what happens to one that is silent."""

from uuid import uuid4

from tests.support.api import Api, check_problem
from tests.support.remote import RemoteTester, reap

from taskflow.engine.job import NewJob


async def test_a_heartbeat_tells_which_jobs_to_stop(worker: RemoteTester) -> None:
    await worker.submit(1)
    await worker.submit(2)
    one, two = await worker.claim()
    assert await worker.beat() == {"heartbeatEveryMs": 5000, "cancelled": [], "lost": []}
    await worker.cancel(two["jobId"])
    assert (await worker.beat())["cancelled"] == [{"jobId": two["jobId"], "attempt": 1}]
    await worker.hand_back(two["token"])
    assert (await worker.beat([one["token"]]))["cancelled"] == []


async def test_a_heartbeat_tells_which_jobs_are_lost(api: Api, worker: RemoteTester) -> None:
    await worker.submit(1)
    await worker.submit(2)
    one = await worker.claim_one()
    two = await worker.claim_one()
    async with api.database.acquire() as connection:
        await connection.execute("DELETE FROM taskflow.lease WHERE job_ids @> ARRAY[$1::uuid]", two["jobId"])
    answer = await worker.beat([one["token"], two["token"]])
    assert answer["lost"] == [{"jobId": two["jobId"], "attempt": 1}]


async def test_heartbeats_keep_a_worker_and_its_jobs_alive(api: Api, worker: RemoteTester) -> None:
    await worker.submit()
    job = await worker.claim_one()
    await worker.be_silent(14)
    await worker.beat()
    await worker.be_silent(14)
    assert await reap(api.database) == 0
    assert await worker.complete(job["token"]) == ["completed"]


async def test_the_jobs_of_a_worker_that_is_silent_are_given_to_others(api: Api, worker: RemoteTester) -> None:
    job_id = await worker.submit()
    await worker.claim_one()
    await worker.be_silent(16)
    assert await reap(api.database) == 1
    shown = await worker.job(job_id)
    assert (shown["status"], shown["failures"], shown["attempts"][0]["outcome"]) == ("pending", 0, "lost")
    check_problem(await worker.post("heartbeat", {"workerId": worker.worker_id}), 404, "unknown_worker")


async def test_a_worker_may_ask_for_a_longer_lease(api: Api, worker: RemoteTester) -> None:
    await worker.submit()
    await worker.claim_one(leaseMs=120_000)
    await worker.be_silent(100)
    assert await reap(api.database) == 0
    await worker.be_silent(21)
    assert await reap(api.database) == 1


async def test_jobs_that_a_worker_was_given_and_does_not_know_of_go_back(worker: RemoteTester) -> None:
    """The answer to its claim was lost on the way: without this they would hang until their timeout."""
    known_id, stray_id = await worker.submit(1), await worker.submit(2)
    known = await worker.claim_one()
    await worker.claim_one()  # pretend that nobody got this answer
    assert (await worker.beat([known["token"]]))["lost"] == []
    assert (await worker.job(stray_id))["status"] == "active"  # the answer may still be on its way
    await worker.hold(16)
    await worker.beat()  # one that does not say what it runs keeps all
    assert (await worker.job(stray_id))["status"] == "active"
    await worker.beat([known["token"]])
    shown = await worker.job(stray_id)
    assert (shown["status"], shown["failures"]) == ("pending", 0)
    assert (await worker.job(known_id))["status"] == "active"
    assert [job["jobId"] for job in await worker.claim()] == [stray_id]


async def test_a_worker_counts_for_the_jobs_of_its_namespace_only(api: Api, worker: RemoteTester) -> None:
    """What `taskflow status` warns of: ready jobs that no live worker can run."""
    await worker.claim()
    await worker.submit()

    async def is_served() -> bool:
        async with api.database.acquire() as connection:
            [depth] = await api.store.queue_depths(connection)
        return depth.has_worker

    assert await is_served()
    async with api.database.acquire() as connection:
        foreign = NewJob("resize", {"width": 1}, namespace=uuid4(), queue="images")
        await api.store.enqueue(connection, [foreign])
    assert not await is_served()


async def test_a_worker_that_signs_off_leaves_nothing_behind(worker: RemoteTester) -> None:
    job_id = await worker.submit()
    job = await worker.claim_one()
    said = {"workerId": worker.worker_id}
    assert await worker.ask("sign-off", said) == {"handedBack": 1}
    assert (await worker.job(job_id))["status"] == "pending"
    assert await worker.complete(job["token"]) == ["lease_lost"]
    for path in ("sign-off", "heartbeat"):
        check_problem(await worker.post(path, said), 404, "unknown_worker")
