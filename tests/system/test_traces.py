"""One trace from a client's submit to the callback, through real processes, at a real receiver of OTLP."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.support.otlp import Collector, Kept, collecting
from tests.support.up import Up, wait_until

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRET = "s3cret-of-the-collector"
JOBS = """
from opentelemetry import trace
from taskflow import JobContext, Retry, TaskFlow

app = TaskFlow()
tracer = trace.get_tracer("shop")


@app.job("order", queue="shop", backoff=lambda _failures: 0.01)
async def order(ctx: JobContext, number: int) -> None:
    with tracer.start_as_current_span("book"):
        if ctx.attempt == 1:
            raise RuntimeError("not yet")
        await pack.enqueue(number)
        await label.enqueue(number)
    assert ctx.headers.keys() == {"request_id"}


@app.job("pack", queue="shop", isolation="process")
def pack(ctx: JobContext, number: int) -> None:
    with tracer.start_as_current_span("fold"):
        pass
    assert not ctx.headers


@app.job("label", queue="shop", isolation="thread")
def label(number: int) -> None:
    with tracer.start_as_current_span("print"):
        pass
"""


@contextmanager
def receiving() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A receiver of callbacks: its URL, and the headers of what came."""
    came: list[dict[str, str]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            came.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_words: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/done?token=abc", came
        finally:
            server.shutdown()
            thread.join()


def environ_of(collector: Collector) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-collector-key={SECRET}",
        "TASKFLOW_LOG_FORMAT": "json",
    }


@pytest.mark.timeout(120)
@pytest.mark.covers("S4-6", "S4-69")
def test_a_submit_its_attempts_what_they_do_and_the_callback_are_one_trace(made: Path, up: Callable[..., Up]) -> None:
    shop = made.parent / "shop"
    shop.mkdir()
    (shop / "jobs.py").write_text(JOBS)
    with collecting() as collector, receiving() as (hook, came):
        environ = environ_of(collector)
        server = up(environ=environ).wait_ready()
        prefix = ["env", "-C", str(shop), "OTEL_SERVICE_NAME=shop"]
        options = ["--app", "jobs:app"]
        worker = Up(made, *options, command="worker", ready="Ctrl-C drains", prefix=prefix, environ=environ)
        try:
            worker.wait_ready()
            with server.client() as client:
                job = client.post(
                    "/jobs",
                    json={"taskType": "order", "payload": {"number": 7}, "callbackUrl": hook},
                    headers={"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "shop=1"},
                ).json()
                wait_until(lambda: len(came) == 1, 30)
                spans = collector.wait_for(lambda spans: len(in_trace(spans)) >= 14)
                shown = client.get(f"/jobs/{job['jobId']}").json()
            said = server.output + worker.output
        finally:
            worker.stop()
        lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]

    spans = in_trace(spans)
    assert tree_of(spans) == [
        "SERVER POST /api/v1/jobs",
        "  PRODUCER send shop",
        "    CONSUMER process shop",  # the first attempt
        "      INTERNAL book",
        "    CONSUMER process shop",  # the second
        "      INTERNAL book",
        "        PRODUCER send shop",
        "          CONSUMER process shop",
        "            INTERNAL fold",
        "        PRODUCER send shop",
        "          CONSUMER process shop",
        "            INTERNAL print",
        "    CONSUMER process webhooks",
        "      CLIENT POST",
    ]
    first, second = [
        span
        for span in spans
        if span.attributes.get("messaging.message.id") == job["jobId"] and span.kind == "CONSUMER"
    ]
    assert (first.failed, first.attributes["error.type"]) == (True, "RuntimeError")
    assert (second.failed, "error.type" in second.attributes) == (False, False)
    assert [span.attributes["taskflow.job.attempt"] for span in (first, second)] == [1, 2]
    assert [span.attributes["taskflow.job.state"] for span in (first, second)] == ["retrying", "completed"]
    assert second.attributes["taskflow.job.queue_wait_ms"] >= 0
    assert {span.resource["service.name"] for span in (first, second)} == {"shop"}
    [call] = [span for span in spans if span.kind == "CLIENT"]
    assert came[0]["traceparent"] == f"00-{TRACE}-{call.span_id}-01"
    assert came[0]["tracestate"] == "shop=1"
    assert call.attributes["http.response.status_code"] == 204
    assert "token" not in str(call.attributes)
    assert call.resource["service.name"] == "taskflow"
    assert {headers["x-collector-key"] for headers in collector.headers} == {SECRET}
    assert SECRET not in said
    assert shown["status"] == "completed"
    traced = {line["event"] for line in lines if line.get("trace_id") == TRACE}
    assert {"taskflow.request.stop", "taskflow.attempt.stop"} <= traced


def in_trace(spans: list[Kept]) -> list[Kept]:
    return [span for span in spans if span.trace_id == TRACE]


def tree_of(spans: list[Kept]) -> list[str]:
    """Return kind and name of each span, indented below its parent; siblings in the order of their beginnings."""

    def below(parent_id: str, depth: int) -> Iterator[str]:
        for span in sorted(spans, key=lambda span: span.began_ns):
            if span.parent_id == parent_id:
                yield f"{'  ' * depth}{span.kind} {span.name}"
                yield from below(span.span_id, depth + 1)

    return list(below(CALLER, 0))
