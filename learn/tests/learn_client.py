"""Talks to a server in raw bytes. No wait is longer than `PATIENCE_S`, and none is a fixed pause."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

ADMIN, USER = "secret-admin-123", "secret-user-123"
PATIENCE_S = 10.0
GET_HEALTH = b"GET /health HTTP/1.1\r\nHost: test\r\n\r\n"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The error object of the usual envelope."""
        error: dict[str, Any] = json.loads(self.body)["error"]
        assert {"code", "message", "requestId", "timestamp"} <= error.keys()
        return error


class RawConnection:
    """One TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @asynccontextmanager
    async def open(cls, port: int) -> AsyncIterator["RawConnection"]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield cls(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):  # the server may have cut the line, which is what some tests are about
                await writer.wait_closed()

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(PATIENCE_S):
            self.writer.write(data)
            await self.writer.drain()

    async def ask(self, data: bytes) -> Answer:
        """Send *data* and return the answer."""
        await self.send(data)
        return await self.answer()

    async def answer(self, *, has_body: bool = True) -> Answer:
        """Return the next answer on this connection."""
        async with asyncio.timeout(PATIENCE_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status_line, *lines = head.rstrip("\r\n").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await self._body(headers) if has_body else b""
        version, status, _ = status_line.split(" ", 2)
        assert version == "HTTP/1.1"
        return Answer(int(status), headers, body)

    async def read(self, count: int) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.readexactly(count)

    async def rest(self) -> bytes:
        """Return everything until the server closes the connection."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.read()

    async def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return await self.reader.readexactly(int(headers.get("content-length", "0")))
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
        assert await self.reader.readexactly(2) == b"\r\n"
        return body


def request(
    method: str, path: str, *headers: str, body: bytes | None = None, token: str | None = ADMIN, host: str = "test"
) -> bytes:
    """Return a request as bytes."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "\r\n"]).encode() + (body or b"")
