"""Steps of the exercise hash_table."""

import random
import unittest

from hash_table import HashTable

HINTS = [
    "get: look through the bucket of the key, and compare keys with ==",
    "put: look first whether the key is in its bucket already, and replace its pair",
    "remove: find the pair in its bucket and take it out; KeyError if there is none",
    "len: keep a number; add one only when a key is new",
    "grow: make a new list of twice as many buckets, then put every pair into the bucket where it belongs now",
    "compare with what a dict does: print the first operation after which the two differ",
]


class Table(unittest.TestCase):
    def test_get(self) -> None:
        """What was put can be got."""
        table = HashTable()
        table.put("a", 1)
        table.put("b", None)
        self.assertEqual((table.get("a"), table.get("b")), (1, None))
        with self.assertRaises(KeyError):
            table.get("c")

    def test_replace(self) -> None:
        """A key is there once."""
        table = HashTable()
        table.put("a", 1)
        table.put("a", 2)
        self.assertEqual((table.get("a"), len(table)), (2, 1))

    def test_remove(self) -> None:
        """What was removed is gone."""
        table = HashTable()
        table.put("a", 1)
        table.remove("a")
        for operation in (table.get, table.remove):
            with self.assertRaises(KeyError):
                operation("a")

    def test_length(self) -> None:
        """It knows its length."""
        table = HashTable()
        for key in "aabbc":
            table.put(key, key)
        table.remove("b")
        self.assertEqual(len(table), 2)

    def test_grows(self) -> None:
        """It never has more keys than buckets, and loses nobody when it grows."""
        table = HashTable()
        for number in range(1_000):
            table.put(f"key {number}", number)
            self.assertLessEqual(len(table), len(table.buckets))
        self.assertEqual([table.get(f"key {number}") for number in range(1_000)], list(range(1_000)))

    def test_like_a_dict(self) -> None:
        """A thousand random operations leave it like a dict."""
        table, model, rng = HashTable(), {}, random.Random(1)
        for number in range(1_000):
            key = f"key {rng.randrange(60)}"
            if rng.random() < 0.4 and key in model:
                table.remove(key)
                del model[key]
            else:
                table.put(key, number)
                model[key] = number
            self.assertEqual(len(table), len(model))
        self.assertEqual({key: table.get(key) for key in model}, model)
