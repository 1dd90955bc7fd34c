"""
What the process that watches over workers does for them: proves that they live, and leads if elected.

It runs no handler and imports no user code, so nothing that a job does can keep it from its heartbeat. All processes
below it are one worker to the database: one row, one heartbeat; each child's leases carry its incarnation, so that
the death of one is mended at once and its siblings go on.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import uuid4

from taskflow.db.pool import DATABASE_ERRORS, Database
from taskflow.db.query import Connection
from taskflow.engine.agenda import Agenda
from taskflow.engine.caretaker import Caretaker
from taskflow.engine.deadlines import Deadlines
from taskflow.engine.expirer import Expirer
from taskflow.engine.job import JobId, OutcomeKind, WorkerId
from taskflow.engine.leader import Leader, run_duty
from taskflow.engine.notifier import Notifier
from taskflow.engine.reaper import Reaper
from taskflow.engine.retention import Retention
from taskflow.engine.scheduler import Scheduler
from taskflow.engine.stager import Stager
from taskflow.engine.store import LEASE_S, Store
from taskflow.engine.tally import Tally
from taskflow.kernel.backoff import reconnect_waits_s
from taskflow.telemetry.log import get_logger
from taskflow.telemetry.metrics import RESCUED_JOBS

HEARTBEAT_S = 5.0
PULSE_TIMEOUT_S = 3.0  # a half-open connection is given up within twice this: before anybody is fenced
LATE_CLAIM_S = 60.0  # for so long a dead child's leases are looked for again
RECONNECT_CAP_S = 0.5
STOP_PATIENCE_S = 5.0

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SupervisorInfo:
    """What a supervisor says of itself. *concurrency* is the sum over its children."""

    host: str
    pid: int
    queues: Sequence[str]
    concurrency: int


@dataclass(frozen=True, slots=True)
class _Dead:
    """A child that has died: until when (monotonic) it may leave a lease behind, and which jobs it had begun."""

    until_s: float
    running: Sequence[JobId]
    charged: Sequence[JobId]


class WorkerSupervision:
    """
    See the module. `run` until cancelled, then `stop` when the children are gone.

    Args:
        url: of the database; supervision has connections of its own, so that no job can use them up.
        on_beat: called after each heartbeat that the database took; pass it on to the children, who stop working when
            it stays away (`worker.FENCE_S`).
        kept_days: for how many days jobs that ended are kept; None keeps everything. The leader's counts.
    """

    def __init__(
        self, url: str, info: SupervisorInfo, *, on_beat: Callable[[], None], kept_days: int | None = None
    ) -> None:
        self.worker_id = WorkerId(uuid4())
        self._info = info
        self._on_beat = on_beat
        self._kept_days = kept_days
        self._store = Store()
        # Two pools: the heartbeat never waits behind a duty. Vacuum and retention may hold a connection for seconds.
        self._pulse = Database(
            url,
            max_size=1,
            application_name="taskflow-heartbeat",
            patience_s=0.0,
            command_timeout_s=PULSE_TIMEOUT_S,
        )
        self._database = Database(url, max_size=4, application_name="taskflow-supervisor", patience_s=0.0)
        self._notifier = Notifier(self._database.acquire)
        self._leader = Leader(self._database, self._store, self.worker_id)
        self._registered = asyncio.Event()
        self._dead: dict[int, _Dead] = {}  # by incarnation

    async def run(self) -> None:
        wake = self._notifier.wake
        reaper = Reaper(self._database, self._store, self._leader, wake=wake)
        agenda = Agenda(self._database, self._store)
        stager = Stager(self._database, self._store, self._leader, agenda, wake=wake)
        expirer = Expirer(self._database, self._store, self._leader, agenda)
        caretaker = Caretaker(self._database, self._store, self._leader)
        deadlines = Deadlines(self._database, self._store, self._leader, agenda, wake=wake)
        scheduler = Scheduler(self._database, self._store, self._leader, agenda, wake=wake)
        tally = Tally(self._database, self._store, self._leader)
        retention = Retention(self._database, self._store, self._leader, kept_days=self._kept_days)
        duties = {
            "reap": reaper.tick,
            "stage": stager.tick,
            "expire": expirer.tick,
            "care": caretaker.tick,
            "schedule": scheduler.tick,
            "tally": tally.tick,
            "deadlines": deadlines.tick,
            "retain": retention.tick,
        }
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat(), name="taskflow-heartbeat")
            group.create_task(self._mend_late_claims(), name="taskflow-mend")
            group.create_task(self._notifier.run(), name="taskflow-notifier")
            group.create_task(self._leader.run(), name="taskflow-leader")
            for name, tick in duties.items():
                group.create_task(run_duty(self._leader, name, tick), name=f"taskflow-{name}")

    async def wait_registered(self) -> None:
        """Wait until the database knows this worker; children that start before claim nothing."""
        await self._registered.wait()

    async def child_died(self, incarnation: int, running: Sequence[JobId] = (), charged: Sequence[JobId] = ()) -> None:
        """
        Make the jobs of one dead child ready again, at once; waits for the database if it is away.

        Args:
            running: those that the child had begun (see `board`). One of them may have been its end: they are suspect.
            charged: of these, those that are charged a crash.
        """
        self._dead[incarnation] = dead = _Dead(time.monotonic() + LATE_CLAIM_S, running, charged)
        for wait_s in reconnect_waits_s(cap_s=RECONNECT_CAP_S):
            try:
                await self._rescue(incarnation, dead)
            except DATABASE_ERRORS:
                await asyncio.sleep(wait_s)
                continue
            return

    async def stop(self) -> None:
        """Hand back what the children left, sign off and resign; without the database the reaper does it later."""
        with suppress(*DATABASE_ERRORS, TimeoutError):
            async with asyncio.timeout(STOP_PATIENCE_S):
                await self._return(None, OutcomeKind.HANDED_BACK)
                async with self._database.acquire() as connection:
                    await self._store.remove_worker(connection, self.worker_id)
                await self._leader.resign()
        await self._pulse.stop()
        await self._database.stop()

    async def _mend_late_claims(self) -> None:
        """
        Look again for leases of children that have died.

        The server goes on with the last statement of a killed process: a claim may commit after its leases were
        looked for, and while this supervisor lives no reaper takes them back.
        """
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            now_s = time.monotonic()
            self._dead = {incarnation: dead for incarnation, dead in self._dead.items() if dead.until_s > now_s}
            with suppress(*DATABASE_ERRORS):
                for incarnation, dead in list(self._dead.items()):
                    await self._rescue(incarnation, dead)

    async def _rescue(self, incarnation: int, dead: _Dead) -> None:
        jobs = await self._return(incarnation, OutcomeKind.LOST, dead.running, dead.charged)
        RESCUED_JOBS.inc(jobs)
        if jobs:
            _log.warning("taskflow.rescue.stop", incarnation=incarnation, jobs=jobs, suspects=len(dead.running))

    async def _return(
        self,
        incarnation: int | None,
        outcome: OutcomeKind,
        suspects: Sequence[JobId] = (),
        charged: Sequence[JobId] = (),
    ) -> int:
        async with self._database.transaction() as connection:
            leases = await self._store.find_child_leases(connection, worker_id=self.worker_id, incarnation=incarnation)
            jobs = await self._store.return_leases(connection, leases, outcome, suspects=suspects, charged=charged)
        self._notifier.wake(jobs)
        return sum(jobs.values())

    async def _beat(self) -> None:
        """
        Prove life for ever.

        If the row is gone we were declared dead and our jobs were given to others. The same id may sign on again:
        what fences old attempts is their lease, and those leases are gone.
        """
        waits_s = reconnect_waits_s(cap_s=RECONNECT_CAP_S)
        last_s = time.monotonic()
        while True:
            try:
                async with self._pulse.acquire() as connection:
                    if not await self._store.heartbeat(connection, self.worker_id):
                        await self._register(connection)
            except DATABASE_ERRORS as error:
                silent_s = time.monotonic() - last_s
                if silent_s > LEASE_S / 2:
                    _log.warning("taskflow.heartbeat.retry", error=type(error).__name__, silent_s=round(silent_s, 1))
                await asyncio.sleep(next(waits_s))
                continue
            waits_s = reconnect_waits_s(cap_s=RECONNECT_CAP_S)
            last_s = time.monotonic()
            self._registered.set()
            self._on_beat()
            await asyncio.sleep(HEARTBEAT_S)

    async def _register(self, connection: Connection) -> None:
        await self._store.register_worker(
            connection,
            worker_id=self.worker_id,
            host=self._info.host,
            pid=self._info.pid,
            queues=self._info.queues,
            concurrency=self._info.concurrency,
        )
