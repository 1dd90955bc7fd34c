"""A number that rises with every arrival breaks the tie."""

import heapq
from itertools import count

arrivals = count()
heap: list[tuple[int, int, str]] = []
for title, priority in (("first", 5), ("second", 5), ("urgent", 9), ("third", 5), ("later", 1), ("fourth", 5)):
    heapq.heappush(heap, (-priority, next(arrivals), title))  # compared from left to right; no two are equal
while heap:
    negative, arrival, title = heapq.heappop(heap)
    print(f"{title:7} priority {-negative}, arrival {arrival}")
