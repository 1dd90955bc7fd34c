"""The edge of every request: ids, bodies, headers, problems, the one log line, metrics."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.api import MAIL, Api, check_problem, make_api

from taskflow.http.call import MAX_BODY_BYTES
from taskflow.http.edge import MAX_DRAIN_BYTES
from taskflow.telemetry import log

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged, as JSON lines, from before the application is made."""
    stream = io.StringIO()
    log.configure("json", level="debug", stream=stream)
    yield stream
    log.configure("text", level="warning")


# Request ids ---------------------------------------------------------------------------------------------------------


async def test_a_request_id_is_taken_or_made(client: httpx.AsyncClient) -> None:
    assert (await client.get("/live", headers={"X-Request-Id": "abc-1"})).headers["x-request-id"] == "abc-1"
    made = {(await client.get("/live")).headers["x-request-id"] for _ in range(2)}
    assert len(made) == 2


async def test_a_request_id_that_cannot_be_is_replaced(client: httpx.AsyncClient) -> None:
    for bad in (b"", b"x" * 129, b"a b", b"a\tb", b"\xe4"):
        response = await client.get("/live", headers=[(b"X-Request-Id", bad)])
        assert len(response.headers["x-request-id"]) == 36, bad


# Bodies --------------------------------------------------------------------------------------------------------------

NOT_JSON = {
    "empty": b"",
    "text": b"hello",
    "cut off": b'{"taskType": ',
    "trailing": b"{} {}",
    "trailing comma": b'{"a": 1,}',
    "single quotes": b"{'a': 1}",
    "NaN": b'{"taskType": "x", "payload": {"a": NaN}}',
    "Infinity": b'{"payload": {"a": -Infinity}}',
    "too large a number": b'{"payload": {"a": 1e999}}',
    "nested too deeply": b'{"payload":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "invalid UTF-8": b'{"taskType": "\xff"}',
    "a surrogate in UTF-8": b'{"taskType": "\xed\xa0\x80"}',
    "a lone surrogate": b'{"taskType": "\\ud800"}',
    "UTF-16": '{"taskType": "x"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a control character": b'{"taskType": "a\x01"}',
}


async def test_a_body_that_is_not_json_is_400(client: httpx.AsyncClient) -> None:
    for name, body in NOT_JSON.items():
        response = await client.post("/api/v1/jobs", content=body, headers=JSON)
        assert (response.status_code, response.json()["code"]) == (400, "not_json"), name


async def test_nesting_beyond_the_limit_is_named(client: httpx.AsyncClient) -> None:
    payload = {"number": 1, "note": json.loads("[" * 70 + "]" * 70)}
    problem = check_problem(
        await client.post("/api/v1/jobs", json={"taskType": "order", "payload": payload}), 422, "invalid"
    )
    assert any("64" in error["detail"] for error in problem["errors"])


async def test_a_body_of_another_type_is_415(client: httpx.AsyncClient) -> None:
    for headers in (
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/jsonish"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ):
        response = await client.post("/api/v1/jobs", content=json.dumps(MAIL).encode(), headers=headers)
        check_problem(response, 415, "wrong_media_type")


async def test_json_by_its_other_names_is_taken(client: httpx.AsyncClient) -> None:
    for content_type in ("application/json; charset=utf-8", "Application/JSON", "application/vnd.shop+json"):
        response = await client.post(
            "/api/v1/jobs", content=json.dumps(MAIL).encode(), headers={"Content-Type": content_type}
        )
        assert response.status_code == 201, content_type


async def test_a_body_over_its_limit_is_413_and_the_limit_is_named(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/v1/jobs", content=b"x" * (MAX_BODY_BYTES + 1), headers=JSON)
    assert str(MAX_BODY_BYTES) in check_problem(response, 413, "body_too_large")["detail"]


async def test_a_body_in_pieces_is_put_together(client: httpx.AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for byte in json.dumps(MAIL).encode():
            yield bytes([byte])

    assert (await client.post("/api/v1/jobs", content=pieces(), headers=JSON)).status_code == 201


async def test_a_refusal_waits_until_the_rest_of_the_body_is_read_away(api: Api) -> None:
    read = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(5):
            read += 1
            yield b"x" * MAX_BODY_BYTES

    async with api.client() as anonymous:
        response = await anonymous.post("/api/v1/jobs", content=pieces(), headers=JSON)
    check_problem(response, 401, "unauthenticated")
    assert read == 5
    assert "connection" not in response.headers


async def test_no_more_than_the_limit_is_read_away(api: Api) -> None:
    sent: list[dict[str, object]] = []
    asked = 0

    async def endless() -> dict[str, object]:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": b"x" * MAX_BODY_BYTES, "more_body": True}

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/api/v1/jobs",
        "raw_path": b"/api/v1/jobs",
        "query_string": b"",
        "headers": [(b"transfer-encoding", b"chunked")],
        "client": ("10.0.0.1", 1),
        "server": ("test", 80),
        "scheme": "http",
    }
    await api.app(scope, endless, send)
    assert sent[0]["status"] == 401
    assert (b"connection", b"close") in sent[0]["headers"]  # type: ignore[operator]
    assert asked == MAX_DRAIN_BYTES // MAX_BODY_BYTES + 1


async def test_a_client_that_asks_first_is_not_made_to_send(api: Api) -> None:
    async with api.client() as anonymous:
        response = await anonymous.post("/api/v1/jobs", content=b"x" * 100, headers={**JSON, "Expect": "100-continue"})
    check_problem(response, 401, "unauthenticated")
    assert response.headers["connection"] == "close"


# Routes --------------------------------------------------------------------------------------------------------------


async def test_an_unknown_route_is_404(client: httpx.AsyncClient) -> None:
    for path in ("/api/v1", "/api/v1/nothing", "/api/v2/jobs", "/api/v1/jobs/", "/jobs"):
        check_problem(await client.get(path), 404, "no_such_route")


async def test_the_root_leads_to_the_docs(api: Api) -> None:
    async with api.client() as anonymous:
        response = await anonymous.get("/", follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (307, "/docs")


async def test_a_method_that_a_path_does_not_take_is_405(client: httpx.AsyncClient) -> None:
    job = "/api/v1/jobs/019ab0f2-6b3e-7c41-9d5a-3f6f0c9d2e11"
    for method, path, allowed in (
        ("PUT", "/api/v1/jobs", "GET, HEAD, POST"),
        ("PUT", job, "DELETE, GET, HEAD, PATCH"),
        ("GET", f"{job}/cancel", "POST"),
        ("DELETE", "/live", "GET, HEAD"),
        ("OPTIONS", "/api/v1/jobs", "GET, HEAD, POST"),
    ):
        response = await client.request(method, path)
        check_problem(response, 405, "method_not_allowed")
        assert response.headers["allow"] == allowed


async def test_head_is_get_without_the_body(client: httpx.AsyncClient) -> None:
    get, head = await client.get("/live"), await client.head("/live")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


async def test_every_answer_has_the_security_headers(client: httpx.AsyncClient) -> None:
    for path in ("/live", "/api/v1/jobs", "/nothing", "/openapi.json", "/docs"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]


# Browsers ------------------------------------------------------------------------------------------------------------


@pytest.mark.covers("S2-39")
async def test_pages_of_the_configured_origin_may_call(database_url: str) -> None:
    origin = "http://localhost:3001"
    async with make_api(database_url, cors_origins=[origin]) as api, api.client(await api.key()) as client:
        preflight = await client.options(
            "/api/v1/jobs",
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,idempotency-key",
            },
        )
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == origin
        assert "Idempotency-Key" in preflight.headers["access-control-allow-headers"]
        answer = await client.get("/api/v1/jobs", headers={"Origin": origin})
        assert answer.headers["access-control-allow-origin"] == origin
        assert "Location" in answer.headers["access-control-expose-headers"]
        other = await client.get("/api/v1/jobs", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
        refused = await client.post("/api/v1/jobs", content=b"x", headers={"Origin": origin})
        assert refused.headers["access-control-allow-origin"] == origin  # so that the page can read why


async def test_without_a_configured_origin_no_page_may(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/v1/jobs", headers={"Origin": "http://localhost:3001"})
    assert "access-control-allow-origin" not in response.headers


# What is told of bugs and outages ------------------------------------------------------------------------------------


async def test_a_bug_is_500_and_shows_nothing_of_the_inside(
    lines: io.StringIO, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the secret plan")

    monkeypatch.setattr("taskflow.engine.client.Engine.list_jobs", broken)
    response = await client.get("/api/v1/jobs")
    problem = check_problem(response, 500, "internal")
    assert "secret plan" not in response.text
    assert problem["requestId"] in lines.getvalue()
    assert "the secret plan" in lines.getvalue()


async def test_an_outage_in_the_middle_is_503_with_retry_after(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut(*_: object, **__: object) -> None:
        raise ConnectionResetError("peer")

    monkeypatch.setattr("taskflow.engine.client.Engine.enqueue", cut)
    response = await client.post("/api/v1/jobs", json=MAIL)
    problem = check_problem(response, 503, "unavailable")
    assert response.headers["retry-after"] == "1"
    assert "Idempotency-Key" in problem["detail"]


async def test_a_database_that_is_away_is_503_and_then_all_is_well_again(
    api: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.database, "url", "postgresql://127.0.0.1:9/nothing")
    await api.database.stop()
    response = await client.get("/api/v1/jobs")
    check_problem(response, 503, "unavailable")
    assert response.headers["retry-after"] == "1"
    monkeypatch.undo()
    await api.database.stop()
    assert (await client.get("/api/v1/jobs")).status_code == 200


# Log lines and metrics -----------------------------------------------------------------------------------------------


async def test_a_request_is_one_line_with_its_facts_and_no_secrets(lines: io.StringIO, database_url: str) -> None:
    async with make_api(database_url) as api:
        await api.publish()
        key = await api.key()
        async with api.client(key) as client:
            before = lines.tell()
            response = await client.post("/api/v1/jobs", json=MAIL, headers={"X-Request-Id": "req-1"})
            [line] = [json.loads(text) for text in lines.getvalue()[before:].splitlines()]
    assert line["event"] == "taskflow.request.stop"
    assert (line["method"], line["path"], line["route"], line["status"]) == (
        "POST",
        "/api/v1/jobs",
        "/api/v1/jobs",
        201,
    )
    assert line["request_id"] == "req-1"
    assert line["duration_ms"] > 0
    assert line["response_bytes"] == len(response.content)
    assert line["principal_id"]
    assert key not in lines.getvalue()
    assert "ada@example.com" not in lines.getvalue()


async def test_requests_are_counted_by_route_and_not_by_path(client: httpx.AsyncClient) -> None:
    for _ in range(2):
        await client.get("/api/jobs/019ab0f2-6b3e-7c41-9d5a-3f6f0c9d2e11")
        await client.get("/nothing/at/all")
        await client.request("BREW", "/coffee")
    text = (await client.get("/metrics")).text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    counted = {
        (sample.labels["method"], sample.labels["route"], sample.labels["status_class"])
        for sample in families["taskflow_http_requests"].samples
        if sample.name.endswith("_total")
    }
    assert ("GET", "/api/v1/jobs/{jobId}", "4xx") in counted
    assert ("GET", "unmatched", "4xx") in counted
    assert ("OTHER", "unmatched", "4xx") in counted
    assert not any("nothing" in route or "019ab0f2" in route for _, route, _ in counted)
    buckets = families["taskflow_http_request_duration_seconds"].samples
    assert any(sample.labels.get("route") == "/api/v1/jobs/{jobId}" for sample in buckets)


async def test_many_requests_at_once_keep_their_ids_apart(client: httpx.AsyncClient) -> None:
    async def ask(number: int) -> bool:
        response = await client.get("/api/v1/nothing", headers={"X-Request-Id": f"r{number}"})
        return bool(response.json()["requestId"] == response.headers["x-request-id"] == f"r{number}")

    assert all(await asyncio.gather(*(ask(number) for number in range(50))))
