"""Taskiq on Redis streams, the broker of taskiq-redis that acknowledges: `kiq`, and the `taskiq` command."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from taskiq_redis import RedisStreamBroker

from benchmarks.peers.adapters.harness import Adapter, Client, Run, handler, main, payload

CONCURRENCY = 100


@asynccontextmanager
async def client(url: str) -> AsyncIterator[Client]:
    broker = RedisStreamBroker(url)

    @broker.task(task_name="noop")
    async def noop(n: int, padding: str) -> None:
        """Runs in the worker."""

    await broker.startup()

    async def one(n: int) -> None:
        await noop.kiq(**payload(n))

    yield Client(one)
    await broker.shutdown()


def worker(url: str) -> None:
    program = str(Path(sys.executable).with_name("taskiq"))
    served = "benchmarks.peers.adapters.taskiq:served"
    options = ["--workers", "1", "--max-async-tasks", str(CONCURRENCY), "--log-level", "WARNING"]
    os.execv(program, [program, "worker", served, *options])


if __name__ != "__main__" and Path("run.json").exists():
    served = RedisStreamBroker(Run.read().url)
    started = handler()

    @served.task(task_name="noop")
    async def served_noop(n: int, padding: str) -> None:
        started(n)


ADAPTER = Adapter(
    packages=("taskiq", "taskiq-redis", "redis", "hiredis", "uvloop"),
    settings=(
        f"RedisStreamBroker, `taskiq worker --workers 1 --max-async-tasks {CONCURRENCY}` on uvloop, acknowledged after "
        "the job, no result backend"
    ),
    client=client,
    worker=worker,
)

if __name__ == "__main__":
    main(ADAPTER)
