"""Statements about jobs that nobody runs: submit, due, cancel, replay."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from taskflow.db.query import Connection
from taskflow.engine.job import Enqueued, JobId, NewJob, State
from taskflow.engine.policy import encode_payload
from taskflow.engine.record import JobBody
from taskflow.engine.store.base import QUERIES, StoreBase

_encode = msgspec.json.encode


class JobStatements(StoreBase):
    """See the module."""

    async def enqueue(self, connection: Connection, jobs: Sequence[NewJob]) -> list[Enqueued]:
        """Store *jobs* (checked before) and answer in their order. Durable when the caller's transaction commits."""
        rows = await QUERIES["enqueue"].fetch(
            connection,
            now=self._now(),
            namespaces=[job.namespace for job in jobs],
            queues=[job.queue for job in jobs],
            kinds=[job.kind for job in jobs],
            payloads=[encode_payload(job.payload) for job in jobs],
            priorities=[job.priority for job in jobs],
            retries=[job.retries for job in jobs],
            timeouts_ms=[round(job.timeout_s * 1000) for job in jobs],
            tags=[_array_literal(job.tags) for job in jobs],
            headers=[_encode(job.headers).decode() if job.headers else "{}" for job in jobs],
            run_ats=[job.run_at for job in jobs],
            run_afters=[job.run_after for job in jobs],
            callback_urls=[job.callback_url for job in jobs],
        )
        return [
            Enqueued(
                id=row["id"],
                state=State.PENDING if row["due_at"] == row["created_at"] else State.SCHEDULED,
                created_at=row["created_at"],
                run_at=row["due_at"],
            )
            for row in rows
        ]

    async def stage(self, connection: Connection, *, limit: int) -> dict[str, int]:
        """Make due jobs ready; return how many per queue."""
        rows = await QUERIES["stage"].fetch(connection, now=self._now(), limit=limit)
        return {row["queue"]: row["jobs"] for row in rows}

    async def next_due_s(self, connection: Connection) -> float | None:
        value: float | None = await QUERIES["next_due_s"].fetchval(connection, now=self._now())
        return value

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

    async def replay(self, connection: Connection, body: JobBody) -> bool:
        """Make a failed job ready again; False if it has not failed."""
        queue = await QUERIES["replay"].fetchval(
            connection,
            now=self._now(),
            namespace=body.namespace,
            job_id=body.id,
            created_at=body.created_at,
            priority=body.priority,
        )
        return queue is not None


def _array_literal(texts: Sequence[str]) -> str:
    """A PostgreSQL array literal; asyncpg cannot send arrays of differing lengths in one array."""
    if not texts:
        return "{}"
    return "{" + ",".join('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts) + "}"
