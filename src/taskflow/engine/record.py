"""What the store says of jobs, leases and the deployment to the rest of the engine, beside the values of `job`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NewType
from uuid import UUID

from taskflow.engine.job import Job, JobFilter, JobId, LeaseId, LogLine, State, WorkerId


@dataclass(frozen=True, slots=True)
class JobBody:
    """What never changes of a job, and is needed to find the rest of it."""

    id: JobId
    namespace: UUID
    queue: str
    priority: int
    created_at: datetime
    settles: bool  # its end has consequences


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
class Ahead:
    """
    What the leader's duties have before them.

    Args:
        due_s, schedule_s, expiry_s: seconds until the next job is due, schedule fires, job expires; negative if it
            should have happened already, None if there is none.
        has_old_remote_lease: a worker over HTTP has held one for so long that some of it may be overdue.
    """

    due_s: float | None
    schedule_s: float | None
    expiry_s: float | None
    has_old_remote_lease: bool


@dataclass(frozen=True, slots=True)
class Leadership:
    """Who led last, since when without a lapse, and for how long the term still goes (0 or less: nobody leads)."""

    holder: WorkerId
    term: int
    held_s: float
    expires_in_s: float


class Hindrance(StrEnum):
    """What keeps a pending job from being claimed, besides others before it."""

    NO_WORKER = "no_worker"
    PAUSED = "paused"

    def describe(self, job: Job) -> str:
        if self is Hindrance.PAUSED:
            return f"queue {job.queue} is paused"
        return f"no live worker runs {job.kind} in queue {job.queue}"


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """Ready jobs of one queue and kind. *pending* is counted over the first `DEPTH_ROWS` ready rows only."""

    queue: str
    kind: str
    pending: int
    oldest_due_age_s: float
    has_worker: bool
    is_paused: bool  # the queue


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


OperationId = NewType("OperationId", UUID)


class BulkAction(StrEnum):
    """What can be done to all jobs that a filter finds."""

    CANCEL = "cancel"
    RETRY = "retry"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Operation:
    """
    Something done to all jobs that *chosen* finds, from the newest down.

    Args:
        state: pending, running or completed.
        below: the jobs below this id are still to be visited; None before the first step.
        done: jobs it was done to.
        failed: jobs that it could not be done to.
        job_id: of the internal job that carries it out.
    """

    id: OperationId
    namespace: UUID
    action: BulkAction
    chosen: JobFilter
    state: str
    below: JobId | None
    done: int
    failed: int
    job_id: JobId
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class ClockLook:
    """What a leader saw of the database's clock. *waits_s*: how long it must go on steadily to be believed, or 0."""

    today: date
    waits_s: float


@dataclass(frozen=True, slots=True)
class OldPartition:
    """
    A day's partition that is due to be dropped, of a table that is named without its schema.

    Args:
        is_attached: it still belongs to its table.
        is_leaving: it is being detached: the process that began died, or somebody's transaction was too long.
    """

    table: str
    day: date
    is_attached: bool
    is_leaving: bool

    @property
    def name(self) -> str:
        return f"{self.table}_{self.day:%Y%m%d}"


@dataclass(frozen=True, slots=True)
class Retention:
    """
    How far dropping has come.

    Args:
        is_looked_after: a leader has ever looked.
        kept_days: as the last leader was told; None keeps everything.
        kept_from: jobs that ended before have been dropped; None if none ever were.
        waits_s: for so long the clock is not believed yet; 0 if it is.
        oldest: the first day of which ended jobs are kept.
        today: by the database's clock.
    """

    is_looked_after: bool
    kept_days: int | None
    kept_from: date | None
    waits_s: float
    oldest: date | None
    today: date

    @property
    def behind_days(self) -> int:
        """Days that are kept although they are due to go."""
        if self.kept_days is None or self.oldest is None:
            return 0
        return max(0, (self.today - timedelta(days=self.kept_days) - self.oldest).days)


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What the leader looks after: dead rows on the claim path, by table, days whose partitions are made, old days."""

    dead_rows: Mapping[str, int]
    partition_days: int
    retention: Retention


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
        ended: jobs that ended since *ended_since*, by queue; two readings with the same since give a rate.
    """

    written: Written
    active: Mapping[tuple[WorkerId, str], int]
    deferred: Mapping[tuple[str, State], int]
    ended: Mapping[str, int]
    ended_since: datetime | None


@dataclass(frozen=True, slots=True)
class EndCount:
    """Jobs that ended with one of their times in one bucket; *measure* is run or wait, *bucket* 0: it did not run."""

    queue: str
    kind: str
    state: State
    measure: str
    bucket: int
    jobs: int


@dataclass(frozen=True, slots=True)
class SeriesCount:
    """Jobs that ended in one state in the hour, or the day, that begins at *at*."""

    at: datetime
    state: State
    jobs: int


@dataclass(frozen=True, slots=True)
class LiveCount:
    """Jobs of a queue that have not ended. *reached*: the count was stopped at its limit, there may be more."""

    state: State
    queue: str
    jobs: int
    reached: bool


@dataclass(frozen=True, slots=True)
class RemoteWorker:
    """
    What a worker that works over HTTP says of itself with each claim.

    Args:
        namespace: whose jobs it gets, and no others.
        name: shown where workers are listed.
        capacity: how many jobs it takes now.
        lease_s: for how long it may be silent; None for `LEASE_S`.
    """

    namespace: UUID
    queues: Sequence[str]
    kinds: Sequence[str]
    capacity: int
    name: str | None = None
    lease_s: float | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """An attempt that a remote worker holds, by its lease and position; since when, and whether it shall stop."""

    lease_id: LeaseId
    position: int
    job_id: JobId
    attempt: int
    is_cancelled: bool
    age_s: float


@dataclass(frozen=True, slots=True)
class Overdue:
    """An attempt of a remote worker that the server ends: cancelled long ago, or else past its timeout."""

    lease_id: LeaseId
    position: int
    is_cancelled: bool
