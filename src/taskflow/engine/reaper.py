"""
Gives back the jobs of workers that are gone.

A worker is dead when it has not proved life for a lease's time by the database's clock. But if the database was away,
nobody could prove anything: so nothing is rescued until one full lease has passed since this leader's term began, and
a term that lapsed meanwhile counts as new. Worst case from a machine vanishing to its jobs being ready again: a term,
a lease, and the reaper's pause.

What took the worker away may have been one of its jobs, and nobody is left to say which: all of them are suspect, and
none is charged.
"""

from collections.abc import Callable, Iterable

from taskflow.db.pool import Database
from taskflow.engine.job import OutcomeKind
from taskflow.engine.leader import Duty, Leader
from taskflow.engine.store import LEASE_S, Store
from taskflow.telemetry.log import get_logger
from taskflow.telemetry.metrics import RESCUED_JOBS

DUTY = Duty.REAP
PAUSE_S = 2.0
PAUSE_FLOOR_S = 0.02
MAX_LEASES = 200  # per transaction

_log = get_logger(__name__)


class Reaper:
    """`tick` rescues once; see `leader.run_duty`."""

    def __init__(
        self, database: Database, store: Store, leader: Leader, *, wake: Callable[[Iterable[str]], None]
    ) -> None:
        self._database = database
        self._store = store
        self._leader = leader
        self._wake = wake

    async def tick(self) -> float:
        held_s = self._leader.held_s
        if held_s is None or held_s < LEASE_S:
            return PAUSE_S
        async with self._database.acquire() as connection:
            death_s = await self._store.next_death_s(connection)
        if death_s is None or death_s > 0:
            return PAUSE_S if death_s is None else min(max(death_s, PAUSE_FLOOR_S), PAUSE_S)
        return 0.0 if await self.reap() == MAX_LEASES else PAUSE_S

    async def reap(self) -> int:
        """Bury dead workers and return their leases' jobs, in one transaction; return how many leases."""
        async with self._database.transaction() as connection:
            if not await self._store.try_duty_lock(connection, DUTY):
                return 0
            buried = await self._store.bury_workers(connection)
            orphans = await self._store.find_orphan_leases(connection, limit=MAX_LEASES)
            jobs = await self._store.return_leases(connection, orphans, OutcomeKind.LOST, suspects=None)
        if buried or orphans:
            RESCUED_JOBS.inc(sum(jobs.values()))
            _log.warning("taskflow.rescue.stop", workers=len(buried), leases=len(orphans), jobs=sum(jobs.values()))
        self._wake(jobs)
        return len(orphans)
