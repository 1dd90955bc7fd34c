"""
The worker process of the benchmarks: `python -m benchmarks.worker URL WORKER_ID CONCURRENCY`.

Writes one line per second: how many jobs it has started so far. A pickup job's result is the system-wide monotonic
clock at the start of its handler. The process that watches over it writes a line for each heartbeat.
"""

import asyncio
import signal
import sys
import time
from collections.abc import Callable
from uuid import UUID

import msgspec
import uvloop

from taskflow.engine.job import WorkerId
from taskflow.engine.registry import JobContext, Registry
from taskflow.engine.worker import Worker
from taskflow.telemetry.log import configure


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """About 200 bytes of arguments that nobody looks at."""

    n: int
    padding: str


async def main(url: str, worker_id: UUID, concurrency: int) -> None:
    registry = Registry()
    started = 0

    @registry.job("noop", payload=Nothing)
    async def noop(ctx: JobContext, payload: Nothing) -> None:
        nonlocal started
        started += 1

    @registry.job("pickup", payload=Nothing)
    async def pickup(ctx: JobContext, payload: Nothing) -> int:
        return time.monotonic_ns()

    async with asyncio.TaskGroup() as group:
        reporting = group.create_task(_report(lambda: started))
        await work(url, registry, worker_id, concurrency)
        reporting.cancel()


async def work(url: str, registry: Registry, worker_id: UUID, concurrency: int) -> None:
    """Run jobs until SIGTERM. Each line on stdin is a heartbeat of the process that watches over this one."""
    worker = Worker(
        url,
        registry,
        worker_id=WorkerId(worker_id),
        incarnation=1,
        queues=["default"],
        concurrency=concurrency,
        log_attempts=False,
    )
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, worker.request_stop)

    def on_line() -> None:
        if sys.stdin.readline():
            worker.beat()

    loop.add_reader(sys.stdin.fileno(), on_line)
    await worker.run()


async def _report(started: Callable[[], int]) -> None:
    tick = time.monotonic()
    while True:
        tick += 1.0
        await asyncio.sleep(tick - time.monotonic())
        print(started(), flush=True)


if __name__ == "__main__":
    configure("text", level="warning")
    uvloop.run(main(sys.argv[1], UUID(sys.argv[2]), int(sys.argv[3])))
