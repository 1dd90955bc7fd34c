"""An event loop: a line of those who can go on, and a heap of those who sleep."""

import heapq
import time
from collections import deque
from collections.abc import Iterator

ready, sleeping = deque(), []


def count(name: str, pause_s: float) -> Iterator[float]:
    for number in (1, 2):
        print(name, number)
        yield pause_s  # "wake me in so many seconds"


ready.extend([count("slow", 0.05), count("fast", 0.02)])
while ready or sleeping:
    if not ready:
        time.sleep(max(0, sleeping[0][0] - time.monotonic()))  # nobody can go on, so nobody is kept waiting
        ready.append(heapq.heappop(sleeping)[2])
    work = ready.popleft()
    if (pause_s := next(work, None)) is not None:
        heapq.heappush(sleeping, (time.monotonic() + pause_s, id(work), work))
