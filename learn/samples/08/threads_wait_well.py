"""Threads are good at waiting: whoever waits for the outside lets go of the lock."""

import time
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter


def ask_a_slow_disk(_: int) -> None:
    time.sleep(1)  # seconds; a read, a query, a request to somebody else wait just like this


started = perf_counter()
with ThreadPoolExecutor(20) as pool:
    list(pool.map(ask_a_slow_disk, range(20)))
print(f"20 waits of 1 s in 20 threads: {perf_counter() - started:.0f} s")
