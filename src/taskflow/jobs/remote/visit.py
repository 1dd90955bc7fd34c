"""One request that may wait: it ends early when its client leaves or this process is about to end."""

import asyncio
from contextlib import suppress

from starlette.requests import Request

from taskflow.http.drain import Drain


class Visit:
    """
    Use as `async with`, once the request's body has been read.

    `woken` is set when the visit is over; whoever waits on it may let others set it too.
    """

    def __init__(self, request: Request, drain: Drain) -> None:
        self._receive = request.receive
        self._drain = drain
        self._watching: list[asyncio.Task[None]] = []
        self.woken = asyncio.Event()
        self.client_left = False

    @property
    def is_over(self) -> bool:
        return self.client_left or self._drain.has_begun

    async def __aenter__(self) -> "Visit":
        self._watching = [
            asyncio.create_task(self._watch_client(), name="taskflow-client-watch"),
            asyncio.create_task(self._watch_drain(), name="taskflow-drain-watch"),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._watching:
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task

    async def _watch_client(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.client_left = True
        self.woken.set()

    async def _watch_drain(self) -> None:
        await self._drain.wait()
        self.woken.set()
