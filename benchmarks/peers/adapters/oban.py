"""Oban for Python: an `Oban` without queues as the client, and one with a queue as the worker."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from oban import Oban
from oban import worker as oban_worker
from oban.schema import install

from benchmarks.peers.adapters.harness import CALLERS, Adapter, Client, handler, main, payload, run_on_a_fast_loop

LIMIT = 100


started: Callable[[int], None]


@oban_worker(queue="default")
class Noop:
    new: Callable[[Mapping[str, Any]], Any]  # by the decorator

    async def process(self, job: Any) -> None:
        started(job.args["n"])


@asynccontextmanager
async def client(url: str) -> AsyncIterator[Client]:
    pool = await Oban.create_pool(url, min_size=1, max_size=CALLERS)
    async with Oban(pool=pool) as oban:

        async def one(n: int) -> None:
            await oban.enqueue(Noop.new(payload(n)))

        async def many(numbers: range) -> None:
            await oban.enqueue_many(Noop.new(payload(n)) for n in numbers)

        yield Client(one, many)
    await pool.close()


async def make_tables(url: str) -> None:
    pool = await Oban.create_pool(url)
    await install(pool)
    await pool.close()


async def work(url: str) -> None:
    global started
    started = handler()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    pool = await Oban.create_pool(url, min_size=1, max_size=CALLERS)
    async with Oban(pool=pool, queues={"default": LIMIT}, shutdown_grace_period=1.0):
        await stopped.wait()
    await pool.close()


ADAPTER = Adapter(
    packages=("oban", "psycopg", "uvloop"),
    settings=f"one queue with a limit of {LIMIT} on uvloop, finished jobs kept; pool of {CALLERS}",
    client=client,
    worker=lambda url: run_on_a_fast_loop(work(url)),
    setup=lambda url: run_on_a_fast_loop(make_tables(url)),
)

if __name__ == "__main__":
    main(ADAPTER)
