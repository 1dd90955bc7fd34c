"""
Workers that run elsewhere and speak to us over HTTP: what the engine does for them.

They are workers like all others: a row that lives by its heartbeat, leases that fence what they write, a reaper that
gives back what they leave. What a supervisor and a worker process do for themselves is done for them here: a claim
whose answer never reached its worker is found when that worker says what it runs (`beat`), and attempts that outlive
their timeout are ended by the leader (`engine.deadlines`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

import asyncpg

from taskflow.db.pool import Database, is_partition_missing
from taskflow.db.query import Connection
from taskflow.engine import policy
from taskflow.engine.client import Engine
from taskflow.engine.context import LINES_DROPPED
from taskflow.engine.job import (
    MAX_LOG_LINES,
    Claim,
    KindInfo,
    LeaseId,
    NewLogLine,
    NewProgress,
    Outcome,
    OutcomeKind,
    State,
    WorkerId,
)
from taskflow.engine.record import Held, RemoteWorker
from taskflow.engine.store import LEASE_S, Store
from taskflow.kernel.errors import Conflict, NotFound
from taskflow.telemetry.log import get_logger
from taskflow.telemetry.metrics import LEASES_LOST

INCARNATION = 0  # such a worker has no children
HEARTBEAT_S = 5.0
MAX_WORKERS = 1000  # of one namespace
MAX_KINDS = 1000  # schemas that a namespace's workers may publish, all versions together
SUSPECT_TURN = 10  # so often a claim begins with the first job of the queue, whether suspect or not
STRAY_S = LEASE_S  # a claim that its worker does not know after so long never reached it

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a heartbeat finds: jobs to stop, and the claims said to be running that are the worker's no more."""

    cancelled: Sequence[Held]
    lost: Sequence[Claim]


class RemoteWorkers:
    """See the module. *engine* is used to wake others."""

    def __init__(self, database: Database, engine: Engine, *, store: Store | None = None) -> None:
        self._database = database
        self._engine = engine
        self._store = store or Store()
        self._turn = 0

    # Living ---------------------------------------------------------------------------------------------------------

    async def enter(self, worker_id: WorkerId | None, worker: RemoteWorker) -> WorkerId:
        """
        Prove the life of a worker that asks for jobs; one without an id gets one.

        Raises:
            NotFound: the id is none of the namespace's, or was given up for dead; its jobs are others' by now.
            Conflict: the namespace has `MAX_WORKERS`.
        """
        async with self._database.acquire() as connection:
            if worker_id is not None:
                if not await self._store.renew_remote_worker(connection, worker_id, worker):
                    raise unknown_worker(worker_id)
                return worker_id
            worker_id = WorkerId(uuid4())
            if not await self._store.register_remote_worker(connection, worker_id, worker, limit=MAX_WORKERS):
                detail = f"{MAX_WORKERS} workers of this namespace live already; send the workerId that you were given"
                raise Conflict(detail, code="too_many_workers", retry_after_s=LEASE_S)
            return worker_id

    async def stay(self, worker_id: WorkerId, namespace: UUID) -> None:
        """Prove the life of a worker that waits and holds nothing. Raises NotFound like `enter`."""
        async with self._database.acquire() as connection:
            if not await self._store.keep_idle_worker(connection, worker_id, namespace=namespace):
                raise unknown_worker(worker_id)

    async def beat(self, worker_id: WorkerId, namespace: UUID, running: Sequence[Claim] | None) -> Pulse:
        """
        Prove a worker's life and compare what it runs with what it holds; see `Pulse`.

        Args:
            running: all that it runs, or None if it does not say. What it has held for `STRAY_S` without knowing is
                handed back: the answer that gave it away was lost.

        Raises:
            NotFound: like `enter`.
        """
        async with self._database.acquire() as connection:
            if not await self._store.beat_remote_worker(connection, worker_id, namespace=namespace):
                raise unknown_worker(worker_id)
            held = await self._store.list_held(connection, worker_id)
            known = {(claim.lease_id, claim.position) for claim in running or ()}
            strays: list[tuple[LeaseId, int]] = []
            if running is not None:
                strays = [
                    (item.lease_id, item.position)
                    for item in held
                    if item.age_s > STRAY_S and (item.lease_id, item.position) not in known
                ]
            claims = [claim for claim, _ in await self._store.find_claims(connection, strays)] if strays else []
        if claims:
            _log.warning("taskflow.claim.stray", worker_id=str(worker_id), jobs=len(claims))
            await self.hand_back(claims)
        places = {(item.lease_id, item.position) for item in held}
        lost = [claim for claim in running or () if (claim.lease_id, claim.position) not in places]
        return Pulse([item for item in held if item.is_cancelled], lost)

    async def leave(self, worker_id: WorkerId, namespace: UUID) -> int:
        """Sign a worker off and hand back what it still holds; return how many jobs. Raises NotFound like `enter`."""
        async with self._database.transaction() as connection:
            if not await self._store.remove_remote_worker(connection, worker_id, namespace=namespace):
                raise unknown_worker(worker_id)
            leases = await self._store.find_child_leases(connection, worker_id=worker_id)
            jobs = await self._store.return_leases(connection, leases, OutcomeKind.HANDED_BACK)
        self._engine.wake(jobs)
        return sum(jobs.values())

    # Claiming -------------------------------------------------------------------------------------------------------

    async def claim(self, worker_id: WorkerId, worker: RemoteWorker) -> list[Claim]:
        """
        Take ready jobs of the worker's namespace, none if it has been declared dead.

        A suspect, a job that was running when a process died, is given alone: when nothing else is ready, and every
        `SUSPECT_TURN`-th time if it is the first of the queue, so that a queue which never empties does not keep it
        waiting for ever.
        """
        self._turn = (self._turn + 1) % SUSPECT_TURN
        async with self._database.acquire() as connection:
            if worker.capacity > 1 and self._turn > 0:
                if claims := await self._claim(connection, worker_id, worker, worker.capacity, suspects=False):
                    return claims
                return await self._claim(connection, worker_id, worker, 1, suspects=True)
            claims = await self._claim(connection, worker_id, worker, 1, suspects=True)
            if claims and not claims[0].suspect and worker.capacity > 1:
                claims += await self._claim(connection, worker_id, worker, worker.capacity - 1, suspects=False)
            return claims

    async def _claim(
        self, connection: Connection, worker_id: WorkerId, worker: RemoteWorker, limit: int, *, suspects: bool
    ) -> list[Claim]:
        return await self._store.claim(
            connection,
            worker_id=worker_id,
            incarnation=INCARNATION,
            queues=worker.queues,
            kinds=worker.kinds,
            limit=limit,
            namespace=worker.namespace,
            suspects=suspects,
        )

    async def hand_back(self, claims: Sequence[Claim]) -> list[Outcome]:
        """Let others run what was claimed, uncharged; return what was lost already."""
        lost = await self.end([policy.handed_back(claim) for claim in claims])
        self._engine.wake({claim.queue for claim in claims})
        return lost

    # Ending ---------------------------------------------------------------------------------------------------------

    async def end(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """
        Write down what attempts came to; return those that were refused because their claim was taken back.

        One that was written before, by a request whose answer was lost, is not refused.
        """
        completed = [outcome for outcome in outcomes if outcome.state is State.COMPLETED]
        others = [outcome for outcome in outcomes if outcome.state is not State.COMPLETED]
        async with self._database.acquire() as connection:
            try:
                refused = await self._store.complete(connection, completed)
                refused += await self._store.finish(connection, others)
            except asyncpg.CheckViolationError as error:
                if not is_partition_missing(error):
                    raise
                await self._store.make_partitions(connection, days=1)
                refused = await self._store.complete(connection, completed)
                refused += await self._store.finish(connection, others)
            lost = await self._store.find_unsettled(connection, refused)
        if awaited := policy.queues_to_wake([outcome.claim for outcome in outcomes]):
            self._engine.wake(awaited)
        for outcome in lost:
            if outcome.kind is not OutcomeKind.HANDED_BACK:
                LEASES_LOST.inc()
                _log.warning(
                    "taskflow.lease.lost",
                    job_id=str(outcome.claim.job_id),
                    attempt=outcome.claim.attempt,
                    outcome=str(outcome.kind),
                )
        return lost

    async def find_cancelled(self, claims: Sequence[Claim]) -> set[UUID]:
        """Of jobs whose attempts have just ended, return those that a cancel has taken from their next one."""
        async with self._database.acquire() as connection:
            jobs = await self._store.read_jobs(connection, [claim.job_id for claim in claims])
        return {job.id for job in jobs if job.state is State.CANCELLED}

    async def write_logs(self, lines: Sequence[NewLogLine], *, written_at_s: float) -> int:
        """
        Append lines to their jobs' logs and return how many were taken.

        Those of a claim that was taken back are dropped, and those past `MAX_LOG_LINES` of an attempt, whose last line
        says so.
        """
        claims = {(line.claim.job_id, line.claim.attempt): line.claim for line in lines}
        async with self._database.acquire() as connection:
            counted = await self._store.count_log_lines(connection, list(claims.values()), limit=MAX_LOG_LINES)
            written = dict(counted)
            kept = []
            for line in lines:
                place = (line.claim.job_id, line.claim.attempt)
                written[place] = number = written.get(place, 0) + 1
                if number < MAX_LOG_LINES:
                    kept.append(line)
                elif number == MAX_LOG_LINES:
                    kept.append(NewLogLine(line.claim, "warning", LINES_DROPPED, line.written_s))
            return await self._store.write_logs(connection, kept, written_at_s=written_at_s)

    async def write_progress(self, reports: Sequence[NewProgress], *, written_at_s: float) -> int:
        """Keep reports of progress and return how many were taken; those of a claim that was taken back are dropped."""
        async with self._database.acquire() as connection:
            return await self._store.write_progress(connection, reports, written_at_s=written_at_s)

    # Kinds ----------------------------------------------------------------------------------------------------------

    async def publish(self, namespace: UUID, kinds: Sequence[tuple[KindInfo, str]]) -> list[str]:
        """
        Make kinds known, all or none; return the names that are somebody else's, if any.

        Raises:
            Conflict: the namespace's workers have published `MAX_KINDS` schemas.
        """
        async with self._database.transaction() as connection:
            await self._store.lock_kinds(connection)
            if foreign := await self._store.find_foreign_kinds(connection, namespace, [kind.kind for kind, _ in kinds]):
                return foreign
            await self._store.publish_remote_kinds(connection, namespace, kinds)
            if await self._store.count_remote_kinds(connection, namespace, limit=MAX_KINDS + 1) > MAX_KINDS:
                detail = f"a namespace's workers may publish {MAX_KINDS} schemas of kinds, all versions together"
                raise Conflict(detail, code="too_many_kinds")
        return []


def unknown_worker(worker_id: WorkerId) -> NotFound:
    detail = (
        f"there is no worker {str(worker_id)!r}: it was silent for too long and its jobs were given to others, it has "
        "signed off, or it never was; stop what it runs and claim without workerId"
    )
    return NotFound(detail, code="unknown_worker")
