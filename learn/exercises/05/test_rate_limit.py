"""Steps of the exercise rate_limit."""

import unittest

from rate_limit import RateLimit, Response

HINTS = [
    "as long as fewer than `limit` requests came in the window, note the time and return proceed(token)",
    "when there are `limit` already, return Response(429, ...) without calling proceed",
    "keep a list of times per token",
    "first throw away the times that are a window or more old, then count",
    "the oldest request of the window leaves it at its time + window_s: wait until then",
    "note the time only when you proceed",
    "delete the entry of a caller whose list has become empty, for all callers and not only for this one",
]


class Limits(unittest.TestCase):
    def setUp(self) -> None:
        self.time_s = 1_000.0
        self.handled = 0
        self.link = RateLimit(3, 10.0, lambda: self.time_s)

    def ask(self, token: str = "a") -> Response:
        return self.link(token, self.handle)

    def handle(self, token: str) -> Response:
        self.handled += 1
        return Response(200)

    def test_below(self) -> None:
        """Below the limit everybody passes."""
        self.assertEqual([self.ask().status for _ in range(3)], [200, 200, 200])

    def test_above(self) -> None:
        """One more is 429, and the handler never hears of it."""
        self.assertEqual([self.ask().status for _ in range(4)], [200, 200, 200, 429])
        self.assertEqual(self.handled, 3)

    def test_each(self) -> None:
        """Each caller has their own count."""
        self.assertEqual([self.ask(token).status for token in "aaabbba"], [200] * 6 + [429])

    def test_slides(self) -> None:
        """The window slides."""
        statuses = []
        for second in (0, 4, 8, 9, 10, 11, 14):  # 0, 4 and 8 pass; 10 and 14 have one of them behind a window
            self.time_s = 1_000.0 + second
            statuses.append(self.ask().status)
        self.assertEqual(statuses, [200, 200, 200, 429, 200, 429, 200])

    def test_retry_after(self) -> None:
        """The answer says when to come again, and then it works."""
        for second in (0, 4, 8):
            self.time_s = 1_000.0 + second
            self.ask()
        wait_s = self.ask().retry_after_s
        self.assertEqual(wait_s, 2.0)
        self.time_s += wait_s or 0
        self.assertEqual(self.ask().status, 200)

    def test_refused_do_not_count(self) -> None:
        """Who is refused is not punished for asking."""
        for _ in range(50):
            self.ask()
        self.time_s += 10
        self.assertEqual([self.ask().status for _ in range(3)], [200, 200, 200])

    def test_forgets(self) -> None:
        """Nobody is remembered for ever."""
        for number in range(100):
            self.ask(f"caller {number}")
        self.time_s += 11
        self.ask("somebody")
        self.assertLessEqual(len(self.link.callers), 2)
