"""Steps of the exercise log_on_create."""

import json
import unittest

import log_on_create

HINTS = [
    "write once, at the end: json.dumps of a dict, and a line break after it",
    "the line needs requestId, operation, taskId and status; level is INFO, message is Task operation",
    "the status is that of the stored task; a caller may have given one",
    "first refuse, then store, then log: a line in the log is a claim that it happened",
    "no title, no description: only the names in the example",
]


class LogOnCreate(unittest.TestCase):
    def setUp(self) -> None:
        log_on_create.tasks.clear()
        self.written: list[str] = []

    def events(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in "".join(self.written).splitlines()]

    def test_one_line(self) -> None:
        """Each created task writes one line of JSON, in one write."""
        for title in ("first", "second"):
            log_on_create.create({"title": title}, "r-1", self.written.append)
        self.assertEqual(len(self.written), 2, self.written)
        self.assertTrue(all(line.endswith("\n") and line.count("\n") == 1 for line in self.written), self.written)
        self.assertEqual(len(self.events()), 2)

    def test_fields(self) -> None:
        """The line says what happened, to which task, for which request."""
        task_id = log_on_create.create({"title": "first"}, "r-7", self.written.append)
        expected = {
            "level": "INFO",
            "message": "Task operation",
            "requestId": "r-7",
            "operation": "create",
            "taskId": task_id,
            "status": "pending",
        }
        self.assertEqual(self.events(), [expected])

    def test_status(self) -> None:
        """The status is the one that was stored."""
        log_on_create.create({"title": "first", "status": "in-progress"}, "r-1", self.written.append)
        self.assertEqual(self.events()[0]["status"], "in-progress")

    def test_refused(self) -> None:
        """What was refused is not in the log, and not in the store."""
        with self.assertRaises(ValueError):
            log_on_create.create({"title": ""}, "r-1", self.written.append)
        self.assertEqual((self.written, log_on_create.tasks), ([], {}))

    def test_private(self) -> None:
        """What people write stays out of the log."""
        log_on_create.create({"title": "call Dr. X", "description": "about it"}, "r-1", self.written.append)
        self.assertNotIn("Dr. X", self.written[0])
        self.assertNotIn("about it", self.written[0])
