"""The same 20,000 values in a list and in a linked list: what they occupy, and what a walk takes."""

import tracemalloc
from timeit import timeit


class Node:
    __slots__ = ("next", "value")

    def __init__(self, value: int, after: "Node | None") -> None:
        self.value, self.next = value, after


tracemalloc.start()
values, head = [7] * 20_000, None
in_list = tracemalloc.get_traced_memory()[0]
for value in values:
    head = Node(value, head)
in_links = tracemalloc.get_traced_memory()[0] - in_list
tracemalloc.stop()
walks = {"list": "for value in values: pass", "linked": "node = head\nwhile node: node = node.next"}
for (name, walk), size in zip(walks.items(), (in_list, in_links), strict=True):
    time_us = timeit(walk, number=20, globals=globals()) / 20 * 1e6
    print(f"{name:7} {size / 20_000:3.0f} bytes each, {time_us:5.0f} us for a walk")  # bytes, microseconds
