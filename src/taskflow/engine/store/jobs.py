"""Statements about jobs that nobody runs: submit, due, expired, cancel, change, replay."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import TypeVar
from uuid import UUID

import msgspec

from taskflow.db.query import Connection, Query
from taskflow.engine.job import Enqueued, JobId, NewJob, State
from taskflow.engine.policy import encode_payload, is_plain, scope_of
from taskflow.engine.record import JobBody
from taskflow.engine.store.base import QUERIES, StoreBase
from taskflow.engine.store.copying import MIN_ROWS, Check, copy_jobs

T = TypeVar("T")

_encode = msgspec.json.encode


def check_all(jobs: Sequence[NewJob], check: Check | None) -> None:
    if check is not None:
        for place, job in enumerate(jobs):
            check(place, job)


class JobStatements(StoreBase):
    """See the module."""

    async def store(
        self,
        connection: Connection,
        jobs: Sequence[NewJob],
        *,
        atomic: bool,
        ids: Sequence[JobId] = (),
        check: Check | None = None,
    ) -> list[Enqueued | None]:
        """
        Store *jobs* and answer in their order. Durable when the caller's transaction commits.

        Args:
            atomic: all or none; either way None stands for a job whose queue drains.
            ids: of jobs whose unique keys were claimed before.
            check: called with each job and its place, at the latest before it is sent; None if that was done.
        """
        are_plain = not ids and all(map(is_plain, jobs))
        if len(jobs) == 1 and are_plain:
            stored = await self._store_one(connection, jobs[0])
            if stored is not None:
                return [stored]
        if are_plain and len(jobs) >= MIN_ROWS:
            at = await QUERIES["open_submit"].fetchval(connection, now=self._now())
            if at is not None:
                return [*await copy_jobs(connection, jobs, at, check=check)]
        check_all(jobs, check)
        usual = {
            "now": self._now(),
            "namespaces": [job.namespace for job in jobs],
            "queues": [job.queue for job in jobs],
            "kinds": [job.kind for job in jobs],
            "payloads": [encode_payload(job.payload) for job in jobs],
            "priorities": [job.priority for job in jobs],
            "retries": [job.retries for job in jobs],
            "timeouts_ms": [round(job.timeout_s * 1000) for job in jobs],
            "tags": [_array_literal(job.tags) for job in jobs],
            "headers": [_encode(job.headers).decode() if job.headers else "{}" for job in jobs],
        }
        if are_plain:
            rows = await QUERIES["enqueue_now"].fetch(connection, **usual)
            if rows:
                rows.sort(key=itemgetter(0))  # ids ascend in the order of input
                return [Enqueued(job_id, State.PENDING, created_at, created_at) for job_id, created_at in rows]
        rows = await QUERIES["enqueue"].fetch(
            connection,
            **usual,
            run_ats=[job.run_at for job in jobs],
            run_afters=[job.run_after for job in jobs],
            ids=ids,
            unique_keys=_sparse([job.unique_key for job in jobs]),
            unique_scopes=_sparse([scope_of(job) for job in jobs]),
            expires_ats=_sparse([job.expires_at for job in jobs]),
            expires_afters=_sparse([job.expires_after for job in jobs]),
            atomic=atomic,
            callback_urls=_sparse([job.callback_url for job in jobs]),
        )
        return [
            None
            if job_id is None
            else Enqueued(
                id=job_id,
                state=State.PENDING if due_at == created_at else State.SCHEDULED,
                created_at=created_at,
                run_at=due_at,
                expires_at=expires_at,
            )
            for job_id, created_at, due_at, expires_at in rows
        ]

    async def _store_one(self, connection: Connection, job: NewJob) -> Enqueued | None:
        """Store a plain job; None if that takes another look, because a queue drains."""
        row = await QUERIES["enqueue_one"].fetchrow(connection, **self._plain(job))
        return None if row is None else Enqueued(row[0], State.PENDING, row[1], row[1])

    async def store_and_wake(self, connection: Connection, job: NewJob, channel: str) -> Enqueued | None:
        """
        Store a plain job durably, and notify *channel* of its queue; outside of any transaction.

        None if it takes another look, because a queue drains.
        """
        row = await QUERIES["enqueue_and_wake"].fetchrow(connection, channel=channel, **self._plain(job))
        return None if row is None or row[0] is None else Enqueued(row[0], State.PENDING, row[1], row[1])

    def _plain(self, job: NewJob) -> dict[str, object]:
        return {
            "now": self._now(),
            "namespace": job.namespace,
            "queue": job.queue,
            "kind": job.kind,
            "payload": encode_payload(job.payload),
            "priority": job.priority,
            "retries": job.retries,
            "timeout_ms": round(job.timeout_s * 1000),
            "tags": job.tags,
            "headers": _encode(job.headers).decode() if job.headers else "{}",
        }

    def elsewhere(self, jobs: Sequence[NewJob]) -> tuple[Query, str]:
        """
        Return the statement that submits *jobs* (checked before) on somebody else's connection, and its one parameter.

        It answers in their order, each with its id and, if it has a unique key, whether it is a duplicate.
        """
        given = [{"kind": job.kind, "payload": job.payload, "options": _options(job)} for job in jobs]
        return QUERIES["enqueue_elsewhere"], _encode(given).decode()

    async def stage(self, connection: Connection, *, limit: int) -> dict[str, int]:
        """Make due jobs ready; return how many per queue."""
        rows = await QUERIES["stage"].fetch(connection, now=self._now(), limit=limit)
        return {row["queue"]: row["jobs"] for row in rows}

    async def expire(self, connection: Connection, *, limit: int) -> int:
        """Fail jobs that nobody has claimed in time, up to *limit* pending and *limit* waiting; return how many."""
        async with connection.transaction():
            rows = await QUERIES["expire"].fetch(connection, now=self._now(), limit=limit)
            if rows:
                await self.settle(connection, [row["job_id"] for row in rows])
        return len(rows)

    async def find_body(self, connection: Connection, job_id: JobId, namespace: UUID | None) -> JobBody | None:
        row = await QUERIES["find_job_body"].fetchrow(connection, job_id=job_id, namespace=namespace)
        return None if row is None else JobBody(**row)

    async def cancel_waiting(self, connection: Connection, body: JobBody) -> bool:
        """Cancel a job that is pending, scheduled or retrying; False if it is none of these (any more)."""
        if not body.settles:
            return await self._cancel_waiting(connection, body)
        async with connection.transaction():
            cancelled = await self._cancel_waiting(connection, body)
            if cancelled:
                await self.settle(connection, [body.id])
        return cancelled

    async def cancel_many(self, connection: Connection, job_ids: Sequence[JobId]) -> tuple[set[JobId], bool]:
        """
        Cancel those of *job_ids* that are pending, scheduled or retrying, and settle them.

        The caller has a transaction: both happen in it, or neither. Two at once shall give ids in the same order.
        Returns those that were cancelled, and whether any of them had consequences, so that deliveries may wait.
        """
        rows = await QUERIES["cancel_many"].fetch(connection, now=self._now(), job_ids=job_ids)
        if settling := [row["job_id"] for row in rows if row["settles"]]:
            await self.settle(connection, settling)
        return {row["job_id"] for row in rows}, bool(settling)

    async def find_active(self, connection: Connection, job_ids: Sequence[JobId]) -> set[JobId]:
        """Of *job_ids* return those that workers hold."""
        if not job_ids:
            return set()
        return {row["job_id"] for row in await QUERIES["find_active"].fetch(connection, job_ids=job_ids)}

    async def _cancel_waiting(self, connection: Connection, body: JobBody) -> bool:
        row = await QUERIES["cancel_waiting"].fetchrow(connection, now=self._now(), job_id=body.id)
        return row is not None

    async def request_cancel(self, connection: Connection, job_id: JobId) -> datetime | None:
        """Ask the holder of an active job to stop it; return since when that is asked, None if nobody holds it."""
        value: datetime | None = await QUERIES["request_cancel"].fetchval(connection, now=self._now(), job_id=job_id)
        return value

    async def find_end(self, connection: Connection, body: JobBody) -> State | None:
        row = await QUERIES["find_done"].fetchrow(
            connection, namespace=body.namespace, job_id=body.id, created_at=body.created_at
        )
        return None if row is None else State(row["state"])

    async def run_now(self, connection: Connection, body: JobBody) -> bool:
        """Make a scheduled or retrying job ready; False if it is neither."""
        return await QUERIES["run_now"].fetchval(connection, now=self._now(), job_id=body.id) is not None

    async def change_waiting(
        self,
        connection: Connection,
        body: JobBody,
        *,
        priority: int | None,
        run_at: datetime | None,
        run_after: timedelta | None,
    ) -> bool | None:
        """Change a job that waits; return whether it is ready now, None if it does not wait (any more)."""
        row = await QUERIES["change_waiting"].fetchrow(
            connection, now=self._now(), job_id=body.id, priority=priority, run_at=run_at, run_after=run_after
        )
        return None if row is None else bool(row["is_ready"])

    async def replay(self, connection: Connection, body: JobBody, *, state: State = State.FAILED) -> bool:
        """Make a job ready again that ended in *state*; False if it did not."""
        queue = await QUERIES["replay"].fetchval(
            connection,
            now=self._now(),
            namespace=body.namespace,
            state=state,
            job_id=body.id,
            created_at=body.created_at,
            priority=body.priority,
        )
        return queue is not None


def _sparse(values: list[T | None]) -> list[T | None]:
    """Return *values*, or nothing if there are none: unnest fills up with NULL what is shorter."""
    return values if any(value is not None for value in values) else []


def _array_literal(texts: Sequence[str]) -> str:
    """A PostgreSQL array literal; asyncpg cannot send arrays of differing lengths in one array."""
    if not texts:
        return "{}"
    return "{" + ",".join('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts) + "}"


def _options(job: NewJob) -> dict[str, object]:
    """What `taskflow.enqueue` is told of a job besides kind and payload, with the names of POST /jobs."""
    options: dict[str, object] = {
        "namespace": str(job.namespace),
        "queue": job.queue,
        "priority": job.priority,
        "retries": job.retries,
        "timeout": round(job.timeout_s * 1000),
        "tags": list(job.tags),
        "headers": dict(job.headers),
    }
    if job.callback_url is not None:
        options["callbackUrl"] = job.callback_url
    if job.unique_key is not None:
        options |= {"uniqueKey": job.unique_key, "uniqueScope": scope_of(job)}
    if job.unique_window is not None:
        options["uniqueWindow"] = _milliseconds(job.unique_window)
    if job.expires_at is not None:
        options["expiresAt"] = job.expires_at.isoformat()
    if job.expires_after is not None:
        options["ttl"] = _milliseconds(job.expires_after)
    if job.run_at is not None:
        options["runAt"] = job.run_at.isoformat()
    if job.run_after is not None:
        options["delay"] = _milliseconds(job.run_after)
    return options


def _milliseconds(length: timedelta) -> int:
    return round(length.total_seconds() * 1000)
