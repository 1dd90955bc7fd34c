"""
A pool with a limit, on an event loop.

    async with LimitedPool(size=2, queue_limit=3) as pool:
        future = pool.submit(job)           job is a function without arguments that returns an awaitable
        result = await future               what it returned, or raises what it raised

- At most *size* jobs run at the same time, in the order of their submission.
- At most *queue_limit* more wait. One more raises `Full` at once: `submit` never waits.
- A job that raises fails its own future. The worker goes on with the next job.
- At the end of the `async with`, the workers are cancelled, and futures of jobs that never ran are cancelled too, so
  that nobody waits for ever.
"""

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

    async def __aenter__(self) -> "LimitedPool":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def submit(self, job: Job) -> "asyncio.Future[Any]":
        return asyncio.ensure_future(job())  # a new task for each: this is a pool without any limit
