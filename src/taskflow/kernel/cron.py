"""
When a schedule fires: pure arithmetic on instants, no clock.

A cron expression names times on the wall. `cronsim` says which those are, as if every day had 24 hours; what a zone's
clock changes make of them is decided here, for changes of any size (Lord Howe's is half an hour):

- An expression that leaves out hours (`30 2 * * *`) names moments of a day, and each of them comes once. One that the
  clock jumps over comes when it has jumped (several of them together count as one); of a time that the clock shows
  twice, the first counts.
- An expression for every hour (`*/15 * * * *`) follows the clock: it fires whenever the wall shows a time that it
  names. A skipped hour has none of them, a repeated hour has all of them again.

Either way times grow strictly, so each is fired once. Why cronsim does not do this part: its zone arithmetic steps by
whole hours, and loses a firing at a half-hour change.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

MAX_EXPRESSION_CHARS = 200
MAX_ZONE_CHARS = 64
MIN_INTERVAL = timedelta(seconds=1)
MAX_INTERVAL = timedelta(days=366)
ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

MAX_PART_CHARS = 40  # of a wrong field that are told

_FIELDS = (
    ("second", "0 to 59"),
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day", "1 to 31, L or LW"),
    ("month", "1 to 12 or JAN to DEC"),
    ("weekday", "0 to 7 or SUN to SAT"),
)
_FORMS = "*, lists such as 1,3, ranges such as 1-5 and steps such as */10"
_LAST_YEAR = 9000  # past it, calendars of others end before ours does
_ZONE = re.compile(rf"[A-Za-z][A-Za-z0-9_+/-]{{0,{MAX_ZONE_CHARS - 1}}}")
_HOST_ZONES = frozenset({"localtime", "posixrules", "Factory"})  # names of the machine's own settings, not of places
_ALL_HOURS = frozenset(range(24))
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_FIRST_WINDOW = timedelta(minutes=1)


class Timetable(Protocol):
    """A rule that gives instants, one after the other."""

    def next_after(self, at: datetime) -> datetime | None:
        """Return the first instant after *at*, in UTC; None if there is none within 50 years."""
        ...


@dataclass(frozen=True, slots=True)
class Interval:
    """Every *every*, counted from *anchor*; the anchor itself is not one of the instants before it was reached."""

    every: timedelta
    anchor: datetime

    def __post_init__(self) -> None:
        if not MIN_INTERVAL <= self.every <= MAX_INTERVAL:
            limits = f"{MIN_INTERVAL.total_seconds():.0f} s to {MAX_INTERVAL.days} days"
            raise ValueError(f"an interval is {limits}, got {self.every}")

    def next_after(self, at: datetime) -> datetime | None:
        if at < self.anchor:
            return self.anchor
        following = self.anchor + ((at - self.anchor) // self.every + 1) * self.every
        return following if following.year < _LAST_YEAR else None


@dataclass(frozen=True, slots=True)
class Cron:
    """
    A cron expression in a zone: minute hour day month weekday, with seconds before them if there are six fields.

    Raises:
        ValueError: the expression cannot be read, or never comes true; says which fields are wrong, and what they take.
    """

    expression: str
    zone: ZoneInfo
    _fields: str = field(init=False, repr=False)
    _follows_clock: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_fields", _fields_of(self.expression))
        probe = _cronsim(self._fields, datetime(2024, 1, 1))  # noqa: DTZ001 -- a time on the wall
        object.__setattr__(self, "_follows_clock", frozenset(probe.hours) == _ALL_HOURS)
        if next(probe, None) is None:
            raise ValueError("never comes true: no such day within 50 years")

    def next_after(self, at: datetime) -> datetime | None:
        at = at.astimezone(UTC)
        return self._next_on_clock(at) if self._follows_clock else self._next_of_day(at)

    def _next_of_day(self, at: datetime) -> datetime | None:
        """
        Times of day: walls are gone through in order, each stands for one instant.

        The instant that a wall stands for never falls while walls rise, so the first that is later than *at* is next.
        """
        for wall in _walls_after(self._fields, at.astimezone(self.zone).replace(tzinfo=None)):
            instant = self._instant_of(wall)
            if instant > at:
                return instant
        return None

    def _next_on_clock(self, at: datetime) -> datetime | None:
        """What the clock shows: inside one offset from UTC walls and instants run alike; each change starts anew."""
        after = at
        while True:
            offset = self._offset(after)
            wall = next(_walls_after(self._fields, (after + offset).replace(tzinfo=None)), None)
            if wall is None:
                return None
            instant = wall.replace(tzinfo=UTC) - offset
            change = self._first_change(after, instant)
            if change is None:
                return instant
            wall_then = (change + self._offset(change)).replace(tzinfo=None)
            if next(_walls_after(self._fields, wall_then - _SECOND), None) == wall_then:
                return change
            after = change

    def _instant_of(self, wall: datetime) -> datetime:
        """Return the first instant that shows *wall*, or, if the clock jumps over it, the one at which it jumps."""
        instant = wall.replace(tzinfo=self.zone, fold=0).astimezone(UTC)
        if instant.astimezone(self.zone).replace(tzinfo=None) == wall:
            return instant
        # Skipped. fold=0 reads it by the offset before the jump, which puts it after the jump; the jump is before that.
        change = self._first_change(instant - _DAY, instant)
        return instant if change is None else change

    def _offset(self, at: datetime) -> timedelta:
        offset = at.astimezone(self.zone).utcoffset()
        return timedelta(0) if offset is None else offset

    def _first_change(self, after: datetime, until: datetime) -> datetime | None:
        """Return the first instant in (*after*, *until*] from which another offset holds; no zone has two in a day."""
        low = after
        offset = self._offset(low)
        while low < until:
            high = min(low + _DAY, until)
            if self._offset(high) != offset:
                break
            low = high
        else:
            return None
        low = low.replace(microsecond=0)
        high = high.replace(microsecond=0) + (_SECOND if high.microsecond else timedelta(0))
        while high - low > _SECOND:
            middle = low + timedelta(seconds=(high - low) // _SECOND // 2)
            if self._offset(middle) == offset:
                low = middle
            else:
                high = middle
        return high


def find_zone(name: str) -> ZoneInfo:
    """Return the IANA zone *name*. Raises ValueError."""
    try:
        if _ZONE.fullmatch(name) and name not in _HOST_ZONES:
            return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder of zones, such as "America"
        pass
    raise ValueError(f"is not an IANA time zone such as Europe/Berlin or UTC, got {name[:MAX_ZONE_CHARS]!r}")


def upcoming(timetable: Timetable, after: datetime, count: int) -> list[datetime]:
    """Return the next *count* instants after *after*, fewer if the timetable ends."""
    found: list[datetime] = []
    while len(found) < count and (instant := timetable.next_after(found[-1] if found else after)) is not None:
        found.append(instant)
    return found


def latest(timetable: Timetable, first: datetime, until: datetime, count: int) -> list[datetime]:
    """
    Return the last *count* instants from *first*, which is one, to *until*, oldest first.

    Looks back from *until* in windows that double, so that a year of missed seconds costs no more than a few.
    """
    window = _FIRST_WINDOW
    while True:
        begin = until - window
        if begin < first:
            return [first, *_between(timetable, first, until)][-count:]
        found = _between(timetable, begin, until)
        if len(found) >= count:
            return found[-count:]
        window *= 2


def _between(timetable: Timetable, after: datetime, until: datetime) -> list[datetime]:
    found: list[datetime] = []
    at = timetable.next_after(after)
    while at is not None and at <= until:
        found.append(at)
        at = timetable.next_after(at)
    return found


def _fields_of(expression: str) -> str:
    text = expression.strip()
    if len(text) > MAX_EXPRESSION_CHARS:
        raise ValueError(f"at most {MAX_EXPRESSION_CHARS} characters, got {len(text)}")
    if text.startswith("@"):
        if (fields := ALIASES.get(text.lower())) is None:
            raise ValueError(f"is none of {', '.join(sorted(ALIASES))}")
        return fields
    if len(text.split()) not in (5, 6):
        raise ValueError(
            f"has five fields (minute hour day month weekday) or six (seconds before them), got {len(text.split())}"
        )
    return text


def _cronsim(fields: str, wall: datetime) -> CronSim:
    try:
        return CronSim(fields, wall)
    except CronSimError:
        raise ValueError(_what_is_wrong(fields)) from None


def _what_is_wrong(fields: str) -> str:
    """Name each field that cannot be read, with its value and what it takes; alone, so that others do not hide it."""
    parts = fields.split()
    wrong = []
    for place, part in enumerate(parts, start=len(_FIELDS) - len(parts)):
        alone = ["*"] * len(_FIELDS)
        alone[place] = part
        try:
            CronSim(" ".join(alone), datetime(2024, 1, 1))  # noqa: DTZ001 -- a time on the wall
        except CronSimError:
            name, takes = _FIELDS[place]
            wrong.append(f"the {name} cannot be {_cut(part)!r}: it takes {takes}")
    if not wrong:  # each can be, and all of them together cannot
        return f"never comes true: no month of {_cut(parts[-2])!r} has a day {_cut(parts[-3])!r}"
    return f"{'; '.join(wrong)}; also {_FORMS}"


def _cut(part: str) -> str:
    return part if len(part) <= MAX_PART_CHARS else f"{part[:MAX_PART_CHARS]}…"


def _walls_after(fields: str, wall: datetime) -> Iterator[datetime]:
    """Yield the times on the wall that *fields* name after *wall*, as naive datetimes."""
    if wall.year >= _LAST_YEAR:
        return
    yield from _cronsim(fields, wall)
