"""The doubling test: run with N and 2N, and look at the ratio. No theory needed."""

from collections.abc import Callable
from time import perf_counter


def seconds(run: Callable[[list[int]], object], size: int) -> float:
    values = list(range(size, 0, -1))
    times = []
    for _ in range(3):  # the smallest of three: noise only ever adds
        started = perf_counter()
        run(values)
        times.append(perf_counter() - started)
    return min(times)


for name, run, size in (
    ("last of a list", lambda values: [values[-1] for _ in range(50_000)], 50_000),
    ("sum", sum, 400_000),
    ("all pairs", lambda values: [a for a in values for b in values if a == b], 500),
):
    print(f"{name:15} takes {seconds(run, 2 * size) / seconds(run, size):4.1f} times as long for twice as much")
