"""
An endpoint that computes Fibonacci numbers, and that nobody else should notice.

`await endpoint.answer(n)` returns (200, the n-th Fibonacci number), computed by `slow_fibonacci`. That function is slow
on purpose, and stays as it is.

- While it computes, the event loop is free: other handlers answer as if nothing were going on.
- At most *limit* computations run at the same time. One more is answered (503, None) at once.
- n below 0 or above HIGHEST is answered (422, None). Somebody will ask for 1,000.

This version computes on the loop.
"""

import asyncio  # noqa: F401 - you will need it

HIGHEST = 30


def slow_fibonacci(n: int) -> int:
    return n if n < 2 else slow_fibonacci(n - 1) + slow_fibonacci(n - 2)


class Endpoint:
    def __init__(self, limit: int) -> None:
        self._limit = limit

    async def answer(self, n: int) -> tuple[int, int | None]:
        return 200, slow_fibonacci(n)
