"""Token buckets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskflow.kernel.bucket import MAX_BURST, MAX_RATE, NO_LIMIT, Buckets, Limit

SECOND_NS = 1_000_000_000


class Ticks:
    """A monotonic clock in nanoseconds that tests move."""

    def __init__(self, now: int = 12_345_678_901_234) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


@st.composite
def limits(draw: st.DrawFn) -> Limit:
    rate = draw(st.floats(0.01, 40) | st.integers(1, 40))
    return Limit(rate, draw(st.integers(int(rate) + 1, int(rate) + 40)))


@given(limits(), st.lists(st.tuples(st.integers(0, 3 * SECOND_NS), st.integers(1, 90)), min_size=1, max_size=30))
def test_no_span_of_time_lets_through_more_than_the_burst_and_what_the_rate_brings(
    limit: Limit, crowds: list[tuple[int, int]]
) -> None:
    ticks = Ticks(0)
    buckets = Buckets(limit, clock=ticks)
    granted = 0
    least = 0.0  # of what was granted before any instant so far, less what the rate brought until then
    for pause, size in crowds:
        ticks.now += pause
        brought = limit.rate * ticks.now / SECOND_NS
        least = min(least, granted - brought)
        granted += sum(buckets.take("a").is_granted for _ in range(size))
        assert granted - brought - least <= limit.burst + 1e-6


@given(limits(), st.integers(1, 50))
def test_one_that_keeps_to_the_rate_is_never_refused(limit: Limit, count: int) -> None:
    ticks = Ticks()
    buckets = Buckets(limit, clock=ticks)
    for _ in range(count):
        assert buckets.take("a").is_granted
        ticks.now += limit.interval_ns


@given(limits(), st.integers(0, 20 * SECOND_NS))
def test_what_is_said_to_remain_is_there_and_no_more(limit: Limit, pause: int) -> None:
    ticks = Ticks()
    buckets = Buckets(limit, clock=ticks)
    taken = buckets.take("a")
    assert taken.remaining == limit.burst - 1
    ticks.now += pause
    remaining = buckets.take("a").remaining
    for left in reversed(range(remaining)):
        assert buckets.take("a").remaining == left
    assert not buckets.take("a").is_granted


@given(limits(), st.integers(0, SECOND_NS))
def test_a_refusal_says_exactly_when_there_is_one_again(limit: Limit, pause: int) -> None:
    ticks = Ticks()
    buckets = Buckets(limit, clock=ticks)
    while (taken := buckets.take("a")).is_granted:
        pass
    ticks.now += min(pause, taken.next_ns - 1)
    refused = buckets.take("a")
    assert not refused.is_granted  # and asking costs nothing
    ticks.now += refused.next_ns - 1
    assert not buckets.take("a").is_granted
    ticks.now += 1
    assert buckets.take("a").is_granted


def test_an_answer_says_when_there_is_one_more() -> None:
    ticks = Ticks()
    buckets = Buckets(Limit(2, 4), clock=ticks)
    assert buckets.take("a") == (True, 3, SECOND_NS // 2)
    ticks.now += SECOND_NS // 5
    assert buckets.take("a") == (True, 2, 3 * SECOND_NS // 10)


def test_each_key_has_a_bucket_of_its_own() -> None:
    buckets = Buckets(Limit(1, 1), clock=Ticks())
    assert buckets.take("a").is_granted
    assert not buckets.take("a").is_granted
    assert buckets.take("b").is_granted


def test_what_is_given_back_can_be_taken_again() -> None:
    buckets = Buckets(Limit(1, 2), clock=Ticks())
    buckets.take("a")
    buckets.take("a")
    buckets.give_back("a")
    assert buckets.take("a").is_granted
    assert not buckets.take("a").is_granted
    buckets.give_back("never seen")
    assert buckets.take("never seen").remaining == 1


def test_giving_back_never_fills_a_bucket_over_its_brim() -> None:
    ticks = Ticks()
    buckets = Buckets(Limit(1, 2), clock=ticks)
    buckets.take("a")
    ticks.now += 10 * SECOND_NS
    buckets.give_back("a")
    assert [buckets.take("a").is_granted for _ in range(3)] == [True, True, False]


def test_the_bucket_asked_longest_ago_is_forgotten_first() -> None:
    buckets = Buckets(Limit(1, 1), max_keys=2, clock=Ticks())
    buckets.take("a")
    buckets.take("b")
    assert not buckets.take("a").is_granted  # asked again, so b is the oldest now
    buckets.take("c")
    assert len(buckets) == 2
    assert not buckets.take("a").is_granted
    assert buckets.take("b").is_granted


@pytest.mark.parametrize(
    ("rate", "burst"),
    [(0, 1), (1, 0), (-1, 1), (10, 9), (0.5, 0), (MAX_RATE + 1, MAX_BURST), (1, MAX_BURST + 1), (float("nan"), 1)],
)
def test_a_limit_that_makes_no_sense_is_refused(rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        Limit(rate, burst)


def test_no_limit_has_no_buckets() -> None:
    assert not NO_LIMIT
    with pytest.raises(ValueError, match="without a limit"):
        Buckets(NO_LIMIT)


@pytest.mark.parametrize(("limit", "seconds"), [(Limit(100, 500), 5), (Limit(3, 10), 4), (Limit(0.1, 6), 60)])
def test_the_window_is_the_time_in_which_an_empty_bucket_fills(limit: Limit, seconds: int) -> None:
    assert limit.window_s == seconds
