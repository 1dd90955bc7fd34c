"""
Say how it grows.

`order_of` gets a function that returns how many steps a piece of work takes for N, and says what it looks like: one of
"O(1)", "O(log N)", "O(N)", "O(N log N)", "O(N^2)". Steps are counted, so they are exact, but they may have constants in
them: 3 N + 20 is O(N), and so is N / 10.

Do the doubling test. Compare the steps for N and for 2 N, where N is large:

    O(1)         the same
    O(log N)     a little more, and the same little each time N is doubled
    O(N)         twice as many
    O(N log N)   a little more than twice
    O(N^2)       four times as many
"""

from collections.abc import Callable


def order_of(steps: Callable[[int], int]) -> str:
    ratio = steps(2_000) / steps(1_000)
    return "O(N)" if ratio > 1 else "O(1)"
