"""PgQueuer: its queries over an asyncpg pool, and `PgQueuer.run` (its command `pgq run` fails in release 1.6.0)."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from pgqueuer import PgQueuer, Queries
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.models import Job

from benchmarks.peers.adapters.harness import CALLERS, Adapter, Client, handler, main, payload, run_on_a_fast_loop

BATCH = 500


def body(n: int) -> bytes:
    return json.dumps(payload(n)).encode()


@asynccontextmanager
async def client(url: str) -> AsyncIterator[Client]:
    async with asyncpg.create_pool(url, min_size=CALLERS, max_size=CALLERS) as pool:
        queries = Queries(AsyncpgPoolDriver(pool))

        async def one(n: int) -> None:
            await queries.enqueue("noop", body(n))

        async def many(numbers: range) -> None:
            await queries.enqueue(["noop"] * len(numbers), [body(n) for n in numbers], [0] * len(numbers))

        yield Client(one, many)


async def install(url: str) -> None:
    connection = await asyncpg.connect(url)
    await Queries(AsyncpgDriver(connection)).install()
    await connection.close()


async def work(url: str) -> None:
    started = handler()
    connection = await asyncpg.connect(url)
    pgq = PgQueuer(AsyncpgDriver(connection))

    @pgq.entrypoint("noop")
    async def noop(job: Job) -> None:
        started(json.loads(job.payload)["n"])

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, pgq.shutdown.set)
    await pgq.run(batch_size=BATCH)


ADAPTER = Adapter(
    packages=("pgqueuer", "asyncpg", "uvloop"),
    settings=f"run(batch_size={BATCH}) on uvloop, tables at its default durability (logged); pool of {CALLERS}",
    client=client,
    worker=lambda url: run_on_a_fast_loop(work(url)),
    setup=lambda url: run_on_a_fast_loop(install(url)),
)

if __name__ == "__main__":
    main(ADAPTER)
