"""Statements about operations on many jobs, and the deletion that one of them is."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from taskflow.db.query import Connection
from taskflow.engine.job import JobFilter, JobId
from taskflow.engine.record import BulkAction, Operation, OperationId
from taskflow.engine.store.base import QUERIES, StoreBase

_decode_filter = msgspec.json.Decoder(JobFilter).decode


class OperationStatements(StoreBase):
    """See the module."""

    async def insert_operation(
        self,
        connection: Connection,
        operation_id: OperationId,
        *,
        namespace: UUID,
        action: BulkAction,
        chosen: JobFilter,
        job_id: JobId,
    ) -> Operation:
        row = await QUERIES["insert_operation"].fetchrow(
            connection,
            now=self._now(),
            operation_id=operation_id,
            namespace=namespace,
            action=action,
            filter=msgspec.json.encode(chosen).decode(),
            job_id=job_id,
        )
        assert row is not None, "INSERT … RETURNING gives its row"
        return _operation(row)

    async def find_operation(
        self, connection: Connection, operation_id: OperationId, *, namespace: UUID | None = None
    ) -> Operation | None:
        row = await QUERIES["find_operation"].fetchrow(connection, operation_id=operation_id, namespace=namespace)
        return None if row is None else _operation(row)

    async def advance_operation(
        self, connection: Connection, operation: Operation, *, below: JobId | None, done: int, failed: int
    ) -> bool:
        """Note a step that began at *operation*; None as *below* ends it. False: somebody else took that step."""
        row = await QUERIES["advance_operation"].fetchrow(
            connection,
            now=self._now(),
            operation_id=operation.id,
            from_below=operation.below,
            below=below,
            done=done,
            failed=failed,
        )
        return row is not None

    async def delete_ended(
        self, connection: Connection, namespace: UUID, job_ids: Sequence[JobId], *, created_from: datetime
    ) -> list[JobId]:
        """Delete those of *job_ids* that have ended, created at *created_from* or later; return them."""
        rows = await QUERIES["delete_ended"].fetch(
            connection, namespace=namespace, job_ids=job_ids, created_from=created_from
        )
        return [row["job_id"] for row in rows]


def _operation(row: asyncpg.Record) -> Operation:
    return Operation(
        id=row["id"],
        namespace=row["namespace"],
        action=BulkAction(row["action"]),
        chosen=_decode_filter(row["filter"]),
        state=row["state"],
        below=row["below"],
        done=row["done"],
        failed=row["failed"],
        job_id=row["job_id"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
    )
