"""Steps of the exercise no_squares."""

import unittest

from no_squares import first_repeated, groups, in_both

HINTS = [
    "the answers of the functions as they stand are right; compare with them",
    "keep a set of the names that you have seen, and ask it instead of the list",
    "make a set of theirs once, before the loop",
    "go over the names once; dict.setdefault(len(name), []) gives the group of a name, new or not",
]
SIZE = 1_500
LIMIT = 20 * SIZE


class Name(str):
    """A name that counts how often it is compared, and measured."""

    steps = 0

    def __eq__(self, other: object) -> bool:
        Name.steps += 1
        assert Name.steps < LIMIT, f"{LIMIT} steps for {SIZE} names: there is still a square"
        return str.__eq__(self, other)

    def __len__(self) -> int:
        Name.steps += 1
        assert Name.steps < LIMIT, f"{LIMIT} steps for {SIZE} names: there is still a square"
        return str.__len__(self)

    __hash__ = str.__hash__


class NoSquares(unittest.TestCase):
    def setUp(self) -> None:
        Name.steps = 0

    def test_answers(self) -> None:
        """The answers are still right."""
        self.assertEqual(first_repeated(["b", "a", "c", "a", "b"]), "a")
        self.assertIsNone(first_repeated(["a", "b"]))
        self.assertEqual(in_both(["c", "a", "b", "a"], ["a", "c", "d"]), ["c", "a", "a"])
        self.assertEqual(groups(["bb", "a", "cc", "ddd"]), {2: ["bb", "cc"], 1: ["a"], 3: ["ddd"]})

    def test_first_repeated(self) -> None:
        """first_repeated takes N steps."""
        self.assertIsNone(first_repeated([Name(f"name {number}") for number in range(SIZE)]))

    def test_in_both(self) -> None:
        """in_both takes N steps."""
        ours, theirs = ([Name(f"name {number}") for number in range(start, start + SIZE)] for start in (0, SIZE // 2))
        self.assertEqual(len(in_both(ours, theirs)), SIZE // 2)

    def test_groups(self) -> None:
        """groups takes N steps."""
        names = [Name("x" * (number % 100)) for number in range(SIZE)]
        self.assertEqual(len(groups(names)), 100)
