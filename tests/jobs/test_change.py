"""Cancelling jobs and running them again over HTTP."""

import asyncio

import httpx
import pytest
from tests.jobs.test_look import submit
from tests.support.api import Api, check_problem, pointers

CANCELS = [("POST", "/cancel"), ("DELETE", "")]


@pytest.mark.covers("S2-10")
@pytest.mark.parametrize(("method", "path"), CANCELS)
@pytest.mark.parametrize("fields", [{}, {"delay": 60_000}], ids=["pending", "scheduled"])
async def test_a_waiting_job_is_cancelled_at_once(
    api: Api, client: httpx.AsyncClient, method: str, path: str, fields: dict[str, int]
) -> None:
    job_id = await submit(client, **fields)
    response = await client.request(method, f"/api/v1/jobs/{job_id}{path}")
    assert response.status_code == 200
    job = response.json()
    assert (job["jobId"], job["status"]) == (job_id, "cancelled")
    assert job["finishedAt"] is not None
    assert await api.claim() == []


@pytest.mark.covers("S2-10", "X-8")
@pytest.mark.parametrize(("method", "path"), CANCELS)
async def test_an_active_job_is_asked_to_stop(api: Api, client: httpx.AsyncClient, method: str, path: str) -> None:
    job_id = await submit(client)
    await api.claim()
    response = await client.request(method, f"/api/v1/jobs/{job_id}{path}")
    assert response.status_code == 202
    job = response.json()
    assert job["status"] == "active"
    assert job["cancelRequestedAt"] is not None
    again = await client.request(method, f"/api/v1/jobs/{job_id}{path}")
    assert (again.status_code, again.json()["cancelRequestedAt"]) == (202, job["cancelRequestedAt"])


@pytest.mark.covers("S2-10")
@pytest.mark.parametrize(("method", "path"), CANCELS)
async def test_a_job_that_has_ended_cannot_be_cancelled(
    api: Api, client: httpx.AsyncClient, method: str, path: str
) -> None:
    ended = {}
    for state in ("cancelled", "completed", "failed"):
        ended[state] = await submit(client)
        if state == "cancelled":
            await client.post(f"/api/v1/jobs/{ended[state]}/cancel")
        elif state == "completed":
            await api.complete((await api.claim())[0], 1)
        else:
            await api.fail((await api.claim())[0], for_good=True)
    for state, job_id in ended.items():
        problem = check_problem(await client.request(method, f"/api/v1/jobs/{job_id}{path}"), 409, "already_final")
        assert problem["state"] == state


@pytest.mark.covers("S2-10")
async def test_a_cancel_and_a_claim_at_once_agree_on_one_of_them(api: Api, client: httpx.AsyncClient) -> None:
    for _ in range(10):
        job_id = await submit(client)
        response, claims = await asyncio.gather(client.post(f"/api/v1/jobs/{job_id}/cancel"), api.claim())
        state = (await client.get(f"/api/v1/jobs/{job_id}")).json()["status"]
        if claims:
            assert (response.status_code, state) == (202, "active")
            await api.complete(claims[0], None)
        else:
            assert (response.status_code, state) == (200, "cancelled")


async def test_a_failed_job_runs_again_with_its_history(api: Api, client: httpx.AsyncClient) -> None:
    job_id = await submit(client, retries=0)
    await api.fail((await api.claim())[0], "first")
    response = await client.post(f"/api/v1/jobs/{job_id}/retry")
    assert response.status_code == 200
    job = response.json()
    assert (job["jobId"], job["status"], job["failures"]) == (job_id, "pending", 0)
    [claim] = await api.claim()
    assert claim.attempt == 2
    await api.complete(claim, "well")
    job = (await client.get(f"/api/v1/jobs/{job_id}")).json()
    assert (job["status"], job["result"]) == ("completed", "well")
    assert [(attempt["outcome"], attempt["error"]) for attempt in job["attempts"]] == [
        ("error", "first"),
        ("completed", None),
    ]


async def test_only_a_failed_job_can_be_run_again(api: Api, client: httpx.AsyncClient) -> None:
    job_id = await submit(client)
    problem = check_problem(await client.post(f"/api/v1/jobs/{job_id}/retry"), 409, "not_failed")
    assert problem["state"] == "pending"
    [claim] = await api.claim()
    assert check_problem(await client.post(f"/api/v1/jobs/{job_id}/retry"), 409, "not_failed")["state"] == "active"
    await api.complete(claim, None)
    problem = check_problem(await client.post(f"/api/v1/jobs/{job_id}/retry"), 409, "not_failed")
    assert problem["state"] == "completed"


@pytest.mark.parametrize(("method", "path"), [*CANCELS, ("POST", "/retry")])
async def test_actions_take_no_parameters(client: httpx.AsyncClient, method: str, path: str) -> None:
    job_id = await submit(client)
    response = await client.request(method, f"/api/v1/jobs/{job_id}{path}?force=1")
    assert pointers(check_problem(response, 422, "invalid")) == {"force": "unknown_field"}
    assert (await client.get(f"/api/v1/jobs/{job_id}")).json()["status"] == "pending"
