"""What the API says in numbers, whatever the transport: which hours are meant, and how numbers look from outside."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from taskflow.engine.job import State
from taskflow.engine.record import EndCount, LiveCount
from taskflow.engine.statistics import Numbers, Period, Statistics, percentiles_s
from taskflow.http.validation import field_errors
from taskflow.identity.access import Principal
from taskflow.kernel.errors import FieldError, Invalid
from taskflow.stats.schemas import (
    DEFAULT_DAYS,
    MAX_DAYS,
    Ended,
    GroupView,
    LatencyView,
    LiveView,
    PointView,
    ReadStats,
    StatsView,
    UptimeView,
    WorkersView,
)

HOURLY_DAYS = 2  # up to so long a window is shown by the hour unless it is asked otherwise
MAX_HOURLY_DAYS = 31
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
_SHARES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Window:
    """Whole hours, from *first* to before *past*."""

    first: datetime
    past: datetime
    period: Period


class Stats:
    """
    The numbers of every namespace.

    Args:
        lasts: whether this process goes on, so that its uptime says something.
    """

    def __init__(self, statistics: Statistics, *, lasts: bool = True) -> None:
        self._statistics = statistics
        self._began_s = time.monotonic() if lasts else None

    async def read(self, principal: Principal, asked: ReadStats) -> StatsView:
        """Return the numbers. Raises Invalid for a window that cannot be had."""
        window = window_of(asked, await self._statistics.read_now())
        numbers = await self._statistics.read(
            principal.namespace, first=window.first, past=window.past, period=window.period
        )
        began_s = self._began_s
        return _view(numbers, window, None if began_s is None else time.monotonic() - began_s)


def read_asked(asked: Mapping[str, str]) -> ReadStats:
    """Return parameters as `ReadStats`. Raises Invalid."""
    try:
        return ReadStats.model_validate(asked)
    except ValidationError as error:
        raise Invalid("the numbers cannot be had", errors=field_errors(error, parameters=tuple(asked))) from None


def window_of(asked: ReadStats, now: datetime) -> Window:
    """
    Return the hours that are meant; those of the future are left out.

    Raises:
        Invalid: both ways of saying it are mixed, it ends before it begins, it is over the limit, or its
            year is of no use.
    """
    if asked.days is not None and (asked.ended_from or asked.ended_to):
        detail = "give days, or from and to, not both"
        raise Invalid(detail, errors=[FieldError("days", "exclusive", detail)])
    for name, at in (("from", asked.ended_from), ("to", asked.ended_to)):
        if at is not None and not _EARLIEST <= at < _LATEST:  # past these, calendars end in other time zones
            detail = f"must be from the year {_EARLIEST.year} to before {_LATEST.year}"
            raise Invalid("the window cannot be had", errors=[FieldError(name, "out_of_range", detail)])
    to = min(asked.ended_to or now, now)
    past = _floor(to) if to == _floor(to) else _floor(to) + _HOUR
    if asked.ended_from is not None:
        first = _floor(asked.ended_from)
    else:
        first = past - timedelta(days=asked.days or DEFAULT_DAYS)
    if first >= past:
        detail = "must be before to, and not in the future"
        raise Invalid("the window is empty", errors=[FieldError("from", "out_of_range", detail)])
    if past - first > timedelta(days=MAX_DAYS):
        detail = f"at most {MAX_DAYS} days, got {(past - first) / _DAY:.1f}"
        raise Invalid("the window is too long", errors=[FieldError("from", "out_of_range", detail)])
    period: Period = asked.period or ("hour" if past - first <= timedelta(days=HOURLY_DAYS) else "day")
    if period == "hour" and past - first > timedelta(days=MAX_HOURLY_DAYS):
        detail = f"by the hour for at most {MAX_HOURLY_DAYS} days"
        raise Invalid("the series is too long", errors=[FieldError("period", "out_of_range", detail)])
    return Window(first, past, period)


def _view(numbers: Numbers, window: Window, api_s: float | None) -> StatsView:
    ended = _ended(numbers.ended)
    states = {str(state): 0 for state in State}
    for live in numbers.live:
        states[live.state] += live.jobs
    states |= {"completed": ended.completed, "failed": ended.failed, "cancelled": ended.cancelled}
    since = numbers.workers_since
    return StatsView(
        at=numbers.now,
        window_from=window.first,
        window_to=window.past,
        states=states,
        capped=sorted({str(live.state) for live in numbers.live if live.reached}),
        success_rate=_success_rate(ended),
        run=_latency(numbers.ended, "run"),
        wait=_latency(numbers.ended, "wait"),
        live=_live(numbers.live),
        queues=_groups(numbers.ended, lambda count: count.queue),
        task_types=_groups(numbers.ended, lambda count: count.kind),
        period=window.period,
        series=list(_series(numbers, window)),
        workers=WorkersView(numbers.workers, numbers.slots),
        uptime=UptimeView(
            None if api_s is None else round(api_s * 1000),
            None if since is None else max((numbers.now - since) // timedelta(milliseconds=1), 0),
        ),
    )


def _live(counts: Iterable[LiveCount]) -> list[LiveView]:
    queues: dict[str, dict[str, int]] = {}
    for count in counts:
        queues.setdefault(count.queue, {})[count.state] = count.jobs
    return [LiveView(queue, **states) for queue, states in sorted(queues.items())]


def _groups(counts: Sequence[EndCount], key: Callable[[EndCount], str]) -> list[GroupView]:
    groups: dict[str, list[EndCount]] = {}
    for count in counts:
        groups.setdefault(key(count), []).append(count)
    found = []
    for name, members in sorted(groups.items()):
        ended = _ended(members)
        rate = _success_rate(ended)
        found.append(GroupView(name, ended, rate, _latency(members, "run"), _latency(members, "wait")))
    return found


def _ended(counts: Iterable[EndCount]) -> Ended:
    sums = {State.COMPLETED: 0, State.FAILED: 0, State.CANCELLED: 0}
    for count in counts:
        if count.measure == "run":
            sums[count.state] += count.jobs
    return Ended(sums[State.COMPLETED], sums[State.FAILED], sums[State.CANCELLED])


def _success_rate(ended: Ended) -> float | None:
    decided = ended.completed + ended.failed
    return round(ended.completed / decided, 6) if decided else None


def _latency(counts: Iterable[EndCount], measure: str) -> LatencyView:
    found = percentiles_s(((count.bucket, count.jobs) for count in counts if count.measure == measure), _SHARES)
    return LatencyView(*(None if found[share] is None else round(1000 * (found[share] or 0.0), 3) for share in _SHARES))


def _series(numbers: Numbers, window: Window) -> Iterator[PointView]:
    known: dict[datetime, dict[State, int]] = {}
    for count in numbers.series:
        known.setdefault(count.at, {})[count.state] = count.jobs
    step = _HOUR if window.period == "hour" else _DAY
    at = window.first if window.period == "hour" else window.first.replace(hour=0)
    while at < window.past:
        jobs = known.get(at, {})
        yield PointView(at, jobs.get(State.COMPLETED, 0), jobs.get(State.FAILED, 0), jobs.get(State.CANCELLED, 0))
        at += step


def _floor(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
