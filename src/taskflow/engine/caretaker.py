"""
Keeps the storage in shape: vacuums the tables on the claim path, and makes tomorrow's partitions.

Every claim deletes what it took, and until VACUUM comes each later claim walks over those dead entries: left to
autovacuum, a queue that moves falls to a fifth of its speed within twenty seconds (measured). So the leader vacuums
them once a second while they change. While an old snapshot keeps dead rows from going, vacuuming is of no use and is
left out until the oldest snapshot has moved on.
"""

import time

from taskflow.db.pool import Database
from taskflow.engine.leader import Leader
from taskflow.engine.store import Store
from taskflow.telemetry.log import get_logger

BUSY_PAUSE_S = 1.0
IDLE_PAUSE_S = 2.0
MIN_DEAD = 500  # fewer dead rows than this cost a claim less than their VACUUM
PARTITION_DAYS = 7
PARTITION_PAUSE_S = 3600.0

_log = get_logger(__name__)


class Caretaker:
    """`tick` looks after everything once; see `leader.run_duty`."""

    def __init__(self, database: Database, store: Store, leader: Leader) -> None:
        self._database = database
        self._store = store
        self._leader = leader
        self._useless: dict[str, str | None] = {}  # table → the snapshot that kept its dead rows at the last VACUUM
        self._partitions_due_s = 0.0

    async def tick(self) -> float:
        if self._leader.held_s is None:
            return IDLE_PAUSE_S
        if time.monotonic() >= self._partitions_due_s:
            await self.make_partitions()
            self._partitions_due_s = time.monotonic() + PARTITION_PAUSE_S
        return BUSY_PAUSE_S if await self.vacuum() else IDLE_PAUSE_S

    async def make_partitions(self) -> int:
        """Make the daily partitions of the week ahead where they are missing; return how many."""
        async with self._database.acquire() as connection:
            made = await self._store.make_partitions(connection, days=PARTITION_DAYS)
        if made:
            _log.info("taskflow.partition.stop", made=made)
        return made

    async def vacuum(self) -> list[str]:
        """Vacuum those tables of the claim path that have dead rows which can go; return their names."""
        async with self._database.acquire() as connection:
            dead = await self._store.dead_entries(connection)
            done = []
            for table, rows in dead.rows.items():
                if rows < MIN_DEAD:
                    self._useless.pop(table, None)
                    continue
                if dead.oldest_xmin is not None and self._useless.get(table) == dead.oldest_xmin:
                    continue
                await self._store.vacuum(connection, table)
                self._useless[table] = dead.oldest_xmin
                done.append(table)
            return done
