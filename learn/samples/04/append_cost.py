"""Append to a linked list, with and without a pointer to its last node: count the steps."""


class Node:
    def __init__(self) -> None:
        self.next: Node | None = None


def steps_of(count: int, *, has_tail: bool) -> int:
    head = tail = Node()
    steps = 0
    for _ in range(count - 1):
        node = tail if has_tail else head
        while node.next is not None:
            node, steps = node.next, steps + 1
        node.next = tail = Node()
    return steps


for count in (10, 100, 1_000):
    without, with_tail = steps_of(count, has_tail=False), steps_of(count, has_tail=True)
    print(f"{count:5} appends: {without:7} steps without a tail, {with_tail} with one")
