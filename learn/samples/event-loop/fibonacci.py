"""A handler that computes. How late is a clock that should tick every 10 ms?"""

import asyncio
from time import perf_counter


def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


async def answer(n: int, *, in_thread: bool) -> int:
    return await asyncio.to_thread(fibonacci, n) if in_thread else fibonacci(n)


async def tick(*, in_thread: bool) -> float:
    answering, worst_ms = asyncio.create_task(answer(27, in_thread=in_thread)), 0.0
    while not answering.done():
        started = perf_counter()
        await asyncio.sleep(0.01)  # seconds
        worst_ms = max(worst_ms, (perf_counter() - started - 0.01) * 1000)
    return worst_ms


for in_thread in (True, False):
    print(f"in a thread: {in_thread!s:5}  {asyncio.run(tick(in_thread=in_thread)):6.1f} ms late at most")
