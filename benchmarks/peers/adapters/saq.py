"""SAQ on Redis: its queue as the client, and the `saq` command."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from saq import Queue

from benchmarks.peers.adapters.harness import CALLERS, Adapter, Client, Run, handler, main, payload

CONCURRENCY = 100


@asynccontextmanager
async def client(url: str) -> AsyncIterator[Client]:
    queue = Queue.from_url(url)
    await queue.connect()

    async def one(n: int) -> None:
        await queue.enqueue("noop", **payload(n))

    yield Client(one)
    await queue.disconnect()


def worker(url: str) -> None:
    program = str(Path(sys.executable).with_name("saq"))
    os.execv(program, [program, "benchmarks.peers.adapters.saq.served", "--quiet"])


if __name__ != "__main__" and Path("run.json").exists():
    started = handler()

    async def noop(ctx: dict[str, Any], *, n: int, padding: str) -> None:
        started(n)

    served = {"queue": Queue.from_url(Run.read().url), "functions": [noop], "concurrency": CONCURRENCY}

ADAPTER = Adapter(
    packages=("saq", "redis", "hiredis"),
    settings=f"`saq` with concurrency {CONCURRENCY}, results kept for its default 10 minutes; {CALLERS} callers",
    client=client,
    worker=worker,
)

if __name__ == "__main__":
    main(ADAPTER)
