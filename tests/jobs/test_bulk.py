"""Operations on many jobs: started over HTTP, carried out step by step, by whoever comes first."""

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from tests.jobs.test_look import ORDER, submit
from tests.support.api import Api, check_problem, pointers, until
from tests.support.proxy import Proxy
from tests.support.workers import reaches, working

from taskflow.db.pool import Database
from taskflow.engine import bulk as module
from taskflow.engine.bulk import Bulk
from taskflow.engine.client import Engine
from taskflow.engine.job import SYSTEM_NAMESPACE, Claim, JobFilter, JobId, NewJob, NewProgress
from taskflow.engine.record import OperationId
from taskflow.engine.registry import Registry
from taskflow.handlers import bulk as handler
from taskflow.handlers import outage


async def start(client: httpx.AsyncClient, action: str, **chosen: Any) -> str:
    response = await client.post(f"/api/v1/jobs/bulk/{action}", json=chosen)
    assert response.status_code == 202, response.text
    operation: dict[str, Any] = response.json()
    assert response.headers["location"] == f"/api/v1/operations/{operation['operationId']}"
    assert operation["progress"] == {"done": 0, "failed": 0, "total": None}
    return str(operation["operationId"])


async def look(client: httpx.AsyncClient, operation_id: str) -> dict[str, Any]:
    response = await client.get(f"/api/v1/operations/{operation_id}")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def carry_out(api: Api, operation_id: str) -> int:
    """Take all steps; return how many that were."""
    bulk = Bulk(api.database, Engine(api.database))
    steps = 1
    while not await bulk.step(OperationId(UUID(operation_id))):
        steps += 1
    return steps


async def states(client: httpx.AsyncClient) -> Counter[str]:
    return Counter(job["status"] for job in (await client.get("/api/v1/jobs?limit=200")).json()["items"])


async def test_what_waits_is_cancelled_and_what_runs_is_asked_to_stop(api: Api, client: httpx.AsyncClient) -> None:
    done = await submit(client)
    await api.complete((await api.claim())[0], None)
    active = [await submit(client), await submit(client)]
    await api.claim(2)
    for fields in ({}, {"delay": 60_000}, {"queue": "other"}):
        await submit(client, **fields)
    operation_id = await start(client, "cancel", taskType="order")
    await submit(client)  # later: none of its business
    await carry_out(api, operation_id)
    assert await states(client) == {"cancelled": 3, "active": 2, "completed": 1, "pending": 1}
    for job_id in active:
        assert (await client.get(f"/api/v1/jobs/{job_id}")).json()["cancelRequestedAt"] is not None
    operation = await look(client, operation_id)
    assert (operation["status"], operation["progress"]) == ("completed", {"done": 5, "failed": 0, "total": 5})
    assert operation["finishedAt"] is not None
    assert (await client.get(f"/api/v1/jobs/{done}")).json()["status"] == "completed"


async def test_a_step_holds_no_lease_and_announces_what_it_asks_of_jobs_that_were_claimed_meanwhile(
    api: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await submit(client)
    operation_id = await start(client, "cancel")
    engine = Engine(api.database)
    bulk = Bulk(api.database, engine)
    announced: list[JobId] = []
    monkeypatch.setattr(engine, "announce_cancel", announced.append)
    look_up, advance = bulk._find_live, bulk._advance
    claims: list[Claim] = []

    async def find_then_claim(*args: Any) -> Any:
        found = await look_up(*args)
        claims.extend(await api.claim(2))
        return found

    async def advance_beside_a_worker(*args: Any, **options: Any) -> None:
        async with api.database.acquire() as worker:
            await worker.fetch("SELECT FROM taskflow.lease FOR UPDATE NOWAIT")
        await advance(*args, **options)

    monkeypatch.setattr(bulk, "_find_live", find_then_claim)
    monkeypatch.setattr(bulk, "_advance", advance_beside_a_worker)
    assert await bulk.step(OperationId(UUID(operation_id)))
    assert set(announced) == {claim.job_id for claim in claims}
    assert await states(client) == {"active": 2, "cancelled": 1}
    assert (await look(client, operation_id))["progress"] == {"done": 3, "failed": 0, "total": 3}


async def test_what_a_step_cancels_is_told_frees_its_key_and_is_counted(api: Api, client: httpx.AsyncClient) -> None:
    for number in range(3):
        await submit(client, uniqueKey=str(number), callbackUrl="http://receiver.test/", delay=number * 60_000)
    kept = {"uniqueKey": "window", "uniqueScope": "window", "uniqueWindow": 60_000}
    await submit(client, **kept)
    await carry_out(api, await start(client, "cancel", taskType="order"))
    told = (await client.get("/api/v1/webhooks/deliveries")).json()["items"]
    assert Counter(item["event"] for item in told) == {"job.cancelled": 3}
    async with api.database.acquire() as connection:
        assert [row["key"] for row in await connection.fetch("SELECT key FROM taskflow.unique_claim")] == ["window"]
        counted = "SELECT sum(jobs)::integer FROM taskflow.stat_delta WHERE state = 'cancelled' AND measure = 'run'"
        assert await connection.fetchval(counted) == 4


async def test_a_step_that_is_late_leaves_alone_what_has_ended(
    api: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await submit(client)
    operation_id = await start(client, "cancel")
    bulk = Bulk(api.database, Engine(api.database))
    look_up = bulk._find_live

    async def find_then_complete(*args: Any) -> Any:
        found = await look_up(*args)
        await api.complete((await api.claim())[0], None)
        return found

    monkeypatch.setattr(bulk, "_find_live", find_then_complete)
    assert await bulk.step(OperationId(UUID(operation_id)))
    assert await states(client) == {"cancelled": 2, "completed": 1}
    assert (await look(client, operation_id))["progress"] == {"done": 2, "failed": 1, "total": 3}


async def test_a_dry_run_counts_and_changes_nothing(
    api: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fields in ({}, {}, {"queue": "other"}, {"delay": 60_000}):
        await submit(client, **fields)
    await api.complete((await api.claim())[0], None)

    async def count(action: str, **chosen: Any) -> tuple[int, bool]:
        answer = await client.post(f"/api/v1/jobs/bulk/{action}", json={**chosen, "dryRun": True})
        assert answer.status_code == 200, answer.text
        return answer.json()["matching"], answer.json()["hasMore"]

    assert await count("cancel") == (3, False)
    assert await count("cancel", queue="orders", status="pending") == (1, False)
    assert await count("retry") == (0, False)
    assert await count("delete", status="completed") == (1, False)
    assert await count("delete") == (1, False)
    monkeypatch.setattr(module, "DRY_RUN_JOBS", 2)
    assert await count("cancel", queue="orders", status="scheduled") == (1, False)
    assert (await count("cancel"))[1]
    refused = await client.post("/api/v1/jobs/bulk/delete", json={"status": "active", "dryRun": True})
    assert pointers(check_problem(refused, 422, "invalid")) == {"/status": "unknown_value"}
    async with api.database.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM taskflow.operation") == 0
    assert await states(client) == {"pending": 2, "scheduled": 1, "completed": 1}


async def test_a_filter_chooses(api: Api, client: httpx.AsyncClient) -> None:
    await submit(client, tags=["old"])
    await submit(client, queue="other", tags=["old"])
    await submit(client)
    await carry_out(api, await start(client, "cancel", queue="orders", tag="old", status="pending"))
    assert await states(client) == {"cancelled": 1, "pending": 2}


async def test_a_name_in_a_filter_that_nothing_has_is_told(api: Api, client: httpx.AsyncClient) -> None:
    async def told(**chosen: Any) -> Any:
        dry = await client.post("/api/v1/jobs/bulk/cancel", json={**chosen, "dryRun": True})
        real = await client.post("/api/v1/jobs/bulk/cancel", json=chosen)
        assert (dry.status_code, real.status_code) == (200, 202)
        assert dry.json().get("unknown") == real.json().get("unknown")
        assert "unknown" not in await look(client, real.json()["operationId"])
        return dry.json().get("unknown")

    assert await told(queue="ordres", taskType="odrer") == ["taskType", "queue"]
    assert await told(queue="orders", taskType="order") is None
    job = {"taskType": "order", "payload": {"number": 1}, "queue": "elsewhere", "delay": 60_000}
    assert (await client.post("/api/v1/jobs", json=job)).status_code == 201
    assert await told(queue="elsewhere") is None, "a job has it, though no list of queues does"


async def test_failed_jobs_run_again(api: Api, client: httpx.AsyncClient) -> None:
    for _ in range(3):
        await submit(client, retries=0)
    for claim in await api.claim(3):
        await api.fail(claim)
    operation_id = await start(client, "retry")
    assert (await look(client, operation_id))["filter"] == {"status": "failed"}
    await carry_out(api, operation_id)
    assert len(await api.claim(9)) == 3


async def test_a_job_whose_key_is_held_counts_as_failed_and_hinders_no_other(
    api: Api, client: httpx.AsyncClient
) -> None:
    await submit(client, retries=0, uniqueKey="k")
    await submit(client, retries=0)
    for claim in await api.claim(2):
        await api.fail(claim)
    await submit(client, uniqueKey="k")
    operation_id = await start(client, "retry")
    await carry_out(api, operation_id)
    assert (await look(client, operation_id))["progress"] == {"done": 1, "failed": 1, "total": 2}
    assert await states(client) == {"pending": 2, "failed": 1}


async def test_ended_jobs_are_deleted_with_all_that_was_kept_of_them(api: Api, client: httpx.AsyncClient) -> None:
    window = {"uniqueKey": "k", "uniqueScope": "window", "uniqueWindow": 60_000}
    ended = await submit(client, **window, callbackUrl="http://receiver.test/")
    [claim] = await api.claim()
    async with api.database.acquire() as connection:
        await api.store.write_progress(connection, [NewProgress(claim, 0.5, "half", 0.0)], written_at_s=0.0)
    await api.fail(claim)
    await client.post(f"/api/v1/jobs/{ended}/cancel")
    alive = await submit(client)
    async with api.database.acquire() as connection:
        await connection.execute(
            """
            INSERT INTO taskflow.webhook_response (delivery_id, attempt, at, duration_ms)
            SELECT id, 1, now(), 9 FROM taskflow.webhook_delivery
            """
        )
    operation_id = await start(client, "delete", **{"from": "2026-01-01T00:00:00Z"})
    await carry_out(api, operation_id)
    assert (await look(client, operation_id))["progress"]["done"] == 1
    check_problem(await client.get(f"/api/v1/jobs/{ended}"), 404, "not_found")
    assert (await client.get(f"/api/v1/jobs/{alive}")).json()["status"] == "pending"
    async with api.database.acquire() as connection:
        kept = (
            "done",
            "attempt_log",
            "job_log",
            "unique_claim",
            "job_progress",
            "webhook_delivery",
            "webhook_response",
        )
        for table in kept:
            assert await connection.fetchval(f"SELECT count(*) FROM taskflow.{table}") == 0, table
    assert (await client.post("/api/v1/jobs", json={**ORDER, **window})).status_code == 201


async def test_a_step_that_dies_leaves_nothing_and_is_taken_again(
    api: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CANCEL_JOBS", 2)
    for _ in range(5):
        await submit(client)
    operation_id = await start(client, "cancel")
    bulk = Bulk(api.database, Engine(api.database))
    assert not await bulk.step(OperationId(UUID(operation_id)))

    async def dies(*_: Any, **__: Any) -> bool:
        raise RuntimeError("killed on this line")

    with monkeypatch.context() as patch:
        patch.setattr(bulk._store, "advance_operation", dies)
        with pytest.raises(RuntimeError):
            await bulk.step(OperationId(UUID(operation_id)))
    assert await states(client) == {"cancelled": 2, "pending": 3}
    operation = await look(client, operation_id)
    assert (operation["status"], operation["progress"]["done"]) == ("running", 2)
    await carry_out(api, operation_id)
    assert (await look(client, operation_id))["progress"] == {"done": 5, "failed": 0, "total": 5}


async def test_two_that_carry_out_the_same_operation_count_each_job_once(
    api: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CANCEL_JOBS", 3)
    await client.post("/api/v1/jobs/batch", json=[ORDER] * 20)
    operation_id = await start(client, "cancel")
    await asyncio.gather(carry_out(api, operation_id), carry_out(api, operation_id))
    assert (await look(client, operation_id))["progress"] == {"done": 20, "failed": 0, "total": 20}


async def test_a_worker_carries_it_out(api: Api, client: httpx.AsyncClient, database_url: str) -> None:
    for _ in range(3):
        await submit(client)
    operation_id = await start(client, "cancel")
    registry = Registry()
    async with Engine(api.database) as engine:
        handler.register(registry, Bulk(api.database, engine), queue="builtin")
        async with working(database_url, registry, queues=["builtin"]):

            async def over() -> bool:
                return bool((await look(client, operation_id))["status"] == "completed")

            await until(over)
            assert await states(client) == {"cancelled": 3}  # and the internal job is nobody's
            stranger = await engine.enqueue(NewJob(module.KIND, {"operation": operation_id}, queue="builtin"))

            async def refused() -> bool:
                return (await engine.get_job(stranger.id)).failure_reason == "permanent"

            await until(refused)


async def test_an_outage_of_our_own_database_is_not_charged_to_it(
    api: Api, client: httpx.AsyncClient, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "AWAY_S", 0.01)
    await submit(client)
    operation_id = await start(client, "cancel")
    async with Proxy(database_url) as proxy, Engine(api.database) as engine:
        database = Database(proxy.url, max_size=2)
        registry = Registry()
        handler.register(registry, Bulk(database, Engine(database)), queue="builtin")
        proxy.lose_answer("advance_operation")
        async with working(database_url, registry, queues=["builtin"]):
            [job] = (await engine.list_jobs(SYSTEM_NAMESPACE, JobFilter(kind=module.KIND), limit=2)).items
            job = await reaches(engine, job.id)
        await database.stop()
    assert proxy.lost == 1
    assert (job.attempt, job.failures) == (2, 0)
    assert (await look(client, operation_id))["progress"]["done"] == 1


async def test_the_engines_own_kinds_are_not_for_submitters(api: Api, client: httpx.AsyncClient) -> None:
    registry = Registry()
    handler.register(registry, Bulk(api.database, Engine(api.database)), queue="builtin")
    await api.publish(registry)
    job = {"taskType": module.KIND, "payload": {"operation": str(uuid4())}}
    check_problem(await client.post("/api/v1/jobs", json=job), 422, "unknown_kind")
    kinds = (await client.get("/api/v1/job-types")).json()["items"]
    assert module.KIND not in {kind["taskType"] for kind in kinds}


@pytest.mark.parametrize(
    ("action", "chosen", "wrong"),
    [
        ("cancel", {"status": "completed"}, {"/status": "unknown_value"}),
        ("retry", {"status": "pending"}, {"/status": "unknown_value"}),
        ("delete", {"status": "active"}, {"/status": "unknown_value"}),
        ("delete", {"state": "failed"}, {"/state": "unknown_field"}),
        ("cancel", {"from": "yesterday"}, {"/from": "instant"}),
        ("cancel", {"queue": ""}, {"/queue": "wrong_length"}),
        ("cancel", [], {"": "wrong_type"}),
        ("cancel", {"dryRun": "yes"}, {"/dryRun": "wrong_type"}),
    ],
)
async def test_a_filter_that_cannot_be_is_refused(
    client: httpx.AsyncClient, action: str, chosen: Any, wrong: dict[str, str]
) -> None:
    response = await client.post(f"/api/v1/jobs/bulk/{action}", json=chosen)
    assert pointers(check_problem(response, 422, "invalid")) == wrong


async def test_an_operation_of_another_namespace_is_not_there(api: Api, client: httpx.AsyncClient) -> None:
    operation_id = await start(client, "cancel")
    async with api.client(await api.key(namespace=uuid4())) as stranger:
        check_problem(await stranger.get(f"/api/v1/operations/{operation_id}"), 404, "not_found")
    check_problem(await client.get("/api/v1/operations/none"), 404, "not_found")


async def test_an_operation_started_twice_with_a_key_is_one(api: Api, client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "o"}
    first = await client.post("/api/v1/jobs/bulk/cancel", json={}, headers=headers)
    again = await client.post("/api/v1/jobs/bulk/cancel", json={}, headers=headers)
    assert again.json() == first.json()
    async with api.database.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM taskflow.operation") == 1


async def test_an_operation_whose_job_was_given_up_says_so(api: Api, client: httpx.AsyncClient) -> None:
    operation_id = await start(client, "cancel")
    async with api.database.acquire() as connection:
        job_id = await connection.fetchval("SELECT job_id FROM taskflow.operation")
    await Engine(api.database).cancel(job_id)
    assert (await look(client, operation_id))["status"] == "failed"
