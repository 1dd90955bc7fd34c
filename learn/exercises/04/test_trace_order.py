"""Steps of the exercise trace_order."""

import unittest
from itertools import pairwise

import trace_order as answers

WAITS_FOR = {
    "deploy": ["test", "notes"],
    "test": ["build"],
    "notes": ["write"],
    "build": ["write", "tools"],
    "write": [],
    "tools": [],
    "party": ["deploy"],
}

HINTS = [
    "look for the empty lists",
    "begin with a task that waits for nobody, cross it out everywhere, and repeat",
    "write the calls down, indented: visit(deploy) calls visit(test) ...; a task is finished when its visit returns",
    "follow the arrows from tools: it waits for test now, test waits for ..., until you are at tools again",
    "who waits, directly or not, for a task in the circle? cross them out as well",
]


class Answers(unittest.TestCase):
    def test_can_start(self) -> None:
        """CAN_START: who waits for nobody."""
        self.assertTrue(answers.CAN_START, "still empty")
        self.assertTrue(all(not WAITS_FOR[task] for task in answers.CAN_START), "one of them waits for somebody")
        self.assertEqual(len(answers.CAN_START), 2, "that is not all of them")

    def test_order(self) -> None:
        """ORDER: everybody after those they wait for."""
        order = answers.ORDER
        self.assertEqual(sorted(order), sorted(WAITS_FOR), "each of the seven once")
        for task in order:
            for other in WAITS_FOR[task]:
                self.assertLess(order.index(other), order.index(task), f"{task} comes before {other}")

    def test_resolver_order(self) -> None:
        """RESOLVER_ORDER: what depth first search finishes when."""
        order: list[str] = []

        def visit(task: str) -> None:
            if task not in order:
                for other in WAITS_FOR[task]:
                    visit(other)
                order.append(task)

        for task in WAITS_FOR:
            visit(task)
        self.assertTrue(answers.RESOLVER_ORDER, "still empty")
        wrong = [
            index for index, pair in enumerate(zip(order, answers.RESOLVER_ORDER, strict=False)) if len({*pair}) > 1
        ]
        self.assertFalse(wrong, f"the first wrong one is at index {wrong[0] if wrong else ''}")
        self.assertEqual(len(answers.RESOLVER_ORDER), len(order))

    def test_circle(self) -> None:
        """CIRCLE: a way from tools back to tools."""
        circle = answers.CIRCLE
        graph = {**WAITS_FOR, "tools": ["test"]}
        self.assertGreaterEqual(len(circle), 2, "still empty")
        self.assertEqual((circle[0], circle[-1]), ("tools", "tools"))
        for task, other in pairwise(circle):
            self.assertIn(other, graph.get(task, []), f"{task} does not wait for {other}")

    def test_still_possible(self) -> None:
        """STILL_POSSIBLE: who does not need the circle."""
        self.assertTrue(answers.STILL_POSSIBLE, "still empty")
        for task in answers.STILL_POSSIBLE:
            self.assertTrue({task, *WAITS_FOR[task]} <= {"write", "notes"}, f"{task} is in the circle or waits for it")
        self.assertEqual(len(answers.STILL_POSSIBLE), 2, "that is not all of them")
