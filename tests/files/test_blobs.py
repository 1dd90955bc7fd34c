"""What every blob store promises, and that the one in PostgreSQL keeps it."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from taskflow.adapters.blobs import CHUNK_BYTES, BlobGone, BlobStore, DatabaseBlobs
from taskflow.db.pool import Database

CONTENT = bytes(range(256)) * (CHUNK_BYTES // 256) * 2 + b"and a little more"


@pytest.fixture(params=[DatabaseBlobs])
def blobs(request: pytest.FixtureRequest, database: Database) -> BlobStore:
    store: BlobStore = request.param(database)
    return store


async def pieces(*sizes: int) -> AsyncIterator[bytes]:
    """Yield the content in pieces of these sizes, and the rest."""
    position = 0
    for size in sizes:
        yield CONTENT[position : position + size]
        position += size
    yield CONTENT[position:]


async def test_what_was_written_is_read_from_anywhere_to_anywhere(blobs: BlobStore, database: Database) -> None:
    for sizes in ((), (1, 0, 5), (CHUNK_BYTES,), (CHUNK_BYTES - 1, 2, CHUNK_BYTES)):
        blob_id = uuid4()
        async with database.transaction() as connection:
            await blobs.write(blob_id, pieces(*sizes), connection=connection)
        for start, end in (
            (0, len(CONTENT)),
            (0, 1),
            (CHUNK_BYTES - 1, CHUNK_BYTES + 1),
            (len(CONTENT) - 1, len(CONTENT)),
        ):
            read = [piece async for piece in blobs.open(blob_id, start=start, length=end - start)]
            assert b"".join(read) == CONTENT[start:end]
            assert max(map(len, read)) <= CHUNK_BYTES


async def test_an_empty_blob_reads_as_nothing(blobs: BlobStore, database: Database) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        for piece in list[bytes]():
            yield piece

    blob_id = uuid4()
    async with database.transaction() as connection:
        await blobs.write(blob_id, nothing(), connection=connection)
    assert [piece async for piece in blobs.open(blob_id, start=0, length=0)] == []


async def test_what_is_deleted_or_rolled_back_is_gone(blobs: BlobStore, database: Database) -> None:
    deleted, kept, never = uuid4(), uuid4(), uuid4()
    async with database.transaction() as connection:
        for blob_id in (deleted, kept):
            await blobs.write(blob_id, pieces(), connection=connection)
    async with database.transaction() as connection:
        await blobs.delete([deleted, uuid4()], connection=connection)
        await blobs.delete([], connection=connection)
    async with database.acquire() as connection:
        undone = connection.transaction()
        await undone.start()
        await blobs.write(never, pieces(), connection=connection)
        await undone.rollback()
    for gone in (deleted, never):
        with pytest.raises(BlobGone):
            [piece async for piece in blobs.open(gone, start=0, length=10)]
    assert [piece async for piece in blobs.open(kept, start=0, length=3)] == [CONTENT[:3]]
