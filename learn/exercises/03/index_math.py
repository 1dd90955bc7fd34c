"""
Whose child is whose? A heap is a tree in a list, and all of its shape is arithmetic.

Draw a tree with ten nodes on paper, number them row by row from 0, and read the formulas off it. `parent` of the root
is None. `children` gives only those that exist in a heap of *size* entries. `depth` counts the steps up to the root.
"""


def parent(index: int) -> int | None:
    return index // 2  # nearly


def children(index: int, size: int) -> list[int]:
    return [2 * index, 2 * index + 1]  # nearly


def depth(index: int) -> int:
    raise NotImplementedError("how many steps is it to the root?")


def find_violation(heap: list[int]) -> int | None:
    """Return the lowest index whose value is greater than its parent's, or None: then it is a max-heap."""
    raise NotImplementedError("look at every index but the root")
