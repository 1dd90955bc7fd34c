"""
What the store promises, as plain Python: `test_store_state_machine` compares PostgreSQL with this after every step.

A job is in one place because it is one object with one state; nothing here knows of tables, bits or locks. The model
takes the instant from its caller, so that it and the database agree on time to the microsecond.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from taskflow.engine.job import (
    Attempt,
    Claim,
    Enqueued,
    FailureReason,
    Job,
    JobError,
    JobId,
    LeaseId,
    NewJob,
    Outcome,
    OutcomeKind,
    State,
    UniqueScope,
    WorkerId,
)
from taskflow.engine.policy import scope_of
from taskflow.kernel.json import JSONValue

TOLD = (OutcomeKind.ERROR, OutcomeKind.TIMEOUT, OutcomeKind.CRASHED)  # attempts whose error a job shows


@dataclass(slots=True, eq=False)
class ModelLease:
    """One claimed batch: who holds it, which positions are still open, and which of them should stop."""

    id: LeaseId
    worker_id: WorkerId
    incarnation: int
    jobs: "Sequence[ModelJob]"
    claimed_at: datetime
    open: set[int]
    cancels: dict[int, datetime] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return len(self.jobs)


@dataclass(slots=True, eq=False)
class ModelJob:
    """A job and everything that has happened to it."""

    id: JobId
    new: NewJob
    created_at: datetime
    state: State
    run_at: datetime | None
    attempt: int = 0
    failures: int = 0
    crashes: int = 0
    suspect: bool = False
    expires_at: datetime | None = None
    replayed: bool = False
    held: tuple[ModelLease, int] | None = None
    result: JSONValue = None
    end_error: JobError | None = None
    end_started_at: datetime | None = None
    finished_at: datetime | None = None
    failure_reason: FailureReason | None = None
    history: list[Attempt] = field(default_factory=list)
    ends: list[tuple[State, datetime, str | None]] = field(
        default_factory=list
    )  # each time it ended: how, when, of what

    @property
    def may_expire(self) -> bool:
        """Only a job that nobody has claimed yet expires; run again, it has been failed before."""
        return self.attempt == 0 and not self.replayed

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    @property
    def claim_key(self) -> tuple[int, datetime, JobId]:
        """Priority first, then time, then id."""
        assert self.run_at is not None
        return -self.new.priority, self.run_at, self.id

    @property
    def last_failed(self) -> Attempt | None:
        return next((attempt for attempt in reversed(self.history) if attempt.outcome in TOLD), None)

    def view(self) -> Job:
        """The job as `Store.read_jobs` must show it."""
        failed = self.last_failed
        started_at = failed.started_at if failed else None
        cancel_requested_at = None
        if self.held is not None:
            lease, position = self.held
            started_at, cancel_requested_at = lease.claimed_at, lease.cancels.get(position)
        error = self.end_error or (failed.error if failed else None)
        return Job(
            id=self.id,
            namespace=self.new.namespace,
            kind=self.new.kind,
            queue=self.new.queue,
            state=self.state,
            payload=self.new.payload,
            priority=self.new.priority,
            retries=self.new.retries,
            timeout_s=self.new.timeout_s,
            tags=list(self.new.tags),
            headers=self.new.headers,
            attempt=self.attempt,
            failures=self.failures,
            created_at=self.created_at,
            run_at=self.run_at,
            started_at=self.end_started_at or started_at,
            finished_at=self.finished_at,
            cancel_requested_at=cancel_requested_at,
            result=self.result,
            error=None if self.state is State.COMPLETED else error,
            failure_reason=self.failure_reason,
            callback_url=self.new.callback_url,
            unique_key=self.new.unique_key,
            unique_scope=scope_of(self.new),
            expires_at=self.expires_at,
        )


class QueueModel:
    """The queue. Methods are named after the store's and return what it must return."""

    def __init__(self) -> None:
        self.jobs: dict[JobId, ModelJob] = {}
        self.keys: dict[tuple[UUID, str, str], tuple[ModelJob, datetime | None]] = {}
        self.paused: set[str] = set()
        self.limits: dict[str, int] = {}
        self.leases: dict[LeaseId, ModelLease] = {}
        self.beats: dict[WorkerId, datetime] = {}
        # Which attempts came to what, whoever wrote it: what a flush sent twice finds of itself.
        self.written: set[tuple[JobId, int, OutcomeKind]] = set()
        # How often jobs ended, by namespace, queue, kind and state: what statistics add up to, folded or not.
        self.ends: Counter[tuple[UUID, str, str, str]] = Counter()

    @property
    def deliveries(self) -> list[tuple[JobId, str, datetime, str | None]]:
        """One per end of each job that has a callback: of which job, its event, when it ended, of what error."""
        return sorted(
            (job.id, f"job.{state}", at, error)
            for job in self.jobs.values()
            if job.new.callback_url is not None
            for state, at, error in job.ends
        )

    def among(self, *states: State) -> list[ModelJob]:
        return [job for job in self.jobs.values() if job.state in states]

    # What the store does ---------------------------------------------------------------------------------------

    def enqueue(self, now: datetime, news: Sequence[NewJob], answers: Sequence[Enqueued]) -> None:
        """Take over ids and creation times as the database gave them; where the job waits is decided here."""
        for new, answer in zip(news, answers, strict=True):
            holder = self.holder(now, new)
            assert answer.duplicate == (holder is not None)
            if holder is not None:
                assert (answer.id, answer.state) == (holder.id, holder.state)
                continue
            asked = new.run_at or answer.created_at + (new.run_after or timedelta(0))
            state = State.SCHEDULED if asked > answer.created_at else State.PENDING
            run_at = max(asked, answer.created_at)
            assert (answer.state, answer.run_at) == (state, run_at)
            expires_at = None if new.expires_after is None else answer.created_at + new.expires_after
            assert answer.expires_at == expires_at
            job = self.jobs[answer.id] = ModelJob(answer.id, new, answer.created_at, state, run_at)
            job.expires_at = expires_at
            if new.unique_key is not None:
                until = None if new.unique_window is None else now + new.unique_window
                self.keys[new.namespace, new.kind, new.unique_key] = (job, until)

    def holder(self, now: datetime, new: NewJob) -> ModelJob | None:
        """The job that holds the key that *new* wants."""
        job, until = self.keys.get((new.namespace, new.kind, new.unique_key or ""), (None, None))
        return job if until is None or until > now else None

    def release(self, job: ModelJob, *scopes: UniqueScope) -> None:
        key = job.new.namespace, job.new.kind, job.new.unique_key or ""
        if scope_of(job.new) in scopes and self.keys.get(key, (None, None))[0] is job:
            del self.keys[key]

    def room(self, queue: str, limit: int) -> int | None:
        """How many jobs of a queue a claim may take; None where nobody has said anything."""
        if queue in self.paused:
            return 0
        if queue not in self.limits:
            return None
        active = sum(job.new.queue == queue for job in self.among(State.ACTIVE))
        return max(0, min(limit, self.limits[queue] - active))

    def claim(
        self,
        now: datetime,
        lease_ids: Sequence[LeaseId],
        worker_id: WorkerId,
        incarnation: int,
        queues: Sequence[str],
        kinds: Sequence[str],
        limit: int,
    ) -> list[tuple[int, ModelJob]]:
        """Return positions and jobs, those of queues without a limit first: they share the first lease."""
        if worker_id not in self.beats:
            return []
        lanes: dict[int, list[ModelJob]] = {}
        free = limit
        for number, queue in enumerate(queues, start=1):
            lane = [
                job
                for job in self.among(State.PENDING)
                if job.new.queue == queue and job.new.kind in kinds and not (job.may_expire and job.is_expired(now))
            ]
            room = self.room(queue, limit)
            taken = sorted(lane, key=lambda job: job.claim_key)[: min(free, limit if room is None else room)]
            free -= len(taken)
            lanes.setdefault(0 if room is None else number, []).extend(taken)
        chosen: list[tuple[int, ModelJob]] = []
        for number, jobs in sorted(lanes.items()):
            if not jobs:
                continue
            jobs.sort(key=lambda job: job.claim_key)
            lease = ModelLease(lease_ids[number], worker_id, incarnation, jobs, now, set(range(len(jobs))))
            self.leases[lease.id] = lease
            for position, job in enumerate(jobs):
                job.state, job.run_at, job.held, job.attempt = State.ACTIVE, None, (lease, position), job.attempt + 1
                if job.attempt == 1:
                    self.release(job, UniqueScope.UNTIL_CLAIMED)
                chosen.append((position, job))
        return chosen

    def expire(self, now: datetime) -> int:
        late = [job for job in self.among(State.PENDING, State.SCHEDULED) if job.may_expire and job.is_expired(now)]
        for job in late:
            error = JobError("Expired", "no worker had started it by its expiresAt")
            self._to_end(now, job, State.FAILED, None, error)
            job.failure_reason = FailureReason.EXPIRED
        return len(late)

    def prune_keys(self, now: datetime) -> int:
        over = [key for key, (_, until) in self.keys.items() if until is not None and until <= now]
        for key in over:
            del self.keys[key]
        return len(over)

    def run_now(self, now: datetime, job: ModelJob) -> bool:
        if job.state not in (State.SCHEDULED, State.RETRYING):
            return False
        job.state, job.run_at = State.PENDING, now
        return True

    def change(self, now: datetime, job: ModelJob, priority: int, run_after: timedelta | None) -> bool | None:
        if job.state not in (State.PENDING, State.SCHEDULED, State.RETRYING) or job.run_at is None:
            return None
        job.new = replace(job.new, priority=priority)
        if run_after is None:
            return job.state is State.PENDING
        if run_after > timedelta(0):
            job.state = State.SCHEDULED if job.state is State.PENDING else job.state
            job.run_at = now + run_after
            return False
        if job.state is not State.PENDING:
            job.state, job.run_at = State.PENDING, min(job.run_at, now)
        return True

    def flush(self, now: datetime, outcomes: Iterable[Outcome]) -> list[Outcome]:
        """Write down what attempts came to; return the refused."""
        refused = []
        for outcome in outcomes:
            lease = self.leases.get(outcome.claim.lease_id)
            if lease is None or outcome.claim.position not in lease.open:
                refused.append(outcome)
            else:
                self._end(now, lease, outcome)
        return refused

    def find_unsettled(self, refused: Iterable[Outcome]) -> list[Outcome]:
        return [
            outcome
            for outcome in refused
            if (outcome.claim.job_id, outcome.claim.attempt, outcome.kind) not in self.written
        ]

    def return_leases(
        self, now: datetime, lease_ids: Iterable[LeaseId], kind: OutcomeKind, suspects: Collection[JobId] | None
    ) -> dict[str, int]:
        queues: dict[str, int] = {}
        for lease in [self.leases[lease_id] for lease_id in lease_ids if lease_id in self.leases]:
            for position in sorted(lease.open):
                job = self._release(lease, position)
                queues[job.new.queue] = queues.get(job.new.queue, 0) + 1
                if position in lease.cancels:
                    self._to_end(now, job, State.CANCELLED, lease.claimed_at)
                else:
                    job.state, job.run_at = State.PENDING, lease.claimed_at
                    job.suspect = job.suspect or suspects is None or job.id in suspects
                self._log(job, Attempt(job.attempt, kind, lease.claimed_at, now))
        return queues

    def find_orphan_leases(self) -> list[LeaseId]:
        return sorted(lease.id for lease in self.leases.values() if lease.worker_id not in self.beats)

    def find_child_leases(self, worker_id: WorkerId, incarnation: int | None) -> list[LeaseId]:
        return sorted(
            lease.id
            for lease in self.leases.values()
            if lease.worker_id == worker_id and incarnation in (None, lease.incarnation)
        )

    def bury_workers(self, now: datetime, lease_s: float) -> set[WorkerId]:
        silent = {worker for worker, beat in self.beats.items() if beat < now - timedelta(seconds=lease_s)}
        for worker in silent:
            del self.beats[worker]
        return silent

    def stage(self, now: datetime, limit: int) -> dict[str, int]:
        queues: dict[str, int] = {}
        for job in self._due(now)[:limit]:
            job.state = State.PENDING
            queues[job.new.queue] = queues.get(job.new.queue, 0) + 1
        return queues

    def without_tie(self, now: datetime, limit: int) -> int:
        """Return the least number from *limit* on that splits no jobs of one instant: which of them go is open."""
        due = self._due(now)
        while 0 < limit < len(due) and due[limit - 1].run_at == due[limit].run_at:
            limit += 1
        return limit

    def _due(self, now: datetime) -> list[ModelJob]:
        waiting = [job for job in self.among(State.SCHEDULED, State.RETRYING) if job.run_at and job.run_at <= now]
        return sorted(waiting, key=lambda job: job.run_at or now)

    def cancel_waiting(self, now: datetime, job: ModelJob) -> bool:
        if job.state not in (State.PENDING, State.SCHEDULED, State.RETRYING):
            return False
        self._to_end(now, job, State.CANCELLED, None)
        return True

    def request_cancel(self, now: datetime, job: ModelJob) -> datetime | None:
        if job.held is None:
            return None
        lease, position = job.held
        return lease.cancels.setdefault(position, now)

    def replay(self, now: datetime, job: ModelJob) -> bool:
        if job.state is not State.FAILED:
            return False
        if scope_of(job.new) is UniqueScope.UNTIL_FINISHED:
            key = job.new.namespace, job.new.kind, job.new.unique_key or ""
            if self.holder(now, job.new) is not None:
                return False
            self.keys[key] = (job, None)
        job.replayed = True
        job.state, job.run_at, job.failures = State.PENDING, now, 0
        job.crashes, job.suspect = 0, False
        job.finished_at = job.end_started_at = job.end_error = job.failure_reason = None
        return True

    # How ---------------------------------------------------------------------------------------------------------

    def _end(self, now: datetime, lease: ModelLease, outcome: Outcome) -> None:
        job = self._release(lease, outcome.claim.position)
        started_at = None
        if outcome.duration_s is not None:
            started_at = max(lease.claimed_at, now - timedelta(seconds=outcome.duration_s))
        retry_at = None
        state = outcome.state
        if not state.is_terminal and outcome.claim.position in lease.cancels:
            state = State.CANCELLED
        job.failures = outcome.failures
        if outcome.kind is OutcomeKind.CRASHED:
            job.crashes, job.suspect = job.crashes + 1, True
        elif outcome.kind not in (OutcomeKind.HANDED_BACK, OutcomeKind.TIMEOUT):
            job.suspect = False
        if state.is_terminal:
            self._to_end(now, job, state, started_at, outcome.error)
            job.failure_reason = outcome.failure_reason if state is State.FAILED else None
            job.result = json.loads(outcome.result) if outcome.result else None
        elif state is State.PENDING:
            job.state, job.run_at = state, lease.claimed_at
        else:
            job.state = state
            job.run_at = retry_at = now + timedelta(seconds=outcome.wait_s)
        self._log(job, Attempt(job.attempt, outcome.kind, started_at, now, outcome.error, retry_at))

    def _release(self, lease: ModelLease, position: int) -> ModelJob:
        lease.open.remove(position)
        if not lease.open:
            del self.leases[lease.id]
        job = lease.jobs[position]
        job.held = None
        return job

    def _to_end(
        self, now: datetime, job: ModelJob, state: State, started_at: datetime | None, error: JobError | None = None
    ) -> None:
        job.state, job.run_at, job.finished_at, job.end_started_at = state, None, now, started_at
        job.end_error = error
        self.release(job, UniqueScope.UNTIL_CLAIMED, UniqueScope.UNTIL_FINISHED)
        job.ends.append((state, now, error.message if error else None))
        self.ends[job.new.namespace, job.new.queue, job.new.kind, str(state)] += 1

    def _log(self, job: ModelJob, attempt: Attempt) -> None:
        job.history.append(attempt)
        self.written.add((job.id, attempt.attempt, attempt.outcome))


def claim_of(claims: Sequence[Claim]) -> list[tuple[int, JobId, int, int, int, bool]]:
    """What of a claim the model predicts: position, job, attempt, failures, crashes, and whether it is suspect."""
    return [
        (claim.position, claim.job_id, claim.attempt, claim.failures, claim.crashes, claim.suspect) for claim in claims
    ]
