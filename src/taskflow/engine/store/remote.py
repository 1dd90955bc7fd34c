"""Statements about workers that work over HTTP, and what only they need: the server watches over their attempts."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from taskflow.db.query import Connection
from taskflow.engine.job import Claim, KindInfo, LeaseId, WorkerId
from taskflow.engine.record import Held, Overdue, RemoteWorker
from taskflow.engine.store.base import QUERIES
from taskflow.engine.store.workers import WorkerStatements


class RemoteStatements(WorkerStatements):
    """See the module."""

    async def register_remote_worker(
        self, connection: Connection, worker_id: WorkerId, worker: RemoteWorker, *, limit: int
    ) -> bool:
        """Make a worker known; False if its namespace has *limit* of them."""
        return bool(
            await QUERIES["register_remote_worker"].fetchval(
                connection,
                now=self._now(),
                worker_id=worker_id,
                name=worker.name or "remote",
                namespace=worker.namespace,
                queues=worker.queues,
                kinds=worker.kinds,
                concurrency=worker.capacity,
                lease_s=worker.lease_s,
                limit=limit,
            )
        )

    async def renew_remote_worker(self, connection: Connection, worker_id: WorkerId, worker: RemoteWorker) -> bool:
        """Prove a worker's life and write down what it can run now; False if its namespace has no such worker."""
        return bool(
            await QUERIES["renew_remote_worker"].fetchval(
                connection,
                now=self._now(),
                worker_id=worker_id,
                name=worker.name,
                namespace=worker.namespace,
                queues=worker.queues,
                kinds=worker.kinds,
                concurrency=worker.capacity,
                lease_s=worker.lease_s,
            )
        )

    async def beat_remote_worker(self, connection: Connection, worker_id: WorkerId, *, namespace: UUID) -> bool:
        return bool(
            await QUERIES["beat_remote_worker"].fetchval(
                connection, now=self._now(), worker_id=worker_id, namespace=namespace
            )
        )

    async def keep_idle_worker(self, connection: Connection, worker_id: WorkerId, *, namespace: UUID) -> bool:
        """Prove the life of a worker that waits and holds nothing; False if its namespace has no such worker."""
        return bool(
            await QUERIES["keep_idle_worker"].fetchval(
                connection, now=self._now(), worker_id=worker_id, namespace=namespace
            )
        )

    async def remove_remote_worker(self, connection: Connection, worker_id: WorkerId, *, namespace: UUID) -> bool:
        return bool(
            await QUERIES["remove_remote_worker"].fetchval(connection, worker_id=worker_id, namespace=namespace)
        )

    async def list_held(self, connection: Connection, worker_id: WorkerId) -> list[Held]:
        """Return what a worker holds, longest held first."""
        rows = await QUERIES["list_held"].fetch(connection, now=self._now(), worker_id=worker_id)
        return [Held(**row) for row in rows]

    async def find_overdue(self, connection: Connection, *, grace_s: float, limit: int) -> list[Overdue]:
        """Return attempts of remote workers that should have ended *grace_s* ago."""
        rows = await QUERIES["find_overdue"].fetch(connection, now=self._now(), grace_s=grace_s, limit=limit)
        return [Overdue(**row) for row in rows]

    async def find_claims(
        self, connection: Connection, places: Sequence[tuple[LeaseId, int]]
    ) -> list[tuple[Claim, float]]:
        """
        Return those of *places* that still stand, each with its age in seconds.

        They are without payload and headers, and nobody knows any more how long their jobs had waited.
        """
        rows = await QUERIES["find_claims"].fetch(
            connection,
            now=self._now(),
            lease_ids=[lease_id for lease_id, _ in places],
            positions=[position for _, position in places],
        )
        return [_claim(**row) for row in rows]

    async def publish_remote_kinds(
        self, connection: Connection, namespace: UUID, kinds: Sequence[tuple[KindInfo, str]]
    ) -> None:
        """Make kinds known as *namespace*'s; in a transaction that has asked `lock_kinds` and `find_foreign_kinds`."""
        await self.publish_kinds(connection, kinds)
        await QUERIES["adopt_kinds"].execute(
            connection,
            names=[kind.kind for kind, _ in kinds],
            schema_hashes=[schema_hash for _, schema_hash in kinds],
            namespace=namespace,
        )

    async def lock_kinds(self, connection: Connection) -> None:
        await QUERIES["lock_kinds"].execute(connection)

    async def find_foreign_kinds(self, connection: Connection, namespace: UUID, names: Sequence[str]) -> list[str]:
        """Return those of *names* that are somebody else's."""
        rows = await QUERIES["find_foreign_kinds"].fetch(connection, names=names, namespace=namespace)
        return [row["name"] for row in rows]

    async def count_remote_kinds(self, connection: Connection, namespace: UUID, *, limit: int) -> int:
        count: int = await QUERIES["count_remote_kinds"].fetchval(connection, namespace=namespace, limit=limit)
        return count

    async def count_log_lines(
        self, connection: Connection, claims: Sequence[Claim], *, limit: int
    ) -> Mapping[tuple[UUID, int], int]:
        """Return how many lines each claim's attempt has, counted up to *limit*, by (job, attempt)."""
        rows = await QUERIES["count_log_lines"].fetch(
            connection,
            job_ids=[claim.job_id for claim in claims],
            attempts=[claim.attempt for claim in claims],
            limit=limit,
        )
        return {(row["job_id"], row["attempt"]): row["lines"] for row in rows}


def _claim(*, age_s: float, timeout_ms: int, **fields: object) -> tuple[Claim, float]:
    return Claim(**fields, timeout_s=timeout_ms / 1000, payload="", headers={}, queue_wait_s=None), age_s  # type: ignore[arg-type]  # a row has what the statement names
