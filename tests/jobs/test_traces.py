"""Requests in traces: what a submit over HTTP continues, and what it passes on where nobody traces."""

import json
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind
from tests.support.api import Api
from tests.support.remote import RemoteTester
from tests.support.tracing import (
    CALLER,
    TRACE,
    TRACEPARENT,
    Spans,
    attributes_of,
    parent_id_of,
    span_id_of,
    spans,
    trace_id_of,
)

from taskflow.db.query import Connection
from taskflow.engine.trace import PARENT_HEADER

__all__ = ["spans"]

ORDER = {"taskType": "order", "payload": {"number": 1}}
CONTEXT = {"traceparent": TRACEPARENT, "tracestate": "a=1"}


async def carried(connection: Connection) -> list[dict[str, str]]:
    """Return the headers of all jobs, by id."""
    rows = await connection.fetch("SELECT headers FROM taskflow.job ORDER BY id")
    return [json.loads(row["headers"]) for row in rows]


def context_of(span: ReadableSpan) -> str:
    return f"00-{trace_id_of(span)}-{span_id_of(span)}-01"


async def submit(client: httpx.AsyncClient, way: str) -> httpx.Response:
    if way == "batch":
        return await client.post("/api/v1/jobs/batch", json=[ORDER, ORDER], headers=CONTEXT)
    if way == "stream":
        lines = b"".join(json.dumps(ORDER).encode() + b"\n" for _ in range(2))
        headers = {**CONTEXT, "Content-Type": "application/x-ndjson"}
        return await client.post("/api/v1/jobs/stream", content=lines, headers=headers)
    key = {"Idempotency-Key": "k1"} if way == "with a key" else {}
    return await client.post("/api/v1/jobs", json=ORDER, headers={**CONTEXT, **key})


@pytest.mark.parametrize(
    ("way", "route", "jobs"),
    [
        ("alone", "/api/v1/jobs", 1),
        ("with a key", "/api/v1/jobs", 1),
        ("batch", "/api/v1/jobs/batch", 2),
        ("stream", "/api/v1/jobs/stream", 2),
    ],
)
async def test_a_submit_continues_the_callers_trace(
    client: httpx.AsyncClient, connection: Connection, spans: Spans, way: str, route: str, jobs: int
) -> None:
    response = await submit(client, way)
    assert response.is_success
    send, request = spans.ended
    assert (request.name, request.kind) == (f"POST {route}", SpanKind.SERVER)
    assert (trace_id_of(request), parent_id_of(request)) == (TRACE, CALLER)
    told = attributes_of(request)
    assert (told["http.request.method"], told["http.route"]) == ("POST", route)
    assert told["http.response.status_code"] == response.status_code
    assert (send.name, send.kind) == ("send orders", SpanKind.PRODUCER)
    assert (trace_id_of(send), parent_id_of(send)) == (TRACE, span_id_of(request))
    told = attributes_of(send)
    assert (told["messaging.system"], told["messaging.destination.name"]) == ("taskflow", "orders")
    if jobs == 1:
        assert told["messaging.message.id"] == response.json()["jobId"]
    else:
        assert told["messaging.batch.message_count"] == jobs
    found = await carried(connection)
    assert [headers[PARENT_HEADER] for headers in found] == [context_of(send)] * jobs
    assert {headers["taskflow.tracestate"] for headers in found} == {"a=1"}


@pytest.mark.parametrize("way", ["alone", "batch", "stream"])
async def test_where_nobody_traces_the_callers_context_is_passed_on(
    client: httpx.AsyncClient, connection: Connection, way: str
) -> None:
    assert (await submit(client, way)).is_success
    assert {headers[PARENT_HEADER] for headers in await carried(connection)} == {TRACEPARENT}


async def test_without_a_context_nothing_rides_along_but_the_request_id(
    client: httpx.AsyncClient, connection: Connection
) -> None:
    for headers in ({}, {"traceparent": "nonsense"}):
        await client.post("/api/v1/jobs", json=ORDER, headers=headers)
    assert [set(headers) for headers in await carried(connection)] == [{"request_id"}, {"request_id"}]


async def test_a_batch_for_several_queues_names_none(client: httpx.AsyncClient, spans: Spans) -> None:
    await client.post("/api/v1/jobs/batch", json=[ORDER, {**ORDER, "queue": "other"}])
    [send] = spans.named("send")
    assert "messaging.destination.name" not in attributes_of(send)


async def test_a_refused_submit_and_a_missing_route_are_said_as_they_are(
    client: httpx.AsyncClient, spans: Spans
) -> None:
    await client.post("/api/v1/jobs", json={**ORDER, "taskType": "nobody"})
    await client.get("/nowhere")
    await client.get("/live")  # asked by machines, for ever
    refused, missing = spans.ended
    assert (refused.name, attributes_of(refused)["http.response.status_code"]) == ("POST /api/v1/jobs", 422)
    assert "error.type" not in attributes_of(refused)
    assert (missing.name, attributes_of(missing)["http.response.status_code"]) == ("GET", 404)


async def test_a_traceparent_that_says_not_to_record_is_obeyed_and_passed_on(
    client: httpx.AsyncClient, connection: Connection, spans: Spans
) -> None:
    await client.post("/api/v1/jobs", json=ORDER, headers={"traceparent": f"{TRACEPARENT[:-2]}00"})
    assert not spans.ended
    [headers] = await carried(connection)
    assert (headers[PARENT_HEADER][3:35], headers[PARENT_HEADER][-2:]) == (TRACE, "00")


async def test_a_claim_over_http_says_where_in_the_trace_the_job_is(api: Api, spans: Spans) -> None:
    async with api.client(await api.key("worker", "jobs:write", "jobs:read"), **CONTEXT) as client:
        worker = RemoteTester(api, client)
        await worker.publish()
        await worker.submit()
        [job] = await worker.claim()
    [send] = spans.named("send images")
    assert without_id(job["headers"]) == {"traceparent": context_of(send), "tracestate": "a=1"}


def without_id(headers: dict[str, Any]) -> dict[str, Any]:
    assert headers.pop("request_id")
    return headers
