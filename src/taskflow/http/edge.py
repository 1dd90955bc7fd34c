"""
The edge: what every request passes first and every answer last. Pure ASGI, one layer.

It takes or makes the request id, bounds the body, puts the headers of security and rate limits on the answer, and
writes the one log line and the metrics of the request. An error answer to a request whose body was not read waits until
the rest has been read away (up to `MAX_DRAIN_BYTES`): a client that writes all before it reads would see a reset
instead of the reason.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias
from uuid import uuid4

from prometheus_client import Counter, Histogram

from taskflow.http.call import PROBES, SCOPE_KEY, Call
from taskflow.http.problem import as_domain_error, problem_response
from taskflow.http.visit import begin_visit
from taskflow.kernel.errors import TooLarge
from taskflow.telemetry.log import bind, get_logger, unbind
from taskflow.telemetry.metrics import HTTP_REQUEST_DURATION_SECONDS, HTTP_REQUESTS

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_DRAIN_BYTES = 8 * 1024 * 1024
DRAIN_TIMEOUT_S = 5.0
MAX_REQUEST_ID_LENGTH = 128

SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_API_HEADERS = {  # set unless the answer says otherwise
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
}
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"})
_VISIBLE = frozenset(map(chr, range(0x21, 0x7F)))


class Edge:
    """Wraps the application; see the module."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._log = get_logger(__name__).bind()  # bound once: half the cost of a line
        self._children: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        call = exchange.call
        visit = begin_visit(exchange.scope, call)
        if call.trace is None:
            tokens = bind(request_id=call.request_id)
        else:
            tokens = bind(request_id=call.request_id, trace_id=call.trace.trace_id)
        try:
            await self.app(exchange.scope, exchange.receive, exchange.send)
        except Exception as error:  # noqa: BLE001 -- the edge of a request
            self._log.exception("taskflow.request.exception", route=call.route, error=type(error).__name__)
            if not exchange.status:
                answer = problem_response(as_domain_error(RuntimeError()), call, path=scope["path"])
                await answer(exchange.scope, exchange.receive, exchange.send)
        finally:
            self._account(exchange)
            unbind(tokens)
            if visit is not None:
                visit.end(exchange.method if exchange.method in _METHODS else None, call, exchange.status)

    def _account(self, exchange: "_Exchange") -> None:
        call = exchange.call
        seconds = time.perf_counter() - exchange.started
        method = exchange.method if exchange.method in _METHODS else "OTHER"
        key = (method, call.route, f"{exchange.status // 100}xx")
        children = self._children.get(key)
        if children is None:
            children = self._children[key] = (
                HTTP_REQUESTS.labels(*key),
                HTTP_REQUEST_DURATION_SECONDS.labels(method, call.route),
            )
        children[0].inc()
        children[1].observe(seconds)
        quiet = call.route in PROBES and exchange.status < 400  # many lines that say nothing
        (self._log.debug if quiet else self._log.info)(
            "taskflow.request.stop",
            method=method,
            path=exchange.scope["path"],
            route=call.route,
            status=exchange.status,
            duration_ms=round(seconds * 1000, 3),
            request_bytes=exchange.request_bytes,
            response_bytes=exchange.response_bytes,
            principal_id=call.principal,
        )


class _Exchange:
    """One request and its answer, counted on the way through."""

    __slots__ = (
        "_body_done",
        "_expects_continue",
        "_head",
        "_receive",
        "_send",
        "call",
        "method",
        "request_bytes",
        "response_bytes",
        "scope",
        "started",
        "status",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.started = time.perf_counter()
        self._receive = receive
        self._send = send
        self.status = 0
        self.request_bytes = 0
        self.response_bytes = 0
        self.method: str = scope["method"]
        self._expects_continue = False
        self._body_done = True
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
            self._body_done = False
            self._expects_continue = headers.get("expect", "").lower() == "100-continue"
        request_id = headers.get("x-request-id", "")
        if not 0 < len(request_id) <= MAX_REQUEST_ID_LENGTH or not _VISIBLE.issuperset(request_id):
            request_id = str(uuid4())
        self.call = Call(request_id, headers)
        self._head = self.call.is_head = self.method == "HEAD"
        # HEAD is GET without the body: routes need not know. A copy, because the server reads its own scope.
        self.scope = {**scope, "method": "GET"} if self._head else scope
        self.scope[SCOPE_KEY] = self.call

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] != "http.request":
            self._body_done = True
            return message
        self.request_bytes += len(message.get("body", b""))
        self._body_done = not message.get("more_body", False)
        if self.request_bytes > self.call.body_limit and not self.call.streams:
            raise TooLarge(f"the body is over the limit of {self.call.body_limit} bytes", code="body_too_large")
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [
                *message.get("headers", ()),
                *SECURITY_HEADERS,
                *self.call.rate_headers,
                (b"x-request-id", self.call.request_id.encode()),
            ]
            present = {name for name, _ in headers}
            headers += [item for item in _API_HEADERS.items() if item[0] not in present]
            streaming = self.call.streams and self.status < 400
            if not self._body_done and not streaming and not await self._drain():
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        elif message["type"] == "http.response.body":
            self.response_bytes += len(message.get("body", b""))
            if self._head:
                message = {**message, "body": b""}
        await self._send(message)

    async def _drain(self) -> bool:
        """Read the rest of the body away. False when it is too long, too slow, or was never sent (100-continue)."""
        if self._expects_continue and not self.request_bytes:
            return False
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                while not self._body_done and self.request_bytes <= MAX_DRAIN_BYTES:
                    message = await self._receive()
                    self.request_bytes += len(message.get("body", b""))
                    self._body_done = message["type"] != "http.request" or not message.get("more_body", False)
        except TimeoutError:
            return False
        return self._body_done
