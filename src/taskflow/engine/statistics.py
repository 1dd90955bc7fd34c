"""
Numbers about the jobs of a namespace: how many are where, how many ended how, how long they took.

Of jobs that ended the numbers are exact at every moment and cost what the hours of the window cost, not what the jobs
do. Jobs that have not ended are counted over a bounded number of rows.

A job that failed, was replayed and failed again has ended twice, and counts twice.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from taskflow.db.pool import Database
from taskflow.engine.record import EndCount, LiveCount, SeriesCount
from taskflow.engine.store import Store

Period = Literal["hour", "day"]


@dataclass(frozen=True, slots=True)
class Numbers:
    """
    One snapshot.

    Args:
        now: when it was taken, by the database's clock.
        ended, series: of the hours asked for.
        workers, slots: supervisors alive, and how many jobs they run at once together.
        workers_since: when the oldest of them started.
    """

    now: datetime
    live: Sequence[LiveCount]
    ended: Sequence[EndCount]
    series: Sequence[SeriesCount]
    workers: int
    slots: int
    workers_since: datetime | None


class Statistics:
    """Reads `Numbers`."""

    def __init__(self, database: Database, *, now: Callable[[], datetime | None] = lambda: None) -> None:
        self._database = database
        self._store = Store(now)

    async def read_now(self) -> datetime:
        """Return the database's time."""
        async with self._database.acquire() as connection:
            return await self._store.read_now(connection)

    async def read(self, namespace: UUID, *, first: datetime, past: datetime, period: Period) -> Numbers:
        """Return the numbers of the hours from *first* to before *past*, both whole hours, in one snapshot."""
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            alive = [worker for worker in await self._store.list_workers(connection) if worker.alive]
            return Numbers(
                now=await self._store.read_now(connection),
                live=await self._store.count_live(connection, namespace),
                ended=await self._store.read_stats(connection, namespace, first=first, past=past),
                series=await self._store.read_stat_series(connection, namespace, period=period, first=first, past=past),
                workers=len(alive),
                slots=sum(worker.concurrency for worker in alive),
                workers_since=min((worker.started_at for worker in alive), default=None),
            )


def percentiles_s(buckets: Iterable[tuple[int, int]], shares: Sequence[float]) -> Mapping[float, float | None]:
    """
    Return, for each of *shares* (0 to 1), the time in seconds below which that share of jobs stayed; None without jobs.

    Inside a bucket jobs are taken to lie evenly on its logarithmic scale, which puts an answer within a fifth of the
    truth. Bucket 0 (never ran) is left out.
    """
    counts: dict[int, int] = {}
    for bucket, jobs in buckets:
        if bucket and jobs > 0:
            counts[bucket] = counts.get(bucket, 0) + jobs
    total = sum(counts.values())
    return {share: _percentile_s(counts, share * total) if total else None for share in shares}


def _percentile_s(counts: Mapping[int, int], rank: float) -> float:
    passed = 0
    for bucket in sorted(counts):
        if passed + counts[bucket] >= rank:
            inside = max(rank - passed, 0.0) / counts[bucket]
            # Bucket n ends at 2 ** ((n - 1) / 2) ms; the first has no beginning on a logarithmic scale.
            return inside / 1000 if bucket == 1 else math.exp2((bucket - 2 + inside) / 2) / 1000
        passed += counts[bucket]
    return math.exp2((max(counts) - 1) / 2) / 1000
