"""Procrastinate: its async app over psycopg, and `procrastinate worker`."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from procrastinate import App, PsycopgConnector

from benchmarks.peers.adapters.harness import CALLERS, Adapter, Client, Run, handler, main, payload, run_on_a_fast_loop

CONCURRENCY = 100


def make_app(url: str) -> App:
    return App(connector=PsycopgConnector(conninfo=url, min_size=1, max_size=CALLERS))


def make_noop(app: App) -> object:
    started = handler()

    @app.task(name="noop")
    async def noop(n: int, padding: str) -> None:
        started(n)

    return noop


@asynccontextmanager
async def client(url: str) -> AsyncIterator[Client]:
    app = make_app(url)
    noop = app.configure_task("noop")
    async with app.open_async():

        async def one(n: int) -> None:
            await noop.defer_async(**payload(n))

        async def many(numbers: range) -> None:
            await noop.batch_defer_async(*(payload(n) for n in numbers))

        yield Client(one, many)


async def install(url: str) -> None:
    app = make_app(url)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


def worker(url: str) -> None:
    program = str(Path(sys.executable).with_name("procrastinate"))
    app = "benchmarks.peers.adapters.procrastinate.served"
    os.execv(program, [program, f"--app={app}", "worker", f"--concurrency={CONCURRENCY}"])


if __name__ != "__main__" and Path("run.json").exists():
    served = make_app(Run.read().url)  # what `procrastinate worker` finds
    make_noop(served)

ADAPTER = Adapter(
    packages=("procrastinate", "psycopg"),
    settings=f"`procrastinate worker --concurrency={CONCURRENCY}` with LISTEN, finished jobs kept; pool of {CALLERS}",
    client=client,
    worker=worker,
    setup=lambda url: run_on_a_fast_loop(install(url)),
)

if __name__ == "__main__":
    main(ADAPTER)
