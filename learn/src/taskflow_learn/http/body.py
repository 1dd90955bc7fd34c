r"""
The body of a request: so many bytes, or chunks until one is empty.

    Content-Length: 5          Transfer-Encoding: chunked
                               5\r\n          size in hexadecimal
    hello                      hello\r\n
                               0\r\n          the last chunk
                               \r\n           trailers would stand before this line

A body is read when somebody asks for it, and not before: a caller without a token is refused on the head alone, without
taking a megabyte from them. A client that sends `Expect: 100-continue` waits for exactly that decision.

Source: RFC 9112, sections 6 and 7.1; RFC 9110, section 10.1.1.
"""

import asyncio
import re
from collections.abc import Callable

from taskflow_learn.errors import Code, Refusal
from taskflow_learn.http.head import Head
from taskflow_learn.http.limits import Limits
from taskflow_learn.http.wire import EndOfStream, LimitExceeded, Wire

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")  # extensions are allowed, unread
_LINE_BYTES = 1_024
_TRAILER_LINES = 100


class Body:
    """The body of one request, still on the wire."""

    __slots__ = ("_head", "_limits", "_wire", "_write", "is_read")

    def __init__(self, head: Head, wire: Wire, write: Callable[[bytes], None], limits: Limits) -> None:
        self._head = head
        self._wire = wire
        self._write = write
        self._limits = limits
        self.is_read = not head.is_chunked and head.content_length == 0

    async def read(self) -> bytes:
        """Return the whole body. Raise `Refusal` if it is too large, too slow or malformed."""
        if self.is_read:
            return b""
        length = self._head.content_length
        if length > self._limits.body_bytes:  # refused by its own announcement, before a byte of it is read
            raise self._too_large()
        if self._head.headers.get("expect") and not self._wire.buffered:
            self._write(CONTINUE)
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                data = await (self._read_chunks() if self._head.is_chunked else self._wire.exactly(length))
        except TimeoutError:
            limit_s = self._limits.body_timeout_s
            raise Refusal(Code.REQUEST_TIMEOUT, f"the body did not arrive within {limit_s:g} s") from None
        except EndOfStream:
            raise Refusal(Code.BAD_REQUEST, "the body ended before its announced length") from None
        except LimitExceeded:
            raise Refusal(Code.BAD_REQUEST, f"a line of the chunked body is over {_LINE_BYTES} bytes") from None
        self.is_read = True
        return data

    async def _read_chunks(self) -> bytes:
        data = bytearray()
        while size := await self._read_chunk_size():
            if len(data) + size > self._limits.body_bytes:
                raise self._too_large()
            data += await self._wire.exactly(size)
            if await self._wire.exactly(2) != b"\r\n":
                raise Refusal(Code.BAD_REQUEST, "a chunk is longer than it said")
        for _ in range(_TRAILER_LINES):
            if not await self._wire.until(b"\r\n", _LINE_BYTES):
                return bytes(data)
        raise Refusal(Code.HEADERS_TOO_LARGE, f"a body may have {_TRAILER_LINES} trailers", {"max": _TRAILER_LINES})

    async def _read_chunk_size(self) -> int:
        match = _CHUNK_SIZE.fullmatch(await self._wire.until(b"\r\n", _LINE_BYTES))
        if match is None:
            raise Refusal(Code.BAD_REQUEST, "a chunk must begin with its size in hexadecimal")
        return int(match[1], 16)

    def _too_large(self) -> Refusal:
        limit = self._limits.body_bytes
        return Refusal(Code.PAYLOAD_TOO_LARGE, f"the body may have {limit} bytes", {"field": "body", "max": limit})
