"""
Extend a benchmark: how long does it take to find one of N things by its name?

A way to keep things is a pair of functions. `build(names)` makes the store; `find(store, name)` returns whether the
name is in it. Two ways are there. Add two more to WAYS:

    "attribute"   an object with one attribute per name (setattr, hasattr)
    "sorted"      a sorted list, searched with bisect

Then write `run`. It returns a row for each way and size: (way, size, microseconds per lookup). For each it builds the
store once, looks for every name in `wanted(names)`, repeats that `repeats` times, and takes the smallest time:
whatever disturbs a measurement makes it longer, never shorter. `clock()` returns seconds.

When the checker is content, look at the numbers for 1,000, 100,000 and 1,000,000:

    cd learn/exercises/big-o && python3 lookup_benchmark.py
"""

from collections.abc import Callable
from time import perf_counter
from typing import Any

Way = tuple[Callable[[list[str]], Any], Callable[[Any, str], bool]]

WAYS: dict[str, Way] = {
    "list": (lambda names: list(names), lambda store, name: name in store),
    "dict": (lambda names: dict.fromkeys(names), lambda store, name: name in store),
}


def wanted(names: list[str]) -> list[str]:
    """Return three names that are there (first, middle, last) and one that is not."""
    return [names[0], names[len(names) // 2], names[-1], "nobody"]


def run(sizes: list[int], repeats: int = 3, clock: Callable[[], float] = perf_counter) -> list[tuple[str, int, float]]:
    raise NotImplementedError("measure every way with every size")


if __name__ == "__main__":
    for way, size, time_us in run([1_000, 100_000, 1_000_000]):
        print(f"{way:10} {size:>9,} {time_us:12.3f} us per lookup")
