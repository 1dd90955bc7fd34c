"""Makes scheduled and retrying jobs ready when they are due: the leader's duty, in batches, soonest first."""

from collections.abc import Callable, Iterable

from taskflow.db.pool import Database
from taskflow.engine.leader import Duty, Leader
from taskflow.engine.store import Store
from taskflow.telemetry.metrics import STAGED_JOBS

DUTY = Duty.STAGE
PAUSE_CAP_S = 1.0  # how late a job may be that became due sooner than what was seen at the last look
PAUSE_FLOOR_S = 0.02
MAX_JOBS = 1000  # per transaction


class Stager:
    """`tick` stages once; see `leader.run_duty`."""

    def __init__(
        self, database: Database, store: Store, leader: Leader, *, wake: Callable[[Iterable[str]], None]
    ) -> None:
        self._database = database
        self._store = store
        self._leader = leader
        self._wake = wake

    async def tick(self) -> float:
        if self._leader.held_s is None:
            return PAUSE_CAP_S
        async with self._database.acquire() as connection:
            next_due_s = await self._store.next_due_s(connection)
        if next_due_s is None:
            return PAUSE_CAP_S
        if next_due_s > 0:
            return min(max(next_due_s, PAUSE_FLOOR_S), PAUSE_CAP_S)
        return 0.0 if await self.stage() == MAX_JOBS else PAUSE_FLOOR_S

    async def stage(self) -> int:
        """Make what is due ready, in one transaction; return how many jobs."""
        async with self._database.transaction() as connection:
            if not await self._store.try_duty_lock(connection, DUTY):
                return 0
            jobs = await self._store.stage(connection, limit=MAX_JOBS)
        STAGED_JOBS.inc(sum(jobs.values()))
        self._wake(jobs)
        return sum(jobs.values())
