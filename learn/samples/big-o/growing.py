"""A list grows by leaps. Most appends cost nothing, a few cost a lot, and the average is constant."""

import sys

values: list[int] = []
leaps, moved = [], 0
for number in range(200_000):
    before = sys.getsizeof(values)
    values.append(number)
    if sys.getsizeof(values) != before:  # a larger place was taken, and in the worst case all were moved there
        leaps.append(number)
        moved += number
print("the first leaps are at", leaps[:8], "and the last at", leaps[-2:])
print(f"{len(leaps)} leaps for 200,000 appends; {moved / 200_000:.1f} moves per append at most")
