"""
Statements of retention: which days are due, how a partition goes, rows that go with it.

DDL takes no parameters. Names that it is written with come from `list_old_partitions`, which knows four tables and
takes a day for what it is: nothing of a caller's is in them.
"""

from datetime import UTC, date, datetime, time, timedelta

from taskflow.db.query import Connection
from taskflow.engine.job import JobId
from taskflow.engine.record import ClockLook, OldPartition, Retention
from taskflow.engine.store.base import QUERIES, StoreBase
from taskflow.engine.store.reading import id_floor

STEADY_FOR = timedelta(days=1)  # a clock that jumped, or that nobody watched, is believed again after this
MOST_APART = timedelta(days=1)  # looks further apart than this are a jump


class RetentionStatements(StoreBase):
    """See the module."""

    async def try_session_lock(self, connection: Connection, duty: int, *, lock_wait_s: float) -> bool:
        """Take the lock of a duty for this session, which waits for other locks no longer than *lock_wait_s*."""
        row = await QUERIES["lock_duty_of_session"].fetchrow(
            connection, duty=duty, lock_wait_ms=round(lock_wait_s * 1000)
        )
        return row is not None

    async def free_session_lock(self, connection: Connection, duty: int) -> None:
        await QUERIES["unlock_duty_of_session"].fetchrow(connection, duty=duty)

    async def look_at_clock(self, connection: Connection, *, kept_days: int | None) -> ClockLook:
        """Note this look at the clock, and what the leader was told; return what day it is, if that is believed."""
        row = await QUERIES["look_at_clock"].fetchrow(
            connection, now=self._now(), kept_days=kept_days, most_apart=MOST_APART, steady_for=STEADY_FOR
        )
        assert row is not None, "INSERT … RETURNING gives its row"
        return ClockLook(row["today"], max(0.0, row["waits_s"]))

    async def note_kept_from(self, connection: Connection, kept_from: date) -> None:
        await QUERIES["note_kept_from"].execute(connection, kept_from=kept_from)

    async def find_kept_from(self, connection: Connection) -> date | None:
        """Return the day before which jobs that ended have been dropped; None if none ever were."""
        kept_from: date | None = await QUERIES["find_kept_from"].fetchval(connection)
        return kept_from

    async def read_retention(self, connection: Connection) -> Retention:
        row = await QUERIES["read_retention"].fetchrow(connection, now=self._now(), steady_for=STEADY_FOR)
        assert row is not None, "an aggregate without GROUP BY returns a row"
        return Retention(
            is_looked_after=row["is_looked_after"],
            kept_days=row["kept_days"],
            kept_from=row["kept_from"],
            waits_s=max(0.0, row["waits_s"] or 0.0),
            oldest=row["oldest"],
            today=row["today"],
        )

    async def list_old_partitions(self, connection: Connection, *, before: date) -> list[OldPartition]:
        """Return partitions of days before *before*, those with ends first and those with bodies last, oldest first."""
        return [OldPartition(*row) for row in await QUERIES["list_old_partitions"].fetch(connection, before=before)]

    async def needed_jobs(self, connection: Connection, day: date, *, limit: int) -> list[JobId]:
        """Of the jobs submitted on *day* return some whose bodies are needed: they live, or their end is kept."""
        rows = await QUERIES["needed_jobs"].fetch(connection, day=day, limit=limit)
        return [row["job_id"] for row in rows]

    async def thin_out_jobs(
        self, connection: Connection, day: date, *, max_jobs: int, max_bytes: int, lock_wait_s: float
    ) -> int | None:
        """Leave only needed bodies of *day*, in a transaction; None: they are too many, or nearly all that is there."""
        await self.limit_lock_wait(connection, lock_wait_s)
        kept: int | None = await QUERIES["thin_out_jobs"].fetchval(
            connection, day=day, max_jobs=max_jobs, max_bytes=max_bytes
        )
        return kept

    async def partition_size(self, connection: Connection, part: OldPartition) -> int:
        """Return the bytes of a partition, 0 if it is not there."""
        return await QUERIES["partition_size"].fetchval(connection, name=part.name) or 0

    async def note_drop(self, connection: Connection, part: OldPartition) -> None:
        """Choose *part*: whoever leads drops it, however far this process comes."""
        await QUERIES["note_drop"].execute(connection, now=self._now(), name=part.name)

    async def forget_drop(self, connection: Connection, part: OldPartition) -> None:
        await QUERIES["forget_drop"].execute(connection, name=part.name)

    async def detach(self, connection: Connection, part: OldPartition) -> None:
        """
        Take *part* from its table; not in a transaction. Submits and completions do not wait for this.

        New statements no longer see it as soon as this has begun; then it waits for older ones. Interrupted in that,
        it is *leaving*: `finish_detach` goes on.
        """
        await connection.execute(
            f"ALTER TABLE taskflow.{part.table} DETACH PARTITION taskflow.{part.name} CONCURRENTLY"
        )

    async def finish_detach(self, connection: Connection, part: OldPartition) -> None:
        """Go on with a detach that was interrupted; not in a transaction."""
        await connection.execute(f"ALTER TABLE taskflow.{part.table} DETACH PARTITION taskflow.{part.name} FINALIZE")

    async def attach_jobs(self, connection: Connection, day: date) -> None:
        """Put the detached bodies of *day* back."""
        name = f"job_{day:%Y%m%d}"
        bounds = await QUERIES["bounds_of_jobs"].fetchrow(connection, day=day)
        assert bounds is not None, "a SELECT without FROM returns a row"
        await connection.execute(
            f"ALTER TABLE taskflow.job ATTACH PARTITION taskflow.{name}"
            f" FOR VALUES FROM ('{bounds['opens']}') TO ('{bounds['closes']}')"
        )

    async def drop_detached(self, connection: Connection, part: OldPartition) -> None:
        """Drop a detached partition, and that it was chosen, in a transaction."""
        await connection.execute(f"DROP TABLE IF EXISTS taskflow.{part.name}")
        await self.forget_drop(connection, part)

    async def prune_progress(
        self, connection: Connection, *, after: JobId, before: date, limit: int
    ) -> tuple[JobId | None, int]:
        """Look at *limit* reports of jobs from before *before*; return the last one, and how many are gone."""
        row = await QUERIES["prune_progress"].fetchrow(connection, after=after, floor=day_floor(before), limit=limit)
        assert row is not None, "a SELECT without FROM returns a row"
        return row["last"], row["deleted"]

    async def prune_deliveries(self, connection: Connection, *, before: date, limit: int) -> int:
        """Delete deliveries that were made before *before* and have ended; return how many."""
        return await QUERIES["prune_deliveries"].write(connection, floor=day_floor(before), limit=limit)

    async def prune_operations(self, connection: Connection, *, before: date, limit: int) -> int:
        """Delete operations on many jobs that were asked for before *before* and are over; return how many."""
        return await QUERIES["prune_operations"].write(connection, before=before, limit=limit)


def day_floor(day: date) -> JobId:
    """The smallest id of a job submitted on *day* (UTC) or later."""
    return id_floor(datetime.combine(day, time(), UTC))
