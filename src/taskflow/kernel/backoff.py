"""How long to wait: before the next attempt of a job, and before trying a lost connection again."""

import random
from collections.abc import Iterator


def backoff_s(failures: int, *, cap_s: float = 3600.0, jitter_s: float = 0.999, rng: random.Random) -> float:
    """
    Return the wait before the next attempt, in seconds: exponential, with a little jitter on top.

    Args:
        failures: attempts that failed so far; 1 or more.
        cap_s: longest wait before jitter.
        jitter_s: width of the random part, so that jobs that failed together do not return together.
        rng: source of randomness; tests pass a seeded one.

    Returns:
        A value in [w, w + jitter_s] with w = min(cap_s, 2 ** failures).

    Raises:
        ValueError: *failures* is below 1.

    Source: acceptance S2-19; M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
    """
    if failures < 1:
        raise ValueError(f"failures must be 1 or more, got {failures!r}")
    wait_s = min(cap_s, 2.0 ** min(failures, 62))  # a bare power overflows past failure 1024
    return wait_s + rng.uniform(0.0, jitter_s)


def reconnect_waits_s(
    *, first_s: float = 0.05, cap_s: float = 2.0, rng: random.Random | None = None
) -> Iterator[float]:
    """Yield waits for ever: doubling from *first_s* to *cap_s*, each shortened by up to half at random."""
    rng = rng or random.Random()  # noqa: S311 -- spreads load, guards nothing
    wait_s = first_s
    while True:
        yield wait_s * rng.uniform(0.5, 1.0)
        wait_s = min(cap_s, wait_s * 2)
