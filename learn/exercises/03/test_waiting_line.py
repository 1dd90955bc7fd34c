"""Steps of the exercise waiting_line."""

import random
import unittest

from waiting_line import WaitingLine

HINTS = [
    "put a number that rises with every arrival between the priority and the name: itertools.count() gives them",
    "serve: if the heap is empty, return None",
    "keep a dict name → entry of those who wait; leaving takes the name out of it, and the heap stays as it is",
    "serve: pop until the popped entry is the one that the dict has for its name",
    "change: push a new entry with the arrival of the old one; the dict says which of the two counts",
    "len counts those who wait, and not what is in the heap",
    "who left and joins again has two entries in the heap; compare whole entries, not names",
]


class Line(unittest.TestCase):
    def served(self, line: WaitingLine) -> list[str]:
        names = []
        while (name := line.serve()) is not None:
            names.append(name)
        return names

    def test_fair(self) -> None:
        """Among equals, first come is first served."""
        line = WaitingLine()
        for name in ("zoe", "ann", "max", "bob"):
            line.join(name, 5)
        line.join("urgent", 9)
        self.assertEqual([line.serve() for _ in range(5)], ["urgent", "zoe", "ann", "max", "bob"])

    def test_empty(self) -> None:
        """Nobody waits: None."""
        self.assertIsNone(WaitingLine().serve())

    def test_leave(self) -> None:
        """Who left is not served."""
        line = WaitingLine()
        for name in ("zoe", "ann", "max"):
            line.join(name, 5)
        line.leave("zoe")
        with self.assertRaises(KeyError):
            line.leave("nobody")
        self.assertEqual(self.served(line), ["ann", "max"])

    def test_unique(self) -> None:
        """Nobody waits twice."""
        line = WaitingLine()
        line.join("zoe", 5)
        with self.assertRaises(ValueError):
            line.join("zoe", 9)
        self.assertEqual(self.served(line), ["zoe"])

    def test_change(self) -> None:
        """Who is made more urgent keeps their arrival."""
        line = WaitingLine()
        for name, priority in (("zoe", 1), ("ann", 5), ("max", 5)):
            line.join(name, priority)
        line.change("zoe", 5)
        with self.assertRaises(KeyError):
            line.change("nobody", 5)
        self.assertEqual(self.served(line), ["zoe", "ann", "max"])

    def test_length(self) -> None:
        """The length counts those who wait."""
        line = WaitingLine()
        for name in ("zoe", "ann", "max"):
            line.join(name, 5)
        line.leave("ann")
        line.change("max", 9)
        self.assertEqual(len(line), 2)

    def test_like_a_list(self) -> None:
        """Two thousand random operations serve the same names as a list that is searched every time."""
        rng, line, model = random.Random(1), WaitingLine(), {}
        for number in range(2_000):
            name = f"p{rng.randrange(40)}"
            action = rng.choice(["join", "leave", "change", "serve"])
            priority = rng.randint(1, 4)
            if action == "join" and name not in model:
                line.join(name, priority)
                model[name] = (-priority, number)
            elif action == "leave" and name in model:
                line.leave(name)
                del model[name]
            elif action == "change" and name in model:
                line.change(name, priority)
                model[name] = (-priority, model[name][1])
            elif action == "serve":
                expected = min(model, key=model.__getitem__, default=None)
                self.assertEqual(line.serve(), expected)
                model.pop(expected, None)
            self.assertEqual(len(line), len(model))
