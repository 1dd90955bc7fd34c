"""Steps of the exercise lookup_benchmark."""

import unittest
from itertools import count

from lookup_benchmark import WAYS, run, wanted

HINTS = [
    "class Store: pass; setattr(store, name, None) for each name; hasattr(store, name) finds it",
    "bisect.bisect_left gives the index where the name would be; look whether it is there, and mind the end",
    "two loops, over sizes and over WAYS.items(); a row is a tuple of three",
    "clock() before the loop over wanted(names), clock() after it; divide by their number, times 1e6",
    "collect the times of all repeats in a list, and take min() of it; build the store before the clock starts",
]


class Benchmark(unittest.TestCase):
    def check_way(self, way: str) -> None:
        self.assertTrue(way in WAYS, "it is not in WAYS")
        build, find = WAYS[way]
        names = [f"task-{number}" for number in range(50)]
        store = build(names)
        self.assertTrue(all(find(store, name) for name in names), f"{way} does not find all")
        for stranger in ("nobody", "task-500", "a", "zzz"):
            self.assertFalse(find(store, stranger), f"{way} finds {stranger}")

    def test_attribute(self) -> None:
        """The way "attribute" finds what is there, and nothing else."""
        self.check_way("attribute")

    def test_sorted(self) -> None:
        """The way "sorted" does so too."""
        self.check_way("sorted")

    def test_rows(self) -> None:
        """There is a row for every way and size."""
        rows = run([10, 20], repeats=1)
        self.assertEqual({(way, size) for way, size, _ in rows}, {(way, size) for way in WAYS for size in (10, 20)})

    def test_unit(self) -> None:
        """The time is in microseconds per lookup."""
        ticks = count()
        rows = run([10], repeats=1, clock=lambda: next(ticks))  # each look at this clock is a second later
        self.assertEqual({time_us for _, _, time_us in rows}, {1e6 / len(wanted(["a", "b"]))})

    def test_smallest(self) -> None:
        """The smallest of the repeats counts."""
        seconds = iter([0, 9, 10, 11, 20, 28] * len(WAYS))
        rows = run([10], repeats=3, clock=lambda: float(next(seconds)))
        self.assertEqual({time_us for _, _, time_us in rows}, {1e6 / len(wanted(["a", "b"]))})
