"""
Find the line that leaks.

`growing_lines(action, rounds)` runs *action* so many times and returns the places that hold more memory after it than
before, largest first, as pairs ("file.py:12", bytes). Only places that grew by at least 100 bytes per round count:
everything else is noise.

Run *action* once before you look for the first time. What is made once, such as a cache of compiled patterns, is no
leak. And leave `tracemalloc` as you found it: switched off if it was off.
"""

from collections.abc import Callable

LEAST_BYTES = 100  # per round


def growing_lines(action: Callable[[], object], rounds: int = 100) -> list[tuple[str, int]]:
    raise NotImplementedError("two snapshots, and the difference between them")
