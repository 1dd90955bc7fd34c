"""Statements that only look: the time, jobs with their present state, lists, attempts, logs, depths."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import msgspec

from taskflow.db.query import Connection
from taskflow.engine.job import (
    Attempt,
    FailureReason,
    Job,
    JobFilter,
    JobId,
    LogLine,
    OutcomeKind,
    Progress,
    State,
    UniqueScope,
)
from taskflow.engine.record import Activity, EndedJob, Hindrance, JobBody, LogNews, LogPosition, QueueDepth, Written
from taskflow.engine.store.base import LEASE_S, QUERIES, StoreBase, decode_error
from taskflow.engine.trace import given_headers
from taskflow.kernel.ids import MAX_ID, MIN_ID

SCAN_ROWS = 10_000  # rows that one page of a filtered list looks at
DEPTH_ROWS = 10_000  # ready rows that are counted for queue depths
DEAD_LETTER_ROWS = 10_000  # failed jobs that are counted
STREAM_ROWS = 1000  # of a cursor, in memory at a time

_decode_json = msgspec.json.decode


class ReadStatements(StoreBase):
    """See the module."""

    async def read_now(self, connection: Connection) -> datetime:
        """Return the database's time."""
        now: datetime = await QUERIES["read_now"].fetchval(connection, now=self._now())
        return now

    async def read_jobs(
        self, connection: Connection, job_ids: Sequence[JobId], *, namespace: UUID | None = None
    ) -> list[Job]:
        """Return those of *job_ids* that exist, newest first, each with its present state."""
        if not job_ids:
            return []
        rows = await QUERIES["read_jobs"].fetch(connection, job_ids=job_ids, namespace=namespace)
        return [_job(row) for row in rows]

    async def list_ids(
        self, connection: Connection, namespace: UUID, chosen: JobFilter, *, limit: int, before: JobId | None
    ) -> tuple[list[JobId], JobId | None]:
        """
        Return up to *limit* ids, newest first, and below which id the list goes on (None at its end).

        States without an index of their own look at `SCAN_ROWS` rows at most, so a page may be short and yet go on.
        """
        common = {"namespace": namespace, "kind": chosen.kind, "queue": chosen.queue, "tag": chosen.tag}
        top = min(id_floor(chosen.created_to) if chosen.created_to else MAX_ID, before or MAX_ID)
        bounds = {"before": top, "floor": id_floor(chosen.created_from) if chosen.created_from else MIN_ID}
        state = chosen.state
        if state is None or state is State.PENDING:
            name = "list_jobs" if state is None else "list_jobs_pending"
            found = await QUERIES[name].fetch(connection, **common, **bounds, limit=limit, scan=SCAN_ROWS)
            if len(found) < limit:
                last = await QUERIES["list_jobs_boundary"].fetchval(
                    connection, namespace=namespace, **bounds, scan=SCAN_ROWS
                )
                return [row["id"] for row in found], last
        elif state is State.ACTIVE:
            found = await QUERIES["list_jobs_active"].fetch(connection, **common, **bounds, limit=limit)
        elif state in (State.SCHEDULED, State.RETRYING):
            found = await QUERIES["list_jobs_deferred"].fetch(connection, **common, **bounds, limit=limit, state=state)
        else:
            created_from = chosen.created_from or _LONG_AGO
            found = await QUERIES["list_jobs_done"].fetch(
                connection, **common, **bounds, limit=limit, state=state, created_from=created_from
            )
        ids = [row["id"] for row in found]
        return ids, ids[-1] if len(ids) == limit else None

    async def find_live_jobs(self, connection: Connection, job_ids: Sequence[JobId]) -> set[JobId]:
        """Of *job_ids* return those that have not ended."""
        if not job_ids:
            return set()
        return {row["id"] for row in await QUERIES["find_live_jobs"].fetch(connection, job_ids=job_ids)}

    async def list_attempts(self, connection: Connection, body: JobBody) -> list[Attempt]:
        rows = await QUERIES["list_attempts"].fetch(
            connection, job_id=body.id, namespace=body.namespace, created_at=body.created_at
        )
        return [
            Attempt(
                attempt=row["attempt"],
                outcome=OutcomeKind(row["outcome"]),
                started_at=row["started_at"],
                finished_at=row["finished_at"],
                error=decode_error(row["error"]) if row["error"] else None,
                retry_at=row["retry_at"],
            )
            for row in rows
        ]

    async def list_logs(self, connection: Connection, body: JobBody, *, after_seq: int, limit: int) -> list[LogLine]:
        rows = await QUERIES["list_logs"].fetch(
            connection, job_id=body.id, created_at=body.created_at, after_seq=after_seq, limit=limit
        )
        return [LogLine(**row) for row in rows]

    async def follow_logs(
        self, connection: Connection, positions: Sequence[LogPosition], *, limit: int
    ) -> list[LogNews]:
        """Return what comes after each of *positions*, at most *limit* lines each."""
        # Ends first: a job's lines are stored before its end, so those of a job seen ended are all there.
        jobs = [position.job for position in positions]
        named = {"job_ids": [job.id for job in jobs], "created_ats": [job.created_at for job in jobs]}
        ended = await QUERIES["find_ends"].fetch(connection, namespaces=[job.namespace for job in jobs], **named)
        rows = await QUERIES["follow_logs"].fetch(
            connection, after_seqs=[position.after_seq for position in positions], limit=limit, **named
        )
        ends = {row["position"]: State(row["state"]) for row in ended}
        lines: list[list[LogLine]] = [[] for _ in positions]
        for at, *line in rows:
            lines[at].append(LogLine(*line))
        return [LogNews(found, ends.get(at) if len(found) < limit else None) for at, found in enumerate(lines)]

    async def find_hindrance(
        self, connection: Connection, *, queue: str, kind: str, namespace: UUID
    ) -> Hindrance | None:
        """Return what keeps a ready job from being claimed; None if only others before it do."""
        [row] = await QUERIES["find_hindrance"].fetch(
            connection, now=self._now(), lease_s=LEASE_S, queue=queue, kind=kind, namespace=namespace
        )
        if not row["has_worker"]:
            return Hindrance.NO_WORKER
        return Hindrance.PAUSED if row["is_paused"] else None

    async def count_dead_letters(self, connection: Connection, namespace: UUID) -> int:
        """Count failed jobs, up to `DEAD_LETTER_ROWS`."""
        count: int = await QUERIES["count_dead_letters"].fetchval(
            connection, namespace=namespace, limit=DEAD_LETTER_ROWS
        )
        return count

    async def stream_ended(
        self, connection: Connection, namespace: UUID, ended_from: datetime, ended_to: datetime, *, limit: int
    ) -> AsyncIterator[EndedJob]:
        """Yield jobs that ended in [*ended_from*, *ended_to*), in no order; *connection* is in a transaction."""
        rows = QUERIES["stream_ended"].cursor(
            connection,
            prefetch=STREAM_ROWS,
            namespace=namespace,
            ended_from=ended_from,
            ended_to=ended_to,
            limit=limit,
        )
        async for row in rows:
            yield EndedJob(*row)

    async def queue_depths(self, connection: Connection) -> list[QueueDepth]:
        rows = await QUERIES["queue_depths"].fetch(connection, now=self._now(), lease_s=LEASE_S, limit=DEPTH_ROWS)
        return [
            QueueDepth(
                row["queue"],
                row["kind"],
                row["pending"],
                max(row["oldest_s"], 0.0),
                row["has_worker"],
                row["is_paused"],
            )
            for row in rows
        ]

    async def read_activity(self, connection: Connection) -> Activity:
        """Return what goes on now: four looks, none of them at more than `DEPTH_ROWS` jobs."""
        written = await QUERIES["count_written"].fetchrow(connection)
        assert written is not None, "an aggregate without GROUP BY returns a row"
        active = await QUERIES["count_active"].fetch(connection, limit=DEPTH_ROWS)
        deferred = await QUERIES["count_deferred"].fetch(connection, limit=DEPTH_ROWS)
        ended = await QUERIES["count_ended"].fetch(connection, now=self._now())
        return Activity(
            written=Written(**written),
            active={(row["worker_id"], row["queue"]): row["jobs"] for row in active},
            deferred={(row["queue"], State(row["state"])): row["jobs"] for row in deferred},
            ended={row["queue"]: row["jobs"] for row in ended},
            ended_since=ended[0]["since"] if ended else None,
        )


def id_floor(at: datetime) -> JobId:
    """The smallest id of a job created at *at* (UUIDv7: the first 48 bits are milliseconds)."""
    milliseconds = max(0, (at - _EPOCH) // timedelta(milliseconds=1))
    return JobId(UUID(int=min(milliseconds, (1 << 48) - 1) << 80))


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_LONG_AGO = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


def _job(row: asyncpg.Record) -> Job:
    return Job(
        id=row["id"],
        namespace=row["namespace"],
        kind=row["kind"],
        queue=row["queue"],
        state=State(row["state"]),
        payload=_decode_json(row["payload"]),
        priority=row["priority"],
        retries=row["retries"],
        timeout_s=row["timeout_ms"] / 1000,
        tags=row["tags"],
        headers=given_headers(_decode_json(row["headers"])),
        attempt=row["attempt"],
        failures=row["failures"],
        created_at=row["created_at"],
        run_at=row["run_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        cancel_requested_at=row["cancel_at"],
        result=_decode_json(row["result"]) if row["result"] else None,
        error=decode_error(row["error"]) if row["error"] else None,
        failure_reason=FailureReason(row["failure_reason"]) if row["failure_reason"] else None,
        unique_key=row["unique_key"],
        unique_scope=UniqueScope(row["unique_scope"]) if row["unique_scope"] else None,
        expires_at=row["expires_at"],
        progress=None
        if row["progress"] is None
        else Progress(row["progress"], row["progress_message"], row["progress_attempt"], row["progress_at"]),
        callback_url=row["callback_url"],
    )
