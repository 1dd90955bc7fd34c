"""What the schedules API takes and gives; see `jobs.schemas`, whose fields describe the job of a schedule."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from taskflow import kinds
from taskflow.engine.job import MAX_PRIORITY, MAX_RETRIES, MAX_TAGS, UniqueScope
from taskflow.engine.schedule import Catchup, Overlap, Schedule, SchedulePlan, Tick, TickOutcome
from taskflow.http.fields import Cursor, Limit, ListPage, bounded
from taskflow.http.paging import DEFAULT_LIMIT
from taskflow.jobs.schemas import MAX_TIMEOUT_MS, CallbackUrl, Name, Priority, Scope, Ttl, UniqueKey, Window
from taskflow.kernel.cron import MAX_EXPRESSION_CHARS, MAX_INTERVAL, MAX_ZONE_CHARS, MIN_INTERVAL, find_zone
from taskflow.kernel.durations import in_ms, of_ms
from taskflow.telemetry.log import redacted

MIN_INTERVAL_MS = MIN_INTERVAL // timedelta(milliseconds=1)
MAX_INTERVAL_MS = MAX_INTERVAL // timedelta(milliseconds=1)


def _one_of(values: "type[Catchup] | type[Overlap]") -> Any:
    def check(value: object) -> object:
        if isinstance(value, str) and value in list(values):
            return values(value)
        raise PydanticCustomError("unknown_value", "must be one of {known}", {"known": ", ".join(values)})

    return Annotated[values, PlainValidator(check), WithJsonSchema({"type": "string", "enum": list(values)})]


_Cron = Annotated[str, Field(min_length=1, max_length=MAX_EXPRESSION_CHARS)]
_Zone = Annotated[str, Field(min_length=1, max_length=MAX_ZONE_CHARS)]
_Every = bounded(MIN_INTERVAL_MS, MAX_INTERVAL_MS, " ms")
_Retries = bounded(0, MAX_RETRIES)
_Timeout = bounded(1, MAX_TIMEOUT_MS, " ms")
_Catchup = _one_of(Catchup)
_Overlap = _one_of(Overlap)

_CRON = (
    "Minute, hour, day, month, weekday; six fields begin with seconds. Also `@hourly`, `@daily`, `@weekly`, "
    "`@monthly`, `@yearly`. Not together with `every`."
)
_ZONE = "IANA time zone that `cron` is read in, such as `Europe/Berlin`."
_CALLBACK = "Is told of the end of each of its jobs; as of a submit."
_TTL = (
    "Milliseconds from when a job is submitted: it fails with the reason `expired` if no worker has started it by then."
)
_KEY = "Its jobs have this unique key. A time at which another job holds it is `skipped`, and `jobId` says which one."
_SCOPE = "How long the key is held; by default `until_finished`."
_WINDOW = "Milliseconds; with the scope `window`, and only then."
_EVERY = "Milliseconds between two jobs, counted from the schedule's creation."


class Timing(BaseModel):
    """When a schedule would fire."""

    model_config = ConfigDict(extra="forbid", strict=True, title="Timing")

    cron: _Cron | None = Field(default=None, description=_CRON)
    timezone: _Zone = Field(default="UTC", description=_ZONE)
    every: _Every = Field(default=None, description=_EVERY)  # type: ignore[valid-type]


class CreateSchedule(Timing):
    """A job to be submitted at the times of a rule. Of the job, what is `null` or left out comes from its kind."""

    model_config = ConfigDict(extra="forbid", strict=True, title="CreateSchedule")

    name: Name = Field(description="Unique in the namespace.")
    taskType: Name = Field(description="A kind that workers offer.")  # noqa: N815
    payload: dict[str, Any] = Field(default_factory=dict, description="What the kind's schema asks for.")
    catchup: _Catchup = Field(  # type: ignore[valid-type]
        default=Catchup.LATEST,
        description="What to make up for after an outage: the `latest` time, `all` (the last 10), or `none`.",
    )
    overlap: _Overlap = Field(  # type: ignore[valid-type]
        default=Overlap.SKIP, description="`skip` a time while the job before has not ended, or `allow` both."
    )
    paused: bool = Field(default=False, description="Made, but not fired until it is resumed.")
    priority: Priority = Field(default=None, description="Higher first.")
    retries: _Retries = Field(default=None, description="Failures that are tried again.")  # type: ignore[valid-type]
    timeout: _Timeout = Field(  # type: ignore[valid-type]
        default=None, description="Milliseconds that one attempt may run."
    )
    queue: Name | None = None
    tags: list[Name] = Field(default_factory=list, max_length=MAX_TAGS)
    callbackUrl: CallbackUrl | None = Field(default=None, description=_CALLBACK)  # noqa: N815
    ttl: Ttl = Field(default=None, description=_TTL)
    uniqueKey: UniqueKey | None = Field(default=None, description=_KEY)  # noqa: N815
    uniqueScope: Scope = Field(default=None, description=_SCOPE)  # noqa: N815
    uniqueWindow: Window = Field(default=None, description=_WINDOW)  # noqa: N815


class UpdateSchedule(BaseModel):
    """What is to be different; what is left out stays. `null` for a field of the job: from its kind again."""

    model_config = ConfigDict(extra="forbid", strict=True, title="UpdateSchedule")

    # A factory of a default, because OpenAPI shall not promise one: what counts is which fields were given.
    name: Name = Field(default_factory=str)
    cron: _Cron = Field(default_factory=str, description="Ends `every`.")
    timezone: _Zone = Field(default_factory=str, description=_ZONE)
    every: _Every = Field(default=None, description="Ends `cron`; counted from the change.")  # type: ignore[valid-type]
    taskType: Name = Field(default_factory=str)  # noqa: N815
    payload: dict[str, Any] = Field(default_factory=dict, description="Replaces the payload as a whole.")
    catchup: _Catchup = Field(default_factory=lambda: Catchup.LATEST)  # type: ignore[valid-type]
    overlap: _Overlap = Field(default_factory=lambda: Overlap.SKIP)  # type: ignore[valid-type]
    priority: Priority = None
    retries: _Retries = None  # type: ignore[valid-type]
    timeout: _Timeout = None  # type: ignore[valid-type]
    queue: Name | None = None
    tags: list[Name] = Field(default_factory=list, max_length=MAX_TAGS)
    callbackUrl: CallbackUrl | None = Field(default=None, description=_CALLBACK)  # noqa: N815
    ttl: Ttl = Field(default=None, description=_TTL)
    uniqueKey: UniqueKey | None = Field(  # noqa: N815
        default=None, description="`null` takes `uniqueScope` and `uniqueWindow` away too."
    )
    uniqueScope: Scope = Field(  # noqa: N815
        default=None, description="Another one than `window` takes `uniqueWindow` away."
    )
    uniqueWindow: Window = Field(default=None, description=_WINDOW)  # noqa: N815


class ListSchedules(BaseModel):
    """A page of schedules, newest first."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = Field(default=None, description="The one of that name, if there is one.")
    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor | None = Field(default=None, description="`nextCursor` of the page before.")


class ListTicks(ListPage):
    """A page of a ledger, newest first."""


class ScheduleView(msgspec.Struct, frozen=True, rename="camel"):
    """A schedule. Instants are UTC by the database's clock."""

    schedule_id: UUID
    name: str
    cron: str | None
    timezone: str
    every: Annotated[int | None, Meta(description="Milliseconds.")]
    task_type: str
    payload: dict[str, Any]
    queue: Annotated[str | None, Meta(description="Null here and below: as the kind says.")]
    priority: Annotated[int, Meta(ge=0, le=MAX_PRIORITY)] | None
    retries: int | None
    timeout: int | None
    tags: Sequence[str]
    catchup: Catchup
    overlap: Overlap
    callback_url: str | None
    ttl: Annotated[int | None, Meta(description="Milliseconds.")]
    unique_key: str | None
    unique_scope: UniqueScope | None
    unique_window: Annotated[int | None, Meta(description="Milliseconds.")]
    paused_at: datetime | None
    created_at: datetime
    updated_at: datetime
    next_run_at: Annotated[datetime | None, Meta(description="Null while it is paused.")]
    last_run_at: Annotated[datetime | None, Meta(description="The last time that was decided.")]
    last_outcome: TickOutcome | None
    last_job_id: UUID | None
    last_job_at: Annotated[datetime | None, Meta(description="The time that this job was for.")]
    upcoming: Annotated[
        list[datetime] | UnsetType, Meta(description="The next five; only in answers about one schedule.")
    ] = UNSET


class SchedulePageView(msgspec.Struct, frozen=True, rename="camel"):
    """A page of schedules, newest first."""

    items: list[ScheduleView]
    next_cursor: Annotated[str | None, Meta(description="Of the next page; null at the end.")]


class TickView(msgspec.Struct, frozen=True, rename="camel"):
    """One time of a schedule, and what became of it."""

    fire_at: datetime
    outcome: TickOutcome
    manual: Annotated[bool, Meta(description="Somebody asked for it by `run-now`.")]
    job_id: Annotated[UUID | None, Meta(description="The job; of `skipped`, the one that was in the way, if known.")]
    detail: Annotated[str | None, Meta(description="Why it was skipped or failed.")]
    missed_until: Annotated[datetime | None, Meta(description="`missed` stands for all times up to this one.")]
    decided_at: datetime | None


class TickPageView(msgspec.Struct, frozen=True, rename="camel"):
    """A page of a ledger, newest first."""

    items: list[TickView]
    next_cursor: Annotated[str | None, Meta(description="Of the next page; null at the end.")]


class UpcomingRun(msgspec.Struct, frozen=True, rename="camel"):
    """A time at which a schedule fires, in UTC and as the clocks of its zone show it."""

    at: datetime
    local: str


class PreviewView(msgspec.Struct, frozen=True, rename="camel"):
    """When a schedule would fire."""

    items: list[UpcomingRun]


def view_of_schedule(schedule: Schedule, upcoming: Sequence[datetime] | None = None) -> ScheduleView:
    """Return how *schedule* looks from outside; with *upcoming*, when it fires next too."""
    plan = schedule.plan
    return ScheduleView(
        schedule_id=schedule.id,
        name=plan.name,
        cron=plan.cron,
        timezone=plan.zone,
        every=in_ms(plan.every),
        task_type=plan.kind,
        payload=dict(plan.payload),
        queue=plan.queue,
        priority=plan.priority,
        retries=plan.retries,
        timeout=None if plan.timeout_s is None else round(plan.timeout_s * 1000),
        tags=plan.tags,
        catchup=plan.catchup,
        overlap=plan.overlap,
        callback_url=plan.callback_url,
        ttl=in_ms(plan.expires_after),
        unique_key=plan.unique_key,
        unique_scope=plan.unique_scope,
        unique_window=in_ms(plan.unique_window),
        paused_at=schedule.paused_at,
        created_at=schedule.created_at,
        updated_at=schedule.updated_at,
        next_run_at=schedule.next_at,
        last_run_at=schedule.last_fire_at,
        last_outcome=schedule.last_outcome,
        last_job_id=schedule.last_job_id,
        last_job_at=schedule.last_job_at,
        upcoming=UNSET if upcoming is None else list(upcoming),
    )


def view_of_tick(tick: Tick) -> TickView:
    return TickView(
        fire_at=tick.fire_at,
        outcome=tick.outcome,
        manual=tick.manual,
        job_id=tick.job_id,
        detail=None if tick.detail is None else redacted(tick.detail),
        missed_until=tick.missed_until,
        decided_at=tick.decided_at,
    )


def view_of_preview(plan: Timing, times: Sequence[datetime]) -> PreviewView:
    zone = find_zone(plan.timezone)
    return PreviewView([UpcomingRun(at, at.astimezone(zone).isoformat()) for at in times])


def plan_of(asked: CreateSchedule, namespace: UUID) -> SchedulePlan:
    """Return the plan that a checked request describes."""
    return SchedulePlan(
        name=asked.name,
        kind=kinds.canonical(asked.taskType),
        payload=asked.payload,
        namespace=namespace,
        queue=asked.queue,
        priority=asked.priority,
        retries=asked.retries,
        timeout_s=None if asked.timeout is None else asked.timeout / 1000,
        tags=tuple(asked.tags),
        catchup=asked.catchup,
        overlap=asked.overlap,
        callback_url=asked.callbackUrl,
        expires_after=of_ms(asked.ttl),
        unique_key=asked.uniqueKey,
        unique_scope=asked.uniqueScope,
        unique_window=of_ms(asked.uniqueWindow),
        **timing_of(asked),
    )


def timing_of(asked: Timing) -> dict[str, Any]:
    """Return the fields of a plan that say when it fires."""
    return {"cron": asked.cron, "zone": asked.timezone, "every": of_ms(asked.every)}


def document_of(plan: SchedulePlan) -> dict[str, Any]:
    """Return *plan* as the request that would make it: what a change is laid over."""
    return {
        "name": plan.name,
        "cron": plan.cron,
        "timezone": plan.zone,
        "every": in_ms(plan.every),
        "taskType": plan.kind,
        "payload": dict(plan.payload),
        "queue": plan.queue,
        "priority": plan.priority,
        "retries": plan.retries,
        "timeout": None if plan.timeout_s is None else round(plan.timeout_s * 1000),
        "tags": list(plan.tags),
        "catchup": str(plan.catchup),
        "overlap": str(plan.overlap),
        "callbackUrl": plan.callback_url,
        "ttl": in_ms(plan.expires_after),
        "uniqueKey": plan.unique_key,
        "uniqueScope": plan.unique_scope,
        "uniqueWindow": in_ms(plan.unique_window),
    }
