"""Take everything from the front: of a list, where all the others move up, and of a deque, where nobody does."""

from collections import deque
from time import perf_counter


def milliseconds(line: list[int] | deque[int]) -> float:
    take = line.popleft if isinstance(line, deque) else lambda: line.pop(0)
    started = perf_counter()
    while line:
        take()
    return (perf_counter() - started) * 1e3


for size in (10_000, 20_000, 40_000):
    print(f"{size:6}: list {milliseconds([0] * size):7.1f} ms, deque {milliseconds(deque([0] * size)):5.1f} ms")
