"""
The engine's statements, and nothing but them: the only file that runs engine SQL (from `queries/*.sql`).

Each method is one statement on the connection it is given, so callers decide what commits together. Values of
`engine.job` go in and come out; a claim is named in every write about an attempt, and what PostgreSQL refused is
returned, never assumed.

Time is the database's. *now* exists for tests, which move it: None, as in production, means its clock.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import msgspec

from taskflow.db.query import Connection, load_queries
from taskflow.engine.job import (
    Attempt,
    Claim,
    Enqueued,
    FailureReason,
    Job,
    JobError,
    JobFilter,
    JobId,
    KindInfo,
    LeaseId,
    LogLine,
    NewJob,
    NewLogLine,
    Outcome,
    OutcomeKind,
    State,
    WorkerId,
    WorkerInfo,
)
from taskflow.engine.policy import encode_payload
from taskflow.engine.record import DeadEntries, JobBody, Leadership, OwnLease, QueueDepth, Term

LEASE_S = 15.0  # a worker that has not proved life for this long is dead
VACUUMED = ("ready", "lease", "deferred")  # the tables on the claim path
SCAN_ROWS = 10_000  # rows that one page of a filtered list looks at
DEPTH_ROWS = 10_000  # ready rows that are counted for queue depths
DEAD_LETTER_ROWS = 10_000  # failed jobs that are counted
MAX_ID = UUID(int=(1 << 128) - 1)
MIN_ID = UUID(int=0)

_Q = load_queries(Path(__file__).parent / "queries")
_decode_error = msgspec.json.Decoder(JobError).decode
_decode_json = msgspec.json.decode
_encode = msgspec.json.encode


class Store:
    """See the module. Stateless but for *now*; share one."""

    def __init__(self, now: Callable[[], datetime | None] = lambda: None) -> None:
        self._now = now

    # Submitting -----------------------------------------------------------------------------------------------------

    async def enqueue(self, connection: Connection, jobs: Sequence[NewJob]) -> list[Enqueued]:
        """Store *jobs* (checked before) and answer in their order. Durable when the caller's transaction commits."""
        rows = await _Q["enqueue"].fetch(
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

    # Claiming and ending attempts -----------------------------------------------------------------------------------

    async def claim(
        self,
        connection: Connection,
        *,
        worker_id: WorkerId,
        incarnation: int,
        queues: Sequence[str],
        kinds: Sequence[str],
        limit: int,
        lease_id: LeaseId | None = None,
    ) -> list[Claim]:
        """
        Take up to *limit* ready jobs under one new lease.

        The caller makes up *lease_id*, so that it can ask about a claim whose answer it never saw.
        """
        lease_id = lease_id or new_lease_id()
        rows = await _Q["claim"].fetch(
            connection,
            now=self._now(),
            worker_id=worker_id,
            incarnation=incarnation,
            queues=queues,
            kinds=kinds,
            limit=limit,
            lease_id=lease_id,
        )
        return [
            Claim(
                lease_id=lease_id,
                lease_size=len(rows),
                position=position,
                job_id=job_id,
                attempt=attempt,
                failures=failures,
                namespace=namespace,
                kind=kind,
                queue=queue,
                priority=priority,
                payload=payload,
                retries=retries,
                timeout_s=timeout_ms / 1000,
                headers=_decode_json(headers) if headers else {},
                queue_wait_s=max(queue_wait_s, 0.0),
            )
            for (
                position, job_id, attempt, failures, namespace, kind, queue, priority,
                payload, retries, timeout_ms, headers, queue_wait_s,
            ) in rows
        ]  # fmt: skip

    async def complete(self, connection: Connection, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Write down attempts that succeeded; return those that were refused because their claim was taken back."""
        if not outcomes:
            return []
        claims = [outcome.claim for outcome in outcomes]
        lease_ids, masks = _masks(claims)
        rows = await _Q["complete"].fetch(
            connection,
            now=self._now(),
            lease_ids=lease_ids,
            masks=masks,
            row_leases=[claim.lease_id for claim in claims],
            positions=[claim.position for claim in claims],
            job_ids=[claim.job_id for claim in claims],
            namespaces=[claim.namespace for claim in claims],
            queues=[claim.queue for claim in claims],
            kinds=[claim.kind for claim in claims],
            attempts=[claim.attempt for claim in claims],
            failures=[outcome.failures for outcome in outcomes],
            results=[outcome.result for outcome in outcomes],
            ages_s=self._ages_s(outcomes),
        )
        return _pick(outcomes, rows)

    async def finish(self, connection: Connection, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Write down attempts that came to anything but success; return those that were refused."""
        if not outcomes:
            return []
        claims = [outcome.claim for outcome in outcomes]
        lease_ids, masks = _masks(claims)
        rows = await _Q["finish"].fetch(
            connection,
            now=self._now(),
            lease_ids=lease_ids,
            masks=masks,
            row_leases=[claim.lease_id for claim in claims],
            positions=[claim.position for claim in claims],
            job_ids=[claim.job_id for claim in claims],
            namespaces=[claim.namespace for claim in claims],
            queues=[claim.queue for claim in claims],
            kinds=[claim.kind for claim in claims],
            priorities=[claim.priority for claim in claims],
            attempts=[claim.attempt for claim in claims],
            failures=[outcome.failures for outcome in outcomes],
            outcomes=[outcome.kind for outcome in outcomes],
            states=[outcome.state for outcome in outcomes],
            waits_s=[outcome.wait_s for outcome in outcomes],
            errors=[None if outcome.error is None else _encode(outcome.error).decode() for outcome in outcomes],
            reasons=[outcome.failure_reason for outcome in outcomes],
            begun=[outcome.duration_s is not None for outcome in outcomes],
            ages_s=self._ages_s(outcomes),
        )
        return _pick(outcomes, rows)

    def _ages_s(self, outcomes: Sequence[Outcome]) -> list[float]:
        """How long ago attempts ended; for a clock that tests move, now."""
        if self._now() is not None:
            return [0.0] * len(outcomes)
        now_s = time.monotonic()
        return [max(0.0, now_s - outcome.ended_s) for outcome in outcomes]

    async def find_unsettled(self, connection: Connection, refused: Sequence[Outcome]) -> list[Outcome]:
        """
        Of *refused* outcomes, return those that were really lost.

        For a flush sent twice: the first try may have committed although its answer never came.
        """
        if not refused:
            return []
        claims = [outcome.claim for outcome in refused]
        rows = await _Q["find_settled"].fetch(
            connection,
            lease_ids=[claim.lease_id for claim in claims],
            positions=[claim.position for claim in claims],
            job_ids=[claim.job_id for claim in claims],
            namespaces=[claim.namespace for claim in claims],
            attempts=[claim.attempt for claim in claims],
            outcomes=[outcome.kind for outcome in refused],
        )
        settled = {(row["lease_id"], row["position"]) for row in rows}
        return [outcome for outcome in refused if (outcome.claim.lease_id, outcome.claim.position) not in settled]

    async def write_logs(self, connection: Connection, lines: Sequence[NewLogLine], *, written_at_s: float) -> None:
        """
        Append lines in order; those of a claim that was taken back are dropped.

        Args:
            written_at_s: the present value of the monotonic clock that the lines were stamped with.
        """
        if not lines:
            return
        await _Q["write_logs"].execute(
            connection,
            now=self._now(),
            lease_ids=[line.claim.lease_id for line in lines],
            positions=[line.claim.position for line in lines],
            job_ids=[line.claim.job_id for line in lines],
            namespaces=[line.claim.namespace for line in lines],
            attempts=[line.claim.attempt for line in lines],
            levels=[line.level for line in lines],
            messages=[line.message for line in lines],
            ages_s=[written_at_s - line.written_s for line in lines],
        )

    # Taking back ----------------------------------------------------------------------------------------------------

    async def return_leases(
        self, connection: Connection, lease_ids: Sequence[LeaseId], outcome: OutcomeKind
    ) -> dict[str, int]:
        """Make every open job of these leases ready again, uncharged; return how many per queue."""
        if not lease_ids:
            return {}
        rows = await _Q["return_leases"].fetch(connection, now=self._now(), lease_ids=lease_ids, outcome=outcome)
        return {row["queue"]: row["jobs"] for row in rows}

    async def list_own_leases(self, connection: Connection, *, worker_id: WorkerId, incarnation: int) -> list[OwnLease]:
        rows = await _Q["list_own_leases"].fetch(connection, worker_id=worker_id, incarnation=incarnation)
        return [
            OwnLease(
                row["id"],
                row["job_ids"],
                [row["job_ids"][int(position)] for position in _decode_json(row["cancels"] or "{}")],
            )
            for row in rows
        ]

    async def find_child_leases(
        self, connection: Connection, *, worker_id: WorkerId, incarnation: int | None = None
    ) -> list[LeaseId]:
        rows = await _Q["find_child_leases"].fetch(connection, worker_id=worker_id, incarnation=incarnation)
        return [row["id"] for row in rows]

    async def find_orphan_leases(self, connection: Connection, *, limit: int) -> list[LeaseId]:
        return [row["id"] for row in await _Q["find_orphan_leases"].fetch(connection, limit=limit)]

    async def bury_workers(self, connection: Connection) -> list[WorkerId]:
        """Forget workers silent for `LEASE_S`; their leases become orphans."""
        return [row["id"] for row in await _Q["bury_workers"].fetch(connection, now=self._now(), lease_s=LEASE_S)]

    # Due, cancel, replay --------------------------------------------------------------------------------------------

    async def stage(self, connection: Connection, *, limit: int) -> dict[str, int]:
        """Make due jobs ready; return how many per queue."""
        rows = await _Q["stage"].fetch(connection, now=self._now(), limit=limit)
        return {row["queue"]: row["jobs"] for row in rows}

    async def next_due_s(self, connection: Connection) -> float | None:
        value: float | None = await _Q["next_due_s"].fetchval(connection, now=self._now())
        return value

    async def find_body(self, connection: Connection, job_id: JobId, namespace: UUID | None) -> JobBody | None:
        row = await _Q["find_job_body"].fetchrow(connection, job_id=job_id, namespace=namespace)
        return None if row is None else JobBody(**row)

    async def cancel_waiting(self, connection: Connection, body: JobBody) -> bool:
        """Cancel a job that is pending, scheduled or retrying; False if it is none of these (any more)."""
        row = await _Q["cancel_waiting"].fetchrow(connection, now=self._now(), job_id=body.id)
        return row is not None

    async def request_cancel(self, connection: Connection, job_id: JobId) -> datetime | None:
        """Ask the holder of an active job to stop it; return since when that is asked, None if nobody holds it."""
        value: datetime | None = await _Q["request_cancel"].fetchval(connection, now=self._now(), job_id=job_id)
        return value

    async def find_end(self, connection: Connection, body: JobBody) -> State | None:
        row = await _Q["find_done"].fetchrow(
            connection, namespace=body.namespace, job_id=body.id, created_at=body.created_at
        )
        return None if row is None else State(row["state"])

    async def replay(self, connection: Connection, body: JobBody) -> bool:
        """Make a failed job ready again; False if it has not failed."""
        queue = await _Q["replay"].fetchval(
            connection,
            now=self._now(),
            namespace=body.namespace,
            job_id=body.id,
            created_at=body.created_at,
            priority=body.priority,
        )
        return queue is not None

    # Reading --------------------------------------------------------------------------------------------------------

    async def read_jobs(
        self, connection: Connection, job_ids: Sequence[JobId], *, namespace: UUID | None = None
    ) -> list[Job]:
        """Return those of *job_ids* that exist, newest first, each with its present state."""
        if not job_ids:
            return []
        rows = await _Q["read_jobs"].fetch(connection, job_ids=job_ids, namespace=namespace)
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
            found = await _Q[name].fetch(connection, **common, **bounds, limit=limit, scan=SCAN_ROWS)
            if len(found) < limit:
                last = await _Q["list_jobs_boundary"].fetchval(
                    connection, namespace=namespace, **bounds, scan=SCAN_ROWS
                )
                return [row["id"] for row in found], last
        elif state is State.ACTIVE:
            found = await _Q["list_jobs_active"].fetch(connection, **common, **bounds, limit=limit)
        elif state in (State.SCHEDULED, State.RETRYING):
            found = await _Q["list_jobs_deferred"].fetch(connection, **common, **bounds, limit=limit, state=state)
        else:
            created_from = chosen.created_from or _LONG_AGO
            found = await _Q["list_jobs_done"].fetch(
                connection, **common, **bounds, limit=limit, state=state, created_from=created_from
            )
        ids = [row["id"] for row in found]
        return ids, ids[-1] if len(ids) == limit else None

    async def list_attempts(self, connection: Connection, body: JobBody) -> list[Attempt]:
        rows = await _Q["list_attempts"].fetch(
            connection, job_id=body.id, namespace=body.namespace, created_at=body.created_at
        )
        return [
            Attempt(
                attempt=row["attempt"],
                outcome=OutcomeKind(row["outcome"]),
                started_at=row["started_at"],
                finished_at=row["finished_at"],
                error=_decode_error(row["error"]) if row["error"] else None,
                retry_at=row["retry_at"],
            )
            for row in rows
        ]

    async def list_logs(self, connection: Connection, body: JobBody, *, after_seq: int, limit: int) -> list[LogLine]:
        rows = await _Q["list_logs"].fetch(
            connection, job_id=body.id, created_at=body.created_at, after_seq=after_seq, limit=limit
        )
        return [LogLine(**row) for row in rows]

    async def count_dead_letters(self, connection: Connection, namespace: UUID) -> int:
        """Count failed jobs, up to `DEAD_LETTER_ROWS`."""
        count: int = await _Q["count_dead_letters"].fetchval(connection, namespace=namespace, limit=DEAD_LETTER_ROWS)
        return count

    async def queue_depths(self, connection: Connection) -> list[QueueDepth]:
        rows = await _Q["queue_depths"].fetch(connection, now=self._now(), lease_s=LEASE_S, limit=DEPTH_ROWS)
        return [
            QueueDepth(row["queue"], row["kind"], row["pending"], max(row["oldest_s"], 0.0), row["has_worker"])
            for row in rows
        ]

    # Workers and kinds ----------------------------------------------------------------------------------------------

    async def register_worker(
        self,
        connection: Connection,
        *,
        worker_id: WorkerId,
        host: str,
        pid: int,
        queues: Sequence[str],
        concurrency: int,
    ) -> None:
        await _Q["register_worker"].execute(
            connection, now=self._now(), worker_id=worker_id, host=host, pid=pid, queues=queues, concurrency=concurrency
        )

    async def heartbeat(self, connection: Connection, worker_id: WorkerId) -> bool:
        """Prove life. False: this worker was declared dead and its jobs were given to others."""
        return bool(await _Q["heartbeat"].fetchval(connection, now=self._now(), worker_id=worker_id))

    async def remove_worker(self, connection: Connection, worker_id: WorkerId) -> None:
        await _Q["remove_worker"].execute(connection, worker_id=worker_id)

    async def list_workers(self, connection: Connection) -> list[WorkerInfo]:
        rows = await _Q["list_workers"].fetch(connection, now=self._now(), lease_s=LEASE_S)
        return [WorkerInfo(**row) for row in rows]

    async def publish_kinds(self, connection: Connection, kinds: Sequence[tuple[KindInfo, str]]) -> None:
        """Make kinds known, each with the hash of its schema; what is known already is left as it is."""
        await _Q["publish_kinds"].execute(
            connection,
            now=self._now(),
            names=[kind.kind for kind, _ in kinds],
            schema_hashes=[schema_hash for _, schema_hash in kinds],
            queues=[kind.queue for kind, _ in kinds],
            schemas=[_encode(kind.schema).decode() for kind, _ in kinds],
            priorities=[kind.priority for kind, _ in kinds],
            retries=[kind.retries for kind, _ in kinds],
            timeouts_ms=[round(kind.timeout_s * 1000) for kind, _ in kinds],
        )

    async def set_worker_kinds(self, connection: Connection, worker_id: WorkerId, kinds: Sequence[str]) -> None:
        """Say what a worker's processes can run."""
        await _Q["set_worker_kinds"].execute(connection, worker_id=worker_id, kinds=kinds)

    async def list_kinds(self, connection: Connection) -> list[KindInfo]:
        return [
            KindInfo(
                kind=row["name"],
                queue=row["queue"],
                schema=_decode_json(row["schema"]),
                retries=row["retries"],
                timeout_s=row["timeout_ms"] / 1000,
                priority=row["priority"],
            )
            for row in await _Q["list_kinds"].fetch(connection)
        ]

    # Leading --------------------------------------------------------------------------------------------------------

    async def lead(self, connection: Connection, name: str, holder: WorkerId, *, term_s: float) -> Term | None:
        """Become or stay the leader; None while somebody else is."""
        row = await _Q["lead"].fetchrow(connection, now=self._now(), name=name, holder=holder, term_s=term_s)
        return None if row is None else Term(row["term"], row["held_s"])

    async def find_leader(self, connection: Connection, name: str) -> Leadership | None:
        """Return who led last; None if nobody ever did."""
        row = await _Q["read_leader"].fetchrow(connection, now=self._now(), name=name)
        return None if row is None else Leadership(**row)

    async def resign(self, connection: Connection, name: str, holder: WorkerId) -> None:
        await _Q["resign"].execute(connection, now=self._now(), name=name, holder=holder)

    async def try_duty_lock(self, connection: Connection, duty: int) -> bool:
        """Take the lock of one duty until the transaction ends; False if another leader has it."""
        return bool(await _Q["try_duty_lock"].fetchval(connection, duty=duty))

    async def make_partitions(self, connection: Connection, *, days: int) -> int:
        made: int = await _Q["make_partitions"].fetchval(connection, now=self._now(), days=days)
        return made

    async def dead_entries(self, connection: Connection) -> DeadEntries:
        row = await _Q["dead_entries"].fetchrow(connection)
        if row is None:
            raise AssertionError("a SELECT without FROM returns a row")
        return DeadEntries({table: row[table] for table in VACUUMED}, row["oldest_xmin"])

    async def vacuum(self, connection: Connection, table: str) -> None:
        """Remove dead rows of one of `VACUUMED`; not in a transaction. A table that somebody locks is left out."""
        await _Q[f"vacuum_{table}"].execute(connection)

    async def has_dead(self, connection: Connection) -> bool:
        """Say whether there is anything to rescue."""
        return bool(await _Q["has_dead"].fetchval(connection, now=self._now(), lease_s=LEASE_S))


def new_lease_id() -> LeaseId:
    """A random lease id: never a sequence, whose values may come twice after a crash."""
    return LeaseId(uuid4())


def id_floor(at: datetime) -> JobId:
    """The smallest id of a job created at *at* (UUIDv7: the first 48 bits are milliseconds)."""
    milliseconds = max(0, (at - _EPOCH) // timedelta(milliseconds=1))
    return JobId(UUID(int=min(milliseconds, (1 << 48) - 1) << 80))


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_LONG_AGO = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


def _masks(claims: Iterable[Claim]) -> tuple[list[LeaseId], list[asyncpg.BitString]]:
    """
    Return the leases touched, and per lease the bits to clear.

    A mask must be as long as the lease's `open`, one bit per claimed job: the claim knows its size.
    """
    masks: dict[LeaseId, bytearray] = {}
    sizes: dict[LeaseId, int] = {}
    for claim in claims:
        mask = masks.get(claim.lease_id)
        if mask is None:
            sizes[claim.lease_id] = claim.lease_size
            mask = masks[claim.lease_id] = bytearray((claim.lease_size + 7) // 8)
        mask[claim.position >> 3] |= 0x80 >> (claim.position & 7)
    return list(masks), [
        asyncpg.BitString.frombytes(bytes(mask), bitlength=sizes[lease_id]) for lease_id, mask in masks.items()
    ]


def _pick(outcomes: Sequence[Outcome], rows: Sequence[asyncpg.Record]) -> list[Outcome]:
    if not rows:
        return []
    refused = {(row["lease_id"], row["position"]) for row in rows}
    return [outcome for outcome in outcomes if (outcome.claim.lease_id, outcome.claim.position) in refused]


def _array_literal(texts: Sequence[str]) -> str:
    """A PostgreSQL array literal; asyncpg cannot send arrays of differing lengths in one array."""
    if not texts:
        return "{}"
    return "{" + ",".join('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts) + "}"


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
        headers=_decode_json(row["headers"]),
        attempt=row["attempt"],
        failures=row["failures"],
        created_at=row["created_at"],
        run_at=row["run_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        cancel_requested_at=row["cancel_at"],
        result=_decode_json(row["result"]) if row["result"] else None,
        error=_decode_error(row["error"]) if row["error"] else None,
        failure_reason=FailureReason(row["failure_reason"]) if row["failure_reason"] else None,
    )
