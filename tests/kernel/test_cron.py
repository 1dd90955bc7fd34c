"""When schedules fire: through both changes of the clock, of an hour and of half an hour, and through a whole year."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskflow.kernel.cron import MAX_INTERVAL, MIN_INTERVAL, Cron, Interval, find_zone, latest, upcoming

NEW_YORK, BERLIN, LORD_HOWE = "America/New_York", "Europe/Berlin", "Australia/Lord_Howe"
ZONES = (NEW_YORK, BERLIN, LORD_HOWE, "UTC", "Asia/Kolkata", "Africa/Casablanca", "Pacific/Apia")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def shown(expression: str, zone: str, after: str, count: int) -> list[str]:
    """The next times as the clocks of the zone show them."""
    cron = Cron(expression, find_zone(zone))
    return [time.astimezone(cron.zone).isoformat() for time in upcoming(cron, at(after), count)]


# Clock changes -------------------------------------------------------------------------------------------------------

# Of 2026: New York 8 March 02:00 → 03:00 and 1 November 02:00 → 01:00; Berlin 29 March and 25 October, an hour later;
# Lord Howe 4 October 02:00 → 02:30 and 5 April 02:00 → 01:30.
CHANGES: Sequence[tuple[str, str, str, str, list[str]]] = [
    (
        "a time of day that the clock jumps over comes when it has jumped",
        "30 2 * * *",
        NEW_YORK,
        "2026-03-07T12:00:00-05:00",
        ["2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"],
    ),
    (
        "several times that are jumped over are one",
        "0,20,40 2 * * *",
        NEW_YORK,
        "2026-03-07T12:00:00-05:00",
        ["2026-03-08T03:00:00-04:00", "2026-03-09T02:00:00-04:00"],
    ),
    (
        "one that is jumped over and one that comes at the jump are one",
        "0 2,3 * * *",
        NEW_YORK,
        "2026-03-07T12:00:00-05:00",
        ["2026-03-08T03:00:00-04:00", "2026-03-09T02:00:00-04:00", "2026-03-09T03:00:00-04:00"],
    ),
    (
        "of a time that is shown twice the first counts",
        "30 1 * * *",
        NEW_YORK,
        "2026-10-31T12:00:00-04:00",
        ["2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"],
    ),
    (
        "what runs every hour leaves out the hour that is not there",
        "0 * * * *",
        NEW_YORK,
        "2026-03-08T00:30:00-05:00",
        ["2026-03-08T01:00:00-05:00", "2026-03-08T03:00:00-04:00", "2026-03-08T04:00:00-04:00"],
    ),
    (
        "what runs every hour runs in both of a doubled hour",
        "30 * * * *",
        NEW_YORK,
        "2026-11-01T00:45:00-04:00",
        ["2026-11-01T01:30:00-04:00", "2026-11-01T01:30:00-05:00", "2026-11-01T02:30:00-05:00"],
    ),
    (
        "the first instant after a change counts too",
        "0 * * * *",
        NEW_YORK,
        "2026-11-01T01:00:00-04:00",
        ["2026-11-01T01:00:00-05:00", "2026-11-01T02:00:00-05:00"],
    ),
    (
        "Berlin jumps over two to three",
        "15 2 * * *",
        BERLIN,
        "2026-03-28T12:00:00+01:00",
        ["2026-03-29T03:00:00+02:00", "2026-03-30T02:15:00+02:00"],
    ),
    (
        "Berlin shows two to three twice",
        "15 2 * * *",
        BERLIN,
        "2026-10-24T12:00:00+02:00",
        ["2026-10-25T02:15:00+02:00", "2026-10-26T02:15:00+01:00"],
    ),
    (
        "between the two showings nothing is said twice",
        "15,45 2 * * *",
        BERLIN,
        "2026-10-25T02:30:00+02:00",
        ["2026-10-25T02:45:00+02:00", "2026-10-26T02:15:00+01:00"],
    ),
    (
        "Lord Howe jumps over half an hour",
        "15 2 * * *",
        LORD_HOWE,
        "2026-10-03T12:00:00+10:30",
        ["2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"],
    ),
    (
        "and leaves the other half alone",
        "45 2 * * *",
        LORD_HOWE,
        "2026-10-03T12:00:00+10:30",
        ["2026-10-04T02:45:00+11:00", "2026-10-05T02:45:00+11:00"],
    ),
    (
        "Lord Howe shows half an hour twice",
        "45 1 * * *",
        LORD_HOWE,
        "2026-04-04T12:00:00+11:00",
        ["2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"],
    ),
    (
        "an hour after a change of half an hour is not lost",
        "0 */2 * * *",
        LORD_HOWE,
        "2026-04-04T23:30:00+11:00",
        ["2026-04-05T00:00:00+11:00", "2026-04-05T02:00:00+10:30", "2026-04-05T04:00:00+10:30"],
    ),
    (
        "every quarter of an hour goes on through half an hour more",
        "*/15 * * * *",
        LORD_HOWE,
        "2026-04-05T01:30:00+11:00",
        ["2026-04-05T01:45:00+11:00", "2026-04-05T01:30:00+10:30", "2026-04-05T01:45:00+10:30"],
    ),
    (
        "a whole day that a country leaves out comes when it is over",
        "0 12 30 12 *",
        "Pacific/Apia",
        "2011-06-01T00:00:00+00:00",
        ["2011-12-31T00:00:00+14:00", "2012-12-30T12:00:00+14:00"],
    ),
]


@pytest.mark.parametrize(
    ("expression", "zone", "after", "times"), [case[1:] for case in CHANGES], ids=[c[0] for c in CHANGES]
)
def test_through_a_change_of_the_clock(expression: str, zone: str, after: str, times: list[str]) -> None:
    assert shown(expression, zone, after, len(times)) == times


# Against a watch that is read every minute -----------------------------------------------------------

minutes = st.sampled_from(["0", "30", "17", "0,20,40", "*/15", "5-10/5", "59"])
hours = st.sampled_from(["*", "2", "1,2", "0-5", "*/2", "3", "23", "1-2/1"])
weekdays = st.sampled_from(["*", "SUN", "1-5", "6,0"])


def shows(cron_fields: tuple[str, str, str]) -> Callable[[datetime], bool]:
    """An independent reading of the three fields that the property uses."""

    def values(field: str, low: int, high: int, names: dict[str, int]) -> set[int]:
        found: set[int] = set()
        for part in field.split(","):
            span, _, step = part.partition("/")
            if span == "*":
                first, last = low, high
            else:
                begin, _, end = span.partition("-")
                first = names.get(begin, -1) if begin in names else int(begin)
                last = int(end) if end else first
            found |= set(range(first, last + 1, int(step or 1)))
        return found

    minute, hour, weekday = cron_fields
    in_minutes, in_hours = values(minute, 0, 59, {}), values(hour, 0, 23, {})
    in_days = {day % 7 for day in values(weekday, 0, 6, {"SUN": 0})}
    return lambda wall: wall.minute in in_minutes and wall.hour in in_hours and wall.isoweekday() % 7 in in_days


def expected(fields: tuple[str, str, str], zone: ZoneInfo, begin: datetime, end: datetime) -> Iterator[datetime]:
    """
    What somebody with a watch would strike after *begin* up to *end*, reading it every minute.

    With an hour given, each time of the watch is struck once: those that it has jumped over, at the jump.
    """
    matches = shows(fields)
    instant = begin.replace(second=0) - timedelta(days=1)
    struck_to = instant.astimezone(zone).replace(tzinfo=None)
    while (instant := instant + timedelta(minutes=1)) <= end:
        wall = instant.astimezone(zone).replace(tzinfo=None)
        strikes = matches(wall) if fields[1] == "*" else False
        while fields[1] != "*" and struck_to < wall:
            struck_to += timedelta(minutes=1)
            strikes = strikes or matches(struck_to)
        if strikes and instant > begin:
            yield instant


@settings(max_examples=40, deadline=None)
@given(
    minute=minutes,
    hour=hours,
    weekday=weekdays,
    zone=st.sampled_from(ZONES),
    change=st.sampled_from(["2026-03-08", "2026-11-01", "2026-03-29", "2026-10-25", "2026-04-05", "2026-10-04"]),
    offset_s=st.integers(0, 86400),
)
@pytest.mark.slow
def test_around_any_change_nothing_is_lost_nothing_comes_twice_and_times_grow(
    minute: str, hour: str, weekday: str, zone: str, change: str, offset_s: int
) -> None:
    """The times that come are exactly those that an independent clock, read minute by minute, would have struck."""
    cron = Cron(f"{minute} {hour} * * {weekday}", find_zone(zone))
    begin = at(f"{change}T00:00:00+00:00") - timedelta(seconds=86400 - offset_s)
    end = begin + timedelta(days=3)
    found = list(itertools.takewhile(lambda time: time <= end, upcoming(cron, begin, 1000)))
    assert found == sorted(set(found))
    assert found == list(expected((minute, hour, weekday), cron.zone, begin, end))


@settings(max_examples=60, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    expression=st.sampled_from(
        ["*/7 * * * *", "30 1,2 * * *", "0 0 29 2 *", "15 10 L * *", "0 3 * * SUN#1", "*/20 * * * * *", "@monthly"]
    ),
    seconds=st.lists(st.integers(0, 2**30), min_size=2),
)
def test_later_looks_never_go_back(zone: str, expression: str, seconds: list[int]) -> None:
    cron = Cron(expression, find_zone(zone))
    instants = [at("2011-01-01T00:00:00+00:00") + timedelta(seconds=number) for number in sorted(seconds)]
    nexts = [(instant, cron.next_after(instant)) for instant in instants]
    for instant, following in nexts:
        assert following is not None
        assert following > instant
        assert cron.next_after(following - timedelta(microseconds=1)) == following
    assert [following for _, following in nexts] == sorted(following for _, following in nexts if following)


def test_seconds_stand_first_in_six_fields() -> None:
    times = shown("*/20 30 12 * * *", "UTC", "2026-01-01T12:30:00+00:00", 3)
    assert times == ["2026-01-01T12:30:20+00:00", "2026-01-01T12:30:40+00:00", "2026-01-02T12:30:00+00:00"]


def test_names_stand_for_expressions() -> None:
    assert shown("@weekly", "UTC", "2026-01-01T00:00:00+00:00", 1) == ["2026-01-04T00:00:00+00:00"]
    assert shown("@HOURLY", "UTC", "2026-01-01T00:00:00+00:00", 1) == ["2026-01-01T01:00:00+00:00"]


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "five fields"),
        ("* * * *", "five fields .* got 4"),
        ("* * * * * * *", "five fields .* got 7"),
        ("60 * * * *", "^the minute cannot be '60': it takes 0 to 59; also "),
        ("* 24 * * *", "^the hour cannot be '24': it takes 0 to 23; also "),
        ("* * 0 * *", "^the day cannot be '0': it takes 1 to 31, L or LW; also "),
        ("* * * 13 *", "^the month cannot be '13': it takes 1 to 12 or JAN to DEC; also "),
        ("* * * * 8", "^the weekday cannot be '8': it takes 0 to 7 or SUN to SAT; also "),
        ("60 * * * * *", "^the second cannot be '60': it takes 0 to 59; also "),
        ("a * * * *", "^the minute cannot be 'a': "),
        ("*/0 * * * *", r"^the minute cannot be '\*/0': .* steps such as \*/10$"),
        ("0 9-5 * * MO", "^the hour cannot be '9-5': it takes 0 to 23; the weekday cannot be 'MO': it takes 0 to 7 "),
        ("x" * 50 + " * * * *", f"^the minute cannot be '{'x' * 40}…': "),
        ("0 0 31 2 *", "^never comes true: no month of '2' has a day '31'$"),
        ("@sometimes", "none of @annually, @daily"),
        ("0 " + "0," * 200 + "0 * * *", "at most 200 characters"),
    ],
)
def test_what_is_no_expression_is_refused_with_the_reason(expression: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Cron(expression, find_zone("UTC"))


@pytest.mark.parametrize("name", ["", "America", "europe/berlin", "../etc/passwd", "localtime", "Mars/Base", "a" * 65])
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="IANA time zone"):
        find_zone(name)


# Intervals -----------------------------------------------------------------------------------------------------------


def test_an_interval_counts_from_its_anchor_and_keeps_its_beat() -> None:
    anchor = at("2026-01-01T00:00:10+00:00")
    interval = Interval(timedelta(seconds=90), anchor)
    assert interval.next_after(anchor - timedelta(days=1)) == anchor
    assert interval.next_after(anchor) == anchor + timedelta(seconds=90)
    assert interval.next_after(anchor + timedelta(seconds=89.999)) == anchor + timedelta(seconds=90)
    assert interval.next_after(anchor + timedelta(days=1)) == anchor + timedelta(days=1, seconds=90)


@pytest.mark.parametrize("every", [timedelta(0), MIN_INTERVAL / 2, MAX_INTERVAL * 2])
def test_an_interval_has_limits(every: timedelta) -> None:
    with pytest.raises(ValueError, match="1 s to 366 days"):
        Interval(every, at("2026-01-01T00:00:00+00:00"))


# After an outage -----------------------------------------------------------------------------------------------------


def test_the_latest_times_of_a_year_of_seconds_are_found_without_going_through_it() -> None:
    cron = Cron("* * * * * *", find_zone(BERLIN))
    until = at("2026-12-31T23:59:59.5+00:00")
    found = latest(cron, at("2026-01-01T00:00:00+00:00"), until, 3)
    assert found == [at(f"2026-12-31T23:59:{second}+00:00") for second in (57, 58, 59)]


@given(minutes_late=st.integers(0, 3000), count=st.integers(1, 11))
@settings(max_examples=20, deadline=None)
def test_the_latest_times_are_the_last_of_all(minutes_late: int, count: int) -> None:
    cron = Cron("*/17 * * * *", find_zone(NEW_YORK))
    first = at("2026-10-31T00:00:00+00:00")
    until = first + timedelta(minutes=minutes_late)
    every = [first, *itertools.takewhile(lambda time: time <= until, upcoming(cron, first, 500))]
    assert latest(cron, first, until, count) == every[-count:]
