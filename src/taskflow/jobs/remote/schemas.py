"""What workers over HTTP send and get. Times are milliseconds; `token` is a claim, opaque and signed."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from taskflow.engine.job import DEFAULT_QUEUE, MAX_LOG_LINES, MAX_NAME_LENGTH, MAX_PROGRESS_CHARS, MAX_RETRIES, KindInfo
from taskflow.http.fields import bounded
from taskflow.jobs.remote.token import MAX_TOKEN_LENGTH
from taskflow.jobs.schemas import MAX_DELAY_MS, MAX_TIMEOUT_MS, KindView, Priority, view_of_kind
from taskflow.kernel.ids import find_id

MAX_CAPACITY = 100
MAX_ITEMS = 100
MAX_NAMES = 100  # queues or kinds in one claim
MAX_TOKENS = 1000  # in a heartbeat
MAX_WAIT_MS = 30_000
MIN_LEASE_MS, MAX_LEASE_MS = 15_000, 600_000
MAX_ERROR_TYPE_CHARS = MAX_NAME_LENGTH
MAX_SCHEMA_BYTES = 64 * 1024


def _uuid(value: object) -> UUID:
    if isinstance(value, str) and (found := find_id(value)) is not None:
        return found
    raise PydanticCustomError("wrong_type", "must be a UUID, as a claim answered it")


_WorkerId = Annotated[UUID, PlainValidator(_uuid), WithJsonSchema({"type": "string", "format": "uuid"})]
_MaybeWorkerId = Annotated[
    UUID | None,
    PlainValidator(lambda value: None if value is None else _uuid(value)),
    WithJsonSchema({"type": ["string", "null"], "format": "uuid"}),
]


def _printable(value: str) -> str:
    if not value.isprintable():
        raise PydanticCustomError("unprintable", "must be printable characters")
    return value


_Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH), AfterValidator(_printable)]
_Token = Annotated[str, Field(min_length=1, max_length=MAX_TOKEN_LENGTH)]


class ClaimJobs(BaseModel):
    """What a worker can take now. `null` means the same as leaving a field out."""

    model_config = ConfigDict(extra="forbid", strict=True, title="ClaimJobs")

    workerId: _MaybeWorkerId = Field(  # noqa: N815
        default=None, description="As the first claim answered it; without it, a new worker."
    )
    name: _Name | None = Field(default=None, description="Shown where workers are listed, such as a host's name.")
    taskTypes: list[_Name] = Field(  # noqa: N815
        min_length=1, max_length=MAX_NAMES, description="Kinds that this worker runs; each must have been published."
    )
    queues: list[_Name] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_NAMES,
        description="Served in this order; by default those that the kinds' jobs go to.",
    )
    capacity: bounded(1, MAX_CAPACITY) = Field(  # type: ignore[valid-type]
        default=None, description="How many jobs it starts at once; 1 by default."
    )
    waitMs: bounded(0, MAX_WAIT_MS, " ms") = Field(  # type: ignore[valid-type]  # noqa: N815
        default=None, description="How long to wait for a first job; by default not at all."
    )
    leaseMs: bounded(MIN_LEASE_MS, MAX_LEASE_MS, " ms") = Field(  # type: ignore[valid-type]  # noqa: N815
        default=None,
        description="After this time without a heartbeat the worker is given up for dead; 15000 by default.",
    )


class Heartbeat(BaseModel):
    """A sign of life."""

    model_config = ConfigDict(extra="forbid", strict=True, title="Heartbeat")

    workerId: _WorkerId  # noqa: N815
    tokens: list[_Token] | None = Field(
        default=None,
        max_length=MAX_TOKENS,
        description="All that it runs. Then the answer names those that are lost, and jobs that it was given but does "
        "not know of (because an answer was lost) go to others.",
    )


class CompletedItem(BaseModel):
    """A job that succeeded."""

    model_config = ConfigDict(extra="forbid", strict=True, title="CompletedItem")

    token: _Token
    result: Any = Field(default=None, description="Any JSON, at most 256 KiB; a larger one fails the job for good.")


class CompleteJobs(BaseModel):
    """Jobs that succeeded."""

    model_config = ConfigDict(extra="forbid", strict=True, title="CompleteJobs")

    items: list[CompletedItem] = Field(min_length=1, max_length=MAX_ITEMS)


class FailureSaid(BaseModel):
    """Why an attempt failed."""

    model_config = ConfigDict(extra="forbid", strict=True, title="FailureSaid")

    type: str = Field(min_length=1, max_length=MAX_ERROR_TYPE_CHARS, description="Such as the exception's class.")
    message: str = Field(description="For people; kept up to 2000 characters.")
    traceback: str | None = Field(default=None, description="Kept up to 8000 characters.")


class FailedItem(BaseModel):
    """A job whose attempt failed."""

    model_config = ConfigDict(extra="forbid", strict=True, title="FailedItem")

    token: _Token
    error: FailureSaid
    retryAfter: bounded(0, MAX_DELAY_MS, " ms") = Field(  # type: ignore[valid-type]  # noqa: N815
        default=None, description="Milliseconds until the next attempt, in place of the usual backoff."
    )
    permanent: bool = Field(default=False, description="Trying again is of no use.")


class FailJobs(BaseModel):
    """Jobs whose attempts failed."""

    model_config = ConfigDict(extra="forbid", strict=True, title="FailJobs")

    items: list[FailedItem] = Field(min_length=1, max_length=MAX_ITEMS)


class ReturnedItem(BaseModel):
    """A job that this worker does not run (any more)."""

    model_config = ConfigDict(extra="forbid", strict=True, title="ReturnedItem")

    token: _Token


class HandBackJobs(BaseModel):
    """Jobs for others to run."""

    model_config = ConfigDict(extra="forbid", strict=True, title="HandBackJobs")

    items: list[ReturnedItem] = Field(min_length=1, max_length=MAX_ITEMS)


class LineSaid(BaseModel):
    """A line for a job's log."""

    model_config = ConfigDict(extra="forbid", strict=True, title="LineSaid")

    token: _Token
    message: str = Field(description="Kept up to 4000 characters.")
    level: Literal["debug", "info", "warning", "error"] = "info"


class WriteLines(BaseModel):
    """Lines for the logs of running jobs, oldest first."""

    model_config = ConfigDict(extra="forbid", strict=True, title="WriteLines")

    lines: list[LineSaid] = Field(min_length=1, max_length=MAX_LOG_LINES)


class ProgressSaid(BaseModel):
    """How far a job is."""

    model_config = ConfigDict(extra="forbid", strict=True, title="ProgressSaid")

    token: _Token
    fraction: float = Field(ge=0, le=1, allow_inf_nan=False, description="From 0 to 1.")
    message: str = Field(default="", description=f"Kept up to {MAX_PROGRESS_CHARS} characters.")


class ReportProgress(BaseModel):
    """How far running jobs are."""

    model_config = ConfigDict(extra="forbid", strict=True, title="ReportProgress")

    items: list[ProgressSaid] = Field(min_length=1, max_length=MAX_ITEMS)


class SignOff(BaseModel):
    """A worker that ends."""

    model_config = ConfigDict(extra="forbid", strict=True, title="SignOff")

    workerId: _WorkerId  # noqa: N815


class KindSaid(BaseModel):
    """A kind that workers offer."""

    model_config = ConfigDict(extra="forbid", strict=True, title="KindSaid")

    taskType: _Name  # noqa: N815
    schema_: dict[str, Any] = Field(
        alias="schema", description=f"JSON Schema (2020-12) of the payload, at most {MAX_SCHEMA_BYTES // 1024} KiB."
    )
    queue: _Name = Field(default=DEFAULT_QUEUE, description="Where its jobs go unless they say otherwise.")
    priority: Priority = Field(default=None, description="Higher first; normal (5) by default.")
    retries: bounded(0, MAX_RETRIES) = Field(default=None, description="3 by default.")  # type: ignore[valid-type]
    timeout: bounded(1, MAX_TIMEOUT_MS, " ms") = Field(  # type: ignore[valid-type]
        default=None, description="Milliseconds; 30000 by default."
    )


class PublishKinds(BaseModel):
    """Kinds that workers offer: from now on jobs of them can be submitted."""

    model_config = ConfigDict(extra="forbid", strict=True, title="PublishKinds")

    kinds: list[KindSaid] = Field(min_length=1, max_length=MAX_ITEMS)


# Answers -------------------------------------------------------------------------------------------------------------


class ClaimedJob(msgspec.Struct, frozen=True, rename="camel"):
    """A job to run now."""

    job_id: UUID
    task_type: str
    queue: str
    payload: Annotated[Any, Meta(description="A JSON object that fits the kind's schema.")]
    attempt: Annotated[int, Meta(description="Claims so far, this one included.")]
    failures: Annotated[int, Meta(description="Attempts that failed so far.")]
    retries: int
    timeout: Annotated[int, Meta(description="Milliseconds from now; the server ends what takes longer.")]
    headers: Annotated[
        Mapping[str, str],
        Meta(description="What rides along with the job: `request_id`, and its trace as `traceparent`."),
    ]
    token: Annotated[str, Meta(description="Say it with everything about this attempt.")]


class ClaimedJobs(msgspec.Struct, frozen=True, rename="camel"):
    """What a claim gave; perhaps nothing."""

    worker_id: UUID
    heartbeat_every_ms: int
    lease_ms: Annotated[int, Meta(description="Silent for so long, the worker is dead.")]
    jobs: Sequence[ClaimedJob]


class AttemptRef(msgspec.Struct, frozen=True, rename="camel"):
    """An attempt of a job."""

    job_id: UUID
    attempt: int


class HeartbeatAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """What a worker has to know."""

    heartbeat_every_ms: int
    cancelled: Annotated[Sequence[AttemptRef], Meta(description="Stop these and hand them back.")]
    lost: Annotated[
        Sequence[AttemptRef], Meta(description="Of `tokens`: these are others' by now, or over. Stop them.")
    ]


ItemStatus = Literal["completed", "failed", "retrying", "pending", "cancelled", "lease_lost"]


class ItemView(msgspec.Struct, frozen=True, rename="camel"):
    """What became of one item."""

    job_id: UUID
    attempt: int
    status: Annotated[
        ItemStatus,
        Meta(description="The job's state from now on; or `lease_lost`: the attempt was over, and nothing changed."),
    ]
    error: Annotated[str | None, Meta(description="Why a job failed that was said to have completed.")] = None


class ItemsView(msgspec.Struct, frozen=True, rename="camel"):
    """What became of each item, in their order."""

    items: Sequence[ItemView]


class LinesView(msgspec.Struct, frozen=True, rename="camel"):
    """What became of the lines."""

    written: int
    dropped: Annotated[int, Meta(description="Of attempts that are over, or past the limit of one attempt.")]


class ReportsView(msgspec.Struct, frozen=True, rename="camel"):
    """What became of the reports."""

    written: int
    dropped: Annotated[int, Meta(description="Of attempts that are over.")]


class SignedOff(msgspec.Struct, frozen=True, rename="camel"):
    """The worker is no more."""

    handed_back: Annotated[int, Meta(description="How many jobs it still held.")]


class PublishedKinds(msgspec.Struct, frozen=True, rename="camel"):
    """The kinds, as they are now."""

    items: Sequence[KindView]


def view_of_kinds(kinds: Sequence[KindInfo]) -> PublishedKinds:
    return PublishedKinds([view_of_kind(kind) for kind in kinds])
