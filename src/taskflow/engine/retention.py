"""
Drops what ended long ago: the leader's duty.

What jobs leave behind is kept for `kept_days` after they ended, and goes by whole days, because dropping a table looks
at none of its rows and leaves no dead ones behind:

    done, attempt_log, job_log   a day's partition goes when all of it is older than that
    job                          a day's bodies go when no job of that day lives, and no end of one is kept
    job_progress, deliveries, operations    few rows, deleted in batches

A job that waits for a year needs its body for a year. So that it does not keep a whole day, a partition of which little
is needed is thinned out: emptied, and what is needed put back.

    chosen (partition_drop) ── DETACH CONCURRENTLY ──> leaving ── older transactions have ended ──> detached ── DROP

Each step is found by whoever leads next, so a process may die at any of them. Nobody waits for this: detaching locks
the table as little as VACUUM does, and where it has to wait for a long transaction it gives up after `LOCK_WAIT_S` and
comes back. Before bodies are dropped for good they are looked at once more.

A clock that is wrong by days would drop what is young. So it is believed only after it has gone steadily, from look to
look, for a day (`store.retention`): a jump, a restored backup or a deployment that slept puts dropping off by a day.
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import date, timedelta
from uuid import UUID

import asyncpg

from taskflow.db.pool import DATABASE_ERRORS, Database
from taskflow.db.query import Connection
from taskflow.engine.job import JobId
from taskflow.engine.leader import Duty, Leader
from taskflow.engine.record import OldPartition
from taskflow.engine.store import Store
from taskflow.telemetry.log import get_logger
from taskflow.telemetry.metrics import DROPPED_PARTITIONS, PRUNED_ROWS, RETENTION_BEHIND_SECONDS

DUTY = Duty.RETAIN
IDLE_PAUSE_S = 2.0
LOOK_PAUSE_S = 900.0
BUSY_PAUSE_S = 60.0  # after a partition that somebody's transaction kept from going
LOCK_WAIT_S = 3.0
THIN_WAIT_S = 0.2  # claims may wait behind this one
THIN_MAX_JOBS = 10_000
THIN_MAX_BYTES = 64 * 1024**2
PRUNE_ROWS = 5_000  # per statement

# Somebody's transaction is in the way, or the statement takes too long just now.
_BUSY: tuple[type[Exception], ...] = (
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.QueryCanceledError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    TimeoutError,
)
_NO_JOB = JobId(UUID(int=0))

_log = get_logger(__name__)


class Retention:
    """
    `tick` drops what is due; see `leader.run_duty`.

    Args:
        kept_days: for how many days after its end a job is kept; None keeps everything.
    """

    def __init__(self, database: Database, store: Store, leader: Leader, *, kept_days: int | None) -> None:
        self._database = database
        self._store = store
        self._leader = leader
        self._kept_days = kept_days
        self._look_due_s = 0.0
        self._warned = False

    async def tick(self) -> float:
        if self._leader.held_s is None:
            return IDLE_PAUSE_S
        if time.monotonic() >= self._look_due_s:
            is_over = await self.drop_old()
            self._look_due_s = time.monotonic() + (LOOK_PAUSE_S if is_over else BUSY_PAUSE_S)
        return IDLE_PAUSE_S

    async def drop_old(self) -> bool:
        """Drop what is due; False if something is left that somebody's transaction kept from going."""
        async with self._alone() as connection:
            if connection is None:
                return True
            look = await self._store.look_at_clock(connection, kept_days=self._kept_days)
            before = date.min if self._kept_days is None else look.today - timedelta(days=self._kept_days)
            parts = await self._store.list_old_partitions(connection, before=look.today)
            due = [part for part in parts if part.day < before or part.is_leaving or not part.is_attached]
            if look.waits_s > 0:
                self._report_wait(due, before, look.waits_s)
                return True
            self._warned = False
            if self._kept_days is not None:
                await self._store.note_kept_from(connection, before)
            left = await self._drop_all(connection, due, before)
            _show_behind(left, before)
            if self._kept_days is not None:
                await self._prune_rows(connection, before)
            return not left

    async def _drop_all(
        self, connection: Connection, due: Sequence[OldPartition], before: date
    ) -> Sequence[OldPartition]:
        """Drop partitions, ends before bodies; return those that could not go now."""
        left: list[OldPartition] = []
        for part in due:
            # One partition of a table is detached at a time. A body goes after its end, so that nobody runs it again.
            if any(other.table == part.table or (other.table, part.table) == ("done", "job") for other in left):
                left.append(part)
                continue
            try:
                await self._drop(connection, part, before)
            except _BUSY as error:
                _log.info("taskflow.partition.busy", partition=part.name, error=str(error))
                left.append(part)
        return left

    async def _drop(self, connection: Connection, part: OldPartition, before: date) -> None:
        if part.is_leaving:
            await self._store.note_drop(connection, part)
            await self._store.finish_detach(connection, part)
        elif part.is_attached:
            if part.table == "job" and await self._store.needed_jobs(connection, part.day, limit=1):
                await self._thin_out(connection, part, before)
                return
            await self._store.note_drop(connection, part)
            await self._store.detach(connection, part)
        size_bytes = await self._store.partition_size(connection, part)
        async with connection.transaction():
            if part.table == "job" and await self._store.needed_jobs(connection, part.day, limit=1):
                # Only a clock that was set back by days submits jobs into a day that was being dropped.
                await self._store.attach_jobs(connection, part.day)
                await self._store.forget_drop(connection, part)
                _log.error("taskflow.partition.kept", partition=part.name)
                return
            await self._store.drop_detached(connection, part)
        DROPPED_PARTITIONS.labels(part.table).inc()
        _log.info("taskflow.partition.dropped", partition=part.name, size_bytes=size_bytes)

    async def _thin_out(self, connection: Connection, part: OldPartition, before: date) -> None:
        if part.day + timedelta(days=1) >= before:
            return  # what ran over midnight is gone tomorrow, and with it perhaps the whole day
        size_bytes = await self._store.partition_size(connection, part)
        async with connection.transaction():
            kept = await self._store.thin_out_jobs(
                connection, part.day, max_jobs=THIN_MAX_JOBS, max_bytes=THIN_MAX_BYTES, lock_wait_s=THIN_WAIT_S
            )
        if kept is not None:
            _log.info("taskflow.partition.thinned", partition=part.name, size_bytes=size_bytes, kept=kept)

    async def _prune_rows(self, connection: Connection, before: date) -> None:
        """Delete old rows of tables that have no partitions, each batch a transaction."""
        last: JobId | None = _NO_JOB
        while last is not None and self._leader.held_s is not None:
            last, deleted = await self._store.prune_progress(connection, after=last, before=before, limit=PRUNE_ROWS)
            PRUNED_ROWS.labels("job_progress").inc(deleted)
        for table, prune in (
            ("webhook_delivery", self._store.prune_deliveries),
            ("operation", self._store.prune_operations),
        ):
            deleted = PRUNE_ROWS
            while deleted == PRUNE_ROWS and self._leader.held_s is not None:
                deleted = await prune(connection, before=before, limit=PRUNE_ROWS)
                PRUNED_ROWS.labels(table).inc(deleted)

    def _report_wait(self, due: Sequence[OldPartition], before: date, waits_s: float) -> None:
        _show_behind(due, before)
        if due and not self._warned:
            self._warned = True
            _log.warning("taskflow.retention.wait", partitions=len(due), wait_s=round(waits_s))

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[Connection | None]:
        """Lend a connection whose session has the duty's lock; None: another process is at it."""
        async with self._database.acquire() as connection:
            if not await self._store.try_session_lock(connection, DUTY, lock_wait_s=LOCK_WAIT_S):
                yield None
                return
            is_free = False
            try:
                yield connection
                with suppress(*DATABASE_ERRORS):
                    await self._store.free_session_lock(connection, DUTY)
                    is_free = True
            finally:  # who is cancelled may be so because nobody answers: it does not ask once more
                if not is_free:
                    with suppress(asyncpg.InterfaceError):  # it had died, and the pool has taken it back
                        connection.terminate()  # the lock goes with it


def _show_behind(left: Sequence[OldPartition], before: date) -> None:
    behind = [(before - part.day).days for part in left if part.table != "job"]
    RETENTION_BEHIND_SECONDS.set(max(0, *behind) * 86_400 if behind else 0)
