"""Statements about numbers: how many jobs ended, how many have not, how long they took."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from taskflow.db.query import Connection
from taskflow.engine.job import State
from taskflow.engine.record import EndCount, LiveCount, SeriesCount
from taskflow.engine.store.base import QUERIES, StoreBase

LIVE_ROWS = 10_000  # ready, and deferred, jobs that a count of the living looks at
LIVE_ACTIVE = 2_000  # open jobs of leases that it looks at


class StatStatements(StoreBase):
    """See the module."""

    async def fold_stats(self, connection: Connection, *, limit: int) -> int:
        """Add up to *limit* rows of counts to their hours; return how many rows."""
        folded: int = await QUERIES["fold_stats"].fetchval(connection, limit=limit)
        return folded

    async def prune_stats(self, connection: Connection, *, kept_days: int, limit: int) -> int:
        """Forget up to *limit* counts of hours that are too old; return how many."""
        return await QUERIES["prune_stats"].write(connection, now=self._now(), kept_days=kept_days, limit=limit)

    async def read_stats(
        self, connection: Connection, namespace: UUID, *, first: datetime, past: datetime
    ) -> list[EndCount]:
        """Return how many jobs ended from *first* to before *past*, both whole hours."""
        rows = await QUERIES["read_stats"].fetch(connection, namespace=namespace, first=first, past=past)
        return [EndCount(queue, kind, State(state), *rest) for queue, kind, state, *rest in rows]

    async def read_stat_series(
        self,
        connection: Connection,
        namespace: UUID,
        *,
        period: Literal["hour", "day"],
        first: datetime,
        past: datetime,
    ) -> list[SeriesCount]:
        """Return how many jobs ended in each hour, or day of UTC, that had any."""
        rows = await QUERIES["read_stat_series"].fetch(
            connection, namespace=namespace, period=period, first=first, past=past
        )
        return [SeriesCount(at, State(state), jobs) for at, state, jobs in rows]

    async def count_live(self, connection: Connection, namespace: UUID) -> list[LiveCount]:
        """Count jobs that have not ended, over a bounded number of rows."""
        rows = await QUERIES["count_live"].fetch(
            connection, namespace=namespace, limit=LIVE_ROWS, active_limit=LIVE_ACTIVE
        )
        return [LiveCount(State(state), queue, jobs, reached) for state, queue, jobs, reached in rows]
