"""
What a job is: its states, what a submit may say, what a claim gives, what an attempt may come to.

    submit ─┬─> scheduled ── run_at comes ──┐
            └─> pending <───────────────────┴── retrying (backoff over; entered by error or timeout with retries left)
                  │ claim: attempt + 1   ^
                  v                      └── hand-back, rescue
                active ─┬─> completed
                        ├─> failed     (exhausted | permanent | crash_limit; expired: while nobody had claimed it)
                        └─> cancelled  (before active: at once; active: requested first)
    failed ── replay ──> pending (same job, history kept)

`attempt` counts claims and never resets; `failures` counts the attempts charged against `retries` (error and timeout).
A crash is neither: `crashes` counts how often a job ended the process that it ran in alone; `MAX_CRASHES` end the job.
Everything here is a plain value: no connection, no clock. What is made once per job and attempt is a `msgspec.Struct`,
which is built five times faster than a frozen dataclass.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType
from uuid import UUID

import msgspec

from taskflow.kernel.json import JSONObject, JSONValue

JobId = NewType("JobId", UUID)
LeaseId = NewType("LeaseId", UUID)
WorkerId = NewType("WorkerId", UUID)

DEFAULT_NAMESPACE = UUID(int=0)
SYSTEM_NAMESPACE = UUID(int=1)  # of the engine's own jobs, which no caller sees among theirs
DEFAULT_QUEUE = "default"
DELIVERY_KIND = "deliver_webhook"  # tells a job's end to its callback_url; made by taskflow.settle
DELIVERY_QUEUE = "webhooks"

PRIORITY_LOW, PRIORITY_NORMAL, PRIORITY_HIGH = 2, 5, 8
MAX_PRIORITY = 9
MAX_RETRIES = 10
MAX_CRASHES = 3
DEFAULT_RETRIES = 3
DEFAULT_TIMEOUT_S = 30.0
MAX_TIMEOUT_S = 24 * 3600.0
MAX_PAYLOAD_BYTES = 256 * 1024
MAX_RESULT_BYTES = 256 * 1024
MAX_NAME_LENGTH = 100  # of a kind, a queue, a tag
MAX_TAGS = 20
MAX_BATCH = 1000  # jobs in one atomic call
MAX_DELAY_S = 366 * 24 * 3600.0
MAX_UNIQUE_KEY_LENGTH = 200
MAX_UNIQUE_WINDOW_S = 31 * 24 * 3600.0
MAX_QUEUE_CONCURRENCY = 100_000
MAX_QUEUES = 1000  # that somebody has said something about
MAX_CALLBACK_URL_LENGTH = 2048
MAX_LOG_LINES = 1000  # per attempt; what is over is counted, not kept
MAX_LOG_CHARS = 4000  # per line
MAX_PROGRESS_CHARS = 200  # of the words beside a fraction


class State(StrEnum):
    """Where a job is. The last three are terminal."""

    PENDING = "pending"
    SCHEDULED = "scheduled"
    RETRYING = "retrying"
    ACTIVE = "active"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})


class FailureReason(StrEnum):
    """Why a job is among the dead letters."""

    EXHAUSTED = "exhausted"
    PERMANENT = "permanent"
    CRASH_LIMIT = "crash_limit"
    EXPIRED = "expired"


class UniqueScope(StrEnum):
    """How long a job holds its unique key."""

    UNTIL_CLAIMED = "until_claimed"  # while it waits for its first attempt
    UNTIL_FINISHED = "until_finished"
    WINDOW = "window"  # for a time, whatever becomes of the job


class OutcomeKind(StrEnum):
    """What an attempt came to."""

    COMPLETED = "completed"
    ERROR = "error"
    TIMEOUT = "timeout"
    CRASHED = "crashed"  # it ended the child process that it ran in
    SNOOZED = "snoozed"
    CANCELLED = "cancelled"
    HANDED_BACK = "handed_back"
    LOST = "lost"  # written by a rescue, never by a worker


@dataclass(frozen=True, slots=True)
class JobError:
    """Why an attempt failed: the exception's class name, its message, and where (never shown for built-in secrets)."""

    type: str
    message: str
    traceback: str | None = None


@dataclass(frozen=True, slots=True)
class NewJob:
    """
    What a caller asks for. Check it with `engine.policy.check_new_job`, which names the field and the limit.

    Args:
        run_after: wait this long from the database's now; excludes *run_at*.
        unique_key: of the jobs of a namespace and kind, only one holds a key: a submit of another one gives that one.
        unique_scope: for how long it is held; None with a key is until_finished.
        unique_window: how long, for the scope window.
        expires_at: fail the job if no worker has claimed it by then.
        expires_after: the same, counted from the submit by the database's clock; excludes *expires_at* and *run_at*, as
            *expires_at* excludes *run_after*.
        headers: short strings that ride along unseen by handlers (request id, trace context).
        callback_url: who is told, durably, when the job has completed, failed or been cancelled.
    """

    kind: str
    payload: JSONObject
    namespace: UUID = DEFAULT_NAMESPACE
    queue: str = DEFAULT_QUEUE
    priority: int = PRIORITY_NORMAL
    retries: int = DEFAULT_RETRIES
    timeout_s: float = DEFAULT_TIMEOUT_S
    run_at: datetime | None = None
    run_after: timedelta | None = None
    tags: Sequence[str] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    unique_key: str | None = None
    unique_scope: UniqueScope | None = None
    unique_window: timedelta | None = None
    expires_at: datetime | None = None
    expires_after: timedelta | None = None
    callback_url: str | None = None


class Enqueued(msgspec.Struct, frozen=True, gc=False):
    """
    The answer to a submit: durable once the caller's (or the engine's own) transaction has committed.

    A *duplicate* is the job that holds the unique key, as it was when the submit came; nothing was stored.
    """

    id: JobId
    state: State
    created_at: datetime
    run_at: datetime
    expires_at: datetime | None = None
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One finished attempt, as the history shows it. *failures* counts what had been charged after it."""

    attempt: int
    outcome: OutcomeKind
    started_at: datetime | None
    finished_at: datetime
    error: JobError | None = None
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the handler said that it is: a *fraction* from 0 to 1, and a few words."""

    fraction: float
    message: str
    attempt: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Job:
    """A job with its present state; times are aware, UTC, by the database's clock."""

    id: JobId
    namespace: UUID
    kind: str
    queue: str
    state: State
    payload: JSONObject
    priority: int
    retries: int
    timeout_s: float
    tags: Sequence[str]
    headers: Mapping[str, str]
    attempt: int
    failures: int
    created_at: datetime
    run_at: datetime | None = None  # pending: due since; scheduled, retrying: due then
    started_at: datetime | None = None  # of the present or last attempt
    finished_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    result: JSONValue = None
    error: JobError | None = None  # of the last attempt that failed, while the job has not completed
    failure_reason: FailureReason | None = None
    unique_key: str | None = None
    unique_scope: UniqueScope | None = None
    expires_at: datetime | None = None
    progress: Progress | None = None  # the last that a handler reported
    callback_url: str | None = None


@dataclass(frozen=True, slots=True)
class JobFilter:
    """What a list shows; None means any. *created_from* is inclusive, *created_to* exclusive."""

    kind: str | None = None
    state: State | None = None
    queue: str | None = None
    tag: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class JobPage:
    """Newest first. *next_before* continues the list below that id; a page may be short and still have a next."""

    items: Sequence[Job]
    next_before: JobId | None


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a handler wrote; *seq* orders the lines of one job."""

    seq: int
    attempt: int
    at: datetime
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class NewLogLine:
    """A line on its way to the store; *written_s* is the monotonic clock of the process that wrote it."""

    claim: "Claim"
    level: str
    message: str
    written_s: float


@dataclass(frozen=True, slots=True)
class NewProgress:
    """A report of progress on its way to the store; of several for one attempt the last counts."""

    claim: "Claim"
    fraction: float
    message: str
    written_s: float


class Claim(msgspec.Struct, frozen=True, gc=False):
    """
    One claimed job: the right to run it, once, as this attempt.

    (*lease_id*, *position*) is the fence: every write about the attempt names it. *lease_size* is how many jobs the
    lease was given for. What *settles* has consequences (a callback, a unique key) that are written in the transaction
    of its end.
    """

    lease_id: LeaseId
    lease_size: int
    position: int
    job_id: JobId
    attempt: int
    failures: int
    namespace: UUID
    kind: str
    queue: str
    priority: int
    payload: str  # JSON text as stored; decoded by whoever knows the type
    retries: int
    timeout_s: float
    headers: Mapping[str, str]
    queue_wait_s: float | None  # from due to claimed, by the database's clock; None: nobody knows any more
    crashes: int = 0  # how often it ended a process of its own before
    suspect: bool = False  # it was running when a process died: it runs alone now
    settles: bool = False
    limited: bool = False  # its queue has a limit: somebody may wait for its place


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """
    What an attempt came to, decided by `engine.policy`; the store writes it down if the claim still stands.

    Args:
        state: where the job goes: completed, failed, cancelled, retrying, scheduled (snooze) or pending (hand-back).
        wait_s: for retrying and scheduled, how long from the database's now.
        duration_s: how long the attempt ran, by the worker's monotonic clock; None if it never started.
        ended_s: when it ended, by the same clock.
    """

    claim: Claim
    kind: OutcomeKind
    state: State
    failures: int
    result: str | None = None  # JSON text
    error: JobError | None = None
    failure_reason: FailureReason | None = None
    wait_s: float = 0.0
    duration_s: float | None = None
    ended_s: float = msgspec.field(default_factory=time.monotonic)

    @property
    def crashes(self) -> int:
        """How often the job has ended a process of its own, this attempt included."""
        return self.claim.crashes + (self.kind is OutcomeKind.CRASHED)

    @property
    def suspect(self) -> bool:
        """Whether the job must run alone next. An attempt that ended by itself clears it; a stop says nothing."""
        if self.kind in (OutcomeKind.HANDED_BACK, OutcomeKind.TIMEOUT):
            return self.claim.suspect
        return self.kind is OutcomeKind.CRASHED


@dataclass(frozen=True, slots=True)
class Cancellation:
    """What a cancel did. *state* is cancelled, or active with *requested_at* set: the worker has been asked."""

    job_id: JobId
    state: State
    requested_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """
    A queue: what was said of it, what is in it.

    Args:
        known: a job that is due or active, a live worker or a kind names it, not its settings alone.
        pending: ready jobs, counted up to a bound.
        workers: that serve it and are alive.
    """

    name: str
    known: bool = False
    paused_at: datetime | None = None
    draining_at: datetime | None = None
    concurrency: int | None = None
    pending: int = 0
    oldest_due_age_s: float | None = None
    active: int = 0
    workers: int = 0


@dataclass(frozen=True, slots=True)
class KindInfo:
    """
    A kind that workers offer: where its jobs go by default, and the JSON Schema of its payload.

    One that workers over HTTP have published is theirs who share their *namespace*; the others are everybody's.
    """

    kind: str
    queue: str
    schema: JSONObject
    retries: int
    timeout_s: float
    priority: int
    namespace: UUID | None = None


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A supervisor that is alive by the database's clock, and what its children can run."""

    id: WorkerId
    host: str
    pid: int
    queues: Sequence[str]
    kinds: Sequence[str]
    concurrency: int
    started_at: datetime
    heartbeat_at: datetime
    alive: bool
