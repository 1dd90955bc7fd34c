"""Queues over HTTP."""

from typing import Any

import httpx
import pytest
from tests.jobs.test_look import ORDER, submit
from tests.support.api import Api, check_problem, pointers

QUEUE = "/api/v1/queues/orders"


async def look(client: httpx.AsyncClient, name: str = "orders") -> dict[str, Any]:
    response = await client.get(f"/api/v1/queues/{name}")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def test_a_queue_shows_what_waits_and_what_runs(api: Api, client: httpx.AsyncClient) -> None:
    for _ in range(3):
        await submit(client)
    await api.claim(1)
    queue = await look(client)
    assert (queue["pending"], queue["active"], queue["workers"]) == (2, 1, 1)
    assert queue["oldestDueAge"] >= 0
    assert (queue["paused"], queue["draining"], queue["concurrency"]) == (False, False, None)


async def test_queues_are_listed_by_name_in_pages(client: httpx.AsyncClient) -> None:
    first = (await client.get("/api/v1/queues", params={"limit": 1})).json()
    assert [queue["name"] for queue in first["items"]] == ["builtin"]
    response = await client.get("/api/v1/queues", params={"limit": 1, "cursor": first["nextCursor"]})
    assert [queue["name"] for queue in response.json()["items"]] == ["orders"]
    assert response.json()["nextCursor"] is None


async def test_a_queue_is_paused_and_resumed(api: Api, client: httpx.AsyncClient) -> None:
    await submit(client)
    response = await client.post(f"{QUEUE}/pause")
    assert (response.status_code, response.json()["paused"]) == (200, True)
    assert response.json()["pausedAt"] is not None
    assert await api.claim() == []
    assert (await client.post(f"{QUEUE}/resume")).json()["paused"] is False
    assert len(await api.claim()) == 1


async def test_a_draining_queue_refuses_submits_and_names_itself(api: Api, client: httpx.AsyncClient) -> None:
    await submit(client)
    assert (await client.post(f"{QUEUE}/drain")).json()["draining"] is True
    problem = check_problem(await client.post("/api/v1/jobs", json=ORDER), 409, "queue_draining")
    assert problem["queue"] == "orders"
    assert pointers(problem) == {"/queue": "queue_draining"}
    keyed = await client.post("/api/v1/jobs", json=ORDER, headers={"Idempotency-Key": "k"})
    check_problem(keyed, 409, "queue_draining")
    batch = await client.post("/api/v1/jobs/batch", json=[{**ORDER, "queue": "builtin"}, ORDER])
    assert pointers(check_problem(batch, 409, "queue_draining")) == {"/1/queue": "queue_draining"}
    assert len(await api.claim(9)) == 1
    await client.post(f"{QUEUE}/resume")
    await submit(client)


async def test_a_limit_is_set_held_and_lifted(api: Api, client: httpx.AsyncClient) -> None:
    for _ in range(4):
        await submit(client)
    response = await client.patch(QUEUE, json={"concurrency": 1})
    assert (response.status_code, response.json()["concurrency"]) == (200, 1)
    assert [len(await api.claim(9)) for _ in range(2)] == [1, 0]
    assert (await client.patch(QUEUE, json={"concurrency": None})).json()["concurrency"] is None
    assert len(await api.claim(9)) == 3


async def test_a_name_with_a_slash_is_a_name(client: httpx.AsyncClient) -> None:
    await client.post("/api/v1/queues/eu/images/pause")
    assert (await look(client, "eu/images"))["paused"] is True
    assert (await look(client, "eu%2Fimages"))["paused"] is True


async def test_a_queue_that_only_its_settings_name_says_so_and_leaves_with_them(client: httpx.AsyncClient) -> None:
    assert (await client.post("/api/v1/queues/ordres/pause")).json()["known"] is False
    assert (await client.post(f"{QUEUE}/pause")).json()["known"] is True, "a kind names it"
    assert (await client.patch("/api/v1/queues/ordres", json={"concurrency": 2})).json()["known"] is False
    resumed = (await client.post("/api/v1/queues/ordres/resume")).json()
    assert (resumed["paused"], resumed["concurrency"]) == (False, 2)
    assert (await look(client, "ordres"))["known"] is False, "it has a limit"
    lifted = await client.patch("/api/v1/queues/ordres", json={"concurrency": None})
    assert (lifted.status_code, lifted.json()["name"]) == (200, "ordres")
    check_problem(await client.get("/api/v1/queues/ordres"), 404, "not_found")


async def test_a_queue_paused_before_its_first_job_is_known_by_that(client: httpx.AsyncClient) -> None:
    await client.post("/api/v1/queues/later/pause")
    await submit(client, queue="later")
    queue = await look(client, "later")
    assert (queue["paused"], queue["known"], queue["pending"]) == (True, True, 1)


async def test_a_queue_that_nothing_names_is_not_there(client: httpx.AsyncClient) -> None:
    check_problem(await client.get("/api/v1/queues/nowhere"), 404, "not_found")


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"concurrency": 0}, {"/concurrency": "out_of_range"}),
        ({"concurrency": 100_001}, {"/concurrency": "out_of_range"}),
        ({"concurrency": "4"}, {"/concurrency": "wrong_type"}),
        ({"concurrency": True}, {"/concurrency": "wrong_type"}),
        ({}, {"/concurrency": "required"}),
        ({"concurrency": 1, "rate": 3}, {"/rate": "unknown_field"}),
        ([], {"": "wrong_type"}),
    ],
)
async def test_a_limit_that_cannot_be_is_refused(client: httpx.AsyncClient, body: Any, wrong: dict[str, str]) -> None:
    assert pointers(check_problem(await client.patch(QUEUE, json=body), 422, "invalid")) == wrong


async def test_a_name_that_cannot_be_is_refused(client: httpx.AsyncClient) -> None:
    problem = check_problem(await client.post("/api/v1/queues/%20/pause"), 422, "invalid")
    assert pointers(problem) == {"name": "invalid_name"}
    check_problem(await client.post(f"/api/v1/queues/{'x' * 101}/pause"), 422, "invalid")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/orders"),
        ("PATCH", "/orders"),
        *(("POST", f"/orders/{v}") for v in ("pause", "resume", "drain")),
    ],
)
async def test_queues_are_for_operators(api: Api, method: str, path: str) -> None:
    async with api.client(await api.key("owner")) as client:
        response = await client.request(method, f"/api/v1/queues{path}", json={"concurrency": 1})
    check_problem(response, 403, "not_permitted")


async def test_a_pause_sent_twice_with_a_key_happens_once(client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "pause-1"}
    first = await client.post(f"{QUEUE}/pause", headers=headers)
    await client.post(f"{QUEUE}/resume")
    again = await client.post(f"{QUEUE}/pause", headers=headers)
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    assert (await look(client))["paused"] is False
