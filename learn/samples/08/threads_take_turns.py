"""The same sum four times: one after the other, in threads, in processes."""

import os
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from time import perf_counter

SIZES = [600_000] * 4


def compute(limit: int) -> int:
    return sum(number * number for number in range(limit))


def measure(name: str, pool: Executor | None) -> None:
    list(pool.map(compute, [1, 1])) if pool else None  # start the workers before the clock
    started = perf_counter()
    list(pool.map(compute, SIZES) if pool else map(compute, SIZES))
    print(f"{name:20} {perf_counter() - started:.2f} s")


if __name__ == "__main__":  # a new process may import this file again, and must not start others
    print("cores:", os.cpu_count())
    with ThreadPoolExecutor(2) as threads, ProcessPoolExecutor(2) as processes:
        for name, pool in (("one after the other", None), ("two threads", threads), ("two processes", processes)):
            measure(name, pool)
