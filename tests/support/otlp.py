"""
A real receiver of OTLP over HTTP: it decodes what an exporter sends with the protocol's own classes.

    with collecting() as collector: ...     takes spans
    with collecting(refusing_with=503)      answers so
    with collecting(hanging=True)           takes requests and never answers
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.support.up import wait_until


@dataclass(frozen=True, slots=True)
class Kept:
    """A span as the collector knows it; ids in hexadecimal, no parent is an empty text."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: Mapping[str, Any]
    failed: bool
    began_ns: int
    resource: Mapping[str, Any]


class Collector:
    """What has come. `url` is for `OTEL_EXPORTER_OTLP_ENDPOINT`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.headers: list[Mapping[str, str]] = []
        self.spans: list[Kept] = []
        self.requests = 0

    def take(self, body: bytes) -> None:
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = {item.key: _value(item.value) for item in group.resource.attributes}
            self.spans += [_kept(span, resource) for scope in group.scope_spans for span in scope.spans]

    def wait_for(self, found: Callable[[list[Kept]], object], timeout_s: float = 20.0) -> list[Kept]:
        """Return all spans once *found* likes them."""
        wait_until(lambda: bool(found(list(self.spans))), timeout_s)
        return list(self.spans)


@contextmanager
def collecting(*, refusing_with: int | None = None, hanging: bool = False) -> Iterator[Collector]:
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.requests += 1
            if hanging:
                over.wait()
                return
            if refusing_with is not None or self.path != "/v1/traces":
                self.send_response(refusing_with or 404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            collector.headers.append({name.lower(): value for name, value in self.headers.items()})
            collector.take(body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_words: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_words: Any) -> None:
            """The exporter may leave while it is being answered."""

    with Server(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield collector
        finally:
            over.set()
            server.shutdown()
            thread.join()


def _kept(span: Span, resource: Mapping[str, Any]) -> Kept:
    return Kept(
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        attributes={item.key: _value(item.value) for item in span.attributes},
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        began_ns=span.start_time_unix_nano,
        resource=resource,
    )


def _value(value: AnyValue) -> Any:
    return getattr(value, value.WhichOneof("value") or "string_value")
