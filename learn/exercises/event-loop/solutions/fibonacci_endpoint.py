"""An endpoint that computes Fibonacci numbers, and that nobody else should notice."""

import asyncio

HIGHEST = 30


def slow_fibonacci(n: int) -> int:
    return n if n < 2 else slow_fibonacci(n - 1) + slow_fibonacci(n - 2)


class Endpoint:
    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running = 0

    async def answer(self, n: int) -> tuple[int, int | None]:
        if not 0 <= n <= HIGHEST:
            return 422, None
        if self._running >= self._limit:
            return 503, None
        self._running += 1
        try:
            # A thread takes turns with the loop, every 5 ms. A process would not disturb it at all: guide 8.
            return 200, await asyncio.to_thread(slow_fibonacci, n)
        finally:
            self._running -= 1
