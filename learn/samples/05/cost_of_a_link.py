"""What a link costs: the same handler behind 0, 3 and 10 links that do nothing."""

import asyncio
from functools import partial
from time import perf_counter


def wrap(proceed):
    async def link(request: int) -> int:
        return await proceed(request)

    return link


async def measure(links: int) -> float:
    chain = partial(asyncio.sleep, 0)  # the handler: once around the event loop
    for _ in range(links):
        chain = wrap(chain)  # built once; a request only walks it
    started = perf_counter()
    for request in range(5_000):
        await chain(request)
    return (perf_counter() - started) / 5_000 * 1e6  # microseconds per request


print([f"{links} links: {asyncio.run(measure(links)):.2f} us" for links in (0, 3, 10)])
