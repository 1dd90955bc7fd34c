"""
Ends what time ends: jobs that nobody has claimed by their `expires_at`, and unique keys whose window is over.

The leader's duty. A claim passes by what has expired, so an expired job never runs, however late this is; a key whose
window is over is taken by the next submit that wants it, so here only its row goes.
"""

import time

from taskflow.db.pool import Database
from taskflow.engine.agenda import MAX_AGE_S, PAUSE_FLOOR_S, Agenda
from taskflow.engine.leader import Duty, Leader
from taskflow.engine.store import Store
from taskflow.telemetry.metrics import EXPIRED_JOBS

DUTY = Duty.EXPIRE
MAX_JOBS = 500  # per transaction, of each of the two places where jobs wait
PRUNE_PAUSE_S = 30.0
MAX_KEYS = 1000  # per statement


class Expirer:
    """`tick` looks once; see `leader.run_duty`."""

    def __init__(self, database: Database, store: Store, leader: Leader, agenda: Agenda) -> None:
        self._database = database
        self._store = store
        self._leader = leader
        self._agenda = agenda
        self._prune_due_s = 0.0

    async def tick(self) -> float:
        if self._leader.held_s is None:
            return MAX_AGE_S
        if time.monotonic() >= self._prune_due_s:
            async with self._database.acquire() as connection:
                pruned = await self._store.prune_keys(connection, limit=MAX_KEYS)
            if pruned < MAX_KEYS:
                self._prune_due_s = time.monotonic() + PRUNE_PAUSE_S
        expiry_s = (await self._agenda.look()).expiry_s
        if expiry_s is None or expiry_s > 0:
            return self._agenda.pause_s(expiry_s)
        expired = await self.expire()
        self._agenda.forget()
        return 0.0 if expired >= MAX_JOBS else PAUSE_FLOOR_S

    async def expire(self) -> int:
        """Fail what has expired, in one transaction; return how many jobs."""
        async with self._database.transaction() as connection:
            if not await self._store.try_duty_lock(connection, DUTY):
                return 0
            jobs = await self._store.expire(connection, limit=MAX_JOBS)
        EXPIRED_JOBS.inc(jobs)
        return jobs
