"""Steps of the exercise linked_list."""

import random
import unittest
from time import process_time

from linked_list import LinkedList

HINTS = [
    "append: link the new node behind self.tail, then it is the tail",
    "without a walk, ten times the appends take ten times as long; with one, a hundred times",
    "when there is no node before the one to remove, the head moves on",
    "when the removed node was the tail, the one before it is the tail now",
    "when the list becomes empty, the head and the tail are both None",
    "prepend: the new node points to the old head; in an empty list it is the tail too",
    "after every operation: is the tail the last node that a walk from the head meets?",
]


class Lists(unittest.TestCase):
    def make(self, values: str) -> LinkedList:
        result = LinkedList()
        for value in values:
            result.append(value)
        return result

    def test_append(self) -> None:
        """Values come in the order of their appending."""
        self.assertEqual("".join(self.make("abc")), "abc")

    def test_fast(self) -> None:
        """Appending does not walk: 20,000 take no time."""
        result, started = LinkedList(), process_time()
        for number in range(20_000):
            result.append(str(number))
            if process_time() - started > 0.3:
                self.fail(f"after 0.3 seconds there are {number} values only")

    def test_remove_first(self) -> None:
        """The first can be removed."""
        result = self.make("abc")
        self.assertTrue(result.remove("a"))
        self.assertFalse(result.remove("z"))
        self.assertEqual("".join(result), "bc")

    def test_remove_last(self) -> None:
        """After the last was removed, appending goes on."""
        result = self.make("abc")
        self.assertTrue(result.remove("c"))
        result.append("d")
        self.assertEqual("".join(result), "abd")

    def test_remove_all(self) -> None:
        """An emptied list is like a new one."""
        result = self.make("a")
        self.assertTrue(result.remove("a"))
        self.assertIsNone(result.head)
        self.assertIsNone(result.tail)
        result.append("b")
        self.assertEqual("".join(result), "b")

    def test_prepend(self) -> None:
        """Something can be put in front."""
        result = LinkedList()
        result.prepend("b")
        result.prepend("a")
        result.append("c")
        self.assertEqual("".join(result), "abc")

    def test_like_a_list(self) -> None:
        """A thousand random operations leave it like a list of Python's."""
        rng, result, model = random.Random(1), LinkedList(), []
        for _ in range(1_000):
            value = rng.choice("abcdefgh")
            action = rng.choice(["append", "prepend", "remove", "remove"])
            if action == "append":
                result.append(value)
                model.append(value)
            elif action == "prepend":
                result.prepend(value)
                model.insert(0, value)
            else:
                self.assertEqual(result.remove(value), value in model)
                if value in model:
                    model.remove(value)
            self.assertEqual(list(result), model)
            self.assertEqual(result.tail.value if result.tail else None, model[-1] if model else None)
