"""Waits before the next attempt, and before the next connection."""

import random
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskflow.kernel.backoff import backoff_s, reconnect_waits_s


@pytest.mark.covers("S2-19")
@given(
    failures=st.integers(1, 10**6),
    cap_s=st.floats(0.1, 10**6),
    jitter_s=st.floats(0, 10),
    seed=st.integers(),
)
def test_a_wait_lies_between_the_power_of_two_and_the_jitter_above_it(
    failures: int, cap_s: float, jitter_s: float, seed: int
) -> None:
    least_s = min(cap_s, 2.0 ** min(failures, 62))
    wait_s = backoff_s(failures, cap_s=cap_s, jitter_s=jitter_s, rng=random.Random(seed))
    assert least_s <= wait_s <= least_s + jitter_s


@pytest.mark.parametrize("failures", [0, -1])
def test_there_is_no_wait_before_the_first_failure(failures: int) -> None:
    with pytest.raises(ValueError, match="must be 1 or more"):
        backoff_s(failures, rng=random.Random(1))


@given(seed=st.integers())
def test_reconnect_waits_double_up_to_the_cap_and_are_shortened_by_half_at_most(seed: int) -> None:
    waits = list(islice(reconnect_waits_s(first_s=0.05, cap_s=2.0, rng=random.Random(seed)), 12))
    for number, wait_s in enumerate(waits):
        whole_s = min(2.0, 0.05 * 2**number)
        assert whole_s / 2 <= wait_s <= whole_s


def test_reconnect_waits_never_end() -> None:
    assert len(list(islice(reconnect_waits_s(), 5000))) == 5000
