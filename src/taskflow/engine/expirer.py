"""
Ends what time ends: jobs that nobody has claimed by their `expires_at`, and unique keys whose window is over.

The leader's duty. A claim passes by what has expired, so an expired job never runs, however late this is; a key whose
window is over is taken by the next submit that wants it, so here only its row goes.
"""

import time

from taskflow.db.pool import Database
from taskflow.engine.leader import Duty, Leader
from taskflow.engine.store import Store
from taskflow.telemetry.metrics import EXPIRED_JOBS

DUTY = Duty.EXPIRE
PAUSE_CAP_S = 1.0  # how late a job may fail that expires sooner than what was seen at the last look
PAUSE_FLOOR_S = 0.02
MAX_JOBS = 500  # per transaction, of each of the two places where jobs wait
PRUNE_PAUSE_S = 30.0
MAX_KEYS = 1000  # per statement


class Expirer:
    """`tick` looks once; see `leader.run_duty`."""

    def __init__(self, database: Database, store: Store, leader: Leader) -> None:
        self._database = database
        self._store = store
        self._leader = leader
        self._prune_due_s = 0.0

    async def tick(self) -> float:
        if self._leader.held_s is None:
            return PAUSE_CAP_S
        if time.monotonic() >= self._prune_due_s:
            async with self._database.acquire() as connection:
                pruned = await self._store.prune_keys(connection, limit=MAX_KEYS)
            if pruned < MAX_KEYS:
                self._prune_due_s = time.monotonic() + PRUNE_PAUSE_S
        async with self._database.acquire() as connection:
            next_expiry_s = await self._store.next_expiry_s(connection)
        if next_expiry_s is None:
            return PAUSE_CAP_S
        if next_expiry_s > 0:
            return min(max(next_expiry_s, PAUSE_FLOOR_S), PAUSE_CAP_S)
        return 0.0 if await self.expire() >= MAX_JOBS else PAUSE_FLOOR_S

    async def expire(self) -> int:
        """Fail what has expired, in one transaction; return how many jobs."""
        async with self._database.transaction() as connection:
            if not await self._store.try_duty_lock(connection, DUTY):
                return 0
            jobs = await self._store.expire(connection, limit=MAX_JOBS)
        EXPIRED_JOBS.inc(jobs)
        return jobs
