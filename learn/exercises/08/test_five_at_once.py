"""Steps of the exercise five_at_once."""

import os
import time
import unittest

from five_at_once import run_all

HINTS = [
    "submit gives a future; future.result() waits for it",
    "ProcessPoolExecutor(workers), not threads: the process id must differ from ours",
    "submit all of them first, and only then wait for the first",
    "future.exception() waits, and gives the exception instead of raising it",
    "the pool must end with your function: use it in a `with`",
]


# `eval` is a function that every process can find by its name, and so the inputs say what is to be done.
PID = "__import__('time').sleep(0.05) or __import__('os').getpid()"
NAP = "__import__('time').sleep(0.25)"


class FiveAtOnce(unittest.TestCase):
    def test_order(self) -> None:
        """Outcomes come in the order of the inputs."""
        self.assertEqual(run_all(eval, ["3 * 3", "1 * 1", "2 * 2"], 2), [{"output": 9}, {"output": 1}, {"output": 4}])

    def test_elsewhere(self) -> None:
        """The work is done by other processes."""
        pids = {outcome["output"] for outcome in run_all(eval, [PID] * 4, 2)}
        self.assertNotIn(os.getpid(), pids)
        self.assertLessEqual(len(pids), 2, "there are two workers")

    def test_at_once(self) -> None:
        """Five jobs of 0.25 s do not take their sum."""
        started = time.perf_counter()
        run_all(eval, [NAP] * 5, 5)
        self.assertLess(time.perf_counter() - started, 1.15, "seconds")

    def test_errors(self) -> None:
        """What fails is an outcome, and the others have theirs."""
        expected = [{"output": 5.0}, {"error": "ZeroDivisionError: division by zero"}, {"output": 2.0}]
        self.assertEqual(run_all(eval, ["10 / 2", "10 / 0", "10 / 5"], 2), expected)

    def test_nothing(self) -> None:
        """No inputs are no outcomes."""
        self.assertEqual(run_all(eval, [], 2), [])
