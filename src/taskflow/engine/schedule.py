"""
What a schedule is, and what becomes of it when it is due: plain values and pure functions.

    due ─┬─> fired     a job was submitted
         ├─> skipped   the job before has not ended, another one holds the unique key, or the queue drains
         ├─> failed    the job could not be submitted: its kind is unknown, its payload no longer fits
         └─> missed    nobody was there in time, and catching up is not wanted for so many

Each instant gets one row of the ledger, in the transaction that submits its job and moves the schedule on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType
from uuid import UUID

from taskflow.engine.job import DEFAULT_NAMESPACE, Enqueued, JobId, UniqueScope
from taskflow.kernel.cron import Cron, Interval, Timetable, find_zone, latest
from taskflow.kernel.errors import FieldError
from taskflow.kernel.json import JSONObject

ScheduleId = NewType("ScheduleId", UUID)

MAX_SCHEDULES = 1000  # of a namespace
MAX_CATCHUP = 10  # instants that are made up for at once
PUNCTUAL = timedelta(seconds=60)  # later than this, an instant was missed: longer than any change of leader takes
MAX_DETAIL_CHARS = 1000
KEPT_TICKS_DAYS = 30


class Catchup(StrEnum):
    """What happens to instants at which nobody was there to fire: the last is made up for, up to ten are, or none."""

    LATEST = "latest"
    ALL = "all"
    NONE = "none"


class Overlap(StrEnum):
    """Whether a job may be submitted while the one before has not ended."""

    SKIP = "skip"
    ALLOW = "allow"


class TickOutcome(StrEnum):
    """What became of an instant."""

    FIRED = "fired"
    SKIPPED = "skipped"
    MISSED = "missed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SchedulePlan:
    """
    What somebody wants: when, and the job to submit.

    Args:
        cron, every: exactly one of them; *zone* is that of *cron*.
        queue, priority, retries, timeout_s: None for what the kind says when the schedule fires.
        callback_url, unique_key, unique_scope, unique_window: as of `NewJob`.
        expires_after: the same, counted from when the job is submitted.
    """

    name: str
    kind: str
    payload: JSONObject
    namespace: UUID = DEFAULT_NAMESPACE
    cron: str | None = None
    zone: str = "UTC"
    every: timedelta | None = None
    queue: str | None = None
    priority: int | None = None
    retries: int | None = None
    timeout_s: float | None = None
    tags: Sequence[str] = ()
    catchup: Catchup = Catchup.LATEST
    overlap: Overlap = Overlap.SKIP
    callback_url: str | None = None
    unique_key: str | None = None
    unique_scope: UniqueScope | None = None
    unique_window: timedelta | None = None
    expires_after: timedelta | None = None

    def timetable(self, anchor_at: datetime) -> Timetable:
        """Return when it fires; intervals are counted from *anchor_at*. Raises ValueError."""
        if self.cron is not None:
            return Cron(self.cron, find_zone(self.zone))
        if self.every is None:
            raise ValueError("a schedule has a cron expression or an interval")
        return Interval(self.every, anchor_at + self.every)


@dataclass(frozen=True, slots=True)
class Schedule:
    """
    A schedule as it is stored; times by the database's clock.

    Args:
        anchor_at: what intervals are counted from.
        next_at: None while it is paused, and when it never comes again.
        last_fire_at, last_outcome: the latest instant that was decided.
        last_job_id, last_job_at: the latest job, and the instant that it belongs to.
    """

    id: ScheduleId
    plan: SchedulePlan
    anchor_at: datetime
    created_at: datetime
    updated_at: datetime
    paused_at: datetime | None = None
    next_at: datetime | None = None
    last_fire_at: datetime | None = None
    last_outcome: TickOutcome | None = None
    last_job_id: JobId | None = None
    last_job_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """
    A row of the ledger.

    Args:
        manual: somebody asked for it (`run-now`).
        job_id: the job that was submitted, or the one that was in the way.
        detail: why it was skipped or failed.
        missed_until: the row stands for all instants from *fire_at* to this one.
    """

    schedule_id: ScheduleId
    fire_at: datetime
    outcome: TickOutcome
    manual: bool = False
    job_id: JobId | None = None
    detail: str | None = None
    missed_until: datetime | None = None
    decided_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """What a due schedule comes to: the instants to fire now, those missed before them, and when it is due next."""

    fire_ats: Sequence[datetime]
    missed: tuple[datetime, datetime] | None  # the first and the last
    next_at: datetime | None


def decide(schedule: Schedule, now: datetime) -> Due:
    """
    Return what is to be done about a schedule whose `next_at` is not after *now*.

    Raises:
        ValueError: its cron expression or zone is not known here (any more).
    """
    if schedule.next_at is None:
        raise ValueError("a schedule that is not due")
    timetable = schedule.plan.timetable(schedule.anchor_at)
    # Of one that could not be read, or whose zone has other rules by now, next_at is only when to look again.
    first = timetable.next_after(schedule.next_at - timedelta(microseconds=1))
    if first is None or first > now:
        return Due(fire_ats=[], missed=None, next_at=first)
    due = latest(timetable, first, now, MAX_CATCHUP + 1)
    match schedule.plan.catchup:
        case Catchup.ALL:
            fire_ats = due[-MAX_CATCHUP:]
        case Catchup.LATEST:
            fire_ats = due[-1:]
        case Catchup.NONE:
            fire_ats = due[-1:] if now - due[-1] <= PUNCTUAL else []
    left = due[: len(due) - len(fire_ats)]
    return Due(
        fire_ats=fire_ats,
        missed=(first, left[-1]) if left else None,
        next_at=timetable.next_after(now),
    )


def tick_of(schedule_id: ScheduleId, fire_at: datetime, enqueued: Enqueued) -> Tick:
    """Return the row of an instant whose job was submitted with that answer."""
    if enqueued.duplicate:
        detail = f"job {enqueued.id} holds the unique key"
        return Tick(schedule_id, fire_at, TickOutcome.SKIPPED, job_id=enqueued.id, detail=detail)
    return Tick(schedule_id, fire_at, TickOutcome.FIRED, job_id=enqueued.id)


def timing_errors(plan: SchedulePlan, anchor_at: datetime) -> list[FieldError]:
    """Say what is wrong with when *plan* fires, with the field names of the JSON API."""
    errors = rule_errors(plan.cron, plan.zone)
    if (plan.cron is None) == (plan.every is None):
        both = plan.cron is not None
        detail = "give cron or every, not both" if both else "a schedule has cron or every; give one of them"
        errors.append(FieldError("/cron", "exclusive" if both else "required", detail))
    elif plan.every is not None:
        try:
            plan.timetable(anchor_at)
        except ValueError as error:
            errors.append(FieldError("/every", "out_of_range", str(error)))
    return errors


def rule_errors(cron: str | None, zone: str) -> list[FieldError]:
    """Say what is wrong with a cron expression and its zone, each by itself."""
    errors = []
    try:
        rules = find_zone(zone)
    except ValueError as error:
        errors.append(FieldError("/timezone", "unknown_value", str(error)))
        rules = find_zone("UTC")
    try:
        if cron is not None:
            Cron(cron, rules)
    except ValueError as error:
        errors.append(FieldError("/cron", "bad_cron", str(error)))
    return errors
