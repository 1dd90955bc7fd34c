"""What the statistics API takes and gives."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from taskflow.http.fields import InstantParameter, digits

MAX_DAYS = 92
DEFAULT_DAYS = 7


def _days(value: object) -> int | None:
    number = digits(value)
    if isinstance(number, int) and 1 <= number <= MAX_DAYS:
        return number
    raise PydanticCustomError("out_of_range", "must be a whole number from 1 to {high}", {"high": MAX_DAYS})


class ReadStats(BaseModel):
    """Which hours to look at: `days` back from now, or `from` and `to`."""

    model_config = ConfigDict(extra="forbid")

    days: Annotated[
        int | None,
        PlainValidator(_days),
        WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_DAYS, "default": DEFAULT_DAYS}),
    ] = Field(default=None, description="So many days back, the hour that goes on included. Not with `from` or `to`.")
    ended_from: InstantParameter = Field(
        default=None, alias="from", description="From the hour (UTC) that this instant is in."
    )
    ended_to: InstantParameter = Field(
        default=None, alias="to", description="To the end of the hour before this instant, or of the one it is in."
    )
    period: Literal["hour", "day"] | None = Field(
        default=None,
        json_schema_extra={"enum": ["hour", "day"], "type": "string"},
        description="Of the series; by default hours up to two days, days beyond. Hours for 31 days at most.",
    )


class Ended(msgspec.Struct, frozen=True, rename="camel"):
    """How many jobs ended in each state."""

    completed: int = 0
    failed: int = 0
    cancelled: int = 0


class LatencyView(msgspec.Struct, frozen=True, rename="camel"):
    """Milliseconds within which that share of jobs stayed, right to within a fifth; null without jobs."""

    p50: float | None
    p95: float | None
    p99: float | None


class GroupView(msgspec.Struct, frozen=True, rename="camel"):
    """Jobs of one queue, or one kind, that ended in the window."""

    name: str
    ended: Ended
    success_rate: Annotated[float | None, Meta(description="Completed out of completed and failed; null without.")]
    run: Annotated[LatencyView, Meta(description="How long last attempts ran.")]
    wait: Annotated[LatencyView, Meta(description="How long jobs had been due when they were claimed for it.")]


class LiveView(msgspec.Struct, frozen=True, rename="camel"):
    """Jobs of one queue that have not ended."""

    queue: str
    pending: int = 0
    scheduled: int = 0
    retrying: int = 0
    active: int = 0


class PointView(msgspec.Struct, frozen=True, rename="camel"):
    """Jobs that ended in the hour or day (UTC) that begins at *at*."""

    at: datetime
    completed: int
    failed: int
    cancelled: int


class WorkersView(msgspec.Struct, frozen=True, rename="camel"):
    """Supervisors of workers that are alive, and how many jobs they can run at once."""

    active: int
    concurrency: int


class UptimeView(msgspec.Struct, frozen=True, rename="camel"):
    """Milliseconds since the start of what answered, and of the oldest worker alive; null where there is none."""

    api: int | None
    workers: int | None


class StatsView(msgspec.Struct, frozen=True, rename="camel"):
    """
    The numbers of one namespace in one snapshot.

    Jobs that ended are counted exactly. A job that was replayed ends more than once and counts each time.
    """

    at: datetime
    window_from: Annotated[datetime, Meta(description="The first hour.")]
    window_to: Annotated[datetime, Meta(description="The end of the last hour.")]
    states: Annotated[
        dict[str, int], Meta(description="The living now, and those that ended in the window, by `status`.")
    ]
    capped: Annotated[Sequence[str], Meta(description="States whose count of the living was stopped at its limit.")]
    success_rate: float | None
    run: LatencyView
    wait: LatencyView
    live: list[LiveView]
    queues: list[GroupView]
    task_types: list[GroupView]
    period: Literal["hour", "day"]
    series: Annotated[list[PointView], Meta(description="Without gaps: a period in which nothing ended is there.")]
    workers: WorkersView
    uptime: UptimeView
