"""Steps of the exercise timed_cache."""

import unittest

from timed_cache import TimedCache

HINTS = [
    "a dict is all you need for this step",
    "store the time beside the value; compare now() minus it with max_age_s",
    "delete an old entry in the moment when you find it",
    "an OrderedDict, and popitem(last=False) when there are too many",
    "move_to_end in get and in put",
    "store the time in put only",
    "put over an old entry is a new entry: new time, new place",
    "first collect the keys that are too old, then delete: a dict must not change while you walk over it",
]


class Timed(unittest.TestCase):
    def setUp(self) -> None:
        self.now_s = 1_000.0
        self.cache = TimedCache(3, 60.0, lambda: self.now_s)

    def test_get(self) -> None:
        """What was put in comes out."""
        self.cache.put("a", 1)
        self.assertEqual((self.cache.get("a"), self.cache.get("b")), (1, None))

    def test_age(self) -> None:
        """After its time an entry is not given out."""
        self.cache.put("a", 1)
        self.now_s += 59.9
        self.assertEqual(self.cache.get("a"), 1)
        self.now_s += 0.1
        self.assertIsNone(self.cache.get("a"))

    def test_let_go(self) -> None:
        """Who asks for an old entry frees it."""
        self.cache.put("a", 1)
        self.now_s += 60
        self.cache.get("a")
        self.assertEqual(len(self.cache), 0)

    def test_limit(self) -> None:
        """There are never more than the limit, and the first goes first."""
        for number, key in enumerate("abcde"):
            self.cache.put(key, number)
        self.assertEqual(len(self.cache), 3)
        self.assertEqual([self.cache.get(key) for key in "abcde"], [None, None, 2, 3, 4])

    def test_use(self) -> None:
        """What is used stays."""
        for key in "abc":
            self.cache.put(key, key)
        self.cache.get("a")
        self.cache.put("b", "new")
        self.cache.put("d", "d")
        self.assertEqual([self.cache.get(key) for key in "abcd"], ["a", "new", None, "d"])

    def test_not_younger(self) -> None:
        """Asking makes nothing younger."""
        self.cache.put("a", 1)
        for _ in range(6):
            self.now_s += 10
            found = self.cache.get("a")
        self.assertIsNone(found)

    def test_again(self) -> None:
        """What is put in again is new again."""
        self.cache.put("a", 1)
        self.now_s += 50
        self.cache.put("a", 2)
        self.now_s += 50
        self.assertEqual((self.cache.get("a"), len(self.cache)), (2, 1))

    def test_sweep(self) -> None:
        """A sweep lets go of the old ones, and only of those."""
        self.cache.put("a", 1)
        self.cache.put("b", 2)
        self.now_s += 30
        self.cache.put("c", 3)
        self.now_s += 30
        self.cache.sweep()
        self.assertEqual((len(self.cache), self.cache.get("c")), (1, 3))
