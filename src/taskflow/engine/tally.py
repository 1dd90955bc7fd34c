"""
Folds counts of jobs that ended into hours: the leader's duty.

Statements that end jobs append counts to `stat_delta`, because an append waits for nobody, where one row per hour would
be waited for by every worker. Here they are added up, each row once: deleted and added in one statement.
"""

import time

from taskflow.db.pool import Database
from taskflow.engine.leader import Duty, Leader
from taskflow.engine.store import Store

DUTY = Duty.TALLY
PAUSE_S = 1.0
IDLE_PAUSE_S = 10.0  # after a time in which no job ended; what ends meanwhile is counted by whoever reads
MAX_ROWS = 20_000  # per transaction
KEPT_DAYS = 400
PRUNE_PAUSE_S = 3600.0
PRUNE_ROWS = 10_000


class Tally:
    """`tick` folds once; see `leader.run_duty`."""

    def __init__(self, database: Database, store: Store, leader: Leader) -> None:
        self._database = database
        self._store = store
        self._leader = leader
        self._prune_due_s = 0.0

    async def tick(self) -> float:
        if self._leader.held_s is None:
            return PAUSE_S
        if time.monotonic() >= self._prune_due_s:
            pruned = await self.prune()
            self._prune_due_s = time.monotonic() + (0.0 if pruned == PRUNE_ROWS else PRUNE_PAUSE_S)
        folded = await self.fold()
        if folded == MAX_ROWS:
            return 0.0
        return PAUSE_S if folded else IDLE_PAUSE_S

    async def fold(self) -> int:
        """Add up what has gathered, in one transaction; return how many rows that were."""
        async with self._database.transaction() as connection:
            if not await self._store.try_duty_lock(connection, DUTY):
                return 0
            return await self._store.fold_stats(connection, limit=MAX_ROWS)

    async def prune(self) -> int:
        """Forget hours older than `KEPT_DAYS` days; return how many counts."""
        async with self._database.acquire() as connection:
            return await self._store.prune_stats(connection, kept_days=KEPT_DAYS, limit=PRUNE_ROWS)
