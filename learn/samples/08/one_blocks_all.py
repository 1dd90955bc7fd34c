"""One handler computes, and for as long as it does nobody else gets an answer."""

import asyncio
from time import perf_counter


async def report() -> int:
    return sum(number * number for number in range(2_000_000))  # no `await` in here, so nobody else can run


async def ping() -> float:
    started = perf_counter()
    await asyncio.sleep(0.001)  # as if we waited a millisecond for something
    return (perf_counter() - started) * 1000


async def main() -> None:
    print(f"ping alone           {await ping():6.1f} ms")
    duration, _ = await asyncio.gather(ping(), report())
    print(f"ping while reporting {duration:6.1f} ms")


asyncio.run(main())
