"""Statements about queues: what was said of them, what is in them."""

from collections.abc import Sequence

from taskflow.db.query import Connection
from taskflow.engine.job import MAX_QUEUES, QueueInfo
from taskflow.engine.store.base import LEASE_S, QUERIES, StoreBase
from taskflow.engine.store.reading import DEPTH_ROWS


class QueueStatements(StoreBase):
    """See the module."""

    async def read_queues(
        self, connection: Connection, *, name: str | None = None, after: str = "", limit: int = MAX_QUEUES
    ) -> list[QueueInfo]:
        """Return queues by name, those above *after*, or the one called *name*."""
        rows = await QUERIES["read_queues"].fetch(
            connection, now=self._now(), lease_s=LEASE_S, name=name, after=after, limit=limit, counted=DEPTH_ROWS
        )
        return [
            QueueInfo(
                name=row["name"],
                known=row["is_of_a_kind"] or bool(row["pending"] or row["active"] or row["workers"]),
                paused_at=row["paused_at"],
                draining_at=row["draining_at"],
                concurrency=row["concurrency"],
                pending=row["pending"],
                oldest_due_age_s=None if row["oldest_s"] is None else max(row["oldest_s"], 0.0),
                active=row["active"],
                workers=row["workers"],
            )
            for row in rows
        ]

    async def set_queue(
        self,
        connection: Connection,
        name: str,
        *,
        paused: bool | None = None,
        draining: bool | None = None,
        limits: bool = False,
        concurrency: int | None = None,
    ) -> None:
        """
        Say something about a queue; with *limits*, *concurrency* too, None for no limit. What says nothing any more is
        forgotten.
        """
        await QUERIES["set_queue"].execute(
            connection,
            now=self._now(),
            name=name,
            paused=paused,
            draining=draining,
            limits=limits,
            concurrency=concurrency,
        )
        await QUERIES["forget_queue"].execute(connection, name=name)

    async def count_queue_settings(self, connection: Connection, *, besides: str, limit: int) -> int:
        """Count queues with settings, up to *limit*, leaving one out."""
        count: int = await QUERIES["count_queue_settings"].fetchval(connection, name=besides, limit=limit)
        return count

    async def find_draining(self, connection: Connection, queues: Sequence[str]) -> set[str]:
        return {row["name"] for row in await QUERIES["find_draining"].fetch(connection, queues=queues)}
