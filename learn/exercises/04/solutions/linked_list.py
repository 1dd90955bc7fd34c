"""A linked list with a head and a tail."""

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
        node = Node(value)
        if self.tail is None:
            self.head = node
        else:
            self.tail.next = node
        self.tail = node

    def prepend(self, value: str) -> None:
        """Add *value* at the front, in O(1)."""
        node = Node(value)
        node.next = self.head
        self.head = node
        if self.tail is None:
            self.tail = node

    def remove(self, value: str) -> bool:
        """Take out the first node with *value*; return whether there was one."""
        previous, node = None, self.head
        while node is not None and node.value != value:
            previous, node = node, node.next
        if node is None:
            return False
        if previous is None:
            self.head = node.next
        else:
            previous.next = node.next
        if node is self.tail:
            self.tail = previous
        return True

    def __iter__(self) -> Iterator[str]:
        node = self.head
        while node is not None:
            yield node.value
            node = node.next
