"""Jobs in traces: what a job carries, and what the spans of its attempts say."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode
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
from tests.support.waiting import eventually
from tests.support.workers import Nothing, reaches, working

from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine.client import Engine
from taskflow.engine.job import DELIVERY_QUEUE, NewJob
from taskflow.engine.registry import JobContext, Registry
from taskflow.engine.trace import (
    PARENT_HEADER,
    STATE_HEADER,
    given_headers,
    headers_with,
    portable_headers,
)
from taskflow.kernel.errors import Permanent
from taskflow.telemetry.tracing import TraceContext

__all__ = ["spans"]

CONTEXT = TraceContext(TRACEPARENT, "a=1")


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[Engine]:
    async with Engine(database) as engine:
        yield engine


class Seen:
    """What handlers found around them."""

    def __init__(self) -> None:
        self.spans: list[trace.SpanContext] = []
        self.logged: list[object] = []
        self.headers: list[dict[str, str]] = []

    @property
    def registry(self) -> Registry:
        registry = Registry()

        @registry.job("look", payload=Nothing)
        async def look(ctx: JobContext, _payload: Nothing) -> None:
            self.spans.append(trace.get_current_span().get_span_context())
            self.logged.append(structlog.contextvars.get_contextvars().get("trace_id"))
            self.headers.append(dict(ctx.headers))

        @registry.job("flaky", payload=Nothing, retries=1, backoff=lambda _failures: 0.01)
        async def flaky(ctx: JobContext, payload: Nothing) -> None:
            await look(ctx, payload)
            if ctx.attempt == 1:
                raise ConnectionError("the far end is away, and this may be private")

        @registry.job("stop", payload=Nothing)
        async def stop(_ctx: JobContext, _payload: Nothing) -> None:
            raise Permanent("never")

        @registry.job("slow", payload=Nothing)
        async def slow(ctx: JobContext, _payload: Nothing) -> None:
            self.headers.append(dict(ctx.headers))
            await asyncio.Event().wait()

        @registry.job("deliver_webhook", payload=dict[str, str], queue=DELIVERY_QUEUE)
        async def deliver(_ctx: JobContext, _payload: dict[str, str]) -> None:
            pass

        return registry


async def wait_for(spans: Spans, name: str, count: int) -> list[ReadableSpan]:
    def look() -> list[ReadableSpan] | None:
        found = spans.named(name)
        return found if len(found) >= count else None

    return await eventually(f"{count} spans {name!r}", look)


def test_a_job_carries_its_context_beside_the_headers_that_were_given() -> None:
    given = {"tenant": "7", "traceparent": "theirs"}
    carried = headers_with(given, CONTEXT)
    assert carried == {**given, PARENT_HEADER: TRACEPARENT, STATE_HEADER: "a=1"}
    assert given_headers(carried) == given
    assert portable_headers(carried) == {"tenant": "7", "traceparent": TRACEPARENT, "tracestate": "a=1"}
    assert headers_with(given, None) is given
    assert given_headers(given) is given
    assert portable_headers(given) is given
    assert portable_headers({PARENT_HEADER: "nonsense"}) == {PARENT_HEADER: "nonsense"}


async def test_attempts_are_siblings_below_the_submit_and_say_what_they_came_to(
    database_url: str, engine: Engine, spans: Spans
) -> None:
    seen = Seen()
    async with working(database_url, seen.registry):
        job = await engine.enqueue(NewJob("flaky", {}, headers=headers_with({"tenant": "7"}, CONTEXT)))
        await reaches(engine, job)
        first, second = await wait_for(spans, "process default", 2)
    assert [(trace_id_of(span), parent_id_of(span)) for span in (first, second)] == [(TRACE, CALLER)] * 2
    assert {span.kind for span in (first, second)} == {SpanKind.CONSUMER}
    assert second.context is not None
    assert second.context.trace_state.to_header() == "a=1"
    told = attributes_of(first)
    assert told.pop("taskflow.job.queue_wait_ms") != 0
    assert told == {
        "messaging.system": "taskflow",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "default",
        "messaging.message.id": str(job.id),
        "taskflow.job.kind": "flaky",
        "taskflow.job.attempt": 1,
        "taskflow.job.outcome": "error",
        "taskflow.job.state": "retrying",
        "error.type": "ConnectionError",
    }
    assert (first.status.status_code, first.status.description) == (StatusCode.ERROR, None)
    assert "private" not in first.to_json()
    assert second.status.status_code is StatusCode.UNSET
    assert attributes_of(second)["taskflow.job.attempt"] == 2
    # What the handlers do is inside, and knows which trace it is in.
    assert [f"{context.span_id:016x}" for context in seen.spans] == [span_id_of(first), span_id_of(second)]
    assert seen.logged == [TRACE, TRACE]
    assert seen.headers == [{"tenant": "7"}] * 2
    assert (await engine.get_job(job.id)).headers == {"tenant": "7"}


async def test_attempts_of_a_job_without_context_and_its_delivery_share_a_trace_of_their_own(
    database_url: str, engine: Engine, spans: Spans
) -> None:
    async with working(database_url, Seen().registry, queues=("default", DELIVERY_QUEUE)):
        job = await engine.enqueue(NewJob("flaky", {}, callback_url="https://example.org/hook"))
        await reaches(engine, job)
        attempts = await wait_for(spans, "process default", 2)
        [delivery] = await wait_for(spans, "process webhooks", 1)
    own = hashlib.blake2b(job.id.bytes, digest_size=16).hexdigest()
    assert {(trace_id_of(span), parent_id_of(span)) for span in (*attempts, delivery)} == {(own, None)}


async def test_a_traceparent_that_the_submitter_gave_is_continued_and_shown(
    database_url: str, engine: Engine, spans: Spans
) -> None:
    seen = Seen()
    async with working(database_url, seen.registry):
        await reaches(engine, await engine.enqueue(NewJob("look", {}, headers={"traceparent": TRACEPARENT})))
        [attempt] = await wait_for(spans, "process default", 1)
    assert (trace_id_of(attempt), parent_id_of(attempt)) == (TRACE, CALLER)
    assert seen.headers == [{"traceparent": TRACEPARENT}]


async def test_cancelled_and_failed_attempts_end_their_spans(database_url: str, engine: Engine, spans: Spans) -> None:
    seen = Seen()
    async with working(database_url, seen.registry):
        await reaches(engine, await engine.enqueue(NewJob("stop", {})))
        late = await engine.enqueue(NewJob("slow", {}, retries=0, timeout_s=0.05))
        await reaches(engine, late)
        job = await engine.enqueue(NewJob("slow", {}))
        await eventually("both to run", lambda: len(seen.headers) == 2)
        await engine.cancel(job.id)
        await reaches(engine, job)
        ended = await wait_for(spans, "process default", 3)
    assert [
        (told["taskflow.job.outcome"], told["taskflow.job.state"], told.get("error.type"))
        for told in map(attributes_of, ended)
    ] == [
        ("error", "failed", "Permanent"),
        ("timeout", "failed", "Timeout"),
        ("cancelled", "cancelled", None),
    ]


async def test_a_provider_that_fails_costs_a_job_its_span_and_nothing_else(
    database_url: str, engine: Engine, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_said: object) -> bool:
        raise RuntimeError("a sampler of somebody's")

    monkeypatch.setattr(spans.provider.sampler, "should_sample", fail)
    async with working(database_url, Seen().registry):
        job = await reaches(engine, await engine.enqueue(NewJob("look", {})))
    assert (job.state, job.attempt) == ("completed", 1)
    assert not spans.ended


async def test_without_tracing_lines_of_log_still_know_the_trace_that_a_job_came_with(
    database_url: str, engine: Engine, connection: Connection
) -> None:
    seen = Seen()
    async with working(database_url, seen.registry):
        await reaches(engine, await engine.enqueue(NewJob("look", {}, headers=headers_with({}, CONTEXT))))
    assert seen.logged == [TRACE]
    assert [context.is_valid for context in seen.spans] == [False]
