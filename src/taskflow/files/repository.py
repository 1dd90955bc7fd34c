"""The `file` table; only the service beside it asks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg

from taskflow.db.query import Connection, load_queries

QUERIES = load_queries(Path(__file__).parent / "queries")


@dataclass(frozen=True, slots=True)
class File:
    """
    What is known of a file.

    Args:
        type: media type, found by looking at the content.
        sha256: of the content; 32 bytes.
        job_id: of the job that made it; None if it was uploaded.
        expires_at: when it will be deleted; None if it is kept.
    """

    id: UUID
    namespace: UUID
    name: str
    size: int
    type: str
    sha256: bytes
    job_id: UUID | None
    created_at: datetime
    expires_at: datetime | None


async def insert(
    connection: Connection,
    *,
    namespace: UUID,
    name: str,
    size: int,
    media_type: str,
    sha256: bytes,
    job_id: UUID | None,
    expires_at: datetime | None,
    retention: timedelta | None,
    now: datetime | None,
) -> tuple[File, bool]:
    """Return the file and whether it is new; it is not if its job made the same before."""
    for _ in range(3):  # the one that stood in the way may be deleted before we look
        row = await QUERIES["insert_file"].fetchrow(
            connection,
            namespace=namespace,
            name=name,
            size=size,
            type=media_type,
            sha256=sha256,
            job_id=job_id,
            expires_at=expires_at,
            retention=retention,
            now=now,
        )
        if row is not None:
            return _file(row), True
        if row := await QUERIES["find_made_file"].fetchrow(connection, job_id=job_id, sha256=sha256):
            return _file(row), False
    raise AssertionError("a file is deleted as often as it is made")


async def find(connection: Connection, file_id: UUID, *, namespace: UUID | None, now: datetime | None) -> File | None:
    row = await QUERIES["find_file"].fetchrow(connection, id=file_id, namespace=namespace, now=now)
    return None if row is None else _file(row)


async def list_page(
    connection: Connection, namespace: UUID, *, before: UUID, limit: int, now: datetime | None
) -> list[File]:
    rows = await QUERIES["list_files"].fetch(connection, namespace=namespace, before=before, limit=limit, now=now)
    return [_file(row) for row in rows]


async def delete(connection: Connection, file_id: UUID, namespace: UUID, *, now: datetime | None) -> bool:
    """Return whether there was one."""
    return await QUERIES["delete_file"].fetchval(connection, id=file_id, namespace=namespace, now=now) is not None


async def prune(connection: Connection, *, limit: int, now: datetime | None) -> Sequence[UUID]:
    """Delete files whose time is up; return their ids."""
    return [row["id"] for row in await QUERIES["prune_files"].fetch(connection, limit=limit, now=now)]


def _file(row: asyncpg.Record) -> File:
    return File(**row)
