"""
Blobs: the bytes of files, behind a protocol of three methods, and the store that keeps them in PostgreSQL.

A blob is written once, whole, and never changed. In PostgreSQL it is rows of 256 KiB, so that neither writing nor
reading needs more memory than one of them, and a backup of the database is a backup of the files.
"""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol
from uuid import UUID

from taskflow.db.pool import Database
from taskflow.db.query import Connection, load_queries
from taskflow.kernel.errors import TaskFlowError

CHUNK_BYTES = 256 * 1024

QUERIES = load_queries(Path(__file__).parent / "queries")


class BlobGone(TaskFlowError):
    """The blob, or a part of it, is not there: it was deleted meanwhile."""


class BlobStore(Protocol):
    """Where the bytes of files are."""

    async def write(self, blob_id: UUID, content: AsyncIterator[bytes], *, connection: Connection) -> None:
        """
        Keep *content* as the blob *blob_id*, which is new.

        *connection* is in the transaction that makes the file: a blob is there at the latest when it commits. What a
        store outside of the database keeps for a transaction that rolls back, it deletes again.
        """
        ...

    def open(self, blob_id: UUID, *, start: int, length: int) -> AsyncIterator[bytes]:
        """
        Yield *length* bytes from *start* on, in pieces of at most `CHUNK_BYTES`. They are in the blob.

        Raises:
            BlobGone: while reading; what was yielded before is right.
        """
        ...

    async def delete(self, blob_ids: Sequence[UUID], *, connection: Connection) -> None:
        """Forget blobs with *connection*'s transaction; those that are not there are no error."""
        ...


class DatabaseBlobs:
    """
    Keeps blobs as rows. Reading takes a connection per chunk and holds none between two, so a slow reader holds up
    nobody and keeps no snapshot.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, blob_id: UUID, content: AsyncIterator[bytes], *, connection: Connection) -> None:
        number = 0
        waiting = bytearray()
        async for piece in content:
            waiting += piece
            while len(waiting) >= CHUNK_BYTES:
                await self._write_chunk(connection, blob_id, number, bytes(waiting[:CHUNK_BYTES]))
                del waiting[:CHUNK_BYTES]
                number += 1
        if waiting:
            await self._write_chunk(connection, blob_id, number, bytes(waiting))

    async def open(self, blob_id: UUID, *, start: int, length: int) -> AsyncIterator[bytes]:
        position, end = start, start + length
        while position < end:
            number, skipped = divmod(position, CHUNK_BYTES)
            async with self._database.acquire() as connection:
                chunk = await QUERIES["read_chunk"].fetchval(connection, blob_id=blob_id, number=number)
            piece = b"" if chunk is None else chunk[skipped : skipped + end - position]
            if not piece:
                raise BlobGone
            position += len(piece)
            yield piece

    async def delete(self, blob_ids: Sequence[UUID], *, connection: Connection) -> None:
        if blob_ids:
            await QUERIES["delete_chunks"].execute(connection, blob_ids=list(blob_ids))

    async def _write_chunk(self, connection: Connection, blob_id: UUID, number: int, content: bytes) -> None:
        await QUERIES["write_chunk"].execute(connection, blob_id=blob_id, number=number, content=content)
