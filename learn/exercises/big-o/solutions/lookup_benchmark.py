"""Extend a benchmark: how long does it take to find one of N things by its name?"""

from bisect import bisect_left
from collections.abc import Callable
from time import perf_counter
from typing import Any

Way = tuple[Callable[[list[str]], Any], Callable[[Any, str], bool]]

WAYS: dict[str, Way] = {
    "list": (lambda names: list(names), lambda store, name: name in store),
    "dict": (lambda names: dict.fromkeys(names), lambda store, name: name in store),
    "attribute": (lambda names: _with_attributes(names), hasattr),
    "sorted": (sorted, lambda store, name: _is_in_sorted(store, name)),
}


class Store:
    """An empty object; its attributes are kept in a dict of its own."""


def _with_attributes(names: list[str]) -> Store:
    store = Store()
    for name in names:
        setattr(store, name, None)
    return store


def _is_in_sorted(store: list[str], name: str) -> bool:
    index = bisect_left(store, name)
    return index < len(store) and store[index] == name


def wanted(names: list[str]) -> list[str]:
    """Return three names that are there (first, middle, last) and one that is not."""
    return [names[0], names[len(names) // 2], names[-1], "nobody"]


def run(sizes: list[int], repeats: int = 3, clock: Callable[[], float] = perf_counter) -> list[tuple[str, int, float]]:
    rows = []
    for size in sizes:
        names = [f"task-{number}" for number in range(size)]
        for way, (build, find) in WAYS.items():
            store = build(names)
            times = []
            for _ in range(repeats):
                started = clock()
                for name in wanted(names):
                    find(store, name)
                times.append(clock() - started)
            rows.append((way, size, min(times) / len(wanted(names)) * 1e6))
    return rows


if __name__ == "__main__":
    for way, size, time_us in run([1_000, 100_000, 1_000_000]):
        print(f"{way:10} {size:>9,} {time_us:12.3f} us per lookup")
