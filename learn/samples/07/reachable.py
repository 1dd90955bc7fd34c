"""A list that is still reachable is no garbage. No collector can know that you will never look at it again."""

import gc
import tracemalloc

leak: list[bytes] = []


def handle_request() -> None:
    leak.append(bytes(10_000))  # "for debugging", says the commit from two years ago


gc.collect()  # what the start of Python left behind
tracemalloc.start()
for _ in range(500):
    handle_request()
print(f"{tracemalloc.get_traced_memory()[0] / 1e6:.1f} MB held; the collector found {gc.collect()} objects to free")
print(f"{tracemalloc.get_traced_memory()[0] / 1e6:.1f} MB held after it; {len(leak)} entries are reachable")
