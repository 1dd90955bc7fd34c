"""The other end of a WebSocket: the client masks its frames, and the server's come bare."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from demo_console import ADMIN_TOKEN, fail
from taskflow_learn.http.wire import Wire
from taskflow_learn.websocket.frames import CloseCode, Frame, Opcode, encode_close, encode_frame, random_mask
from taskflow_learn.websocket.handshake import accept_key
from taskflow_learn.websocket.messages import MessageReader

HEAD_BYTES = 16_384
MESSAGE_BYTES = 1_048_576


class Socket:
    """Sends and hears JSON messages."""

    def __init__(self, wire: Wire, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._messages = MessageReader(wire, limit=MESSAGE_BYTES, expect_mask=False, on_control=self._on_control)

    async def send(self, message: object) -> None:
        self._writer.write(encode_frame(Opcode.TEXT, json.dumps(message).encode(), mask=random_mask()))
        await self._writer.drain()

    async def hear(self) -> dict[str, Any]:
        """Return the next message."""
        message: dict[str, Any] = json.loads(await self._messages.read())
        return message

    def _on_control(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PING:  # who does not answer is taken for dead
            self._writer.write(encode_frame(Opcode.PONG, frame.payload, mask=random_mask()))


@asynccontextmanager
async def open_socket(url: str) -> AsyncIterator[Socket]:
    """Connect to *url*, such as `ws://localhost:3000/ws/tasks`, with the admin's token."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        wire = Wire(reader)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {parts.path or '/'}{'?' + parts.query if parts.query else ''} HTTP/1.1",
            f"Host: {parts.netloc}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
            f"Authorization: Bearer {ADMIN_TOKEN}",
        ]
        writer.write("\r\n".join([*lines, "\r\n"]).encode())
        head = (await wire.until(b"\r\n\r\n", HEAD_BYTES)).decode("latin-1")
        if not head.startswith("HTTP/1.1 101 ") or accept_key(key) not in head:
            fail(f"{url} did not become a WebSocket: {head.splitlines()[0]}")
        yield Socket(wire, writer)
        writer.write(encode_close(CloseCode.NORMAL, mask=random_mask()))
        await writer.drain()
    finally:
        writer.close()
