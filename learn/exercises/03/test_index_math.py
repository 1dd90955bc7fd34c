"""Steps of the exercise index_math."""

import unittest

from index_math import children, depth, find_violation, parent

HINTS = [
    "indexes begin at 0: the children of 0 are 1 and 2, those of 1 are 3 and 4",
    "index 0 has no parent; for the others subtract one before you halve",
    "leave out the children that are not below size",
    "follow parent() until it gives None and count the steps, or think about powers of two",
    "compare heap[index] with heap[parent(index)] for every index from 1 on",
]


class IndexMath(unittest.TestCase):
    def test_children(self) -> None:
        """Everybody has two children."""
        self.assertEqual([children(index, 100) for index in range(4)], [[1, 2], [3, 4], [5, 6], [7, 8]])

    def test_parent(self) -> None:
        """A parent's children have that parent, and the root has none."""
        self.assertIsNone(parent(0))
        for index in range(50):
            for child in children(index, 1_000):
                self.assertEqual(parent(child), index, f"parent({child})")

    def test_size(self) -> None:
        """Only children that exist are named."""
        self.assertEqual([children(index, 6) for index in (1, 2, 3)], [[3, 4], [5], []])

    def test_depth(self) -> None:
        """The root is at depth 0, and a heap of 100,000 has 17 rows."""
        self.assertEqual([depth(index) for index in (0, 1, 2, 3, 6, 7, 14, 15)], [0, 1, 1, 2, 2, 3, 3, 4])
        self.assertEqual(depth(99_999), 16)

    def test_violation(self) -> None:
        """A heap is recognised, and what breaks it is found."""
        self.assertIsNone(find_violation([9, 7, 8, 3, 6, 5, 1, 2]))
        self.assertIsNone(find_violation([]))
        self.assertIsNone(find_violation([4, 4, 4]))
        self.assertEqual(find_violation([9, 7, 8, 3, 8, 5]), 4)
        self.assertEqual(find_violation([1, 2]), 1)
