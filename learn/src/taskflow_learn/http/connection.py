"""
One connection: requests in, answers out, in order, until somebody has enough.

    wait ──▶ head ──▶ handler ──▶ answer ──┐
      ▲      408 400   404 500    drain    │
      └───────────── keep-alive ───────────┘

- *Pipelining* needs no code: what the client sent ahead waits in the buffer.
- *Back-pressure* is `drain()`: it waits while the socket's buffer is full, so a slow reader slows down the generator
  that feeds it, and memory stays flat.
- *Every wait has an end*: for the head (a slow loris sends a byte now and then to hold the connection), for the body,
  for the next request, and for a peer that does not read.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Protocol

from taskflow_learn.errors import Code, Refusal
from taskflow_learn.http.body import Body
from taskflow_learn.http.head import Head, parse_head
from taskflow_learn.http.limits import Limits
from taskflow_learn.http.request import Request
from taskflow_learn.http.response import Response, encode_head
from taskflow_learn.http.wire import EndOfStream, LimitExceeded, Wire

END_OF_HEAD = b"\r\n\r\n"
LINGER_BYTES = 4_194_304


class Application(Protocol):
    """What a connection needs from the rest of the server."""

    async def respond(self, request: Request) -> Response:
        """Answer; never raises, as errors are answers too."""

    def refuse(self, refusal: Refusal) -> tuple[str, Response]:
        """Answer bytes that never became a request; return the request id that the answer carries."""

    def stream_broke(self, request_id: str, error: Exception) -> None:
        """Take note that the body of an answer ended in the middle."""

    def sent(self, request: Request, response: Response, duration_ms: float) -> None:
        """Take note that an answer has left."""


class _StreamBroke(Exception):
    """The source of a body failed, after a part of it had been sent."""


class Connection:
    """Serves one client."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        app: Application,
        limits: Limits,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._wire = Wire(reader)
        self._writer = writer
        self._app = app
        self._limits = limits
        self._is_stopping = is_stopping
        self.is_idle = True  # between requests: may be closed at once when the server stops

    async def serve(self) -> None:
        """Serve until either side ends it. Raises nothing that a peer could cause."""
        try:
            while await self._serve_one():
                pass
        except (ConnectionError, EndOfStream, TimeoutError):
            self._writer.transport.abort()  # the peer is gone, or does not read: nothing we send would arrive
        except _StreamBroke:
            self._reset()
        finally:
            self._writer.close()

    async def _serve_one(self) -> bool:
        """Serve one request; return whether there may be another."""
        try:
            head = await self._read_head()
        except Refusal as refusal:
            await self._refuse(refusal)
            return False
        if head is None:
            return False
        self.is_idle = False
        started = perf_counter()
        body = Body(head, self._wire, self._writer.write, self._limits)
        request = Request(head, body, self._wire)
        response = await self._app.respond(request)
        # A body that nobody read still lies between this request and the next: better a new connection than a guess.
        keep_alive = head.keep_alive and body.is_read and not self._is_stopping()
        if response.stream is not None and head.version < (1, 1):
            keep_alive = False  # HTTP/1.0 knows no chunks: there the end of the connection is the end of the body
        await self._send(head, request.id, response, keep_alive=keep_alive)
        self._app.sent(request, response, (perf_counter() - started) * 1000)
        if response.takeover is not None:
            await response.takeover(self._writer)
            return False
        if not body.is_read:
            await self._linger()
        self.is_idle = True
        return keep_alive

    async def _read_head(self) -> Head | None:
        """Return the next head, or `None` if the client is done."""
        limits, wire = self._limits, self._wire
        if not wire.buffered:
            try:
                async with asyncio.timeout(limits.keep_alive_timeout_s):
                    await wire.fill()
            except (TimeoutError, EndOfStream):
                return None  # nothing was asked, so nothing is answered
        self.is_idle = False
        is_here = wire.holds(END_OF_HEAD)  # as a rule all of it came in one packet, and no timer is needed
        try:
            async with asyncio.timeout(None if is_here else limits.head_timeout_s):
                while wire.startswith(b"\r\n"):  # old clients send an empty line after a body
                    await wire.exactly(2)
                data = await wire.until(END_OF_HEAD, limits.head_bytes)
        except TimeoutError:
            raise Refusal(Code.REQUEST_TIMEOUT, f"the head did not arrive within {limits.head_timeout_s:g} s") from None
        except EndOfStream:
            if not wire.buffered:
                return None
            raise Refusal(Code.BAD_REQUEST, "the connection ended inside the head of a request") from None
        except LimitExceeded:
            limit = limits.head_bytes
            raise Refusal(Code.HEADERS_TOO_LARGE, f"the head may have {limit} bytes", {"max": limit}) from None
        head = parse_head(data, limits)
        if head.headers.get("expect", "100-continue").lower() != "100-continue":
            raise Refusal(Code.EXPECTATION_FAILED, "the only expectation met here is 100-continue", {"field": "expect"})
        return head

    async def _send(self, head: Head, request_id: str, response: Response, *, keep_alive: bool) -> None:
        is_headless = head.method == "HEAD"
        if response.stream is not None:
            await self._send_stream(head, request_id, response, keep_alive=keep_alive)
            return
        has_body = response.status not in {101, 204, 304}
        framing = f"Content-Length: {len(response.body)}" if has_body else ""
        data = encode_head(response, request_id, framing, keep_alive=keep_alive)
        self._writer.write(data if is_headless or not has_body else data + response.body)
        await self._drain()

    async def _send_stream(self, head: Head, request_id: str, response: Response, *, keep_alive: bool) -> None:
        assert response.stream is not None
        is_chunked = head.version >= (1, 1)
        framing = "Transfer-Encoding: chunked" if is_chunked else ""
        self._writer.write(encode_head(response, request_id, framing, keep_alive=keep_alive))
        if head.method != "HEAD":
            for piece in self._pieces(response.stream, request_id):
                self._writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
                await self._drain()
                # drain() returns at once while there is room: a fast reader would never let anybody else run.
                await asyncio.sleep(0)
            if is_chunked:
                self._writer.write(b"0\r\n\r\n")
        await self._drain()

    def _pieces(self, stream: Iterator[bytes], request_id: str) -> Iterator[bytes]:
        try:
            yield from stream
        except Exception as error:
            self._app.stream_broke(request_id, error)
            raise _StreamBroke from error

    def _reset(self) -> None:
        """
        Cut the line, and let it be seen.

        The head with its 200 has left, so no status can tell that the body is not whole. An orderly end would be the
        end of the body for HTTP/1.0. To linger for 0 seconds makes the kernel send a reset instead, which is an error.
        """
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def _drain(self) -> None:
        transport = self._writer.transport
        if transport.get_write_buffer_size() == 0 and not transport.is_closing():
            return  # the kernel has taken everything, as it does with most answers: nothing to wait for, so no timer
        async with asyncio.timeout(self._limits.send_timeout_s):
            await self._writer.drain()

    async def _refuse(self, refusal: Refusal) -> None:
        """Answer what could not be parsed. Nobody knows where the next request begins, so this is the last answer."""
        request_id, response = self._app.refuse(refusal)
        framing = f"Content-Length: {len(response.body)}"
        self._writer.write(encode_head(response, request_id, framing, keep_alive=False) + response.body)
        await self._drain()
        await self._linger()

    async def _linger(self) -> None:
        """
        Say that we are done, then read on for a moment.

        Closing a socket that still has unread bytes makes the kernel send a reset, and a reset may overtake the answer:
        the client would see "connection reset" where we wrote 413 (RFC 9112, section 9.6).
        """
        if self._writer.can_write_eof():
            self._writer.write_eof()
        try:
            async with asyncio.timeout(self._limits.linger_s):
                for _ in range(LINGER_BYTES // 65_536):
                    await self._wire.exactly(self._wire.buffered)
                    await self._wire.fill()
        except (TimeoutError, EndOfStream, ConnectionError):
            return
