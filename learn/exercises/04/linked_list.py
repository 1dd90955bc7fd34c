"""
Repair a linked list.

It looks right, and it passes a quick try. Three things are wrong or missing: appending walks over the whole list;
after the last node was removed, what is appended gets lost; and nobody can put anything in front.

Give it a tail, and keep the tail true in every method that may change it.
"""

from collections.abc import Iterator


class Node:
    def __init__(self, value: str) -> None:
        self.value = value
        self.next: Node | None = None


class LinkedList:
    def __init__(self) -> None:
        self.head: Node | None = None
        self.tail: Node | None = None

    def append(self, value: str) -> None:
        """Add *value* at the end, in O(1)."""
        node = self.head
        while node is not None and node.next is not None:
            node = node.next
        if node is None:
            self.head = self.tail = Node(value)
        else:
            node.next = self.tail = Node(value)

    def prepend(self, value: str) -> None:
        """Add *value* at the front, in O(1)."""
        raise NotImplementedError("the new node comes before the head")

    def remove(self, value: str) -> bool:
        """Take out the first node with *value*; return whether there was one."""
        previous, node = None, self.head
        while node is not None and node.value != value:
            previous, node = node, node.next
        if node is None or previous is None:
            return False
        previous.next = node.next
        return True

    def __iter__(self) -> Iterator[str]:
        node = self.head
        while node is not None:
            yield node.value
            node = node.next
