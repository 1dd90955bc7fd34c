"""Steps of the exercise leak_finder."""

import tracemalloc
import unittest
from typing import Any

from leak_finder import growing_lines

HINTS = [
    "tracemalloc.start(), take_snapshot(), run, take_snapshot(), compare_to(before, 'lineno')",
    "an entry has traceback[0] with filename and lineno, and size_diff",
    "compare_to sorts by the size of the change; you want the largest growth first",
    "run the action once before the first snapshot",
    "call gc.collect() before the second snapshot",
    "remember is_tracing() before you start, and stop in a `finally` if it was off",
]


class LeakFinder(unittest.TestCase):
    def tearDown(self) -> None:
        tracemalloc.stop()

    def test_clean(self) -> None:
        """An action that keeps nothing is clean."""
        self.assertEqual(growing_lines(lambda: bytes(10_000)), [])

    def test_leak(self) -> None:
        """A leak is found, with its line and its size."""
        kept: list[bytes] = []
        found = growing_lines(lambda: kept.append(bytes(5_000)), 50)
        line = self.test_leak.__func__.__code__.co_firstlineno + 3  # type: ignore[attr-defined]
        self.assertEqual([place for place, _ in found], [f"test_leak_finder.py:{line}"])
        self.assertAlmostEqual(found[0][1], 50 * 5_000, delta=10_000)

    def test_order(self) -> None:
        """The largest comes first."""
        small: list[bytes] = []
        large: list[bytes] = []

        def action() -> None:
            small.append(bytes(1_000))
            large.append(bytes(9_000))

        sizes = [size for _, size in growing_lines(action, 50)]
        self.assertEqual(len(sizes), 2)
        self.assertGreater(sizes[0], sizes[1])

    def test_warm(self) -> None:
        """What is made once is no leak."""
        cache: dict[str, bytes] = {}
        self.assertEqual(growing_lines(lambda: cache.setdefault("once", bytes(500_000)), 10), [])

    def test_circles(self) -> None:
        """Circles that the collector will find are no leak."""

        def action() -> None:
            circle: list[Any] = [bytes(2_000)]
            circle.append(circle)

        self.assertEqual(growing_lines(action, 30), [])

    def test_as_found(self) -> None:
        """Tracing is off again, also after an action that raises, and stays on where it was on."""
        growing_lines(lambda: None, 1)
        self.assertFalse(tracemalloc.is_tracing())
        with self.assertRaises(ZeroDivisionError):
            growing_lines(lambda: 1 / 0, 1)
        self.assertFalse(tracemalloc.is_tracing())
        tracemalloc.start()
        growing_lines(lambda: None, 1)
        self.assertTrue(tracemalloc.is_tracing())
