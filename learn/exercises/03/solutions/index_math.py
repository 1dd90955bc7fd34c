"""Whose child is whose?"""


def parent(index: int) -> int | None:
    return (index - 1) // 2 if index else None


def children(index: int, size: int) -> list[int]:
    return [child for child in (2 * index + 1, 2 * index + 2) if child < size]


def depth(index: int) -> int:
    return (index + 1).bit_length() - 1  # rows end at 0, 2, 6, 14: each doubles


def find_violation(heap: list[int]) -> int | None:
    """Return the lowest index whose value is greater than its parent's, or None: then it is a max-heap."""
    return next((index for index in range(1, len(heap)) if heap[index] > heap[(index - 1) // 2]), None)
