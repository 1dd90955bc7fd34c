"""Say how it grows: divide by each candidate, and see which quotient stays the same."""

from collections.abc import Callable
from math import log2

SHAPES: dict[str, Callable[[float], float]] = {
    "O(1)": lambda n: 1,
    "O(log N)": log2,
    "O(N)": lambda n: n,
    "O(N log N)": lambda n: n * log2(n),
    "O(N^2)": lambda n: n * n,
}


def order_of(steps: Callable[[int], int]) -> str:
    small, large = 2**20, 2**40  # so large that constants beside the leading term do not matter
    ratio = steps(large) / steps(small)
    return min(SHAPES, key=lambda name: abs(log2(ratio / (SHAPES[name](large) / SHAPES[name](small)))))
