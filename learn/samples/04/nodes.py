"""A linked list: every node knows only who comes next."""


class Node:
    def __init__(self, value: str) -> None:
        self.value = value
        self.next: Node | None = None


head = Node("write")
head.next = Node("build")
head.next.next = Node("test")

node: Node | None = head
while node is not None:  # the only way to anywhere is from the head
    print(f"[{node.value}] ->", end=" ")
    node = node.next
print(None)

head.next = head.next.next  # removing is one assignment: nobody points to "build" any more
print(head.value, "->", head.next.value)
