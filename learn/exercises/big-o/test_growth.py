"""Steps of the exercise growth."""

import unittest
from math import log2

from growth import order_of

HINTS = [
    "with a large N, a constant of 20 no longer matters: compare at a million and not at a thousand",
    "four times as many steps for twice N is O(N^2): look at how large the ratio is, not only whether it is above 1",
    "O(log N) adds the same amount at every doubling; its ratio is close to 1, but the difference is not 0",
    "O(N log N) is a little above 2; the ratio tends to 2 for large N, so compare N with N * N instead of with 2 N",
    "divide the steps by the shape (N, N log N, ...) at two sizes: for the right shape the quotient stays the same",
]


class Growth(unittest.TestCase):
    def test_linear(self) -> None:
        """O(1) and O(N), with constants."""
        self.assertEqual(order_of(lambda n: 7), "O(1)")
        self.assertEqual(order_of(lambda n: 3 * n + 20), "O(N)")
        self.assertEqual(order_of(lambda n: n // 10 + 5_000), "O(N)")

    def test_square(self) -> None:
        """O(N^2): every pair."""
        self.assertEqual(order_of(lambda n: n * n), "O(N^2)")
        self.assertEqual(order_of(lambda n: n * (n - 1) // 2), "O(N^2)")

    def test_log(self) -> None:
        """O(log N): halving."""
        self.assertEqual(order_of(lambda n: n.bit_length()), "O(log N)")
        self.assertEqual(order_of(lambda n: 5 * n.bit_length() + 3), "O(log N)")

    def test_sorting(self) -> None:
        """O(N log N): sorting."""
        self.assertEqual(order_of(lambda n: n * n.bit_length()), "O(N log N)")
        self.assertEqual(order_of(lambda n: round(0.5 * n * log2(n)) + n), "O(N log N)")

    def test_leading_term(self) -> None:
        """The fastest growing part decides."""
        self.assertEqual(order_of(lambda n: n * n + 1_000 * n), "O(N^2)")
        self.assertEqual(order_of(lambda n: n + 50 * n.bit_length()), "O(N)")
