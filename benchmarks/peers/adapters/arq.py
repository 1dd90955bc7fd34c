"""arq on Redis: `enqueue_job`, and the `arq` command."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings

from benchmarks.peers.adapters.harness import Adapter, Client, Run, handler, main, payload

CONCURRENCY = 100
POLL_S = 0.01


@asynccontextmanager
async def client(url: str) -> AsyncIterator[Client]:
    pool = await create_pool(RedisSettings.from_dsn(url))

    async def one(n: int) -> None:
        await pool.enqueue_job("noop", **payload(n))

    yield Client(one)
    await pool.aclose()


def worker(url: str) -> None:
    program = str(Path(sys.executable).with_name("arq"))
    quiet = "benchmarks.peers.adapters.arq.QUIET"
    os.execv(program, [program, "benchmarks.peers.adapters.arq.Served", "--custom-log-dict", quiet])


QUIET = {"version": 1, "disable_existing_loggers": True}

if __name__ != "__main__" and Path("run.json").exists():
    started = handler()

    async def noop(ctx: dict[str, Any], n: int, padding: str) -> None:
        started(n)

    class Served:
        """What the `arq` command takes its settings from."""

        functions = (noop,)
        redis_settings = RedisSettings.from_dsn(Run.read().url)
        max_jobs = CONCURRENCY
        poll_delay = POLL_S
        keep_result = 0
        log_results = False


ADAPTER = Adapter(
    packages=("arq", "redis", "hiredis"),
    settings=f"`arq` with max_jobs={CONCURRENCY}, poll_delay={POLL_S} (default 0.5 s), keep_result=0",
    client=client,
    worker=worker,
)

if __name__ == "__main__":
    main(ADAPTER)
