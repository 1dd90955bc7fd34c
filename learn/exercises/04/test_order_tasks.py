"""Steps of the exercise order_tasks."""

import unittest
from graphlib import TopologicalSorter

from order_tasks import Circle, Missing, order_tasks

HINTS = [
    "the recursive version does this already; keep its order",
    "look whether a dependency is in waits_for before you go to it, and raise Missing if not",
    "keep a set of the tasks that are on the way from the root to here (grey); meeting one of them again is a circle",
    "the names on your stack are the path; path[path.index(other):] is the circle",
    "a task that waits for itself is a circle of one: [task, task]",
    "a list of (task, iterator over what it waits for) is a stack; the iterator remembers how far you were",
    "`in` a list walks over it: keep what is finished in a set or a dict",
]


class Name(str):
    """A name that counts how often it is compared with another one. A set hardly compares, a list has to."""

    comparisons = 0

    def __eq__(self, other: object) -> bool:
        Name.comparisons += 1
        assert Name.comparisons < 200_000, "names were compared 200,000 times: something searches in a list"
        return str.__eq__(self, other)

    __hash__ = str.__hash__


class Order(unittest.TestCase):
    def test_order(self) -> None:
        """Everybody comes after those they wait for."""
        graph = {"deploy": ["test"], "test": ["build", "write"], "build": ["write"], "write": []}
        self.assertEqual(order_tasks(graph), ["write", "build", "test", "deploy"])
        self.assertEqual(order_tasks({}), [])

    def test_missing(self) -> None:
        """What does not exist is named, with who needs it."""
        with self.assertRaises(Missing) as caught:
            order_tasks({"a": ["b"], "b": ["ghost"]})
        self.assertEqual((caught.exception.task, caught.exception.required_by), ("ghost", "b"))

    def test_circle(self) -> None:
        """A circle is found."""
        with self.assertRaises(Circle):
            order_tasks({"a": ["b"], "b": ["a"]})

    def test_path(self) -> None:
        """The path of the circle has nobody in it who only waits for the circle."""
        with self.assertRaises(Circle) as caught:
            order_tasks({"first": ["a"], "a": ["b"], "b": ["free", "c"], "c": ["a"], "free": []})
        self.assertEqual(caught.exception.path, ["a", "b", "c", "a"])

    def test_itself(self) -> None:
        """A task that waits for itself is a circle; one that is waited for twice is none."""
        with self.assertRaises(Circle) as caught:
            order_tasks({"a": ["a"]})
        self.assertEqual(caught.exception.path, ["a", "a"])
        self.assertEqual(order_tasks({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}), ["d", "b", "c", "a"])

    def test_deep(self) -> None:
        """A chain of 100,000 works."""
        chain = {str(number): [str(number + 1)] for number in range(100_000)} | {"100000": []}
        self.assertEqual(order_tasks(chain), [str(number) for number in range(100_000, -1, -1)])

    def test_wide(self) -> None:
        """2,000 tasks with ten dependencies each are ordered without searching in a list."""
        Name.comparisons = 0
        names = [Name(f"task {number}") for number in range(2_000)]
        graph = {
            name: [names[index // 2 - step] for step in range(10)] for index, name in enumerate(names) if index > 20
        }
        graph = {name: graph.get(name, []) for name in names}
        position = {task: index for index, task in enumerate(order_tasks(graph))}
        self.assertEqual(len(position), len([*TopologicalSorter(graph).static_order()]))
        self.assertTrue(all(position[other] < position[task] for task in graph for other in graph[task]))
