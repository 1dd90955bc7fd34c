"""Count instead of measuring: how many comparisons does a pop take?"""

import heapq
import random


class Counted:
    comparisons = 0

    def __init__(self, value: int) -> None:
        self.value = value

    def __lt__(self, other: "Counted") -> bool:
        Counted.comparisons += 1
        return self.value < other.value


rng = random.Random(1)
for size in (100, 1_000, 10_000):
    heap = [Counted(rng.randrange(size)) for _ in range(size)]
    heapq.heapify(heap)  # O(N): cheaper than N pushes
    Counted.comparisons = 0
    for _ in range(size):
        heapq.heappop(heap)
    print(f"{size:6} entries: {Counted.comparisons / size:4.1f} comparisons per pop, of {size} for looking at all")
