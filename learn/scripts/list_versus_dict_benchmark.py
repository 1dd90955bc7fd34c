#!/usr/bin/env python3
"""
List or dict? Find tasks by id among N of them.

    python3 learn/scripts/list_versus_dict_benchmark.py [100000]

A list must be searched from the front: O(N). A dict computes where the key must be: O(1).
"""

import sys
from dataclasses import dataclass
from time import perf_counter
from uuid import uuid4

from demo_console import fail, summary, table, title

LOOKUPS = 100
HIGH = 5_000_000


@dataclass(frozen=True, slots=True)
class Item:
    id: str


def measure(count: int) -> tuple[float, float]:
    """Return the mean time of a look-up among *count* items, in microseconds: in a list, in a dict."""
    items = [Item(str(uuid4())) for _ in range(count)]
    by_id = {item.id: item for item in items}
    wanted = [items[index * count // LOOKUPS].id for index in range(LOOKUPS)]  # from the front to the back

    begun = perf_counter()
    in_list = [next(item for item in items if item.id == key) for key in wanted]
    list_us = (perf_counter() - begun) / LOOKUPS * 1e6

    begun = perf_counter()
    in_dict = [by_id[key] for key in wanted]
    dict_us = (perf_counter() - begun) / LOOKUPS * 1e6
    assert in_list == in_dict
    return list_us, dict_us


def main() -> None:
    text = sys.argv[1] if len(sys.argv) > 1 else "100000"
    if not text.isdigit() or not LOOKUPS <= int(text) <= HIGH:
        fail(f"the number of items must be a whole number from {LOOKUPS} to {HIGH}, got {text!r}")
    largest = int(text)
    title(f"Mean of {LOOKUPS} look-ups by id")
    rows, factor = [], 0.0
    for count in (largest // 100, largest // 10, largest):
        list_us, dict_us = measure(max(count, LOOKUPS))
        factor = list_us / dict_us
        rows.append((f"{max(count, LOOKUPS):,} items", f"list {list_us:10.2f} µs    dict {dict_us:6.2f} µs"))
    table(rows)
    summary(
        [
            "Ten times the items make the list ten times slower; the dict does not notice.",
            "O(1) is not magic: the hash of the key says where to look. The price is memory, and a key to hash.",
            "For a few items a list is fine. The question is what happens when there are many.",
        ],
        [(f"dict faster than list, at {largest:,} items", f"{factor:,.0f} times")],
    )


if __name__ == "__main__":
    main()
