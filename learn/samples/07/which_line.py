"""Which line holds the memory? Two snapshots, and the difference between them."""

import tracemalloc
from pathlib import Path

remembered: list[bytes] = []


def handle_request(number: int) -> int:
    remembered.append(b"%d" % number * 2_000)  # the leak
    answer = b"x" * 50_000  # large, but gone when the function returns
    return len(answer)


tracemalloc.start()
handle_request(0)  # warm up: what is made once for ever is no leak
before = tracemalloc.take_snapshot()
for number in range(300):
    handle_request(number)
after = tracemalloc.take_snapshot()
for change in after.compare_to(before, "lineno")[:1]:
    frame = change.traceback[0]
    print(f"{Path(frame.filename).name}:{frame.lineno} {change.size_diff / 1e6:+.1f} MB in {change.count_diff} blocks")
