"""Steps of the exercise task_store."""

import unittest

from task_store import TaskStore, count_json

HINTS = [
    "len() of a dict does not walk: the dict knows its length",
    "create adds one to the count of its status; dict.get(status, 0) is the count so far",
    "update takes one from the old status and adds one to the new: read the old one before you overwrite it",
    "delete: self._status.pop(task_id) gives the status that it removes; drop a count that reaches zero",
    "return a copy, dict(...), or the caller can change your counts",
    "keep the counts in a dict of their own, so that count_by_status need not look at any task",
    "put the two answers into one dict; the keys are count and byStatus",
]


class NoWalking(dict[str, str]):
    """A dict over which nobody may walk."""

    def __iter__(self) -> "NoWalking":  # type: ignore[override]
        raise AssertionError("this walks over all the tasks")

    keys = values = items = __iter__  # type: ignore[assignment]


class Counting(unittest.TestCase):
    def setUp(self) -> None:
        self.store = TaskStore()
        for task_id, status in (("a", "pending"), ("b", "pending"), ("c", "completed")):
            self.store.create(task_id, status)

    def test_count(self) -> None:
        """All tasks are counted."""
        self.assertEqual(self.store.count(), 3)
        self.store.delete("a")
        self.assertEqual(self.store.count(), 2)

    def test_by_status(self) -> None:
        """They are counted by status."""
        self.assertEqual(self.store.count_by_status(), {"pending": 2, "completed": 1})

    def test_update(self) -> None:
        """An update moves a task from one count to the other."""
        self.store.update("a", "in-progress")
        self.store.update("b", "in-progress")
        self.assertEqual(self.store.count_by_status(), {"in-progress": 2, "completed": 1})

    def test_delete(self) -> None:
        """A delete takes it out of both."""
        self.store.delete("c")
        self.assertEqual((self.store.count(), self.store.count_by_status()), (2, {"pending": 2}))

    def test_copy(self) -> None:
        """The answer belongs to the caller, who may change it."""
        self.store.count_by_status()["pending"] = 99
        self.assertEqual(self.store.count_by_status(), {"pending": 2, "completed": 1})

    def test_no_walking(self) -> None:
        """Nobody walks over the tasks."""
        self.store._status = NoWalking(self.store._status)
        self.store.create("d", "pending")
        self.store.update("a", "completed")
        self.assertEqual((self.store.count(), self.store.count_by_status()), (4, {"pending": 2, "completed": 2}))

    def test_json(self) -> None:
        """GET /tasks/count answers both."""
        self.assertEqual(count_json(self.store), {"count": 3, "byStatus": {"pending": 2, "completed": 1}})
