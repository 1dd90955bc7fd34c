"""
Token buckets: how often somebody may do something.

A bucket holds up to `burst` tokens and gains `rate` of them per second; what is done takes one. All that is kept of a
bucket is the instant at which it will be full again, in whole nanoseconds, so nothing is lost to rounding: in any span
of time no more is let through than the burst and what the rate brings in that time.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

MAX_KEYS = 10_000
MIN_RATE = 0.001
MAX_RATE = 1_000_000
MAX_BURST = 10_000_000

_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Limit:
    """*rate* per second and *burst* at once, which is never less than a second's worth. `NO_LIMIT` is false."""

    rate: float
    burst: int

    def __post_init__(self) -> None:
        if self.rate == 0 and self.burst == 0:
            return
        if not MIN_RATE <= self.rate <= MAX_RATE:
            raise ValueError(f"the rate must be 0 or from {MIN_RATE} to {MAX_RATE} per second")
        if not max(1, self.rate) <= self.burst <= MAX_BURST:
            raise ValueError(f"the burst must be 1 or more, no less than the rate, and {MAX_BURST} at most")

    def __bool__(self) -> bool:
        return self.burst > 0

    @property
    def interval_ns(self) -> int:
        """In what time one token comes."""
        return ceil(_SECOND_NS / self.rate)

    @property
    def window_s(self) -> int:
        """In what time an empty bucket is full, in whole seconds."""
        return -(-self.burst * self.interval_ns // _SECOND_NS)


NO_LIMIT = Limit(0, 0)


class Taken(NamedTuple):
    """
    What came of asking for a token.

    Args:
        is_granted: it was taken.
        remaining: how many whole tokens are left.
        next_ns: how long until there is one more.
    """

    is_granted: bool
    remaining: int
    next_ns: int


class Buckets:
    """
    The buckets of one limit, one per key.

    Beyond *max_keys*, the one that was asked longest ago is forgotten, as though it had filled up.

    Args:
        clock: monotonic, in nanoseconds.
    """

    def __init__(self, limit: Limit, *, max_keys: int = MAX_KEYS, clock: Callable[[], int] = time.monotonic_ns) -> None:
        if not limit:
            raise ValueError("there are no buckets without a limit")
        self._interval = limit.interval_ns
        self._capacity = limit.burst * self._interval
        self._max_keys = max_keys
        self._clock = clock
        self._full_at: OrderedDict[Hashable, int] = OrderedDict()  # the one asked longest ago first

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: Hashable) -> Taken:
        """Take a token of *key*'s, if there is one."""
        now = self._clock()
        interval = self._interval
        missing = self._full_at.get(key, 0) - now  # the time that has to fill the bucket
        missing = interval if missing <= 0 else missing + interval
        level = self._capacity - missing
        if level < 0:
            self._full_at.move_to_end(key)
            return Taken(False, 0, -level)
        self._full_at[key] = now + missing
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._max_keys:
            self._full_at.popitem(last=False)
        remaining, part = divmod(level, interval)
        return Taken(True, remaining, interval - part)

    def give_back(self, key: Hashable) -> None:
        """Undo one `take` of *key*'s."""
        if key in self._full_at:
            self._full_at[key] -= self._interval
