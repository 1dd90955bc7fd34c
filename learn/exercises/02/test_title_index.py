"""Steps of the exercise title_index."""

import unittest

from title_index import Tasks

HINTS = [
    "keep a dict from str.casefold() of a title to a set of ids; setdefault(title, set()).add(task_id) fills it",
    "rename: take the id out of the set of the old title before you overwrite the title",
    "delete: take it out of the index too",
    "a set has no order: remember a number for each id when it is created, and sort by it",
    "check whether the id is there before you change anything",
    "when a set becomes empty, remove it from the index, or it stays for ever",
    "find must not look at self.titles",
]


class Index(unittest.TestCase):
    def setUp(self) -> None:
        self.tasks = Tasks()
        for task_id, title in (("z", "Write"), ("b", "Test"), ("a", "write")):
            self.tasks.create(task_id, title)

    def test_find(self) -> None:
        """A task is found by its title, whatever its case."""
        self.assertEqual(sorted(self.tasks.find("WRITE")), ["a", "z"])
        self.assertEqual(self.tasks.find("sleep"), [])

    def test_rename(self) -> None:
        """After a rename it is found under the new title only."""
        self.tasks.rename("z", "Test")
        self.assertEqual((self.tasks.find("write"), sorted(self.tasks.find("test"))), (["a"], ["b", "z"]))

    def test_delete(self) -> None:
        """After a delete it is found no more."""
        self.tasks.delete("z")
        self.assertEqual(self.tasks.find("write"), ["a"])

    def test_order(self) -> None:
        """Ids come in the order of creation, also after a rename."""
        self.tasks.rename("z", "Test")
        self.tasks.rename("z", "Write")
        self.assertEqual(self.tasks.find("write"), ["z", "a"])

    def test_taken(self) -> None:
        """An id is given once, and a refused create changes nothing."""
        with self.assertRaises(ValueError):
            self.tasks.create("a", "Sleep")
        self.assertEqual((self.tasks.find("sleep"), self.tasks.find("write")), ([], ["z", "a"]))

    def test_nothing_stays(self) -> None:
        """What nobody has any more is not kept."""
        for number in range(50):
            self.tasks.rename("z", f"title {number}")
        for value in vars(self.tasks).values():
            if isinstance(value, dict):
                self.assertLess(len(value), 10, "a dict still holds titles that no task has")

    def test_fast(self) -> None:
        """Nobody walks over the titles."""
        titles = self.tasks.titles
        self.tasks.titles = None  # type: ignore[assignment]
        try:
            self.assertEqual(self.tasks.find("write"), ["z", "a"])
        finally:
            self.tasks.titles = titles
