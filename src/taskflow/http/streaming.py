"""Answers that are written while they come about, and bodies that are read while they come in."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from taskflow.http.call import Call
from taskflow.http.drain import Drain

NDJSON = "application/x-ndjson"
EVENT_STREAM = "text/event-stream"
SEND_TIMEOUT_S = 60.0  # a client that does not read for so long is left

Write: TypeAlias = Callable[[bytes], Awaitable[None]]


class ClientLeft(Exception):
    """The client closed the connection, or reads no more."""


class ServerDrains(Exception):
    """This process is about to end."""


class StreamedAnswer(Response):
    """
    200, with a body that *produce* writes. The head goes out with the first piece.

    *produce* returns when all is written. `ClientLeft` ends it quietly; whatever else it raises cuts the connection,
    so that the answer cannot be taken for a whole one. For HEAD, *produce* is not called.
    """

    def __init__(
        self, produce: Callable[[Write], Awaitable[None]], *, media_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        # Closed after it: what the client may still send is no next request.
        super().__init__(None, 200, {"Connection": "close", **(headers or {})}, media_type)
        del self.headers["content-length"]
        self._produce = produce

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        if Call.of(scope).is_head:
            # What would be written may take as long as the client likes, and is not sent.
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": b""})
            return
        started = False

        async def write(data: bytes, *, more: bool = True) -> None:
            nonlocal started
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    if not started:
                        started = True
                        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                    await send({"type": "http.response.body", "body": data, "more_body": more})
            except (TimeoutError, OSError) as error:
                raise ClientLeft from error

        with suppress(ClientLeft):
            await self._produce(write)
            await write(b"", more=False)


class Incoming:
    """
    The messages of one request, read with a time limit and without losing any; use as `async with`.

    A read that is given up goes on in the background, and the next one takes it over.
    """

    def __init__(self, request: Request, drain: Drain) -> None:
        self._receive = request.receive
        self._drain = drain
        self._reading: asyncio.Task[MutableMapping[str, Any]] | None = None
        self._draining: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Incoming":
        self._draining = asyncio.create_task(self._drain.wait(), name="taskflow-drain-watch")
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in (self._reading, self._draining):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task

    async def read(self, timeout_s: float, *, beside: "asyncio.Task[None] | None" = None) -> tuple[bytes, bool]:
        """
        Return the next piece of the body and whether more may come.

        Args:
            beside: what goes on meanwhile; if it fails, that is raised at once.

        Raises:
            TimeoutError: nothing came within *timeout_s*.
            ClientLeft, ServerDrains: nothing will come any more.
        """
        assert self._draining is not None, "use it as a context manager"
        if self._drain.has_begun:
            raise ServerDrains
        if self._reading is None:
            self._reading = asyncio.create_task(self._next(), name="taskflow-body")
        watched: set[asyncio.Task[Any]] = {self._reading, self._draining}
        began_s = time.monotonic()
        done, _ = await asyncio.wait(
            watched | ({beside} if beside is not None else set()),
            timeout=timeout_s,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if beside is not None and done == {beside}:
            beside.result()
            left_s = max(0.0, timeout_s - (time.monotonic() - began_s))
            done, _ = await asyncio.wait(watched, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        if self._reading in done:
            message, self._reading = self._reading.result(), None
            if message["type"] == "http.disconnect":
                raise ClientLeft
            return message.get("body", b""), message.get("more_body", False)
        if self._draining in done:
            raise ServerDrains
        raise TimeoutError

    async def _next(self) -> MutableMapping[str, Any]:
        return await self._receive()
