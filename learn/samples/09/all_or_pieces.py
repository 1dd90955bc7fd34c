"""An export of many rows: first as one string, then row by row. How much memory is held at the worst moment?"""

import tracemalloc
from collections.abc import Iterator

COUNT = 50_000


def rows() -> Iterator[str]:
    for number in range(COUNT):
        yield f'"{number}","Synthetic task {number}","pending"\n'  # exists only while somebody looks at it


def send(data: bytes) -> int:
    return len(data)  # the network


ways = {
    "all at once": lambda: send("".join(rows()).encode()),
    "row by row": lambda: sum(send(row.encode()) for row in rows()),
}
for name, way in ways.items():
    tracemalloc.start()
    print(f"{name:12} {way() / 1e6:.1f} MB sent, at most {tracemalloc.get_traced_memory()[1] / 1e6:5.2f} MB held")
    tracemalloc.stop()
