"""
The engine as its users see it: submit, look, cancel, replay. Workers use `store` directly.

`async with Engine(database) as engine:` starts two small tasks, one that groups concurrent submits into one commit
and one that sends wake-ups. Without them everything still works: a submit is its own commit, and workers find it by
their poll.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Self
from uuid import UUID

from taskflow.db.pool import DATABASE_ERRORS, Database
from taskflow.db.query import Connection
from taskflow.engine.job import (
    DELIVERY_QUEUE,
    MAX_BATCH,
    MAX_NAME_LENGTH,
    MAX_QUEUE_CONCURRENCY,
    MAX_QUEUES,
    Attempt,
    Cancellation,
    Enqueued,
    Job,
    JobFilter,
    JobId,
    JobPage,
    KindInfo,
    LogLine,
    NewJob,
    QueueInfo,
    State,
    WorkerInfo,
)
from taskflow.engine.meter import SubmitMeter
from taskflow.engine.notifier import WAKE_CHANNEL, Notifier
from taskflow.engine.policy import check_job_of_many, check_new_job, check_queue_name, is_plain
from taskflow.engine.record import (
    Activity,
    EndedJob,
    Hindrance,
    JobBody,
    Leadership,
    LogNews,
    LogPosition,
    QueueDepth,
    Retention,
    Upkeep,
)
from taskflow.engine.store import Store, day_floor
from taskflow.engine.store.jobs import check_all
from taskflow.engine.submitter import Submitter, store_jobs
from taskflow.kernel.errors import AlreadyFinal, Conflict, FieldError, Invalid, NotFound, Unavailable

_FLUSH_S = 1.0  # what the last wake-ups may take; without them workers find the work by their poll
_TRIES = 20  # a job that changes its place between two looks this often is not to be believed

_IS_DUPLICATE = attrgetter("duplicate")
_SUBMITS = SubmitMeter()  # of the process, however many clients it has


class Engine:
    """
    See the module.

    Args:
        now: the clock of the statements; tests move it. None from it means the database's own, as in production.
    """

    def __init__(self, database: Database, *, now: Callable[[], datetime | None] = lambda: None) -> None:
        self._database = database
        self._store = Store(now)
        self._own_connections = (database.own_connection(), database.own_connection())
        lend_to_submitter, lend_to_notifier = (own.use for own in self._own_connections)
        self._notifier = Notifier(lend_to_notifier)
        self._submitter = Submitter(lend_to_submitter, self._store, self._notifier)
        self._services: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start grouping submits and sending wake-ups. Starting twice is fine."""
        if self._services is None:
            with suppress(*DATABASE_ERRORS):
                await self.make_partitions()
            self._services = asyncio.create_task(self._run(), name="taskflow-engine")

    async def stop(self) -> None:
        """
        Stop: submits that are waiting are refused, wake-ups are sent. Stopping twice, or before starting, is fine.
        """
        services, self._services = self._services, None
        if services is not None:
            services.cancel()
            with suppress(asyncio.CancelledError):
                await services
            with suppress(TimeoutError):
                async with asyncio.timeout(_FLUSH_S):
                    await self._notifier.flush()
            for connection in self._own_connections:
                connection.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._submitter.run(), name="taskflow-submitter")
            group.create_task(self._notifier.run(), name="taskflow-notifier")

    # Submitting -----------------------------------------------------------------------------------------------------

    async def enqueue(self, job: NewJob, *, connection: Connection | None = None) -> Enqueued:
        """
        Submit one job; durable on return, or, with *connection*, when its transaction commits.

        With *connection* call `wake` after the commit, or let the workers' poll find it within a second.

        Raises:
            Invalid, PayloadTooLarge: nothing was stored.
            Unavailable: the database is away, or too much is waiting for it.
        """
        check_new_job(job)
        if connection is not None:
            [enqueued] = await self._store.enqueue(connection, [job])
        elif self._services is not None and job.unique_key is None:
            enqueued = await self._submitter.submit(job)
        else:
            [enqueued] = await store_jobs(self._database, self._store, [job])
            self.wake([job.queue])
        if not enqueued.duplicate:
            _SUBMITS.count([job])
        return enqueued

    async def enqueue_and_wake(self, job: NewJob, *, connection: Connection) -> Enqueued | None:
        """
        Submit one job that was checked, and tell workers, in one round trip; for code without an event loop.

        Args:
            connection: in no transaction: the job is durable on return.

        Returns:
            None if nothing was stored, because that takes more than a look: use `enqueue_many` then.
        """
        enqueued = await self._store.store_and_wake(connection, job, WAKE_CHANNEL) if is_plain(job) else None
        if enqueued is not None:
            _SUBMITS.count([job])
        return enqueued

    async def enqueue_many(
        self, jobs: Sequence[NewJob], *, connection: Connection | None = None, checked: bool = False
    ) -> list[Enqueued]:
        """
        Submit up to `MAX_BATCH` jobs, all or none, answered in their order.

        Args:
            checked: the caller has called `check_new_job` for each.

        Raises:
            Invalid: as for `enqueue`, the pointers beginning with the index of the job.
        """
        if len(jobs) > MAX_BATCH:
            detail = f"at most {MAX_BATCH} jobs in one batch, got {len(jobs)}"
            raise Invalid(detail, errors=[FieldError("", "too_many", detail)])
        if not jobs:
            return []
        check = None if checked else check_job_of_many
        if connection is not None:
            check_all(jobs, check)  # before the caller's transaction is touched
            stored = await self._store.enqueue(connection, jobs)
        else:
            stored = await store_jobs(self._database, self._store, jobs, check=check)
            self.wake({job.queue for job in jobs})
        if any(map(_IS_DUPLICATE, stored)):
            jobs = [job for job, enqueued in zip(jobs, stored, strict=True) if not enqueued.duplicate]
        _SUBMITS.count(jobs)
        return stored

    def wake(self, queues: Iterable[str]) -> None:
        """Tell workers of jobs that the caller's own transaction has just committed. Returns at once."""
        self._notifier.wake(queues)

    async def make_partitions(self) -> None:
        """Make today's partitions where they are missing: the leader does, but a deployment may have slept."""
        async with self._database.acquire() as connection:
            await self._store.make_partitions(connection, days=1)

    # Looking --------------------------------------------------------------------------------------------------------

    async def get_job(
        self, job_id: JobId, *, namespace: UUID | None = None, connection: Connection | None = None
    ) -> Job:
        """Return a job with its present state. Raises NotFound."""
        async with self._database.lend(connection) as lent:
            found = await self._store.read_jobs(lent, [job_id], namespace=namespace)
            if not found:
                raise await self._gone(lent, job_id)
        return found[0]

    async def list_jobs(
        self, namespace: UUID, chosen: JobFilter, *, limit: int, before: JobId | None = None
    ) -> JobPage:
        """Return a page of jobs, newest first, below *before*; ids and states are of one snapshot."""
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            ids, next_before = await self._store.list_ids(connection, namespace, chosen, limit=limit, before=before)
            return JobPage(await self._store.read_jobs(connection, ids), next_before)

    async def list_attempts(
        self, job_id: JobId, *, namespace: UUID | None = None, connection: Connection | None = None
    ) -> list[Attempt]:
        """Return the attempts of a job that have ended, oldest first. Raises NotFound."""
        async with self._database.lend(connection) as lent:
            attempts = await self._store.list_attempts(lent, await self._body(lent, job_id, namespace))
            if not attempts:  # of a job that is gone, the body may still be there
                await self.get_job(job_id, namespace=namespace, connection=lent)
            return attempts

    async def list_logs(
        self, job_id: JobId, *, after_seq: int = 0, limit: int, namespace: UUID | None = None
    ) -> list[LogLine]:
        """Return lines that the job's handler wrote, in order. Raises NotFound."""
        async with self._database.acquire() as connection:
            body = await self._body(connection, job_id, namespace)
            lines = await self._store.list_logs(connection, body, after_seq=after_seq, limit=limit)
            if not lines:
                await self.get_job(job_id, namespace=namespace, connection=connection)
            return lines

    async def find_log_position(
        self, job_id: JobId, *, after_seq: int = 0, namespace: UUID | None = None
    ) -> LogPosition:
        """Return where to follow a job's log from. Raises NotFound."""
        async with self._database.acquire() as connection:
            body = await self._body(connection, job_id, namespace)
            await self.get_job(job_id, namespace=namespace, connection=connection)  # one that is gone never ends
            return LogPosition(body, after_seq)

    async def follow_logs(self, positions: Sequence[LogPosition], *, limit: int) -> list[LogNews]:
        """Return what comes after each of *positions* now, at most *limit* lines each; does not wait."""
        async with self._database.acquire() as connection:
            return await self._store.follow_logs(connection, positions, limit=limit)

    async def list_kinds(self) -> list[KindInfo]:
        """Return the kinds that workers have published, each with its newest schema."""
        async with self._database.acquire() as connection:
            return await self._store.list_kinds(connection)

    async def list_workers(self) -> list[WorkerInfo]:
        async with self._database.acquire() as connection:
            return await self._store.list_workers(connection)

    async def find_hindrance(self, job: Job, *, connection: Connection | None = None) -> Hindrance | None:
        """Return what keeps a pending job from being claimed; None if only others before it do."""
        async with self._database.lend(connection) as lent:
            return await self._store.find_hindrance(lent, queue=job.queue, kind=job.kind, namespace=job.namespace)

    async def queue_depths(self) -> list[QueueDepth]:
        """Return ready jobs per queue and kind, counted over a bounded number of rows."""
        async with self._database.acquire() as connection:
            return await self._store.queue_depths(connection)

    async def stream_ended(
        self, namespace: UUID, ended_from: datetime, ended_to: datetime, *, limit: int
    ) -> AsyncGenerator[EndedJob, None]:
        """
        Yield jobs that ended in [*ended_from*, *ended_to*), in no order, up to *limit*, out of one snapshot.

        Memory stays small however many there are. Go through it without delay: it holds a connection.
        """
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            async for job in self._store.stream_ended(connection, namespace, ended_from, ended_to, limit=limit):
                yield job

    async def list_queues(self, *, after: str = "", limit: int = MAX_QUEUES) -> list[QueueInfo]:
        """Return queues by name, those above *after*, with their settings and what is in them."""
        async with self._database.acquire() as connection:
            return await self._store.read_queues(connection, after=after, limit=limit)

    async def get_queue(self, name: str, *, connection: Connection | None = None) -> QueueInfo:
        """Return one queue. Raises NotFound: nobody has ever named it."""
        async with self._database.lend(connection) as lent:
            found = await self._store.read_queues(lent, name=name)
        if not found:
            raise NotFound(f"there is no queue {name[:MAX_NAME_LENGTH]!r}")
        return found[0]

    async def count_dead_letters(self, namespace: UUID) -> int:
        """Count failed jobs, over a bounded number of rows."""
        async with self._database.acquire() as connection:
            return await self._store.count_dead_letters(connection, namespace)

    async def find_leader(self, name: str) -> Leadership | None:
        """Return who leads or led last, by the name in `engine.leader`; None if nobody ever did."""
        async with self._database.acquire() as connection:
            return await self._store.find_leader(connection, name)

    async def read_activity(self) -> Activity:
        """Return what goes on now, counted over a bounded number of rows."""
        async with self._database.acquire() as connection:
            return await self._store.read_activity(connection)

    async def read_retention(self) -> Retention:
        """Return how long ended jobs are kept, and the oldest day there is."""
        async with self._database.acquire() as connection:
            return await self._store.read_retention(connection)

    async def read_upkeep(self) -> Upkeep:
        """Return how well the storage is looked after."""
        async with self._database.acquire() as connection:
            dead = await self._store.dead_entries(connection)
            days = await self._store.count_partition_days(connection)
            return Upkeep(dead.rows, days, await self._store.read_retention(connection))

    # Changing -------------------------------------------------------------------------------------------------------

    async def cancel(
        self, job_id: JobId, *, namespace: UUID | None = None, connection: Connection | None = None
    ) -> Cancellation:
        """
        Cancel a job: at once if nobody runs it, else ask its worker to stop it.

        Each step is one statement that takes the job from where it is; between two of them it may have moved on, so
        the round is made again until one of them finds it. With *connection*, call `announce_cancel` after the commit.

        Raises:
            NotFound: no such job in *namespace*.
            AlreadyFinal: it has ended; `state` says how.
        """
        async with self._database.lend(connection) as lent:
            for _ in range(_TRIES):
                body = await self._body(lent, job_id, namespace)  # each round: it may have been deleted meanwhile
                if await self._store.cancel_waiting(lent, body):
                    if body.settles and connection is None:
                        self.wake([DELIVERY_QUEUE])
                    return Cancellation(job_id, State.CANCELLED)
                if requested_at := await self._store.request_cancel(lent, job_id):
                    if connection is None:
                        self.announce_cancel(job_id)
                    return Cancellation(job_id, State.ACTIVE, requested_at)
                if state := await self._store.find_end(lent, body):
                    raise AlreadyFinal(f"the job is {state} already", state=str(state))
                await self.get_job(job_id, namespace=namespace, connection=lent)  # is it anywhere?
        raise Unavailable("the job is changing too quickly to be cancelled; try again", retry_after_s=1.0)

    def announce_cancel(self, job_id: JobId) -> None:
        """Tell the worker of a cancel that the caller's own transaction has just committed. Returns at once."""
        self._notifier.cancel(job_id)

    async def replay(
        self,
        job_id: JobId,
        *,
        namespace: UUID | None = None,
        connection: Connection | None = None,
        state: State = State.FAILED,
    ) -> Job:
        """
        Run a job again that has failed, or ended in another *state*: its history is kept, its failures are forgiven.

        With *connection*, call `wake` after the commit.

        Raises:
            NotFound: no such job in *namespace*.
            Conflict: it is not in *state*; `facts["state"]` says what it is.
        """
        if connection is None:
            async with self._database.transaction() as own:
                job = await self.replay(job_id, namespace=namespace, connection=own, state=state)
            self.wake([job.queue])
            return job
        body = await self._body(connection, job_id, namespace)
        async with connection.transaction():  # a savepoint: in a caller's transaction that goes on, nothing of it stays
            replayed = await self._store.replay(connection, body, state=state)
            if replayed and body.settles and await self._store.is_key_held(connection, body):
                raise Conflict("another job holds this job's unique key by now", code="unique_key_held")
        job = await self.get_job(job_id, namespace=namespace, connection=connection)
        if not replayed:
            detail = f"only a {state} job can be retried, this one is {job.state}"
            raise Conflict(detail, code="not_failed", facts={"state": str(job.state)})
        return job

    async def run_now(
        self, job_id: JobId, *, namespace: UUID | None = None, connection: Connection | None = None
    ) -> Job:
        """
        Make a scheduled or retrying job ready at once. With *connection*, call `wake` after the commit.

        Raises:
            NotFound: no such job in *namespace*.
            Conflict: it does not wait for a time; `facts["state"]` says what it is.
        """
        async with self._database.lend(connection) as lent:
            body = await self._body(lent, job_id, namespace)
            for _ in range(_TRIES):
                moved = await self._store.run_now(lent, body)
                job = await self.get_job(job_id, namespace=namespace, connection=lent)
                if moved or job.state not in (State.SCHEDULED, State.RETRYING):
                    break  # else somebody changed it just then: look again
        if not moved:
            detail = f"only a scheduled or retrying job can be run now, this one is {job.state}"
            raise Conflict(detail, code="not_waiting", facts={"state": str(job.state)})
        if connection is None:
            self.wake([job.queue])
        return job

    async def change(
        self,
        job_id: JobId,
        *,
        priority: int | None = None,
        run_at: datetime | None = None,
        run_after: timedelta | None = None,
        namespace: UUID | None = None,
        connection: Connection | None = None,
    ) -> Job:
        """
        Change a job before it is active: its priority, when it is due. With *connection*, call `wake` after the commit.

        Raises:
            NotFound: no such job in *namespace*.
            Conflict: it is active or has ended; `facts["state"]` says which.
        """
        async with self._database.lend(connection) as lent:
            body = await self._body(lent, job_id, namespace)
            for _ in range(_TRIES):
                changed = await self._store.change_waiting(
                    lent, body, priority=priority, run_at=run_at, run_after=run_after
                )
                job = await self.get_job(job_id, namespace=namespace, connection=lent)
                if changed is not None or job.state is State.ACTIVE or job.state.is_terminal:
                    break  # else it moved between two places just then: look again
        if changed is None:
            detail = f"only a job that waits can be changed, this one is {job.state}"
            raise Conflict(detail, code="not_waiting", facts={"state": str(job.state)})
        if changed and connection is None:
            self.wake([job.queue])
        return job

    # Queues ---------------------------------------------------------------------------------------------------------

    async def set_queue(
        self,
        name: str,
        *,
        paused: bool | None = None,
        draining: bool | None = None,
        limits: bool = False,
        concurrency: int | None = None,
        connection: Connection | None = None,
    ) -> QueueInfo:
        """
        Say something about a queue, which need not exist yet; what is None stays as it is.

        Args:
            paused: hand out none of its jobs.
            draining: take no new jobs.
            limits: take *concurrency* too: how many of its jobs may be active at once, None for no limit.
            connection: with it, call `wake` after the commit.

        Raises:
            Invalid: the name or the limit cannot be.
            Conflict: `MAX_QUEUES` queues have settings already.
        """
        check_queue_name(name)
        if concurrency is not None and not 1 <= concurrency <= MAX_QUEUE_CONCURRENCY:
            detail = f"must be from 1 to {MAX_QUEUE_CONCURRENCY}, got {concurrency}"
            raise Invalid("the limit is not valid", errors=[FieldError("/concurrency", "out_of_range", detail)])
        async with self._database.lend(connection) as lent:
            if await self._store.count_queue_settings(lent, besides=name, limit=MAX_QUEUES) >= MAX_QUEUES:
                raise Conflict(
                    f"{MAX_QUEUES} queues have settings already, the most there can be", code="too_many_queues"
                )
            await self._store.set_queue(
                lent, name, paused=paused, draining=draining, limits=limits, concurrency=concurrency
            )
            found = await self._store.read_queues(lent, name=name)
        if connection is None:
            self.wake([name])
        return found[0] if found else QueueInfo(name)

    async def _body(self, connection: Connection, job_id: JobId, namespace: UUID | None) -> JobBody:
        body = await self._store.find_body(connection, job_id, namespace)
        if body is None:
            raise await self._gone(connection, job_id)
        return body

    async def _gone(self, connection: Connection, job_id: JobId) -> NotFound:
        """Say that there is no such job, and why, if its age explains that."""
        kept_from = await self._store.find_kept_from(connection)
        if job_id.version != 7 or kept_from is None or job_id >= day_floor(kept_from):  # only ours have an age
            return NotFound(f"there is no job {str(job_id)!r}")
        return NotFound(f"there is no job {str(job_id)!r} any more: those that ended before {kept_from} are gone")
