"""Deliveries and callbacks over the API: what is refused, who may look, and paging."""

from uuid import UUID, uuid4

import httpx
import pytest
from standardwebhooks.webhooks import Webhook
from tests.support.api import Api, check_problem, make_api, pointers

from taskflow.adapters.fetch import Fetcher
from taskflow.engine.client import Engine
from taskflow.engine.registry import Registry
from taskflow.handlers import webhook
from taskflow.http.secret import RootSecret
from taskflow.webhooks.service import delivery_id_of
from taskflow.webhooks.signature import message_id

URL = "https://shop.example/done?token=s3cret"
ORDER = {"taskType": "order", "payload": {"number": 1}}
DELIVERIES = "/api/v1/webhooks/deliveries"


async def ended(api: Api, client: httpx.AsyncClient, count: int = 1) -> list[str]:
    """Jobs with a callback that have completed, oldest first."""
    ids = []
    for _ in range(count):
        job = (await client.post("/api/v1/jobs", json={**ORDER, "callbackUrl": URL})).json()
        [claim] = await api.claim()
        await api.complete(claim, {"n": 1})
        ids.append(job["jobId"])
    return ids


@pytest.mark.covers("S2-5", "S2-23")
async def test_a_job_says_where_its_deliveries_are(api: Api, client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/jobs", json={**ORDER, "callbackUrl": URL})
    assert answer.status_code == 201, answer.text
    job = answer.json()
    assert job["callbackUrl"] == URL
    assert (await client.get(f"/api/v1/jobs/{job['jobId']}")).json() == {**job, "attempts": []}
    listed = await client.get(job["deliveries"])
    assert listed.json() == {"items": [], "nextCursor": None}
    [claim] = await api.claim()
    await api.complete(claim, None)
    [delivery] = (await client.get(job["deliveries"])).json()["items"]
    assert (delivery["jobId"], delivery["event"], delivery["status"]) == (job["jobId"], "job.completed", "pending")
    plain = (await client.post("/api/v1/jobs", json=ORDER)).json()
    assert (plain["callbackUrl"], plain["deliveries"]) == (None, None)


@pytest.mark.covers("S2-5", "X-9")
@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://shop.example/", "refused_url"),
        ("javascript:alert(1)", "refused_url"),
        ("", "refused_url"),
        ("http://10.0.0.1/", "refused_url"),
        ("http://169.254.169.254/latest/meta-data/", "refused_url"),
        ("http://[::ffff:10.0.0.1]/", "refused_url"),
        ("http://0xa9fea9fe/", "refused_url"),
        ("http://2852039166/", "refused_url"),
        ("http://user:s3cret@shop.example/", "refused_url"),
        ("https://shop.example/a b", "refused_url"),
        ("https://shop.example/" + "a" * 2100, "wrong_length"),
        (7, "wrong_type"),
    ],
)
async def test_a_callback_that_can_never_be_made_is_refused_at_submit(
    client: httpx.AsyncClient, url: object, code: str
) -> None:
    answer = await client.post("/api/v1/jobs", json={**ORDER, "callbackUrl": url})
    problem = check_problem(answer, 422, "invalid")
    assert pointers(problem) == {"/callbackUrl": code}
    assert "s3cret" not in answer.text


async def test_everything_that_is_wrong_is_named_at_once(client: httpx.AsyncClient) -> None:
    wrong = {**ORDER, "payload": {}, "callbackUrl": "ftp://10.0.0.1/", "queue": "-"}
    problem = check_problem(await client.post("/api/v1/jobs", json=wrong), 422, "invalid")
    assert pointers(problem) == {
        "/callbackUrl": "refused_url", "/payload/number": "required", "/queue": "invalid_name"
    }  # fmt: skip
    assert len(problem["errors"]) == 3


async def test_this_machine_may_be_called_in_development_only(database_url: str) -> None:
    for development, status in ((True, 201), (False, 422)):
        async with make_api(database_url, development=development) as api:
            await api.publish()
            async with api.client(await api.key()) as client:
                for url in ("http://127.0.0.1:8000/x", "http://localhost:8000/x", "http://[::1]/"):
                    answer = await client.post("/api/v1/jobs", json={**ORDER, "callbackUrl": url})
                    assert answer.status_code == status, url


async def test_the_kind_that_delivers_is_offered_to_nobody(api: Api, client: httpx.AsyncClient) -> None:
    registry = Registry()
    deliverer = webhook.Deliverer(
        api.database,
        Engine(api.database),
        Fetcher(allow_loopback=False),
        RootSecret(bytes(32)),
        timeout_s=1.0,
        max_retries=0,
    )
    webhook.register(registry, deliverer)
    await api.publish(registry)
    kinds = (await client.get("/api/v1/job-types")).json()["items"]
    assert "deliver_webhook" not in [kind["taskType"] for kind in kinds]
    forged = {"taskType": "deliver_webhook", "payload": {"jobId": "x", "namespace": "y"}}
    check_problem(await client.post("/api/v1/jobs", json=forged), 422, "unknown_kind")


async def test_deliveries_are_listed_newest_first_and_by_status(api: Api, client: httpx.AsyncClient) -> None:
    jobs = await ended(api, client, 3)
    first = (await client.get(DELIVERIES, params={"limit": 2})).json()
    rest = (await client.get(DELIVERIES, params={"limit": 2, "cursor": first["nextCursor"]})).json()
    assert [item["jobId"] for item in first["items"] + rest["items"]] == jobs[::-1]
    assert rest["nextCursor"] is None
    pending = (await client.get(DELIVERIES, params={"status": "pending", "limit": 1})).json()
    assert len(pending["items"]) == 1
    assert (await client.get(DELIVERIES, params={"status": "failed"})).json()["items"] == []
    one = (await client.get(DELIVERIES, params={"jobId": jobs[1], "status": "pending"})).json()
    assert [item["jobId"] for item in one["items"]] == [jobs[1]]
    moved = await client.get(DELIVERIES, params={"status": "failed", "cursor": pending["nextCursor"]})
    assert pointers(check_problem(moved, 422, "invalid")) == {"cursor": "bad_cursor"}


@pytest.mark.parametrize(
    ("query", "pointer", "code"),
    [
        ({"status": "lost"}, "status", "unknown_value"),
        ({"jobId": "7"}, "jobId", "wrong_type"),
        ({"limit": "0"}, "limit", "out_of_range"),
        ({"colour": "red"}, "colour", "unknown_field"),
        ({"cursor": "x"}, "cursor", "bad_cursor"),
    ],
)
async def test_a_wrong_parameter_is_named(
    client: httpx.AsyncClient, query: dict[str, str], pointer: str, code: str
) -> None:
    problem = check_problem(await client.get(DELIVERIES, params=query), 422, "invalid")
    assert pointers(problem) == {pointer: code}


async def test_a_delivery_is_looked_at_and_made_again(api: Api, client: httpx.AsyncClient) -> None:
    await ended(api, client)
    [listed] = (await client.get(DELIVERIES)).json()["items"]
    path = f"{DELIVERIES}/{listed['deliveryId']}"
    shown = (await client.get(path)).json()
    assert (shown["url"], shown["attempts"], shown["status"]) == (URL, [], "pending")
    assert shown["nextAttemptAt"] is not None
    problem = check_problem(await client.post(f"{path}/replay"), 409, "delivery_pending")
    assert "still tried" in problem["detail"]

    assert api._worker is not None
    async with api.database.acquire() as connection:
        claims = await api.store.claim(
            connection, worker_id=api._worker, incarnation=1, queues=["webhooks"], kinds=["deliver_webhook"], limit=1
        )
    await api.fail(claims[0], "gone", for_good=True)
    assert (await client.get(path)).json()["status"] == "failed"
    key = {"Idempotency-Key": "again-1"}
    again = await client.post(f"{path}/replay", headers=key)
    assert (again.status_code, again.json()["status"]) == (200, "pending")
    twin = await client.post(f"{path}/replay", headers=key)
    assert twin.headers["idempotency-replayed"] == "true"
    assert [attempt["error"] for attempt in (await client.get(path)).json()["attempts"]] == ["gone"]


async def test_what_belongs_to_others_does_not_exist(api: Api, client: httpx.AsyncClient) -> None:
    jobs = await ended(api, client)
    [listed] = (await client.get(DELIVERIES)).json()["items"]
    path = f"{DELIVERIES}/{listed['deliveryId']}"
    async with api.client(await api.key("owner", namespace=UUID(int=7))) as stranger:
        assert (await stranger.get(DELIVERIES)).json()["items"] == []
        assert (await stranger.get(DELIVERIES, params={"jobId": jobs[0]})).json()["items"] == []
        check_problem(await stranger.get(path), 404, "not_found")
        check_problem(await stranger.post(f"{path}/replay"), 404, "not_found")
    async with api.client(await api.key("jobs:read")) as reader:
        assert (await reader.get(path)).status_code == 200
        check_problem(await reader.post(f"{path}/replay"), 403, "not_permitted")
        check_problem(await reader.get("/api/v1/webhooks/signing-secret"), 403, "not_permitted")
    async with api.client(await api.key("jobs:write")) as writer:
        check_problem(await writer.get(path), 403, "not_permitted")
    check_problem(await client.get(f"{DELIVERIES}/nothing"), 404, "not_found")


async def test_the_signing_secret_is_the_owners_and_each_namespace_has_its_own(
    api: Api, client: httpx.AsyncClient
) -> None:
    answer = await client.get("/api/v1/webhooks/signing-secret")
    assert answer.headers["cache-control"] == "no-store"
    secret = answer.json()["secret"]
    assert secret.startswith("whsec_")
    Webhook(secret)
    async with api.client(await api.key("owner", namespace=UUID(int=7))) as stranger:
        assert (await stranger.get("/api/v1/webhooks/signing-secret")).json()["secret"] != secret


def test_a_delivery_is_found_by_the_id_that_its_receiver_saw() -> None:
    delivery_id = uuid4()
    assert delivery_id_of(message_id(delivery_id)) == delivery_id
