"""
A worker process: claims jobs, runs them, writes down what they came to. Runs in the child of a supervisor.

                 NOTIFY                 claims                 outcomes
    listener ──────────────> producer ──────────> executor ──────────────> completer ──> PostgreSQL
                                ^                    |  a place is free
                                └────────────────────┘

Three things can take its right to work away, and each stops what runs:
  * draining: `request_stop` stops claiming, lets attempts run on for *grace_s*, then hands back what is left;
  * silence: no heartbeat of its supervisor reached the database for `FENCE_S`, so others may soon take its jobs;
  * a lease that the database no longer has (`_reconcile`): the job is somebody else's already.
An attempt that ignores being stopped costs the process: its neighbours are handed back, and it exits with
`EXIT_STUCK`; a supervisor starts a new one.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import Any
from uuid import UUID

from taskflow.db.listen import Listener
from taskflow.db.pool import DATABASE_ERRORS, Database
from taskflow.engine import policy
from taskflow.engine.board import Board
from taskflow.engine.completer import Completer
from taskflow.engine.executor import CANCEL_GRACE_S, Executor, check_command
from taskflow.engine.isolation.process import ChildCommand
from taskflow.engine.job import DELIVERY_QUEUE, Claim, JobId, Outcome, OutcomeKind, WorkerId
from taskflow.engine.loopwatch import LoopWatch
from taskflow.engine.meter import AttemptMeter
from taskflow.engine.notifier import CANCEL_CHANNEL, WAKE_CHANNEL, Notifier
from taskflow.engine.producer import Producer
from taskflow.engine.registry import Registry
from taskflow.engine.store import LEASE_S, Store
from taskflow.kernel.backoff import reconnect_waits_s
from taskflow.telemetry.log import get_logger

EXIT_STUCK = 70  # EX_SOFTWARE: a handler would not end
FENCE_S = LEASE_S - 3.0
RECONCILE_S = 5.0
GRACE_S = 10.0
KILL_S = 1.0  # how long what was killed may take to be gone
FLUSH_PATIENCE_S = 5.0  # how long the end of a drain waits for the database
SETTLE_TRIES, SETTLE_PAUSE_S = 20, 0.05  # how long a drain waits for a claim on its way

_log = get_logger(__name__)


class Worker:
    """
    See the module.

    Args:
        url: of the database; the worker opens three connections: claim, write, listen.
        worker_id: of the supervisor, which must be registered.
        incarnation: which child of it this is; never used twice by one supervisor.
        lifespan: an async context manager; what it gives is what handlers find at `ctx.state`.
        grace_s: how long attempts may run on once the worker drains.
        log_attempts: write the canonical line of each attempt.
        command: how to start child processes that load the same *registry* and *lifespan*; needed by kinds that run in
            them, and by suspects.
        board: the supervisor's, where begun attempts are noted; without one, a crash makes nobody suspect.

    Raises:
        ValueError: a kind runs in child processes and there is no *command*.
    """

    def __init__(
        self,
        url: str,
        registry: Registry,
        *,
        worker_id: WorkerId,
        incarnation: int,
        queues: Sequence[str],
        concurrency: int,
        lifespan: Callable[[], AbstractAsyncContextManager[Mapping[str, Any]]] = lambda: nullcontext({}),
        grace_s: float = GRACE_S,
        cancel_grace_s: float = CANCEL_GRACE_S,
        log_attempts: bool = True,
        command: ChildCommand | None = None,
        board: Board | None = None,
    ) -> None:
        check_command(registry, command)
        self._registry = registry
        self._worker_id = worker_id
        self._incarnation = incarnation
        self._concurrency = concurrency
        self._lifespan = lifespan
        self._grace_s = grace_s
        self._cancel_grace_s = cancel_grace_s
        self._log_attempts = log_attempts
        self._command = command
        self._board = board
        self._store = Store()
        self._database = Database(url, max_size=3, application_name="taskflow-worker", patience_s=1.0)
        self._claiming = self._database.own_connection()
        self._notifier = Notifier(self._database.acquire)
        self._completer = Completer(
            self._database,
            self._store,
            on_written=self._written,
            on_settled=lambda: self._notifier.wake([DELIVERY_QUEUE]),
            on_freed=self._freed,
        )
        self._producer = Producer(
            self._claiming.use,
            self._store,
            worker_id=worker_id,
            incarnation=incarnation,
            queues=queues,
            kinds=registry.names,
            places=concurrency,
            free=self._free_places,
            on_claims=self._start,
        )
        self._listener = Listener(
            url,
            {WAKE_CHANNEL: self._producer.wake, CANCEL_CHANNEL: self._cancel_asked},
            application_name="taskflow-listener",
        )
        self._executor: Executor | None = None
        self._beaten_s = time.monotonic()
        self._fenced = False
        self._stopping = asyncio.Event()
        self._stop_now = asyncio.Event()
        self._reconcile_now = asyncio.Event()
        self.on_ready: Callable[[], None] = lambda: None  # called once its kinds are published and it claims
        self.is_stuck = False  # a handler would not end: the process must exit without waiting for it
        self._meter = AttemptMeter()

    def beat(self) -> None:
        """The supervisor's heartbeat reached the database: this process may go on."""
        self._beaten_s = time.monotonic()

    def request_stop(self) -> None:
        """Drain; asked a second time, stop without letting attempts run on."""
        if self._stopping.is_set():
            self._stop_now.set()
        self._stopping.set()

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    async def run(self) -> None:
        """
        Work until asked to stop, through any outage of the database.

        Returns when all is handed in. If `is_stuck` then, a handler still runs and the caller must end the process.
        """
        await self._database.start()
        try:
            async with self._lifespan() as state:
                await self._run(state)
        finally:
            self._claiming.close()
            await self._database.stop()

    async def _run(self, state: Mapping[str, Any]) -> None:
        self._executor = Executor(
            self._registry,
            on_outcome=self._ended,
            on_end=self._producer.place_freed,
            on_stuck=self._note_stuck,
            sink=self._completer,
            state=state,
            cancel_grace_s=self._cancel_grace_s,
            places=self._concurrency,
            command=self._command,
            board=self._board,
            stopping=self._stopping,
        )
        watch = LoopWatch(asyncio.get_running_loop(), self._executor.find_by_task)
        self._beaten_s = time.monotonic()
        try:
            async with asyncio.TaskGroup() as services:
                running = [
                    services.create_task(service, name=f"taskflow-{name}")
                    for name, service in (
                        ("listener", self._listener.run()),
                        ("completer", self._completer.run()),
                        ("notifier", self._notifier.run()),
                        ("reconciler", self._reconcile_for_ever()),
                        ("fence", self._watch_beats()),
                        ("watch", watch.run()),
                    )
                ]
                await self._publish_kinds()
                producing = services.create_task(self._producer.run(), name="taskflow-producer")
                self.on_ready()
                self._executor.keep_spare_child()
                await self._stopping.wait()
                await self._drain(self._executor, producing)
                for task in running:
                    task.cancel()
        finally:
            self._executor.kill_all()
            if not self.is_stuck:
                await self._executor.close()

    # Claims and outcomes --------------------------------------------------------------------------------------------

    def _free_places(self) -> int:
        if self._fenced or self._executor is None or self._stopping.is_set():
            return 0
        if len(self._completer) > 4 * self._concurrency + 1000:
            return 0  # the database takes outcomes more slowly than we make them
        return max(0, self._concurrency - len(self._executor))

    def _start(self, claims: Sequence[Claim]) -> None:
        if self._executor is None:
            raise AssertionError("claimed before the executor was there")
        for claim in claims:
            if self._fenced or self._stopping.is_set():
                self._completer.add(policy.handed_back(claim))
            else:
                self._executor.start(claim)

    def _ended(self, outcome: Outcome) -> None:
        self._completer.add(outcome)
        self._meter.count(outcome)
        claim = outcome.claim
        if self._log_attempts:
            _log.info(
                "taskflow.attempt.stop",
                job_id=str(claim.job_id),
                kind=claim.kind,
                queue=claim.queue,
                attempt=claim.attempt,
                outcome=str(outcome.kind),
                state=str(outcome.state),
                duration_ms=round((outcome.duration_s or 0.0) * 1000, 3),
                queue_wait_ms=round((claim.queue_wait_s or 0.0) * 1000, 3),
                error=outcome.error.type if outcome.error else None,
                request_id=claim.headers.get("request_id"),
            )

    def _written(self) -> None:
        self._producer.place_freed()  # it may have been kept from claiming because the completer was behind

    def _freed(self, queues: set[str]) -> None:
        """Places of queues with a limit are free: for us now, for other workers as soon as they hear of it."""
        for queue in queues:
            self._producer.wake(queue)
        self._notifier.wake(queues)

    # Losing the right to work ---------------------------------------------------------------------------------------

    def _cancel_asked(self, payload: str) -> None:
        if not payload:
            self._reconcile_now.set()  # the connection is new: a cancel may have been missed
        elif self._executor is not None:
            with suppress(ValueError):
                self._executor.cancel(JobId(UUID(payload)))

    async def _watch_beats(self) -> None:
        """Fence this process off while its supervisor cannot prove that it lives."""
        while True:
            await asyncio.sleep(0.5)
            silent_s = time.monotonic() - self._beaten_s
            if not self._fenced and silent_s > FENCE_S and self._executor is not None:
                self._fenced = True
                _log.warning("taskflow.fence.start", silent_s=round(silent_s, 1), running=len(self._executor))
                self._executor.hand_back_all()
            elif self._fenced and silent_s <= FENCE_S:
                self._fenced = False
                _log.info("taskflow.fence.stop")
                self._reconcile_now.set()
                self._producer.place_freed()

    async def _reconcile_for_ever(self) -> None:
        waits_s = reconnect_waits_s()
        while True:
            try:
                async with asyncio.timeout(RECONCILE_S):
                    await self._reconcile_now.wait()
            except TimeoutError:
                pass
            self._reconcile_now.clear()
            try:
                await self._reconcile()
                waits_s = reconnect_waits_s()
            except DATABASE_ERRORS:
                await asyncio.sleep(next(waits_s))
                self._reconcile_now.set()

    async def _reconcile(self) -> None:
        """
        Compare what this process holds with what the database says it holds.

        What it runs without a lease is stopped; a lease that it does not know (its claim's answer was lost) is handed
        back; cancels whose notification was lost are carried out.
        """
        if self._executor is None:
            return
        before = self._executor.lease_ids
        async with self._database.acquire() as connection:
            await self._store.set_worker_kinds(connection, self._worker_id, self._registry.names)
            leases = await self._store.list_own_leases(
                connection, worker_id=self._worker_id, incarnation=self._incarnation
            )
            known = self._executor.lease_ids | self._completer.lease_ids | set(self._producer.claiming)
            unknown = [lease.id for lease in leases if lease.id not in known]
            jobs = await self._store.return_leases(connection, unknown, OutcomeKind.HANDED_BACK)
        self._notifier.wake(jobs)
        self._executor.drop_leases(before - {lease.id for lease in leases})
        for lease in leases:
            for job_id in lease.cancels:
                self._executor.cancel(job_id, lease_id=lease.id)
        self._producer.place_freed()

    def _note_stuck(self, claim: Claim) -> None:
        _log.error("taskflow.attempt.stuck", job_id=str(claim.job_id), kind=claim.kind, grace_s=self._cancel_grace_s)
        self._stopping.set()
        self._stop_now.set()

    # Starting and draining ------------------------------------------------------------------------------------------

    async def _publish_kinds(self) -> None:
        for wait_s in reconnect_waits_s():
            try:
                async with self._database.acquire() as connection:
                    await self._store.publish_kinds(connection, self._registry.published)
                    await self._store.set_worker_kinds(connection, self._worker_id, self._registry.names)
                return
            except DATABASE_ERRORS as error:
                _log.warning("taskflow.publish.retry", error=type(error).__name__)
            if self._stopping.is_set():
                return
            await asyncio.sleep(wait_s)

    async def _drain(self, executor: Executor, producing: "asyncio.Task[None]") -> None:
        """Stop claiming, let attempts end, stop the rest, and write everything down; each step is bounded."""
        _log.info("taskflow.worker.drain", running=len(executor), grace_s=self._grace_s)
        await self._settle_claim(producing)
        executor.let_children_go()
        await self._wait_idle_or_now(executor)
        executor.hand_back_all()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._cancel_grace_s + KILL_S):
                await executor.wait_idle()
        abandoned = executor.abandon_all()
        self.is_stuck = bool(abandoned)
        for outcome in abandoned:
            _log.error("taskflow.attempt.abandoned", job_id=str(outcome.claim.job_id), kind=outcome.claim.kind)
            self._completer.add(outcome)
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_PATIENCE_S):
                await self._completer.drain()
        if unwritten := len(self._completer):
            _log.error("taskflow.worker.unwritten", jobs=unwritten)

    async def _settle_claim(self, producing: "asyncio.Task[None]") -> None:
        """Let a claim on its way arrive: what it brings is handed back by `_start`."""
        for _ in range(SETTLE_TRIES):
            if not self._producer.claiming:
                break
            await asyncio.sleep(SETTLE_PAUSE_S)
        producing.cancel()

    async def _wait_idle_or_now(self, executor: Executor) -> None:
        """Wait until nothing runs, the grace is over, or somebody is in a hurry."""
        idle = asyncio.ensure_future(executor.wait_idle())
        now = asyncio.ensure_future(self._stop_now.wait())
        await asyncio.wait({idle, now}, timeout=self._grace_s, return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        now.cancel()
