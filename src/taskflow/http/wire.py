"""
What comes before a request is one: uvicorn's reading of HTTP/1.1, with limits and with answers like all others.

httptools bounds neither how long a request's head is nor how long it takes, so one client could have all memory, or as
many connections as it opens, for as long as it likes.
"""

import asyncio
from typing import Any
from uuid import uuid4

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from taskflow.http.call import Call
from taskflow.http.edge import SECURITY_HEADERS
from taskflow.http.problem import problem_response
from taskflow.kernel.errors import DomainError

MAX_HEAD_BYTES = 64 * 1024  # request line and headers
HEAD_TIMEOUT_S = 30.0  # from the connection or the first byte of a request to the end of its head
_REASONS = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


class NotHttp(DomainError):
    """What came is no request of HTTP/1.1."""

    status = 400
    code = "not_http"


class HeadTooLarge(DomainError):
    """Request line and headers are over their limit."""

    status = 431
    code = "head_too_large"


class HeadTimeout(DomainError):
    """The request's head did not arrive in time."""

    status = 408
    code = "head_timeout"


class BoundedProtocol(HttpToolsProtocol):
    """One connection; see the module."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._in_head = False
        self._is_new = False  # the head began in the piece that is being read
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._refusal: DomainError | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._on_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:  # what follows garbage is garbage
            return
        self._is_new = False
        self._unset_keepalive_if_required()
        rest = data
        while rest:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:  # to what we do not speak: it goes on as it was
                rest = rest[upgrade.args[0] :]
            except httptools.HttpParserError:
                self._refuse(self._refusal or NotHttp("what came is no valid HTTP/1.1"))
                return
            else:
                break
        if self._refusal is not None or self.transport.is_closing():
            return
        if self._in_head:
            # Requests may have come before it in the same piece; how much of the piece is theirs is not known.
            self._head_bytes = 0 if self._is_new else self._head_bytes + len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(_too_large())
                return
        is_idle = self.cycle is None or self.cycle.response_complete  # then it was empty lines, which mean nothing
        if self._head_timer is None and (self._in_head or is_idle):
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._on_late)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._is_new = True

    def on_headers_complete(self) -> None:
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD_BYTES:
            self._refusal = _too_large()
            raise self._refusal  # the parser stops
        self._stop_timer()
        super().on_headers_complete()
        self._in_head = False

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._head_timer is not None:  # the next request has begun: its time runs, not that of an idle connection
            self._unset_keepalive_if_required()

    def _on_late(self) -> None:
        self._head_timer = None
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None and not self._in_head:  # nobody asked anything
            self.transport.close()
            return
        self._refuse(HeadTimeout(f"the request's head did not arrive within {HEAD_TIMEOUT_S:g} s"))

    def _refuse(self, error: DomainError) -> None:
        """Answer *error* and close; after whole requests that came before, once they are answered."""
        self._refusal = error
        self._stop_timer()
        if self.transport.is_closing():
            return
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body:
                cycle.keep_alive = False
                return
            if cycle.response_started:
                self.transport.close()
                return
        request_id = str(uuid4())
        answer = problem_response(error, Call(request_id, {}), path="")
        head = [
            *answer.raw_headers,
            *SECURITY_HEADERS,
            (b"x-request-id", request_id.encode()),
            (b"connection", b"close"),
        ]
        lines = [b"HTTP/1.1 %d %b" % (error.status, _REASONS[error.status])]
        lines += [b"%b: %b" % item for item in head]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + bytes(answer.body))
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def _too_large() -> HeadTooLarge:
    return HeadTooLarge(f"the request's line and headers are over the limit of {MAX_HEAD_BYTES} bytes")
