"""A cache without a limit: it makes every request faster, until the night when it ends the process."""

import tracemalloc

cache: dict[str, bytes] = {}


def render(path: str) -> bytes:
    if path not in cache:
        cache[path] = path.encode() * 200  # some kilobytes that were expensive to make
    return cache[path]


tracemalloc.start()
for hour in range(1, 5):
    for number in range(500):
        render(f"/search?q={hour}-{number}")  # people hardly ever search for the same thing twice
    print(f"hour {hour}: {tracemalloc.get_traced_memory()[0] / 1e6:5.1f} MB, {len(cache)} entries")
