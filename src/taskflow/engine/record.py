"""What the store says of jobs, leases and the deployment to the rest of the engine, beside the values of `job`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from taskflow.engine.job import JobId, LeaseId, LogLine, State, WorkerId


@dataclass(frozen=True, slots=True)
class JobBody:
    """What never changes of a job, and is needed to find the rest of it."""

    id: JobId
    namespace: UUID
    queue: str
    priority: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LogPosition:
    """How far somebody has read a job's log."""

    job: JobBody
    after_seq: int = 0


@dataclass(frozen=True, slots=True)
class LogNews:
    """What comes after a position. *end* is the job's last state if it has ended and there are no more lines."""

    lines: Sequence[LogLine]
    end: State | None


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
class DeadEntries:
    """Dead rows per table of the claim path, and the oldest snapshot (as text) that keeps them from going."""

    rows: Mapping[str, int]
    oldest_xmin: str | None


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What the leader looks after: dead rows on the claim path, by table, and days whose partitions are made."""

    dead_rows: Mapping[str, int]
    partition_days: int


@dataclass(frozen=True, slots=True)
class Written:
    """How much was ever written: two readings give rates. *unsuccessful* are attempts that did not complete."""

    submitted: int
    ended: int
    unsuccessful: int


@dataclass(frozen=True, slots=True)
class Activity:
    """
    What goes on now.

    Args:
        active: jobs that run, by worker and queue; counted over a bounded number, as *deferred* is.
        deferred: jobs that wait for their time, by queue and state.
        ended_by_queue: jobs that ever ended, by queue; None while nobody counts them so.
    """

    written: Written
    active: Mapping[tuple[WorkerId, str], int]
    deferred: Mapping[tuple[str, State], int]
    ended_by_queue: Mapping[str, int] | None = None
