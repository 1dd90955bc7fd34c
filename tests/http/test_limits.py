"""Rate limits, over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest
from tests.support.api import MAIL, Api, check_problem, make_api
from tests.support.workers import metric

from taskflow.http.limits import LimitName, RateLimits, address_of
from taskflow.identity.apikeys import key as form
from taskflow.identity.apikeys.service import CACHE_S
from taskflow.kernel.bucket import NO_LIMIT, Limit

SECOND_NS = 1_000_000_000
JOBS = "/api/v1/jobs"
LIMITS = {
    LimitName.READ: Limit(0.5, 3),
    LimitName.WRITE: Limit(1, 2),
    LimitName.STREAM: Limit(1, 1),
    LimitName.WORK: Limit(1, 1),
    LimitName.FAILURES: Limit(0.1, 3),
}


class Ticks:
    """A monotonic clock in nanoseconds that tests move."""

    def __init__(self) -> None:
        self.now = 5 * SECOND_NS

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * SECOND_NS)


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
async def limited(database_url: str, ticks: Ticks) -> AsyncIterator[Api]:
    """An application with narrow limits."""
    limits = RateLimits(LIMITS, clock=ticks)
    async with make_api(database_url, limits=limits, cors_origins=["https://app.example.org"]) as api:
        await api.publish()
        yield api


@pytest.fixture
async def client(limited: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with limited.client(await limited.key()) as client:
        yield client


# Keys ----------------------------------------------------------------------------------------------------------------


@pytest.mark.covers("S4-61")
async def test_an_answer_says_what_the_limit_is_and_what_is_left(client: httpx.AsyncClient) -> None:
    for left in (2, 1, 0):
        response = await client.get(JOBS)
        assert response.status_code == 200
        assert response.headers["ratelimit-policy"] == '"read";q=3;w=6'
        assert response.headers["ratelimit"] == f'"read";r={left};t=2'


@pytest.mark.covers("S4-61")
async def test_a_key_that_asks_too_often_is_refused_until_its_bucket_has_filled(
    client: httpx.AsyncClient, ticks: Ticks
) -> None:
    for _ in range(3):
        assert (await client.get(JOBS)).status_code == 200
    before = metric("taskflow_http_rate_limited_total", limit="read")
    for _ in range(3):
        response = await client.get(JOBS)
        problem = check_problem(response, 429, "rate_limited")
        assert problem["limit"] == "read"
        assert "'read' of this key" in problem["detail"]
        assert "0.5 requests per second, 3 at once" in problem["detail"]
        assert response.headers["retry-after"] == "2"
        assert response.headers["ratelimit"] == '"read";r=0;t=2'
        assert response.headers["ratelimit-policy"] == '"read";q=3;w=6'
    assert metric("taskflow_http_rate_limited_total", limit="read") == before + 3
    ticks.advance(1.5)
    assert (await client.get(JOBS)).headers["retry-after"] == "1"
    ticks.advance(0.5)
    assert (await client.get(JOBS)).status_code == 200
    assert (await client.get(JOBS)).status_code == 429


async def test_a_refused_write_has_not_happened(client: httpx.AsyncClient, ticks: Ticks) -> None:
    for _ in range(2):
        assert (await client.post(JOBS, json=MAIL)).status_code == 201
    check_problem(await client.post(JOBS, json=MAIL, headers={"Idempotency-Key": "k"}), 429, "rate_limited")
    assert len((await client.get(JOBS)).json()["items"]) == 2
    ticks.advance(1)
    response = await client.post(JOBS, json=MAIL, headers={"Idempotency-Key": "k"})
    assert response.status_code == 201
    assert "idempotency-replayed" not in response.headers


async def test_each_key_has_limits_of_its_own(limited: Api, client: httpx.AsyncClient) -> None:
    while (await client.get(JOBS)).status_code == 200:
        pass
    async with limited.client(await limited.key()) as other:
        assert (await other.get(JOBS)).headers["ratelimit"] == '"read";r=2;t=2'


async def test_each_class_of_routes_has_limits_of_its_own(client: httpx.AsyncClient) -> None:
    while (await client.get(JOBS)).status_code == 200:
        pass
    file = {"file": ("a.txt", b"hello", "text/plain")}
    uploaded = await client.post("/api/v1/files", files=file)
    written = await client.post(JOBS, json=MAIL)
    worked = await client.post("/api/v1/worker/sign-off", json={"workerId": str(uuid4())})
    for response, name in ((uploaded, "stream"), (written, "write"), (worked, "work")):
        assert response.status_code != 429
        assert response.headers["ratelimit"].startswith(f'"{name}";r=')
    check_problem(await client.get(f"/api/v1/files/{uploaded.json()['id']}/content"), 429, "rate_limited")
    stream = await client.post(f"{JOBS}/stream", content=b"", headers={"Content-Type": "application/x-ndjson"})
    assert check_problem(stream, 429, "rate_limited")["limit"] == "stream"


async def test_a_stream_counts_once_however_long_it_takes(client: httpx.AsyncClient) -> None:
    lines = "".join(json.dumps(MAIL) + "\n" for _ in range(1200)).encode()  # more than one batch
    response = await client.post(f"{JOBS}/stream", content=lines, headers={"Content-Type": "application/x-ndjson"})
    assert response.status_code == 200
    assert response.headers["ratelimit"] == '"stream";r=0;t=1'
    told = [json.loads(line) for line in response.text.splitlines()]
    assert len(told) > 2
    assert "rate_limited" not in response.text
    assert len((await client.get(f"{JOBS}?limit=200")).json()["items"]) == 200


async def test_the_short_path_and_head_count_as_what_they_stand_for(client: httpx.AsyncClient) -> None:
    assert (await client.get(JOBS)).headers["ratelimit"] == '"read";r=2;t=2'
    assert (await client.get("/api/jobs")).headers["ratelimit"] == '"read";r=1;t=2'
    assert (await client.head(JOBS)).headers["ratelimit"] == '"read";r=0;t=2'


async def test_what_a_key_may_not_do_counts_as_well(limited: Api) -> None:
    async with limited.client(await limited.key("jobs:read")) as client:
        for _ in range(2):
            check_problem(await client.post(JOBS, json=MAIL), 403, "not_permitted")
        check_problem(await client.post(JOBS, json=MAIL), 429, "rate_limited")


async def test_health_is_never_limited(limited: Api, client: httpx.AsyncClient) -> None:
    async with limited.client() as anonymous:
        for asking in (client, anonymous):
            for path in ("/live", "/ready", "/health", "/metrics", "/openapi.json"):
                for _ in range(5):
                    response = await asking.get(path)
                    assert response.status_code == 200, path
                    assert "ratelimit" not in response.headers


async def test_pages_of_other_origins_may_read_the_headers(client: httpx.AsyncClient) -> None:
    for _ in range(4):
        response = await client.get(JOBS, headers={"Origin": "https://app.example.org"})
        exposed = {name.strip() for name in response.headers["access-control-expose-headers"].split(",")}
        assert {"RateLimit", "RateLimit-Policy", "Retry-After"} <= exposed
    assert response.status_code == 429


async def test_without_limits_nothing_is_refused_or_said(database_url: str) -> None:
    limits = RateLimits(dict.fromkeys(LimitName, NO_LIMIT))
    async with make_api(database_url, limits=limits) as api, api.client(await api.key()) as client:
        for _ in range(20):
            response = await client.get(JOBS)
            assert response.status_code == 200
            assert not [name for name in response.headers if name.startswith("ratelimit")]
            wrong = await client.get(JOBS, headers={"Authorization": "Bearer x"})
            check_problem(wrong, 401, "invalid_key")


# Addresses -----------------------------------------------------------------------------------------------------------


@pytest.mark.covers("S4-61")
@pytest.mark.parametrize("made", [None, "tf_wrong", "unknown"])
async def test_an_address_without_a_valid_key_is_refused_after_a_while(
    limited: Api, ticks: Ticks, made: str | None
) -> None:
    key = form.make() if made == "unknown" else made
    async with limited.client(key) as stranger:
        for _ in range(3):
            response = await stranger.get(JOBS)
            assert response.status_code == 401
            assert "ratelimit" not in response.headers  # it is nobody's business how much others have failed
        response = await stranger.get(JOBS)
        assert check_problem(response, 429, "rate_limited")["limit"] == "failures"
        assert response.headers["retry-after"] == "10"
        assert response.headers["ratelimit-policy"] == '"failures";q=3;w=30'
        async with limited.client(key, address="192.0.2.7") as elsewhere:
            assert (await elsewhere.get(JOBS)).status_code == 401
        ticks.advance(10)
        assert (await stranger.get(JOBS)).status_code == 401


async def test_a_refused_stranger_costs_no_query(limited: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async with limited.client(form.make()) as stranger:
        while (await stranger.get(JOBS)).status_code == 401:
            pass

        def fail() -> None:
            raise AssertionError("the database was asked")

        monkeypatch.setattr(limited.database, "acquire", fail)
        check_problem(await stranger.get(JOBS), 429, "rate_limited")


async def test_a_crowd_that_comes_at_once_does_not_slip_through(limited: Api) -> None:
    async with limited.client() as stranger:
        answers = await asyncio.gather(*(stranger.get(JOBS, headers={"X-API-Key": form.make()}) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [401] * 3 + [429] * 9


async def test_good_keys_do_not_use_up_the_limit_of_their_address(limited: Api) -> None:
    for _ in range(5):
        async with limited.client(await limited.key()) as client:
            assert (await client.get(JOBS)).status_code == 200


async def test_a_known_key_is_not_shut_out_by_its_neighbours(
    limited: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await client.get(JOBS)).status_code == 200
    async with limited.client() as stranger:
        while (await stranger.get(JOBS)).status_code == 401:
            pass
    assert (await client.get(JOBS)).status_code == 200
    # Its key has to be looked up again, but it is no stranger.
    monkeypatch.setattr("taskflow.identity.apikeys.service.CACHE_S", -CACHE_S)
    assert (await client.get(JOBS)).status_code == 200
    async with limited.client(await limited.key()) as new:
        check_problem(await new.get(JOBS), 429, "rate_limited")


@pytest.mark.parametrize(
    ("host", "counted_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::9", "2001:db8:1:2::"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_a_network_of_ipv6_is_one_address(host: str, counted_as: str) -> None:
    assert address_of(host) == counted_as
