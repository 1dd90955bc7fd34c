"""Statements about workers and the kinds they offer."""

from collections.abc import Sequence

import asyncpg
import msgspec

from taskflow.db.query import Connection
from taskflow.engine.job import KindInfo, WorkerId, WorkerInfo
from taskflow.engine.store.base import LEASE_S, QUERIES, StoreBase

_decode_json = msgspec.json.decode
_encode = msgspec.json.encode


class WorkerStatements(StoreBase):
    """See the module."""

    async def register_worker(
        self,
        connection: Connection,
        *,
        worker_id: WorkerId,
        host: str,
        pid: int,
        queues: Sequence[str],
        concurrency: int,
    ) -> None:
        await QUERIES["register_worker"].execute(
            connection, now=self._now(), worker_id=worker_id, host=host, pid=pid, queues=queues, concurrency=concurrency
        )

    async def heartbeat(self, connection: Connection, worker_id: WorkerId) -> bool:
        """Prove life. False: this worker was declared dead and its jobs were given to others."""
        return bool(await QUERIES["heartbeat"].fetchval(connection, now=self._now(), worker_id=worker_id))

    async def remove_worker(self, connection: Connection, worker_id: WorkerId) -> None:
        await QUERIES["remove_worker"].execute(connection, worker_id=worker_id)

    async def list_workers(self, connection: Connection) -> list[WorkerInfo]:
        rows = await QUERIES["list_workers"].fetch(connection, now=self._now(), lease_s=LEASE_S)
        return [WorkerInfo(**row) for row in rows]

    async def publish_kinds(self, connection: Connection, kinds: Sequence[tuple[KindInfo, str]]) -> None:
        """Make kinds known, each with the hash of its schema; what is known already is left as it is."""
        await QUERIES["publish_kinds"].execute(
            connection,
            now=self._now(),
            names=[kind.kind for kind, _ in kinds],
            schema_hashes=[schema_hash for _, schema_hash in kinds],
            queues=[kind.queue for kind, _ in kinds],
            schemas=[_encode(kind.schema).decode() for kind, _ in kinds],
            priorities=[kind.priority for kind, _ in kinds],
            retries=[kind.retries for kind, _ in kinds],
            timeouts_ms=[round(kind.timeout_s * 1000) for kind, _ in kinds],
        )

    async def set_worker_kinds(self, connection: Connection, worker_id: WorkerId, kinds: Sequence[str]) -> None:
        """Say what a worker's processes can run."""
        await QUERIES["set_worker_kinds"].execute(connection, worker_id=worker_id, kinds=kinds)

    async def list_kinds(self, connection: Connection) -> list[KindInfo]:
        return [_kind(row) for row in await QUERIES["list_kinds"].fetch(connection)]

    async def find_kinds(self, connection: Connection, names: Sequence[str]) -> list[tuple[KindInfo, str]]:
        """Of *names* return the kinds that there are, each with the hash of its newest schema."""
        if not names:
            return []
        rows = await QUERIES["find_kinds"].fetch(connection, names=names)
        return [(_kind(row), row["schema_hash"]) for row in rows]


def _kind(row: asyncpg.Record) -> KindInfo:
    return KindInfo(
        kind=row["name"],
        queue=row["queue"],
        schema=_decode_json(row["schema"]),
        retries=row["retries"],
        timeout_s=row["timeout_ms"] / 1000,
        priority=row["priority"],
        namespace=row["namespace"],
    )
