"""Makes scheduled and retrying jobs ready when they are due: the leader's duty, in batches, soonest first."""

from collections.abc import Callable, Iterable

from taskflow.db.pool import Database
from taskflow.engine.agenda import MAX_AGE_S, PAUSE_FLOOR_S, Agenda
from taskflow.engine.leader import Duty, Leader
from taskflow.engine.store import Store
from taskflow.telemetry.metrics import STAGED_JOBS

DUTY = Duty.STAGE
MAX_JOBS = 1000  # per transaction


class Stager:
    """`tick` stages once; see `leader.run_duty`."""

    def __init__(
        self, database: Database, store: Store, leader: Leader, agenda: Agenda, *, wake: Callable[[Iterable[str]], None]
    ) -> None:
        self._database = database
        self._store = store
        self._leader = leader
        self._agenda = agenda
        self._wake = wake

    async def tick(self) -> float:
        if self._leader.held_s is None:
            return MAX_AGE_S
        due_s = (await self._agenda.look()).due_s
        if due_s is None or due_s > 0:
            return self._agenda.pause_s(due_s)
        staged = await self.stage()
        self._agenda.forget()
        return 0.0 if staged == MAX_JOBS else PAUSE_FLOOR_S

    async def stage(self) -> int:
        """Make what is due ready, in one transaction; return how many jobs."""
        async with self._database.transaction() as connection:
            if not await self._store.try_duty_lock(connection, DUTY):
                return 0
            jobs = await self._store.stage(connection, limit=MAX_JOBS)
        STAGED_JOBS.inc(sum(jobs.values()))
        self._wake(jobs)
        return sum(jobs.values())
