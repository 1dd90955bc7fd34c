"""Unique jobs and jobs that expire, over HTTP."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from tests.jobs.test_look import ORDER, submit
from tests.support.api import Api, check_problem, pointers

KEYED = {**ORDER, "uniqueKey": "order-1"}


async def test_a_second_submit_with_the_key_gets_the_first_job(api: Api, client: httpx.AsyncClient) -> None:
    first = await client.post("/api/v1/jobs", json=KEYED)
    assert first.status_code == 201
    assert "duplicate" not in first.json()
    assert (first.json()["uniqueKey"], first.json()["uniqueScope"]) == ("order-1", "until_finished")
    await api.claim()
    again = await client.post("/api/v1/jobs", json={**KEYED, "payload": {"number": 2}})
    assert again.status_code == 200
    assert (again.json()["jobId"], again.json()["duplicate"]) == (first.json()["jobId"], True)
    assert (again.json()["status"], again.json()["payload"]) == ("active", {"number": 1})
    assert again.headers["location"] == first.headers["location"]


async def test_of_many_submits_at_once_one_makes_the_job(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(client.post("/api/v1/jobs", json=KEYED) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [*[200] * 11, 201]
    assert len({answer.json()["jobId"] for answer in answers}) == 1


async def test_a_duplicate_under_an_idempotency_key_is_replayed_as_it_was(client: httpx.AsyncClient) -> None:
    await client.post("/api/v1/jobs", json=KEYED)
    headers = {"Idempotency-Key": "a"}
    first = await client.post("/api/v1/jobs", json=KEYED, headers=headers)
    again = await client.post("/api/v1/jobs", json=KEYED, headers=headers)
    assert (first.status_code, again.status_code, again.json()) == (200, 200, first.json())


async def test_a_failed_job_is_not_run_again_while_another_holds_its_key(api: Api, client: httpx.AsyncClient) -> None:
    failed = (await client.post("/api/v1/jobs", json={**KEYED, "retries": 0})).json()["jobId"]
    await api.fail((await api.claim())[0])
    other = await client.post("/api/v1/jobs", json=KEYED)
    assert other.status_code == 201
    check_problem(await client.post(f"/api/v1/jobs/{failed}/retry"), 409, "unique_key_held")
    assert (await client.get(f"/api/v1/jobs/{failed}")).json()["status"] == "failed"
    await client.post(f"/api/v1/jobs/{other.json()['jobId']}/cancel")
    assert (await client.post(f"/api/v1/jobs/{failed}/retry")).status_code == 200
    assert (await client.post("/api/v1/jobs", json=KEYED)).json()["jobId"] == failed


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"uniqueKey": ""}, {"/uniqueKey": "wrong_length"}),
        ({"uniqueKey": "x" * 201}, {"/uniqueKey": "wrong_length"}),
        ({"uniqueKey": "a\nb"}, {"/uniqueKey": "invalid_key"}),
        ({"uniqueKey": 7}, {"/uniqueKey": "wrong_type"}),
        ({"uniqueScope": "window"}, {"/uniqueScope": "needs_key"}),
        ({"uniqueKey": "k", "uniqueScope": "ever"}, {"/uniqueScope": "unknown_value"}),
        ({"uniqueKey": "k", "uniqueScope": "window"}, {"/uniqueWindow": "required"}),
        ({"uniqueKey": "k", "uniqueWindow": 5}, {"/uniqueWindow": "exclusive"}),
        ({"uniqueKey": "k", "uniqueScope": "window", "uniqueWindow": 0}, {"/uniqueWindow": "out_of_range"}),
        ({"uniqueWindow": 5}, {"/uniqueWindow": "needs_key"}),
        ({"ttl": 0}, {"/ttl": "out_of_range"}),
        ({"ttl": 5, "expiresAt": "2030-01-01T00:00:00Z"}, {"/expiresAt": "exclusive"}),
        ({"expiresAt": "2030-01-01T00:00:00"}, {"/expiresAt": "instant"}),
        ({"expiresAt": "2030-01-01T00:00:00Z", "runAt": "2030-01-01T00:00:00Z"}, {"/expiresAt": "before_due"}),
        ({"ttl": 5, "delay": 5}, {"/ttl": "before_due"}),
        ({"ttl": 5, "runAt": "2026-01-01T00:00:00Z"}, {"/ttl": "exclusive"}),
        ({"expiresAt": "2030-01-01T00:00:00Z", "delay": 5}, {"/expiresAt": "exclusive"}),
    ],
)
async def test_what_cannot_be_is_refused_with_its_field(
    client: httpx.AsyncClient, fields: dict[str, Any], wrong: dict[str, str]
) -> None:
    response = await client.post("/api/v1/jobs", json={**ORDER, **fields})
    assert pointers(check_problem(response, 422, "invalid")) == wrong


async def test_an_instant_and_a_span_are_not_mixed_wherever_a_job_comes_from(client: httpx.AsyncClient) -> None:
    mixed = {**ORDER, "ttl": 3_600_000, "runAt": "2030-01-01T00:00:00Z"}
    alone = check_problem(await client.post("/api/v1/jobs", json=mixed), 422, "invalid")
    assert ("expiresAt" in alone["errors"][0]["detail"], "runAt" in alone["errors"][0]["detail"]) == (True, True)
    batch = check_problem(await client.post("/api/v1/jobs/batch", json=[ORDER, mixed]), 422, "invalid")
    assert pointers(batch) == {"/1/ttl": "exclusive"}
    streamed = await client.post(
        "/api/v1/jobs/stream", content=json.dumps(mixed), headers={"content-type": "application/x-ndjson"}
    )
    assert pointers(json.loads(streamed.text.splitlines()[0])) == {"/ttl": "exclusive"}
    assert (await client.get("/api/v1/jobs")).json()["items"] == []


async def test_a_job_says_when_it_expires(api: Api, client: httpx.AsyncClient) -> None:
    job = (await client.post("/api/v1/jobs", json={**ORDER, "ttl": 1})).json()
    assert job["expiresAt"] > job["createdAt"]
    assert (await client.get(f"/api/v1/jobs/{job['jobId']}")).json()["expiresAt"] == job["expiresAt"]
    async with api.database.acquire() as connection:
        await connection.execute("SELECT pg_sleep(0.002)")
        assert await api.store.expire(connection, limit=9) == 1
    job = (await client.get(f"/api/v1/jobs/{job['jobId']}")).json()
    assert (job["status"], job["failureReason"], job["errorType"]) == ("failed", "expired", "Expired")


# Changes -------------------------------------------------------------------------------------------------------------


async def test_a_scheduled_job_is_run_now(api: Api, client: httpx.AsyncClient) -> None:
    job_id = await submit(client, delay=60_000)
    response = await client.post(f"/api/v1/jobs/{job_id}/run-now")
    assert (response.status_code, response.json()["status"]) == (200, "pending")
    problem = check_problem(await client.post(f"/api/v1/jobs/{job_id}/run-now"), 409, "not_waiting")
    assert problem["state"] == "pending"
    assert len(await api.claim()) == 1
    check_problem(await client.post(f"/api/v1/jobs/{job_id}/run-now"), 409, "not_waiting")


async def test_a_waiting_job_is_changed(api: Api, client: httpx.AsyncClient) -> None:
    job_id = await submit(client)
    job = (await client.patch(f"/api/v1/jobs/{job_id}", json={"priority": "high", "delay": 60_000})).json()
    assert (job["status"], job["priority"]) == ("scheduled", 8)
    job = (await client.patch(f"/api/v1/jobs/{job_id}", json={"runAt": "2026-01-01T00:00:00Z"})).json()
    assert (job["status"], job["priority"]) == ("pending", 8)
    await api.claim()
    problem = check_problem(await client.patch(f"/api/v1/jobs/{job_id}", json={"priority": 1}), 409, "not_waiting")
    assert problem["state"] == "active"


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, {"": "required"}),
        ({"priority": 10}, {"/priority": "priority"}),
        ({"delay": 1, "runAt": "2030-01-01T00:00:00Z"}, {"/runAt": "exclusive"}),
        ({"retries": 3}, {"/retries": "unknown_field"}),
        ([1], {"": "wrong_type"}),
    ],
)
async def test_a_change_that_cannot_be_is_refused(client: httpx.AsyncClient, body: Any, wrong: dict[str, str]) -> None:
    job_id = await submit(client)
    assert pointers(check_problem(await client.patch(f"/api/v1/jobs/{job_id}", json=body), 422, "invalid")) == wrong


async def test_a_change_with_a_key_happens_once(client: httpx.AsyncClient) -> None:
    job_id = await submit(client)
    headers = {"Idempotency-Key": "c"}
    first = await client.patch(f"/api/v1/jobs/{job_id}", json={"priority": 9}, headers=headers)
    await client.patch(f"/api/v1/jobs/{job_id}", json={"priority": 1})
    again = await client.patch(f"/api/v1/jobs/{job_id}", json={"priority": 9}, headers=headers)
    assert again.json() == first.json()
    assert (await client.get(f"/api/v1/jobs/{job_id}")).json()["priority"] == 1
    other = await client.patch(f"/api/v1/jobs/{job_id}", json={"priority": 8}, headers=headers)
    check_problem(other, 422, "idempotency_key_reused")


# Batches -------------------------------------------------------------------------------------------------------------


async def test_a_batch_is_stored_in_its_order(api: Api, client: httpx.AsyncClient) -> None:
    batch = [{**ORDER, "payload": {"number": n}} for n in range(5)]
    response = await client.post("/api/v1/jobs/batch", json=[*batch, KEYED, KEYED])
    assert response.status_code == 201, response.text
    items = response.json()["items"]
    assert [item["payload"]["number"] for item in items] == [0, 1, 2, 3, 4, 1, 1]
    assert [item.get("duplicate", False) for item in items] == [False] * 6 + [True]
    assert items[6]["jobId"] == items[5]["jobId"]
    assert len(await api.claim(99)) == 6


async def test_a_batch_with_a_bad_job_stores_none_and_names_its_index(api: Api, client: httpx.AsyncClient) -> None:
    batch = [ORDER, {**ORDER, "priority": 11}, {**ORDER, "payload": {}}, {"taskType": "nothing"}, 7]
    problem = check_problem(await client.post("/api/v1/jobs/batch", json=batch), 422, "invalid")
    assert pointers(problem) == {
        "/1/priority": "priority",
        "/2/payload/number": "required",
        "/3/taskType": "unknown_kind",
        "/4": "wrong_type",
    }
    assert await api.claim(9) == []


@pytest.mark.parametrize(("body", "code"), [([], "too_few"), ([ORDER] * 1001, "too_many"), (ORDER, "wrong_type")])
async def test_a_batch_has_its_limits(client: httpx.AsyncClient, body: Any, code: str) -> None:
    assert pointers(check_problem(await client.post("/api/v1/jobs/batch", json=body), 422, "invalid")) == {"": code}


async def test_a_batch_sent_twice_with_a_key_is_stored_once(api: Api, client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "b"}
    first = await client.post("/api/v1/jobs/batch", json=[ORDER, ORDER], headers=headers)
    again = await client.post("/api/v1/jobs/batch", json=[ORDER, ORDER], headers=headers)
    assert again.json() == first.json()
    assert len(await api.claim(9)) == 2
