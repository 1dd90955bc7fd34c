"""What the store says of jobs, leases and the deployment to the rest of the engine, beside the values of `job`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from taskflow.engine.job import JobId, LeaseId, WorkerId


@dataclass(frozen=True, slots=True)
class JobBody:
    """What never changes of a job, and is needed to find the rest of it."""

    id: JobId
    namespace: UUID
    queue: str
    priority: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class OwnLease:
    """A lease as the database has it, for the worker that should hold it. *cancels* are job ids."""

    id: LeaseId
    job_ids: Sequence[JobId]
    cancels: Sequence[JobId]


@dataclass(frozen=True, slots=True)
class Term:
    """Leadership: which term, and for how long it has been held without a lapse."""

    term: int
    held_s: float


@dataclass(frozen=True, slots=True)
class Leadership:
    """Who led last, since when without a lapse, and for how long the term still goes (0 or less: nobody leads)."""

    holder: WorkerId
    term: int
    held_s: float
    expires_in_s: float


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """Ready jobs of one queue and kind. *pending* is counted over the first `DEPTH_ROWS` ready rows only."""

    queue: str
    kind: str
    pending: int
    oldest_due_age_s: float
    has_worker: bool


@dataclass(frozen=True, slots=True)
class EndedJob:
    """What a job came to. *duration_s* is of its last attempt; the error's message is cut off at 2,000 characters."""

    kind: str
    state: str
    finished_at: datetime
    duration_s: float | None
    error_type: str | None
    error_message: str | None


@dataclass(frozen=True, slots=True)
class DeadEntries:
    """Dead rows per table of the claim path, and the oldest snapshot (as text) that keeps them from going."""

    rows: Mapping[str, int]
    oldest_xmin: str | None
