"""For small N the constant decides: a binary search in Python against a walk in C."""

from timeit import timeit


def binary(values: list[int], wanted: int) -> bool:
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low < len(values) and values[low] == wanted


for size in (5, 50, 500, 5_000):
    values = list(range(size))
    walk = timeit(lambda: size - 1 in values, number=500) / 500 * 1e6  # noqa: B023 - called at once
    halve = timeit(lambda: binary(values, size - 1), number=500) / 500 * 1e6  # noqa: B023
    print(f"{size:5} entries: walk {walk:6.2f} us, halve {halve:6.2f} us")  # microseconds
