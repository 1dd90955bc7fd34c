"""Steps of the exercise own_loop."""

import unittest
from collections.abc import Iterator

from own_loop import Loop

HINTS = [
    "a deque of those who can go on: take from the left, next(work), put back on the right",
    "next(work) raises StopIteration when a generator has ended; a loop ends when nobody is left",
    "spawn may be called while the loop runs: put new work at the end of the same deque",
    "a heap of (when, number, work): heapq.heappush, heapq.heappop; the number breaks ties",
    "only if the deque is empty: wait(first wake-up minus now())",
    "two who wake at the same time: itertools.count() gives numbers in the order of going to sleep",
    "look for sleepers whose time has come before every step, not only when the deque is empty",
    "try: next(work) except StopIteration ... except Exception as error: self.errors.append(error)",
]


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0
        self.waited: list[float] = []

    def now(self) -> float:
        return self.now_s

    def wait(self, pause_s: float) -> None:
        self.waited.append(round(pause_s, 6))
        self.now_s += pause_s


class OwnLoop(unittest.TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.loop = Loop(self.clock.now, self.clock.wait)
        self.seen: list[str] = []

    def work(self, name: str, *pauses_s: float) -> Iterator[float]:
        for number, pause_s in enumerate(pauses_s, 1):
            self.seen.append(f"{name}{number}")
            yield pause_s
        self.seen.append(f"{name} ends")

    def run_all(self, *works: Iterator[float]) -> list[str]:
        for work in works:
            self.loop.spawn(work)
        self.loop.run()
        return self.seen

    def test_turns(self) -> None:
        """Who yields 0 goes to the end of the line."""
        seen = self.run_all(self.work("a", 0, 0), self.work("b", 0))
        self.assertEqual(seen, ["a1", "b1", "a2", "b ends", "a ends"])

    def test_end(self) -> None:
        """The loop ends when nobody is left, and may run again."""
        self.loop.run()
        self.assertEqual(self.run_all(self.work("a")), ["a ends"])
        self.assertEqual(self.run_all(self.work("b")), ["a ends", "b ends"])

    def test_spawn(self) -> None:
        """Work may spawn work."""

        def parent() -> Iterator[float]:
            self.loop.spawn(self.work("child", 0))
            yield 0
            self.seen.append("parent ends")

        self.assertEqual(self.run_all(parent()), ["child1", "parent ends", "child ends"])

    def test_sleep(self) -> None:
        """Who sleeps lets the others go on."""
        seen = self.run_all(self.work("slow", 3), self.work("fast", 1, 1))
        self.assertEqual(seen, ["slow1", "fast1", "fast2", "fast ends", "slow ends"])

    def test_wait(self) -> None:
        """It waits only if nobody can go on, and exactly as long as necessary."""
        self.run_all(self.work("slow", 3), self.work("fast", 1, 1), self.work("busy", 0, 0, 0))
        self.assertEqual(self.clock.waited, [1, 1, 1])

    def test_ties(self) -> None:
        """Who went to sleep first wakes first."""
        seen = self.run_all(*[self.work(name, 1) for name in "abcdef"])
        self.assertEqual(seen[6:], [f"{name} ends" for name in "abcdef"])

    def test_busy(self) -> None:
        """A line that is never empty does not keep sleepers from waking."""

        def busy() -> Iterator[float]:
            for _ in range(10):
                self.clock.now_s += 1  # it computes for a second
                yield 0
            self.seen.append("busy ends")

        seen = self.run_all(self.work("sleeper", 3), busy())
        self.assertEqual(seen, ["sleeper1", "sleeper ends", "busy ends"])

    def test_errors(self) -> None:
        """An error ends its own work, and nobody else's."""

        def broken() -> Iterator[float]:
            yield 0
            raise ValueError("broken")

        self.assertEqual(self.run_all(broken(), self.work("a", 0, 0))[-1], "a ends")
        self.assertEqual([str(error) for error in self.loop.errors], ["broken"])
