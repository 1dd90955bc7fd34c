#!/usr/bin/env python3
"""
Does it help to compute in workers? The same jobs one after the other on this thread, then on a pool of processes.

    python3 learn/scripts/worker_benchmark.py [iterations=9000000] [jobs=4]

Needs no server: it uses the pool directly. The last lines are JSON, for programs.
"""

import asyncio
import json
import os
import sys
from contextlib import suppress
from time import perf_counter

from demo_console import fail, say, summary, table, title
from taskflow_learn.log import Logger
from taskflow_learn.workers.computation import burn
from taskflow_learn.workers.pool import WorkerPool

HIGH_ITERATIONS, HIGH_JOBS = 900_000_000, 64
TICK_S = 0.01


def sequential(iterations: int, jobs: int) -> float:
    """Compute on this thread; return the seconds."""
    begun = perf_counter()
    for _ in range(jobs):
        burn(iterations)
    return perf_counter() - begun


async def parallel(iterations: int, jobs: int, size: int) -> tuple[float, float]:
    """Compute on *size* workers; return the seconds, and the longest time for which the event loop was not free."""
    log = Logger(sys.stderr, level="ERROR")
    pool = WorkerPool("benchmark", log, size=size, queue_limit=jobs, timeout_ms=3_600_000, history_limit=jobs)
    running = asyncio.create_task(pool.run(), name="pool")
    await asyncio.gather(
        *[pool.wait(pool.submit("cpu", lambda: {"iterations": 1}, {})) for _ in range(min(size, jobs))]
    )
    begun = perf_counter()
    work = asyncio.gather(*[pool.wait(pool.submit("cpu", lambda: {"iterations": iterations}, {})) for _ in range(jobs)])
    longest = 0.0
    while not work.done():
        tick = perf_counter()
        await asyncio.sleep(TICK_S)
        longest = max(longest, perf_counter() - tick - TICK_S)
    duration = perf_counter() - begun
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    return duration, longest


def number(position: int, default: int, name: str, high: int) -> int:
    text = sys.argv[position] if len(sys.argv) > position else str(default)
    if not text.isdigit() or not 1 <= int(text) <= high:
        fail(f"{name} must be a whole number from 1 to {high}, got {text!r}")
    return int(text)


def main() -> None:
    iterations = number(1, 9_000_000, "iterations", HIGH_ITERATIONS)
    jobs = number(2, 4, "jobs", HIGH_JOBS)
    size = max(1, min(os.cpu_count() or 1, jobs))
    title(f"{jobs} jobs of {iterations:,} iterations, {os.cpu_count()} cores")
    alone_s = sequential(iterations, jobs)
    table([("one after the other, on this thread", f"{alone_s:.2f} s")])
    pool_s, longest_s = asyncio.run(parallel(iterations, jobs, size))
    table([(f"on {size} worker processes", f"{pool_s:.2f} s")])
    summary(
        [
            "Processes use several cores; threads of Python would take turns on one, because of the GIL.",
            "The gain is at most the number of cores, and less when others use them too.",
            "The event loop stays free meanwhile. That matters even on one core, where nothing gets faster.",
        ],
        [
            ("faster by", f"{alone_s / pool_s:.2f} times"),
            ("longest delay of the event loop with workers", f"{longest_s * 1000:.1f} ms"),
            ("delay of the event loop without", f"{alone_s * 1000:.0f} ms: all of the computation"),
        ],
    )
    say()
    result = {
        "iterations": iterations,
        "jobs": jobs,
        "workers": size,
        "mainThreadMs": round(alone_s * 1000, 1),
        "workerMs": round(pool_s * 1000, 1),
        "speedup": round(alone_s / pool_s, 2),
        "loopDelayMs": round(longest_s * 1000, 1),
    }
    say(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
