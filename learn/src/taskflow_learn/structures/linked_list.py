"""
A singly linked list: nodes that know only who comes next.

    head                      tail
    [a] ──▶ [b] ──▶ [c] ──▶ None

Why here: a task's dependencies are appended, walked in order and rarely removed, never indexed. With a pointer to the
tail, `append` is O(1) however long the list is; walking and removing are O(N). A Python `list` does all of this faster
for any real size, because its elements lie side by side in memory. We build the other one to see what a pointer is.
"""

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class _Node(Generic[T]):
    __slots__ = ("next", "value")

    def __init__(self, value: T) -> None:
        self.value = value
        self.next: _Node[T] | None = None


class LinkedList(Generic[T]):
    """Values in the order they were appended."""

    __slots__ = ("_head", "_length", "_tail")

    def __init__(self, values: Iterable[T] = ()) -> None:
        self._head: _Node[T] | None = None
        self._tail: _Node[T] | None = None
        self._length = 0
        for value in values:
            self.append(value)

    def append(self, value: T) -> None:
        """Add *value* at the end: O(1), thanks to the tail."""
        node = _Node(value)
        if self._tail is None:
            self._head = node
        else:
            self._tail.next = node
        self._tail = node
        self._length += 1

    def remove(self, value: T) -> bool:
        """Take out the first node that holds *value*: O(N). Return whether there was one."""
        previous, node = None, self._head
        while node is not None and node.value != value:
            previous, node = node, node.next
        if node is None:
            return False
        if previous is None:
            self._head = node.next
        else:
            previous.next = node.next
        if node is self._tail:  # forgetting this line loses every later append
            self._tail = previous
        self._length -= 1
        return True

    def __iter__(self) -> Iterator[T]:
        node = self._head
        while node is not None:
            yield node.value
            node = node.next

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return f"LinkedList({list(self)!r})"
