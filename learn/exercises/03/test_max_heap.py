"""Steps of the exercise max_heap."""

import random
import unittest

from max_heap import MaxHeap

HINTS = [
    "compare the new value with its parent, at (index - 1) // 2; swap while it is greater; stop at index 0",
    "take the last value out first (list.pop), then put it into the place of the root, and let it sink",
    "when it sinks, swap with the greater of the two children; with the smaller one the rule breaks",
    "with one value left there is no root to replace; with none, list.pop raises IndexError by itself",
    "a greater or equal parent ends the rise; a greater or equal child does not end the sinking, an equal one may",
    "follow one path only: no loop over all the values",
]


class Counted(int):
    """A number that counts how often it is compared."""

    comparisons = 0

    def __lt__(self, other: int) -> bool:
        Counted.comparisons += 1
        return int.__lt__(self, other)

    def __gt__(self, other: int) -> bool:
        Counted.comparisons += 1
        return int.__gt__(self, other)

    def __le__(self, other: int) -> bool:
        Counted.comparisons += 1
        return int.__le__(self, other)

    def __ge__(self, other: int) -> bool:
        Counted.comparisons += 1
        return int.__ge__(self, other)


class Heap(unittest.TestCase):
    def assert_heap(self, values: list[int]) -> None:
        for index in range(1, len(values)):
            self.assertLessEqual(values[index], values[(index - 1) // 2], f"[{index}] is greater than its parent")

    def test_push(self) -> None:
        """After every push, nobody is greater than their parent."""
        heap = MaxHeap()
        for value in (3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5):
            heap.push(value)
            self.assert_heap(heap.values)

    def test_pop(self) -> None:
        """Pop gives the greatest."""
        heap = MaxHeap()
        for value in (3, 1, 4, 1, 5):
            heap.push(value)
        self.assertEqual(heap.pop(), 5)
        self.assertEqual(len(heap.values), 4)

    def test_pop_repairs(self) -> None:
        """After every pop, nobody is greater than their parent."""
        heap = MaxHeap()
        heap.values = [9, 7, 8, 3, 6, 5, 1, 2]
        while len(heap.values) > 1:
            self.assertEqual(max(heap.values), heap.pop())
            self.assert_heap(heap.values)

    def test_ends(self) -> None:
        """One value is a heap, and so is none."""
        heap = MaxHeap()
        heap.push(7)
        self.assertEqual(heap.pop(), 7)
        with self.assertRaises(IndexError):
            heap.pop()

    def test_sorts(self) -> None:
        """A thousand values come out in order, equal ones included."""
        rng = random.Random(1)
        values = [rng.randrange(100) for _ in range(1_000)]
        heap = MaxHeap()
        for value in values:
            heap.push(value)
        self.assertEqual([heap.pop() for _ in values], sorted(values, reverse=True))

    def test_cost(self) -> None:
        """It takes a path, not a walk: at most 40 comparisons each in a heap of 2,000."""
        rng, heap = random.Random(1), MaxHeap()
        Counted.comparisons = 0
        for _ in range(2_000):
            heap.push(Counted(rng.randrange(10_000)))
        for _ in range(2_000):
            heap.pop()
        self.assertGreater(Counted.comparisons, 0, "compare the values themselves")
        self.assertLess(Counted.comparisons / 4_000, 40)
