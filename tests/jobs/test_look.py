"""Looking at jobs over HTTP: one, lists, logs, kinds."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from tests.support.api import MAIL, Api, check_problem, pointers

from taskflow.engine.job import NewLogLine

ORDER = {"taskType": "order", "payload": {"number": 1}}


async def submit(client: httpx.AsyncClient, **fields: Any) -> str:
    response = await client.post("/api/v1/jobs", json={**ORDER, **fields})
    assert response.status_code == 201, response.text
    job_id: str = response.json()["jobId"]
    return job_id


async def listed(client: httpx.AsyncClient, **parameters: Any) -> list[str]:
    response = await client.get("/api/v1/jobs", params=parameters)
    assert response.status_code == 200, response.text
    return [job["jobId"] for job in response.json()["items"]]


@pytest.mark.covers("S2-8", "S2-17", "S3-12")
async def test_a_completed_job_shows_its_result(api: Api, client: httpx.AsyncClient) -> None:
    job_id = await submit(client)
    [claim] = await api.claim()
    active = (await client.get(f"/api/v1/jobs/{job_id}")).json()
    assert (active["status"], active["attempt"]) == ("active", 1)
    assert active["startedAt"] is not None
    await api.complete(claim, {"total": 7})
    done = (await client.get(f"/api/v1/jobs/{job_id}")).json()
    assert (done["status"], done["result"], done["error"]) == ("completed", {"total": 7}, None)
    assert done["finishedAt"] >= done["startedAt"] >= done["createdAt"]


@pytest.mark.covers("S2-8", "S2-17", "S2-20")
async def test_a_failing_job_shows_its_attempts_and_next_retry(api: Api, client: httpx.AsyncClient) -> None:
    job_id = await submit(client)
    [claim] = await api.claim()
    await api.fail(claim, "the disk is full")
    job = (await client.get(f"/api/v1/jobs/{job_id}")).json()
    assert (job["status"], job["error"], job["errorType"]) == ("retrying", "the disk is full", "RuntimeError")
    assert (job["failures"], job["retries"]) == (1, 1)
    assert job["nextRetryAt"] is not None
    [attempt] = job["attempts"]
    assert (attempt["attempt"], attempt["outcome"], attempt["error"]) == (1, "error", "the disk is full")
    assert attempt["nextRetryAt"] == job["nextRetryAt"]
    assert attempt["startedAt"] <= attempt["finishedAt"]


@pytest.mark.covers("S2-12", "S2-17")
async def test_a_job_that_failed_for_good_says_why(api: Api, client: httpx.AsyncClient) -> None:
    job_id = await submit(client)
    [claim] = await api.claim()
    await api.fail(claim, "no such order", for_good=True)
    job = (await client.get(f"/api/v1/jobs/{job_id}")).json()
    assert (job["status"], job["failureReason"], job["error"]) == ("failed", "permanent", "no such order")
    assert (job["result"], job["nextRetryAt"]) == (None, None)


async def test_secrets_in_a_handlers_error_stay_inside(api: Api, client: httpx.AsyncClient) -> None:
    job_id = await submit(client)
    [claim] = await api.claim()
    await api.fail(claim, "cannot reach smtp://me:hunter2@mail.example.com")
    assert "hunter2" not in (await client.get(f"/api/v1/jobs/{job_id}")).text


ONE_JOB = [("GET", ""), ("GET", "/logs"), ("POST", "/cancel"), ("DELETE", ""), ("POST", "/retry")]


@pytest.mark.covers("S3-11")
@pytest.mark.parametrize(("method", "path"), ONE_JOB)
async def test_a_job_that_is_not_there_is_404(client: httpx.AsyncClient, method: str, path: str) -> None:
    for job_id in (
        "019ab0f2-6b3e-7c41-9d5a-3f6f0c9d2e11",
        "42",
        "x" * 36,
        "019ab0f26b3e7c419d5a3f6f0c9d2e11",
    ):
        response = await client.request(method, f"/api/v1/jobs/{job_id}{path}")
        assert (response.status_code, response.json()["code"]) == (404, "not_found"), job_id


@pytest.mark.covers("S2-8", "X-13")
@pytest.mark.parametrize(("method", "path"), ONE_JOB)
async def test_a_job_of_another_namespace_is_not_there(
    api: Api, client: httpx.AsyncClient, method: str, path: str
) -> None:
    job_id = await submit(client)
    async with api.client(await api.key(namespace=uuid4())) as stranger:
        foreign = await stranger.request(method, f"/api/v1/jobs/{job_id}{path}")
        absent = await stranger.request(method, f"/api/v1/jobs/{uuid4()}{path}")
    assert foreign.status_code == absent.status_code == 404
    assert re.sub(job_id, "", foreign.json()["detail"]) == re.sub(r"[0-9a-f-]{36}", "", absent.json()["detail"])
    assert (await client.get(f"/api/v1/jobs/{job_id}")).json()["status"] == "pending"


@pytest.mark.covers("S2-7")
async def test_a_list_is_newest_first(client: httpx.AsyncClient) -> None:
    ids = [await submit(client) for _ in range(3)]
    assert await listed(client) == ids[::-1]


@pytest.mark.covers("S2-7")
async def test_a_list_of_another_namespace_is_empty(api: Api, client: httpx.AsyncClient) -> None:
    await submit(client)
    async with api.client(await api.key(namespace=uuid4())) as stranger:
        assert await listed(stranger) == []


@pytest.mark.covers("S2-7")
async def test_a_list_can_be_filtered(api: Api, client: httpx.AsyncClient) -> None:
    mail = (await client.post("/api/v1/jobs", json={**MAIL, "tags": ["red"]})).json()["jobId"]
    order = await submit(client, queue="mine", tags=["red", "big"])
    [claim] = await api.claim(queues=["mine"])
    later = await submit(client, delay=60_000)
    assert await listed(client, taskType="send_email") == [mail]
    assert await listed(client, taskType="nothing") == []
    assert await listed(client, queue="mine") == [order]
    assert await listed(client, tag="red") == [order, mail]
    assert await listed(client, tag="big", taskType="order") == [order]
    assert await listed(client, status="pending") == [mail]
    assert await listed(client, status="active") == [order]
    assert await listed(client, status="scheduled") == [later]
    await api.fail(claim)
    assert await listed(client, status="retrying") == [order]
    await client.post(f"/api/v1/jobs/{mail}/cancel")
    assert await listed(client, status="cancelled") == [mail]
    assert await listed(client, status="completed") == await listed(client, status="failed") == []


@pytest.mark.covers("S2-7")
async def test_a_list_can_be_bounded_in_time(client: httpx.AsyncClient) -> None:
    first, second = await submit(client), await submit(client)
    at = (await client.get(f"/api/v1/jobs/{second}")).json()["createdAt"]
    assert await listed(client, **{"from": "2020-01-01T00:00:00Z", "to": "2120-01-01T00:00:00+01:00"}) == [
        second,
        first,
    ]
    assert second in await listed(client, **{"from": at})
    assert second not in await listed(client, to=at)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert await listed(client, **{"from": tomorrow}) == []


@pytest.mark.covers("S2-7", "X-13", "S3-29", "S4-32")
async def test_a_walk_through_the_pages_sees_every_job_once(client: httpx.AsyncClient) -> None:
    ids = [await submit(client, tags=["walk"]) for _ in range(7)]
    seen: list[str] = []
    url: str | None = "/api/v1/jobs?limit=3&tag=walk"
    pages = 0
    while url is not None:
        response = await client.get(url)
        page = response.json()
        seen += [job["jobId"] for job in page["items"]]
        link = response.headers.get("link")
        url = link.partition(">")[0][1:] if link else None
        assert (page["nextCursor"] is None) == (url is None)
        pages += 1
        await submit(client)  # what comes meanwhile is newer, and above where we are
        assert pages < 10
    assert seen == ids[::-1]


async def test_a_full_last_page_says_that_it_is_the_last(client: httpx.AsyncClient) -> None:
    for _ in range(4):
        await submit(client)
    first = (await client.get("/api/v1/jobs?limit=2")).json()
    last = (await client.get("/api/v1/jobs", params={"limit": 2, "cursor": first["nextCursor"]})).json()
    assert (len(last["items"]), last["nextCursor"]) == (2, None)


async def test_a_page_with_large_jobs_ends_early_and_goes_on(client: httpx.AsyncClient) -> None:
    note = "x" * 250_000
    ids = [await submit(client, payload={"number": number, "note": note}) for number in range(20)]
    first = (await client.get("/api/v1/jobs?limit=200")).json()
    assert 0 < len(first["items"]) < 20
    rest = (await client.get("/api/v1/jobs", params={"limit": 200, "cursor": first["nextCursor"]})).json()
    assert [job["jobId"] for job in first["items"] + rest["items"]] == ids[::-1]
    assert rest["nextCursor"] is None


BAD_QUERIES: list[tuple[str, Mapping[str, str]]] = [
    ("limit=0", {"limit": "out_of_range"}),
    ("limit=201", {"limit": "out_of_range"}),
    ("limit=ten", {"limit": "wrong_type"}),
    ("limit=", {"limit": "wrong_type"}),
    ("limit=1&limit=2", {"limit": "given_twice"}),
    ("status=lost", {"status": "unknown_value"}),
    ("sort=createdAt", {"sort": "unknown_value"}),
    ("from=yesterday", {"from": "instant"}),
    ("from=2030-01-01T00:00:00", {"from": "instant"}),
    ("to=1700000000", {"to": "instant"}),
    ("cursor=abc", {"cursor": "bad_cursor"}),
    ("cursor=%00%ff", {"": "bad_query"}),
    (f"taskType={'x' * 101}", {"taskType": "wrong_length"}),
    ("page=2&offset=5", {"page": "unknown_field", "offset": "unknown_field"}),
    ("status=lost&limit=0&x=1", {"status": "unknown_value", "limit": "out_of_range", "x": "unknown_field"}),
]


async def test_a_wrong_parameter_is_named(client: httpx.AsyncClient) -> None:
    for query, expected in BAD_QUERIES:
        response = await client.get(f"/api/v1/jobs?{query}")
        if "" in expected:
            check_problem(response, 422, expected[""])
        else:
            assert pointers(check_problem(response, 422, "invalid")) == expected, query


async def test_a_cursor_is_good_for_its_own_list_only(api: Api, client: httpx.AsyncClient) -> None:
    job_id = await submit(client)
    await submit(client)
    cursor = (await client.get("/api/v1/jobs?limit=1")).json()["nextCursor"]
    assert (await client.get("/api/v1/jobs", params={"limit": 7, "cursor": cursor})).status_code == 200
    for url in (
        f"/api/v1/jobs?tag=x&cursor={cursor}",
        f"/api/v1/jobs?cursor={cursor[:-1]}{'A' if cursor[-1] != 'A' else 'B'}",
        f"/api/v1/jobs/{job_id}/logs?cursor={cursor}",
    ):
        assert pointers(check_problem(await client.get(url), 422, "invalid")) == {"cursor": "bad_cursor"}
    async with api.client(await api.key(namespace=uuid4())) as stranger:
        check_problem(await stranger.get(f"/api/v1/jobs?cursor={cursor}"), 422, "invalid")


@pytest.mark.covers("S2-9", "S2-22")
async def test_logs_are_read_in_order_and_in_pages(api: Api, client: httpx.AsyncClient) -> None:
    job_id = await submit(client)
    [claim] = await api.claim()
    async with api.database.acquire() as connection:
        await api.store.write_logs(
            connection, [NewLogLine(claim, "info", f"line {n}", 0.0) for n in range(5)], written_at_s=0.0
        )
    first = (await client.get(f"/api/v1/jobs/{job_id}/logs?limit=3")).json()
    second = (
        await client.get(f"/api/v1/jobs/{job_id}/logs", params={"limit": 3, "cursor": first["nextCursor"]})
    ).json()
    read = first["items"] + second["items"]
    assert [line["message"] for line in read] == [f"line {n}" for n in range(5)]
    assert {(line["level"], line["attempt"]) for line in read} == {("info", 1)}
    assert second["nextCursor"] is None
    assert [line["seq"] for line in read] == sorted(line["seq"] for line in read)


@pytest.mark.parametrize("path", ["", "/logs"])
async def test_unknown_parameters_are_refused_everywhere(client: httpx.AsyncClient, path: str) -> None:
    job_id = await submit(client)
    response = await client.get(f"/api/v1/jobs/{job_id}{path}?colour=red")
    problem = check_problem(response, 422, "invalid")
    assert pointers(problem) == {"colour": "unknown_field"}
    names = "limit, cursor, follow" if path else "none"
    assert problem["errors"][0]["detail"] == f"is no parameter here; there are {names}"


@pytest.mark.covers("S2-16")
async def test_kinds_are_listed_with_schema_and_defaults(client: httpx.AsyncClient) -> None:
    items = (await client.get("/api/v1/job-types")).json()["items"]
    assert [item["taskType"] for item in items] == ["order", "send_email"]
    order, mail = items
    assert order["queue"] == "orders"
    assert order["defaults"] == {"priority": 5, "retries": 1, "timeout": 5000}
    assert mail["defaults"]["retries"] == 3
    assert "$defs" in mail["schema"]
    check_problem(await client.get("/api/v1/job-types?x=1"), 422, "invalid")


async def test_ids_may_be_written_in_capitals(client: httpx.AsyncClient) -> None:
    job_id = await submit(client)
    assert UUID((await client.get(f"/api/v1/jobs/{job_id.upper()}")).json()["jobId"]) == UUID(job_id)
