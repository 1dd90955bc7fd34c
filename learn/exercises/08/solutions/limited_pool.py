"""A pool with a limit, on an event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Job = Callable[[], Awaitable[Any]]


class Full(Exception):
    """The queue has reached its limit."""


class LimitedPool:
    def __init__(self, size: int, queue_limit: int) -> None:
        self._size = size
        self._queue_limit = queue_limit
        self._queue: asyncio.Queue[tuple[Job, asyncio.Future[Any]]] = asyncio.Queue()
        self._unfinished: set[asyncio.Future[Any]] = set()
        self._workers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "LimitedPool":
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._size)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for future in tuple(self._unfinished):
            future.cancel()

    def submit(self, job: Job) -> "asyncio.Future[Any]":
        # Counted by futures: a job that was taken from the queue in this very moment still has its place.
        if len(self._unfinished) >= self._size + self._queue_limit:
            raise Full(f"{self._queue_limit} jobs wait, the limit")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._unfinished.add(future)
        future.add_done_callback(self._unfinished.discard)
        self._queue.put_nowait((job, future))
        return future

    async def _work(self) -> None:
        while True:
            job, future = await self._queue.get()
            if future.done():
                continue  # whoever submitted it has given it up
            try:
                result = await job()
            except Exception as error:
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)
