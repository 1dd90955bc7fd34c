"""
Write the heap.

`push` puts a value at the end and lets it rise. `pop` takes the root, puts the last value in its place and lets it
sink. Both repair one path of the tree and leave the rest alone; the last test counts whether they do.

Do not use heapq, sorted, sort or max: they would do the work for you.
"""


class MaxHeap:
    def __init__(self) -> None:
        self.values: list[int] = []

    def push(self, value: int) -> None:
        self.values.append(value)

    def pop(self) -> int:
        """Return the greatest value and take it out. Raise IndexError if there is none."""
        return self.values.pop()
