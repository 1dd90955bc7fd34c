"""Claiming over HTTP: what is given to whom, and how long a claim waits."""

import asyncio
import json
import time
from datetime import datetime
from functools import partial
from uuid import uuid4

import pytest
from tests.support.api import MAIL, Api, check_problem, make_api, pointers
from tests.support.remote import RemoteTester, reap
from tests.support.streaming import streaming
from tests.support.waiting import eventually

from taskflow.engine.job import DEFAULT_NAMESPACE, NewJob, WorkerId
from taskflow.engine.remote import SUSPECT_TURN, RemoteWorkers
from taskflow.http.drain import Drain
from taskflow.jobs.remote import service

PATH = "/api/v1/worker/claim"


@pytest.fixture
def only_rung(monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims look again when they are rung, and not by themselves."""
    monkeypatch.setattr(service, "POLL_FIRST_S", 60.0)


async def test_a_claim_gives_all_that_is_needed_to_run_a_job(worker: RemoteTester) -> None:
    job_id = await worker.submit(320, timeout=4000)
    job = await worker.claim_one()
    token = job.pop("token")
    assert token
    request_id = job.pop("headers")["request_id"]
    assert request_id
    assert job == {
        "jobId": job_id,
        "taskType": "resize",
        "queue": "images",
        "payload": {"width": 320},
        "attempt": 1,
        "failures": 0,
        "retries": 1,
        "timeout": 4000,
    }
    shown = await worker.job(job_id)
    assert (shown["status"], shown["attempt"]) == ("active", 1)


async def test_a_claimed_job_is_given_to_nobody_else(worker: RemoteTester) -> None:
    await worker.submit()
    assert len(await worker.claim()) == 1
    assert await worker.claim() == []
    worker.worker_id = None
    assert await worker.claim() == []


async def test_a_claim_takes_no_more_than_its_capacity_and_in_the_order_of_priority(worker: RemoteTester) -> None:
    for width, priority in ((1, "low"), (2, "high"), (3, "normal")):
        await worker.submit(width, priority=priority)
    assert [job["payload"]["width"] for job in await worker.claim(2)] == [2, 3]


async def test_a_worker_gets_jobs_of_its_own_namespace_only(api: Api, worker: RemoteTester) -> None:
    stranger_id = uuid4()
    async with api.database.acquire() as connection:
        foreign = NewJob("order", {"number": 1}, namespace=stranger_id, queue="images", priority=9)
        await api.store.enqueue(connection, [foreign])
    own = await worker.submit()
    kinds = ["order", "resize"]
    assert [job["jobId"] for job in await worker.claim(taskTypes=kinds)] == [own]
    async with api.client(await api.key("worker", namespace=stranger_id)) as client:
        assert len(await RemoteTester(api, client).claim(taskTypes=["order"], queues=["images"])) == 1


async def test_a_worker_gets_only_kinds_and_queues_that_it_names(worker: RemoteTester) -> None:
    await worker.submit(queue="other")
    await worker.client.post("/api/v1/jobs", json={**MAIL, "queue": "images"})
    assert await worker.claim() == []
    assert len(await worker.claim(queues=["other"])) == 1
    assert len(await worker.claim(taskTypes=["EMAIL"], queues=["images"])) == 1  # another name of send_email


async def test_workers_are_listed_with_what_they_say_of_themselves(api: Api, worker: RemoteTester) -> None:
    await worker.claim(3, name="node-7", leaseMs=60_000)
    async with api.database.acquire() as connection:
        [listed] = await api.store.list_workers(connection)
    assert (listed.host, listed.kinds, listed.queues) == ("node-7", ["resize"], ["images"])
    assert (listed.concurrency, listed.alive) == (3, True)
    await worker.be_silent(30)  # less than the lease that it asked for
    async with api.database.acquire() as connection:
        [listed] = await api.store.list_workers(connection)
        assert await api.store.bury_workers(connection) == []
    assert listed.alive


async def test_pauses_and_limits_of_queues_hold_for_workers_over_http(api: Api, worker: RemoteTester) -> None:
    for width in (1, 2, 3):
        await worker.submit(width)
    async with api.client(await api.key()) as operator:
        assert (await operator.post("/api/v1/queues/images/pause")).status_code == 200
        assert await worker.claim() == []
        assert (await operator.post("/api/v1/queues/images/resume")).status_code == 200
        assert (await operator.patch("/api/v1/queues/images", json={"concurrency": 2})).status_code == 200
    jobs = await worker.claim(queues=["images", "images"])
    assert len(jobs) == 2
    assert await worker.claim() == []
    waiting = asyncio.ensure_future(worker.claim(waitMs=20_000))
    assert await worker.complete(jobs[0]["token"]) == ["completed"]
    async with asyncio.timeout(10):
        assert len(await waiting) == 1


@pytest.mark.usefixtures("only_rung")
async def test_an_end_over_http_tells_those_who_wait_that_a_place_is_free(api: Api, worker: RemoteTester) -> None:
    async with api.client(await api.key()) as operator:
        assert (await operator.patch("/api/v1/queues/images", json={"concurrency": 1})).status_code == 200
    for width in (1, 2, 3, 4):
        await worker.submit(width)
    [job] = await worker.claim()
    for end in (worker.complete, worker.fail, worker.hand_back):
        before = await _last_sign(api)
        waiting = asyncio.ensure_future(worker.claim(waitMs=20_000))
        await eventually("the claim to wait", partial(_shows_life_since, before, api))
        await end(job["token"])
        async with asyncio.timeout(10):
            [job] = await waiting


async def test_a_suspect_is_given_alone(api: Api, worker: RemoteTester) -> None:
    jobs = [await worker.submit(width) for width in (1, 2, 3, 4)]
    async with api.database.acquire() as connection:
        await connection.execute("UPDATE taskflow.ready SET suspect = true WHERE job_id = $1", jobs[1])
    assert [job["jobId"] for job in await worker.claim()] == [jobs[0], jobs[2], jobs[3]]
    assert [job["jobId"] for job in await worker.claim()] == [jobs[1]]


async def test_suspects_are_given_one_by_one_and_never_handed_back(api: Api, worker: RemoteTester) -> None:
    jobs = [await worker.submit(width) for width in range(1, 8)]
    async with api.database.acquire() as connection:
        await connection.execute("UPDATE taskflow.ready SET suspect = true")
    for job_id in jobs:
        [job] = await worker.claim()
        assert (job["jobId"], job["attempt"]) == (job_id, 1)
        await worker.complete(job["token"])
    async with api.database.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM taskflow.attempt_log") == 0


async def test_a_suspect_gets_its_turn_in_a_queue_that_never_empties(api: Api, worker: RemoteTester) -> None:
    suspect = await worker.submit()
    async with api.database.acquire() as connection:
        await connection.execute("UPDATE taskflow.ready SET suspect = true")
    given = []
    for _ in range(SUSPECT_TURN):
        await worker.submit()
        await worker.submit()
        given.append([job["jobId"] for job in await worker.claim(2)])
    assert given.count([suspect]) == 1
    assert len(await worker.claim()) == 2
    for _ in range(SUSPECT_TURN):  # a turn that finds no suspect gives as much as any other
        await worker.submit()
        await worker.submit()
        assert len(await worker.claim(2)) == 2


# Waiting --------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("only_rung")
async def test_a_waiting_claim_is_woken_by_a_submit(api: Api, worker: RemoteTester) -> None:
    waiting = asyncio.ensure_future(worker.claim(waitMs=20_000))
    async with api.database.acquire() as connection:
        await eventually(
            "the claim to wait",
            lambda: connection.fetchval("SELECT count(*) FROM taskflow.worker WHERE namespace IS NOT NULL"),
        )
    job_id = await worker.submit()
    async with asyncio.timeout(10):
        assert [job["jobId"] for job in await waiting] == [job_id]


async def test_a_waiting_claim_finds_what_nobody_announced(api: Api, worker: RemoteTester) -> None:
    waiting = asyncio.ensure_future(worker.claim(waitMs=20_000))
    async with api.database.acquire() as connection:
        await api.store.enqueue(connection, [NewJob("resize", {"width": 1}, queue="images")])
    async with asyncio.timeout(5):
        assert len(await waiting) == 1


async def test_a_claim_that_finds_nothing_ends_after_its_wait(worker: RemoteTester) -> None:
    begun = time.monotonic()
    assert await worker.claim(waitMs=100) == []
    assert 0.1 <= time.monotonic() - begun < 5


@pytest.mark.usefixtures("only_rung")
async def test_a_waiting_claim_ends_at_once_when_the_api_drains(database_url: str) -> None:
    drain = Drain()
    async with make_api(database_url, drain=drain) as api, api.client(await api.key()) as client:
        worker = RemoteTester(api, client)
        await worker.publish()
        waiting = asyncio.ensure_future(worker.claim(waitMs=30_000))
        await eventually("the claim to wait", lambda: _live_workers(api))
        drain.begin()
        async with asyncio.timeout(5):
            assert await waiting == []
        await worker.submit()
        assert await worker.claim(waitMs=30_000) == []  # nothing is begun any more


@pytest.mark.usefixtures("only_rung")
async def test_a_client_that_leaves_ends_its_wait_and_takes_its_worker_with_it(api: Api, worker: RemoteTester) -> None:
    key = await api.key("worker")
    async with streaming(api, key, PATH, **{"content-type": "application/json"}) as stream:
        await stream.send(json.dumps({"taskTypes": ["resize"], "waitMs": 30_000}).encode(), more=False)
        await eventually("the claim to wait", lambda: _live_workers(api))
        await stream.leave()
        await stream.ended()
    assert await _live_workers(api) == 0


async def test_jobs_whose_client_left_before_the_answer_go_back(
    api: Api, worker: RemoteTester, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await worker.submit()
    real = RemoteWorkers.claim
    claimed, gone = asyncio.Event(), asyncio.Event()

    async def slow(self: RemoteWorkers, *arguments: object) -> object:
        claims = await real(self, *arguments)  # type: ignore[arg-type]
        claimed.set()
        await gone.wait()
        return claims

    monkeypatch.setattr(RemoteWorkers, "claim", slow)
    async with streaming(api, await api.key("worker"), PATH, **{"content-type": "application/json"}) as stream:
        await stream.send(json.dumps({"taskTypes": ["resize"]}).encode(), more=False)
        await claimed.wait()
        await stream.leave()
        await eventually("the disconnect to be read", lambda: stream.is_read)
        gone.set()
        await stream.ended()
    monkeypatch.undo()
    shown = await worker.job(job_id)
    assert (shown["status"], shown["attempt"], shown["failures"]) == ("pending", 1, 0)
    assert (await worker.claim_one())["attempt"] == 2


async def test_waiting_is_a_sign_of_life_for_a_worker_that_holds_nothing(
    api: Api, worker: RemoteTester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "HEARTBEAT_S", 0.0)
    await worker.claim()
    assert worker.worker_id is not None
    await worker.be_silent(14)
    async with asyncio.timeout(10):
        waiting = asyncio.ensure_future(worker.claim(waitMs=20_000))
        await eventually("a sign of life", lambda: _has_beaten(api, 5))
        await worker.submit()
        assert len(await waiting) == 1


async def test_a_worker_that_holds_a_job_can_die_while_it_waits(
    api: Api, worker: RemoteTester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An open request may be all that is left of a client: only heartbeats prove the life of one that has work."""
    monkeypatch.setattr(service, "HEARTBEAT_S", 0.0)
    await worker.submit()
    await worker.claim_one()
    await worker.be_silent(5)
    said = {"workerId": worker.worker_id, "taskTypes": ["resize"], "waitMs": 30_000}
    waiting = asyncio.ensure_future(worker.post("claim", said))
    await eventually("its claim, which is a sign of life", lambda: _has_beaten(api, 3))
    await worker.be_silent(16)
    assert await reap(api.database) == 1
    async with asyncio.timeout(10):
        check_problem(await waiting, 404, "unknown_worker")


async def test_too_many_waiting_claims_are_sent_away_and_leave_nothing(
    api: Api, worker: RemoteTester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAX_WAITING", 0)
    response = await worker.post("claim", {"taskTypes": ["resize"], "waitMs": 1000})
    check_problem(response, 503, "too_many_waiting")
    assert response.headers["retry-after"] == "1"
    assert await _workers(api) == 0
    assert await worker.claim() == []  # one that does not wait is served


async def test_one_namespace_leaves_half_of_the_places_to_others(
    api: Api, worker: RemoteTester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAX_WAITING", 2)
    waiting = asyncio.ensure_future(worker.claim(waitMs=20_000))
    await eventually("the claim to wait", lambda: _workers(api))
    refused = await worker.post("claim", {"taskTypes": ["resize"], "waitMs": 1000})
    assert "namespace" in check_problem(refused, 503, "too_many_waiting")["detail"]
    async with api.client(await api.key("worker", "jobs:write", namespace=uuid4())) as client:
        other = RemoteTester(api, client)
        await other.publish({"taskType": "theirs", "schema": {}})
        assert await other.claim(taskTypes=["theirs"], waitMs=1) == []
    job_id = await worker.submit()
    async with asyncio.timeout(10):
        assert [job["jobId"] for job in await waiting] == [job_id]


@pytest.mark.usefixtures("only_rung")
@pytest.mark.usefixtures("brief_keys")
async def test_a_key_that_was_revoked_while_its_claim_waited_gets_no_jobs(api: Api, worker: RemoteTester) -> None:
    async with api.client(await api.key("worker")) as client:
        other = RemoteTester(api, client)
        waiting = asyncio.ensure_future(other.post("claim", {"taskTypes": ["resize"], "waitMs": 20_000}))
        await eventually("the claim to wait", lambda: _workers(api))
        async with api.database.acquire() as connection:
            revoked = "UPDATE taskflow.api_key SET revoked_at = now() WHERE scopes = ARRAY['worker']"
            assert await connection.execute(revoked) == "UPDATE 1"

        async def refused() -> bool:
            return (await other.post("heartbeat", {"workerId": str(uuid4())})).status_code == 401

        await eventually("the key to be looked up again", refused)
        job_id = await worker.submit()
        async with asyncio.timeout(10):
            check_problem(await waiting, 401, "invalid_key")
        assert await _workers(api) == 0  # nobody will ever know its id
        assert (await worker.job(job_id))["status"] == "pending"


async def _shows_life_since(before: datetime, api: Api) -> bool:
    return await _last_sign(api) > before


async def _last_sign(api: Api) -> datetime:
    async with api.database.acquire() as connection:
        statement = "SELECT max(heartbeat_at) FROM taskflow.worker WHERE namespace IS NOT NULL"
        at: datetime = await connection.fetchval(statement)
        return at


async def _workers(api: Api) -> int:
    async with api.database.acquire() as connection:
        count: int = await connection.fetchval("SELECT count(*) FROM taskflow.worker WHERE namespace IS NOT NULL")
        return count


# Refusals -------------------------------------------------------------------------------------------------------------


ROUTES = ("claim", "heartbeat", "complete", "fail", "hand-back", "logs", "progress", "kinds", "sign-off")


async def test_only_the_scope_worker_may_work(api: Api) -> None:
    async with api.client(await api.key("jobs:read", "jobs:write", "operator")) as client:
        for path in ROUTES:
            response = await client.post(f"/api/v1/worker/{path}", json={})
            assert "'worker'" in check_problem(response, 403, "not_permitted")["detail"]


async def test_the_scope_worker_may_do_nothing_else(api: Api) -> None:
    async with api.client(await api.key("worker")) as client:
        check_problem(await client.post("/api/v1/jobs", json=MAIL), 403, "not_permitted")
        check_problem(await client.get("/api/v1/jobs"), 403, "not_permitted")
        check_problem(await client.get("/api/v1/job-types"), 403, "not_permitted")


BAD_CLAIMS: list[tuple[dict[str, object], dict[str, str]]] = [
    ({"taskTypes": None}, {"/taskTypes": "wrong_type"}),
    ({"taskTypes": []}, {"/taskTypes": "too_few"}),
    ({"taskTypes": [""]}, {"/taskTypes/0": "wrong_length"}),
    ({"taskTypes": ["x"] * 101}, {"/taskTypes": "too_many"}),
    ({"queues": []}, {"/queues": "too_few"}),
    ({"queues": [7]}, {"/queues/0": "wrong_type"}),
    ({"capacity": 0}, {"/capacity": "out_of_range"}),
    ({"capacity": 101}, {"/capacity": "out_of_range"}),
    ({"capacity": "10"}, {"/capacity": "wrong_type"}),
    ({"waitMs": -1}, {"/waitMs": "out_of_range"}),
    ({"waitMs": 30_001}, {"/waitMs": "out_of_range"}),
    ({"leaseMs": 14_999}, {"/leaseMs": "out_of_range"}),
    ({"leaseMs": 600_001}, {"/leaseMs": "out_of_range"}),
    ({"workerId": "me"}, {"/workerId": "wrong_type"}),
    ({"workerId": 5}, {"/workerId": "wrong_type"}),
    ({"name": "x" * 101}, {"/name": "wrong_length"}),
    ({"name": "a\x00b"}, {"/name": "unprintable"}),
    ({"queues": ["a\x00b"]}, {"/queues/0": "unprintable"}),
    ({"kinds": ["resize"]}, {"/kinds": "unknown_field"}),
]


async def test_a_bad_claim_is_refused_by_field(worker: RemoteTester) -> None:
    for fields, expected in BAD_CLAIMS:
        response = await worker.post("claim", {"taskTypes": ["resize"], **fields})
        assert pointers(check_problem(response, 422, "invalid")) == expected


async def test_a_kind_that_nobody_published_is_refused_by_name(worker: RemoteTester) -> None:
    response = await worker.post("claim", {"taskTypes": ["resize", "resise"]})
    problem = check_problem(response, 422, "unknown_kind")
    assert pointers(problem) == {"/taskTypes/1": "unknown_kind"}
    assert "'resise'" in problem["detail"]


async def test_a_worker_that_is_not_there_or_somebody_elses_is_unknown(api: Api, worker: RemoteTester) -> None:
    async with api.database.acquire() as connection:
        ours = WorkerId(uuid4())
        await api.store.register_worker(connection, worker_id=ours, host="h", pid=1, queues=["images"], concurrency=1)
    await worker.claim()
    async with api.client(await api.key("worker", namespace=uuid4())) as client:
        stranger = RemoteTester(api, client)
        for worker_id in (worker.worker_id, str(ours), str(uuid4())):
            for path, said in (("claim", {"taskTypes": ["order"]}), ("heartbeat", {}), ("sign-off", {})):
                response = await stranger.post(path, {"workerId": worker_id, **said})
                check_problem(response, 404, "unknown_worker")
    response = await worker.post("claim", {"workerId": str(ours), "taskTypes": ["resize"]})
    check_problem(response, 404, "unknown_worker")


async def test_a_namespace_has_so_many_workers_and_no_more(
    worker: RemoteTester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskflow.engine.remote.MAX_WORKERS", 1)
    await worker.claim()
    response = await worker.post("claim", {"taskTypes": ["resize"]})
    check_problem(response, 409, "too_many_workers")
    assert await worker.claim() == []  # the one that is there goes on


async def test_bodies_headers_and_queries_that_are_none_of_theirs_are_refused(worker: RemoteTester) -> None:
    json_type = {"Content-Type": "application/json"}
    for path in ROUTES:
        at = f"/api/v1/worker/{path}"
        check_problem(await worker.client.post(at, content=b"{", headers=json_type), 400, "not_json")
        check_problem(await worker.client.post(at, content=b"{}"), 415, "wrong_media_type")
        check_problem(await worker.client.post(at, content=b"[]", headers=json_type), 422, "invalid")
        check_problem(await worker.client.post(f"{at}?wait=1", json={}), 422, "invalid")
        with_key = await worker.post(path, {}, **{"Idempotency-Key": "a"})
        assert "Idempotency-Key" in check_problem(with_key, 400, "bad_header")["detail"]
        check_problem(await worker.client.get(at), 405, "method_not_allowed")


async def _live_workers(api: Api) -> int:
    async with api.database.acquire() as connection:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM taskflow.worker WHERE namespace = $1", DEFAULT_NAMESPACE
        )
    return count


async def _has_beaten(api: Api, within_s: float) -> bool:
    async with api.database.acquire() as connection:
        age_s = await connection.fetchval(
            "SELECT extract(epoch FROM now() - max(heartbeat_at)) FROM taskflow.worker WHERE namespace IS NOT NULL"
        )
    return bool(age_s < within_s)
