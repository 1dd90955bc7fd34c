"""
A real HTTP server on the loopback that behaves as it is told: what callbacks meet out there.

    async with receiving(answering(200), dripping()) as receiver: ...

Each request is met by the next behaviour, the last one for ever; what came in is kept in `receiver.requests`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from typing import TypeAlias

Behaviour: TypeAlias = Callable[["Received", asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Received:
    """One request; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Receiver:
    """Where it listens and what has come."""

    behaviours: list[Behaviour]
    port: int = 0
    requests: list[Received] = field(default_factory=list)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=s3cret"

    async def wait_for(self, count: int, *, within_s: float = 10.0) -> list[Received]:
        """Wait until *count* requests have come."""
        async with asyncio.timeout(within_s), self.arrived:
            await self.arrived.wait_for(lambda: len(self.requests) >= count)
        return self.requests

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError), closing(writer):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, path, _ = head[0].split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            received = Received(method, path, headers, body)
            behaviour = self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]
            async with self.arrived:
                self.requests.append(received)
                self.arrived.notify_all()
            await behaviour(received, writer)


@asynccontextmanager
async def receiving(*behaviours: Behaviour) -> AsyncIterator[Receiver]:
    receiver = Receiver(list(behaviours))
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(receiver.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answering(status: int, body: bytes = b"ok", **headers: str) -> Behaviour:
    """Answer properly; `retry_after="7"` is the header Retry-After."""

    async def behave(_received: Received, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()

    return behave


def saying(raw: bytes, *, then_hang: bool = False) -> Behaviour:
    """Answer with these bytes, whatever they are."""

    async def behave(_received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()
        if then_hang:
            await asyncio.Event().wait()

    return behave


def hanging() -> Behaviour:
    """Take the request and say nothing."""
    return saying(b"", then_hang=True)


def dripping(raw: bytes, pause_s: float = 0.05) -> Behaviour:
    """Say *raw*, then a byte now and then, for ever."""

    async def behave(_received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        while True:
            await writer.drain()
            await asyncio.sleep(pause_s)
            writer.write(b"x")

    return behave
