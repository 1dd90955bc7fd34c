"""
What the jobs API takes and gives. In comes Pydantic, which finds every bad field at once; out go msgspec structs, which
are encoded in one pass. `JobView` is a job everywhere: in the answer to a submit, alone and in lists.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, RootModel, WithJsonSchema
from pydantic_core import PydanticCustomError

from taskflow import kinds
from taskflow.engine.job import (
    MAX_CALLBACK_URL_LENGTH,
    MAX_DELAY_S,
    MAX_NAME_LENGTH,
    MAX_PRIORITY,
    MAX_RETRIES,
    MAX_TAGS,
    MAX_TIMEOUT_S,
    MAX_UNIQUE_KEY_LENGTH,
    MAX_UNIQUE_WINDOW_S,
    PRIORITY_HIGH,
    PRIORITY_LOW,
    PRIORITY_NORMAL,
    Attempt,
    Enqueued,
    FailureReason,
    Job,
    JobError,
    JobFilter,
    KindInfo,
    LogLine,
    NewJob,
    OutcomeKind,
    Progress,
    State,
    UniqueScope,
)
from taskflow.engine.policy import scope_of
from taskflow.http.fields import Cursor, Instant, InstantParameter, Limit, ListPage, bounded
from taskflow.http.paging import DEFAULT_LIMIT
from taskflow.telemetry.log import redacted

PRIORITIES = {"low": PRIORITY_LOW, "normal": PRIORITY_NORMAL, "high": PRIORITY_HIGH}


def _priority(value: object) -> int | None:
    if isinstance(value, str) and value in PRIORITIES:
        return PRIORITIES[value]
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_PRIORITY:
        return value
    if value is None:
        return None
    raise PydanticCustomError("priority", "must be high, normal, low or a whole number from 0 to 9 (higher first)")


MAX_TIMEOUT_MS = int(MAX_TIMEOUT_S * 1000)
MAX_DELAY_MS = int(MAX_DELAY_S * 1000)
MAX_UNIQUE_WINDOW_MS = int(MAX_UNIQUE_WINDOW_S * 1000)

Priority = Annotated[
    int | None,
    PlainValidator(_priority),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(PRIORITIES)},
                {"type": "integer", "minimum": 0, "maximum": MAX_PRIORITY},
                {"type": "null"},
            ]
        }
    ),
]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)]


def _scope(value: object) -> UniqueScope | None:
    if value is None:
        return None
    if isinstance(value, str) and value in UniqueScope.__members__.values():
        return UniqueScope(value)
    raise PydanticCustomError("unknown_value", f"must be {', '.join(UniqueScope)}")


Scope = Annotated[UniqueScope | None, PlainValidator(_scope), WithJsonSchema({"enum": [*UniqueScope, None]})]


CallbackUrl = Annotated[str, Field(max_length=MAX_CALLBACK_URL_LENGTH, json_schema_extra={"format": "uri"})]
UniqueKey = Annotated[str, Field(min_length=1, max_length=MAX_UNIQUE_KEY_LENGTH)]
Ttl = bounded(1, MAX_DELAY_MS, " ms")
Window = bounded(1, MAX_UNIQUE_WINDOW_MS, " ms")


class SubmitJob(BaseModel):
    """A job to be done. `null` means the same as leaving a field out."""

    model_config = ConfigDict(extra="forbid", strict=True, title="SubmitJob")

    taskType: Name = Field(description="A kind that workers offer; `GET /api/v1/job-types` lists them.")  # noqa: N815
    payload: dict[str, Any] = Field(
        default_factory=dict, description="What the kind's schema asks for; at most 256 KiB of JSON."
    )
    priority: Priority = Field(default=None, description="Higher first; by default the kind's.")
    retries: bounded(0, MAX_RETRIES) = Field(  # type: ignore[valid-type]
        default=None, description="Attempts after the first that failed or timed out; by default the kind's."
    )
    timeout: bounded(1, MAX_TIMEOUT_MS, " ms") = Field(  # type: ignore[valid-type]
        default=None, description="Milliseconds that one attempt may run; by default the kind's."
    )
    queue: Name | None = Field(default=None, description="By default the kind's.")
    runAt: Instant = Field(default=None, description="Not before this instant. Not together with `delay`.")  # noqa: N815
    delay: bounded(0, MAX_DELAY_MS, " ms") = Field(  # type: ignore[valid-type]
        default=None, description="Not before this many milliseconds from now."
    )
    callbackUrl: CallbackUrl | None = Field(  # noqa: N815
        default=None,
        description="Is told, signed and with retries, when the job has completed, failed or been cancelled.",
    )
    tags: list[Name] = Field(default_factory=list, max_length=MAX_TAGS, description="Words to find it by.")
    expiresAt: Instant = Field(  # noqa: N815
        default=None,
        description="Fail with the reason `expired` if no worker has started it by then. Has to be after `runAt`. Not "
        "together with `delay`.",
    )
    ttl: Ttl = Field(  # type: ignore[valid-type]
        default=None,
        description="The same in milliseconds, counted from the submit and not from when the job is due. Has to be "
        "more than `delay`. Not together with `expiresAt` or `runAt`.",
    )
    uniqueKey: UniqueKey | None = Field(  # noqa: N815
        default=None,
        description="Of the jobs of one kind, only one holds a key: while it does, submits with the key give that job.",
    )
    uniqueScope: Scope = Field(  # noqa: N815
        default=None, description="How long the key is held; by default `until_finished`."
    )
    uniqueWindow: Window = Field(  # type: ignore[valid-type]  # noqa: N815
        default=None, description="Milliseconds from now; with the scope `window`, and only then."
    )


class SubmitBatch(RootModel[list[SubmitJob]]):
    """Up to 1,000 jobs, stored all or none."""


class ChangeJob(BaseModel):
    """What to change of a job that waits; what is left out or `null` stays."""

    model_config = ConfigDict(extra="forbid", strict=True, title="ChangeJob")

    priority: Priority = Field(default=None, description="Higher first.")
    runAt: Instant = Field(default=None, description="Not before this instant. Not together with `delay`.")  # noqa: N815
    delay: bounded(0, MAX_DELAY_MS, " ms") = Field(  # type: ignore[valid-type]
        default=None, description="Not before this many milliseconds from now."
    )


def _state(value: object) -> State | None:
    try:
        return State(str(value))
    except ValueError:
        raise PydanticCustomError("unknown_value", "must be one of {known}", {"known": ", ".join(State)}) from None


class ListJobs(BaseModel):
    """How to choose from the jobs, newest first."""

    model_config = ConfigDict(extra="forbid")

    taskType: Name | None = Field(default=None, json_schema_extra={"type": "string"})  # noqa: N815
    status: Annotated[State | None, PlainValidator(_state), WithJsonSchema({"type": "string", "enum": list(State)})] = (
        None
    )
    queue: Name | None = None
    tag: Name | None = None
    created_from: InstantParameter = Field(default=None, alias="from", description="Created at this instant or later.")
    created_to: InstantParameter = Field(default=None, alias="to", description="Created before this instant.")
    sort: Literal["-createdAt"] = Field(default="-createdAt", description="Newest first, the only order.")
    limit: Limit = Field(default=DEFAULT_LIMIT, description="A page may be shorter and still have a next.")
    cursor: Cursor | None = Field(default=None, description="`nextCursor` of the page before.")


class ChooseJobs(BaseModel):
    """Which jobs; what is left out or `null` chooses any."""

    model_config = ConfigDict(extra="forbid", title="ChooseJobs")

    taskType: Name | None = Field(default=None, description="Of this kind.")  # noqa: N815
    status: Annotated[
        State | None,
        PlainValidator(lambda value: None if value is None else _state(value)),
        WithJsonSchema({"type": ["string", "null"], "enum": [*State, None]}),
    ] = Field(default=None, description="In this state; one that the action applies to.")
    queue: Name | None = Field(default=None, description="Of this queue.")
    tag: Name | None = Field(default=None, description="With this tag.")
    created_from: Instant = Field(default=None, alias="from", description="Created at this instant or later.")
    created_to: Instant = Field(default=None, alias="to", description="Created before this instant.")
    dry_run: bool = Field(
        default=False, alias="dryRun", strict=True, description="Count what is found, and change nothing."
    )


def chosen_by(asked: ListJobs | ChooseJobs) -> JobFilter:
    """Return the filter that a checked request describes."""
    return JobFilter(
        kind=None if asked.taskType is None else kinds.canonical(asked.taskType),
        state=asked.status,
        queue=asked.queue,
        tag=asked.tag,
        created_from=asked.created_from,
        created_to=asked.created_to,
    )


class ListLogs(ListPage):
    """A page of log lines, oldest first."""

    follow: Literal["true", "false"] = Field(
        default="false",
        description="`true`: server-sent events in place of a page, until the job has ended. Not with the others.",
    )


class ListQueues(ListPage):
    """A page of queues, by name."""


class AttemptView(msgspec.Struct, frozen=True, rename="camel"):
    """One attempt that has ended."""

    attempt: int
    outcome: OutcomeKind
    started_at: Annotated[datetime | None, Meta(description="When its handler was called; null if it was not.")]
    finished_at: datetime
    error: str | None
    error_type: str | None
    traceback: str | None
    next_retry_at: datetime | None


class JobProgressView(msgspec.Struct, frozen=True, rename="camel"):
    """How far the handler said that it is."""

    fraction: Annotated[float, Meta(ge=0, le=1)]
    message: str
    attempt: int
    at: datetime


class JobView(msgspec.Struct, frozen=True, rename="camel"):
    """A job. Instants are UTC by the database's clock."""

    job_id: UUID
    task_type: str
    queue: str
    status: State
    priority: Annotated[int, Meta(ge=0, le=MAX_PRIORITY)]
    payload: dict[str, Any]
    retries: Annotated[int, Meta(description="Failures that are tried again.")]
    timeout: Annotated[int, Meta(description="Milliseconds that one attempt may run.")]
    tags: Sequence[str]
    attempt: Annotated[int, Meta(description="Claims so far; never reset.")]
    failures: Annotated[int, Meta(description="Attempts charged against `retries`.")]
    created_at: datetime
    run_at: Annotated[datetime | None, Meta(description="Due since, or due then.")]
    started_at: Annotated[
        datetime | None,
        Meta(
            description="Of the present or last attempt: when its handler was called, and while it is active, when a "
            "worker claimed it."
        ),
    ]
    finished_at: datetime | None
    next_retry_at: Annotated[datetime | None, Meta(description="While a failed attempt waits for its retry.")]
    cancel_requested_at: datetime | None
    result: Any
    error: Annotated[str | None, Meta(description="Of the last attempt that failed, until the job completes.")]
    error_type: str | None
    failure_reason: FailureReason | None
    expires_at: datetime | None
    unique_key: str | None
    unique_scope: UniqueScope | None
    callback_url: str | None
    deliveries: Annotated[str | None, Meta(description="Where the deliveries of its callback are listed.")]
    progress: Annotated[JobProgressView | None, Meta(description="What the handler reported last.")] = None
    attempts: Annotated[
        list[AttemptView] | UnsetType, Meta(description="Oldest first; only in `GET /api/v1/jobs/{jobId}`.")
    ] = UNSET
    duplicate: Annotated[
        bool | UnsetType,
        Meta(description="`true` in the answer to a submit whose unique key this job holds; else left out."),
    ] = UNSET


class JobPageView(msgspec.Struct, frozen=True, rename="camel"):
    """A page of jobs, newest first."""

    items: list[JobView]
    next_cursor: Annotated[str | None, Meta(description="Of the next page; null at the end.")]


class JobBatchView(msgspec.Struct, frozen=True, rename="camel"):
    """The jobs of a batch, in its order."""

    items: list[JobView]


class LogLineView(msgspec.Struct, frozen=True, rename="camel"):
    """A line that the handler wrote."""

    seq: Annotated[int, Meta(description="Grows along the lines of a job; has gaps.")]
    at: datetime
    attempt: int
    level: str
    message: str


class LogPageView(msgspec.Struct, frozen=True, rename="camel"):
    """A page of log lines, oldest first."""

    items: list[LogLineView]
    next_cursor: Annotated[str | None, Meta(description="Of the next page; null when this one has the last line.")]


class KindDefaults(msgspec.Struct, frozen=True, rename="camel"):
    """What a submit need not say."""

    priority: int
    retries: int
    timeout: Annotated[int, Meta(description="Milliseconds.")]


class KindView(msgspec.Struct, frozen=True, rename="camel"):
    """A kind of job that workers offer."""

    task_type: str
    queue: str
    schema: Annotated[dict[str, Any], Meta(description="JSON Schema (2020-12) of the payload.")]
    defaults: KindDefaults


class KindPageView(msgspec.Struct, frozen=True, rename="camel"):
    """All kinds, by name."""

    items: list[KindView]


def view_of_new(job: NewJob, enqueued: Enqueued) -> JobView:
    """Return a job that has just been stored, without reading it again."""
    return JobView(
        job_id=enqueued.id,
        task_type=job.kind,
        queue=job.queue,
        status=enqueued.state,
        priority=job.priority,
        payload=dict(job.payload),
        retries=job.retries,
        timeout=round(job.timeout_s * 1000),
        tags=job.tags,
        attempt=0,
        failures=0,
        created_at=enqueued.created_at,
        run_at=enqueued.run_at,
        started_at=None,
        finished_at=None,
        next_retry_at=None,
        cancel_requested_at=None,
        result=None,
        error=None,
        error_type=None,
        failure_reason=None,
        expires_at=enqueued.expires_at,
        unique_key=job.unique_key,
        unique_scope=scope_of(job),
        callback_url=job.callback_url,
        deliveries=_deliveries(enqueued.id, job.callback_url),
    )


def view_of_job(job: Job, attempts: Sequence[Attempt] | None = None, *, duplicate: bool = False) -> JobView:
    """Return how *job* looks from outside; with *attempts*, its history too."""
    message, error_type, _ = _error(job.error)
    return JobView(
        job_id=job.id,
        task_type=job.kind,
        queue=job.queue,
        status=job.state,
        priority=job.priority,
        payload=dict(job.payload),
        retries=job.retries,
        timeout=round(job.timeout_s * 1000),
        tags=job.tags,
        attempt=job.attempt,
        failures=job.failures,
        created_at=job.created_at,
        run_at=job.run_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        next_retry_at=job.run_at if job.state is State.RETRYING else None,
        cancel_requested_at=job.cancel_requested_at,
        result=job.result,
        error=message,
        error_type=error_type,
        failure_reason=job.failure_reason,
        expires_at=job.expires_at,
        unique_key=job.unique_key,
        unique_scope=job.unique_scope,
        duplicate=True if duplicate else UNSET,
        progress=_view_of_progress(job.progress),
        callback_url=job.callback_url,
        deliveries=_deliveries(job.id, job.callback_url),
        attempts=UNSET if attempts is None else [_view_of_attempt(attempt) for attempt in attempts],
    )


def view_of_line(line: LogLine) -> LogLineView:
    return LogLineView(seq=line.seq, at=line.at, attempt=line.attempt, level=line.level, message=line.message)


def view_of_kind(kind: KindInfo) -> KindView:
    return KindView(
        task_type=kind.kind,
        queue=kind.queue,
        schema=dict(kind.schema),
        defaults=KindDefaults(kind.priority, kind.retries, round(kind.timeout_s * 1000)),
    )


def _view_of_progress(progress: Progress | None) -> JobProgressView | None:
    if progress is None:
        return None
    # four places: what a person reads, and no more than the database keeps of it
    return JobProgressView(round(progress.fraction, 4), redacted(progress.message), progress.attempt, progress.at)


def _view_of_attempt(attempt: Attempt) -> AttemptView:
    message, error_type, traceback = _error(attempt.error)
    return AttemptView(
        attempt=attempt.attempt,
        outcome=attempt.outcome,
        started_at=attempt.started_at,
        finished_at=attempt.finished_at,
        error=message,
        error_type=error_type,
        traceback=traceback,
        next_retry_at=attempt.retry_at,
    )


def _deliveries(job_id: UUID, callback_url: str | None) -> str | None:
    return None if callback_url is None else f"/api/v1/webhooks/deliveries?jobId={job_id}"


def _error(error: JobError | None) -> tuple[str | None, str | None, str | None]:
    """Message, type and traceback; secrets that found their way into a handler's error stay inside."""
    if error is None:
        return None, None, None
    return redacted(error.message), error.type, redacted(error.traceback) if error.traceback else None
