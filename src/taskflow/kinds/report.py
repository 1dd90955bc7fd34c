"""`report`: what the jobs of a period came to."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from taskflow.kinds.forms import Instant

NAME = "report"
ALIASES = ("REPORT",)

MAX_DAYS = 92


class MakeReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """Of which period, and how it shall look."""

    from_: Instant = msgspec.field(name="from")  # jobs that ended then or later
    to: Instant  # and before then; at most `MAX_DAYS` after
    format: Annotated[Literal["json", "csv", "pdf"], Meta(description="Of the file.")] = "json"
    force_fail: Annotated[bool, Meta(description="Fail on purpose, to see retries at work. Refused in production.")] = (
        False
    )


class Durations(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """How long the last attempts of completed jobs ran, in milliseconds; null without any."""

    p50_ms: float | None
    p95_ms: float | None
    max_ms: float | None


class KindSummary(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The jobs of one kind."""

    task_type: str
    completed: int
    failed: int
    cancelled: int
    durations: Durations


class ErrorSummary(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Jobs of one kind that failed in the same way."""

    task_type: str
    error: str
    jobs: int


class ReportSummary(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The report in short: all states, and what is at the top of its lists."""

    jobs: int
    completed: int
    failed: int
    cancelled: int
    durations: Durations
    kinds: list[KindSummary]
    errors: list[ErrorSummary]


class ReportMade(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What came of it. *size* is in bytes."""

    file: UUID
    format: str
    size: int
    summary: ReportSummary
