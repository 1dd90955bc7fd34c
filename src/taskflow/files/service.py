"""
What may be done with files, whatever the transport: keep, look, read, delete, and forget them when their time is up.

Handlers use it as endpoints do: a file belongs to a namespace, and whoever asks names theirs.
"""

import asyncio
import re
import unicodedata
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from taskflow.adapters.blobs import BlobStore
from taskflow.db.pool import Database
from taskflow.db.pruning import prune_for_ever
from taskflow.db.query import Connection
from taskflow.files import detection, repository
from taskflow.files.repository import File
from taskflow.files.spool import HEAD_BYTES, MAX_FILE_BYTES, Spool
from taskflow.kernel.errors import FieldError, Invalid, NotFound, TooLarge
from taskflow.kernel.ids import MAX_ID, find_id
from taskflow.telemetry.log import get_logger

MAX_NAME_LENGTH = 255
MAX_RETENTION_DAYS = 3650
MAX_WRITES = 3  # files written at the same time: each holds a connection of the pool
PRUNE_INTERVAL_S = 60.0
PRUNE_BATCH = 10  # files; each may have 400 chunks
DEFAULT_NAME = "file"

_log = get_logger(__name__)


class Files:
    """
    The files of every namespace.

    Args:
        spool_folder: where files are put together before they are kept; None is the system's temporary directory.
        now: the clock of the statements; tests move it. None from it means the database's own, as in production.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        *,
        spool_folder: Path | None = None,
        now: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._spool_folder = spool_folder
        self._now = now
        self._writes = asyncio.Semaphore(MAX_WRITES)

    def spool(self, *, limit_bytes: int = MAX_FILE_BYTES) -> Spool:
        """Return what a new file is put together in."""
        return Spool(self._spool_folder, limit_bytes=limit_bytes)

    async def keep(
        self,
        spool: Spool,
        *,
        namespace: UUID,
        name: str,
        media_type: str | None = None,
        job_id: UUID | None = None,
        expires_at: datetime | None = None,
        retention: timedelta | None = None,
        connection: Connection | None = None,
        on_kept: Callable[[int], None] = lambda _size: None,
    ) -> File:
        """
        Keep what is in *spool*, which is finished: all of it or, whatever happens, nothing.

        Args:
            name: as the sender calls it; made safe here.
            media_type: where the caller made the content and knows; by default found by looking.
            job_id: of the job that makes the file. The same content made again by the same job is the same file.
            expires_at, retention: when it shall be deleted, or after how long; at most one of them.
            connection: whose transaction it belongs to; by default one of its own.
            on_kept: told the size of each piece that has been written.

        Raises:
            Invalid: *expires_at* is past.
        """
        if connection is None:
            async with self._writes, self._database.transaction() as own:
                return await self.keep(
                    spool,
                    namespace=namespace,
                    name=name,
                    media_type=media_type,
                    job_id=job_id,
                    expires_at=expires_at,
                    retention=retention,
                    connection=own,
                    on_kept=on_kept,
                )
        file, is_new = await repository.insert(
            connection,
            namespace=namespace,
            name=safe_name(name),
            size=spool.size,
            media_type=media_type or detection.media_type(spool.head, whole=spool.size <= HEAD_BYTES),
            sha256=spool.sha256,
            job_id=job_id,
            expires_at=expires_at,
            retention=retention,
            now=self._now(),
        )
        if not is_new:
            return file
        if file.expires_at is not None and file.expires_at <= file.created_at:
            raise Invalid(
                "the file has invalid fields", errors=[FieldError("/expiresAt", "out_of_range", "must be to come")]
            )
        await self._blobs.write(file.id, _told(spool.content(), on_kept), connection=connection)
        return file

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Wait for a turn to write a file on a connection of the caller's: `MAX_WRITES` at the same time."""
        async with self._writes:
            yield

    async def keep_bytes(self, content: bytes, *, namespace: UUID, name: str, media_type: str, job_id: UUID) -> File:
        """Keep what a job made, as `keep` does."""
        with self.spool() as spool:
            await spool.write(content)
            await spool.finish()
            return await self.keep(spool, namespace=namespace, name=name, media_type=media_type, job_id=job_id)

    async def get_file(self, file_id: UUID, *, namespace: UUID | None) -> File:
        """Return a file of *namespace*; of any with None, for who has shown a right to it. Raises NotFound."""
        async with self._database.acquire() as connection:
            file = await repository.find(connection, file_id, namespace=namespace, now=self._now())
        if file is None:
            raise NotFound(f"there is no file {str(file_id)!r}")
        return file

    async def list_files(self, namespace: UUID, *, before: UUID | None = None, limit: int) -> list[File]:
        """Return files, newest first, below *before*."""
        async with self._database.acquire() as connection:
            return await repository.list_page(
                connection, namespace, before=before or MAX_ID, limit=limit, now=self._now()
            )

    def open(self, file: File, *, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Yield the content from *start* on. Raises BlobGone, while reading, if it is deleted meanwhile."""
        return self._blobs.open(file.id, start=start, length=file.size - start if length is None else length)

    async def read(self, file: File, *, limit_bytes: int) -> bytes:
        """Return the whole content, for those who need it in memory. Raises TooLarge, naming the limit."""
        if file.size > limit_bytes:
            raise TooLarge(f"the file has {file.size} bytes, over the limit of {limit_bytes} for this")
        return b"".join([piece async for piece in self.open(file)])

    async def delete(self, file_id: UUID, *, namespace: UUID) -> None:
        """Delete a file, at once and for good. Raises NotFound."""
        async with self._database.transaction() as connection:
            if not await repository.delete(connection, file_id, namespace, now=self._now()):
                raise NotFound(f"there is no file {str(file_id)!r}")
            await self._blobs.delete([file_id], connection=connection)

    async def prune(self) -> int:
        """Delete one batch of files whose time is up and return how many that were."""
        async with self._database.transaction() as connection:
            ids = await repository.prune(connection, limit=PRUNE_BATCH, now=self._now())
            await self._blobs.delete(ids, connection=connection)
        return len(ids)

    async def run(self) -> None:
        """Prune now and then, for ever."""

        def tell(error: Exception) -> None:
            _log.warning("taskflow.file.prune.exception", error=type(error).__name__)

        await prune_for_ever(self.prune, batch=PRUNE_BATCH, interval_s=PRUNE_INTERVAL_S, on_error=tell)


def file_id_of(text: str) -> UUID:
    """Return the file id that *text* is. Raises NotFound: what is no id belongs to no file."""
    if (found := find_id(text)) is None:
        raise NotFound(f"there is no file {text[:100]!r}")
    return found


def safe_name(name: str) -> str:
    """
    Return *name* as one that can be shown and saved anywhere: no folders, no control or formatting characters (some
    turn the direction of text, and with it what the ending seems to be), at most `MAX_NAME_LENGTH` characters.
    """
    base = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    kept = "".join(char for char in base if unicodedata.category(char)[0] not in "CZ" or char == " ")
    kept = kept.strip(" .")
    if len(kept) > MAX_NAME_LENGTH:
        stem, dot, ending = kept.rpartition(".")
        ending = f"{dot}{ending}" if dot and len(ending) <= 20 else ""
        kept = (stem if ending else kept)[: MAX_NAME_LENGTH - len(ending)] + ending
    return kept or DEFAULT_NAME


async def _told(content: AsyncIterator[bytes], on_kept: Callable[[int], None]) -> AsyncIterator[bytes]:
    async for piece in content:
        yield piece
        on_kept(len(piece))
