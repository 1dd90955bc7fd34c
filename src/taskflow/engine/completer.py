"""
Writes down what attempts came to: everything that gathered while the last flush was on its way goes in the next.

No timer: an idle worker writes at once, a busy one in large batches. When the connection is lost the batch is kept
and sent again; PostgreSQL's fence makes that safe, and a refused outcome that an earlier try had written after all is
told from one that was lost by looking (`find_unsettled`). The buffer is bounded by the worker, which claims no more
while it is full.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import asyncpg

from taskflow.db.pool import DATABASE_ERRORS, OUTAGE_ERRORS, Database, is_partition_missing
from taskflow.db.query import Connection
from taskflow.engine import policy
from taskflow.engine.job import JobError, LeaseId, NewLogLine, NewProgress, Outcome, OutcomeKind, State
from taskflow.engine.store import Store
from taskflow.kernel.backoff import reconnect_waits_s
from taskflow.telemetry.log import get_logger
from taskflow.telemetry.metrics import FLUSH_BATCH_JOBS, LEASES_LOST

MAX_BATCH_OUTCOMES = 512
MAX_BATCH_LINES = 2000
LINES_PAUSE_S = 0.25  # lines alone are written this often; with an outcome they go first
RETRY_CAP_S = 1.0
FAULTS = ("22", "23", "54")  # classes of SQLSTATE that blame the data: exception, integrity, program limit

_log = get_logger(__name__)


class Completer:
    """
    Collects outcomes and log lines; `run` writes them until it is cancelled, `drain` waits until all is written.

    Args:
        on_written: called after each flush: the buffer has become shorter.
        on_settled: called when ends that have consequences were written: there may be deliveries to make.
        on_freed: called with queues that have a limit, when jobs of theirs have ended: others may be claimed.
    """

    def __init__(
        self,
        database: Database,
        store: Store,
        *,
        on_written: Callable[[], None] = lambda: None,
        on_settled: Callable[[], None] = lambda: None,
        on_freed: Callable[[set[str]], None] = lambda _queues: None,
    ) -> None:
        self._database = database
        self._store = store
        self._on_written = on_written
        self._on_settled = on_settled
        self._on_freed = on_freed
        self._outcomes: list[Outcome] = []
        self._lines: list[NewLogLine] = []
        self._progress: dict[tuple[LeaseId, int], NewProgress] = {}  # per attempt the last report
        self._in_flight: Sequence[Outcome] = ()
        self._due = asyncio.Event()
        self._clean = asyncio.Event()
        self._clean.set()
        self._lines_timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Outcomes that are not written yet."""
        return len(self._outcomes) + len(self._in_flight)

    def add(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        self._clean.clear()
        self._due.set()

    def write_progress(self, report: NewProgress) -> None:
        self._progress[report.claim.lease_id, report.claim.position] = report
        self._schedule()

    def write_line(self, line: NewLogLine) -> None:
        self._lines.append(line)
        self._schedule()

    def _schedule(self) -> None:
        self._clean.clear()
        if self._lines_timer is None and not self._due.is_set():
            self._lines_timer = asyncio.get_running_loop().call_later(LINES_PAUSE_S, self._due.set)

    @property
    def lease_ids(self) -> set[LeaseId]:
        """Leases that unwritten outcomes belong to."""
        return {outcome.claim.lease_id for outcome in (*self._outcomes, *self._in_flight)}

    async def drain(self) -> None:
        """Wait until everything is written."""
        self._due.set()
        await self._clean.wait()

    async def run(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            if self._lines_timer is not None:
                self._lines_timer.cancel()
                self._lines_timer = None
            while self._outcomes or self._lines or self._progress:
                await self._flush()
            self._clean.set()

    async def _flush(self) -> None:
        """Write one batch, however long it takes the database to come back."""
        # Lines and progress first: they are taken only while their attempt is open.
        lines, self._lines = self._lines[:MAX_BATCH_LINES], self._lines[MAX_BATCH_LINES:]
        progress: Sequence[NewProgress] = ()
        if self._progress:
            progress, self._progress = list(self._progress.values()), {}
        if not self._lines:
            self._in_flight, self._outcomes = (
                self._outcomes[:MAX_BATCH_OUTCOMES],
                self._outcomes[MAX_BATCH_OUTCOMES:],
            )
        if (error := await self._write(lines, progress, self._in_flight)) is not None:
            await self._isolate(error)
        self._in_flight = ()
        self._on_written()

    async def _write(
        self, lines: Sequence[NewLogLine], progress: Sequence[NewProgress], outcomes: Sequence[Outcome]
    ) -> asyncpg.PostgresError | None:
        """Write, however long it takes the database to come back; return why PostgreSQL refused, if it did."""
        for wait_s in reconnect_waits_s(cap_s=RETRY_CAP_S):
            try:
                async with self._database.acquire() as connection:
                    await self._store.write_logs(connection, lines, written_at_s=time.monotonic())
                    lines = ()
                    await self._store.write_progress(connection, progress, written_at_s=time.monotonic())
                    progress = ()
                    await self._write_outcomes(connection, outcomes)
                return None
            except OUTAGE_ERRORS as error:
                _log.warning("taskflow.flush.retry", error=type(error).__name__, jobs=len(outcomes))
            except asyncpg.PostgresError as error:
                if not is_partition_missing(error):
                    return error
                with suppress(*DATABASE_ERRORS):
                    await self._make_partitions()
            await asyncio.sleep(wait_s)
        raise AssertionError("reconnect_waits_s never ends")

    async def _write_outcomes(self, connection: Connection, outcomes: Sequence[Outcome]) -> None:
        plain = [outcome for outcome in outcomes if not outcome.claim.settles]
        refused = await self._end(connection, plain)
        if len(plain) < len(outcomes):  # apart, so that plain outcomes keep their single statement
            refused += await self._end(connection, [outcome for outcome in outcomes if outcome.claim.settles])
            self._on_settled()
        refused = await self._store.find_unsettled(connection, refused)
        if freed := {outcome.claim.queue for outcome in outcomes if outcome.claim.limited}:
            self._on_freed(freed)
        if outcomes:
            FLUSH_BATCH_JOBS.observe(len(outcomes))
        for outcome in refused:
            if outcome.kind is OutcomeKind.HANDED_BACK:
                continue  # it was taken back already: that is what we wanted
            LEASES_LOST.inc()
            _log.warning(
                "taskflow.lease.lost",
                job_id=str(outcome.claim.job_id),
                attempt=outcome.claim.attempt,
                outcome=str(outcome.kind),
            )

    async def _end(self, connection: Connection, outcomes: Sequence[Outcome]) -> list[Outcome]:
        completed = [outcome for outcome in outcomes if outcome.state is State.COMPLETED]
        others = [outcome for outcome in outcomes if outcome.state is not State.COMPLETED]
        refused = await self._store.complete(connection, completed)
        refused += await self._store.finish(connection, others)
        return refused

    async def _isolate(self, error: asyncpg.PostgresError) -> None:
        """
        PostgreSQL refuses a statement for what is in it: find the outcome that it chokes on, write the others.

        Checks before (`policy`) leave nothing known that can come here. If something does, its job fails for good:
        handed back, it would only come to the same again. What is not the outcome's fault is tried again later.
        """
        _log.error("taskflow.flush.refused", error=str(error), jobs=len(self._in_flight))
        later = []
        for outcome in self._in_flight:
            cause = await self._write((), (), [outcome])
            if cause is None:
                continue
            _log.error("taskflow.outcome.refused", job_id=str(outcome.claim.job_id), error=str(cause))
            if (cause.sqlstate or "")[:2] not in FAULTS:
                later.append(outcome)
            else:
                fault = JobError("InvalidOutcome", f"PostgreSQL refused what the attempt came to: {cause}")
                await self._write((), (), [policy.failed_for_good(outcome.claim, fault, outcome.duration_s or 0.0)])
        if later:
            self._outcomes += later
            await asyncio.sleep(RETRY_CAP_S)

    async def _make_partitions(self) -> None:
        async with self._database.acquire() as connection:
            await self._store.make_partitions(connection, days=1)
