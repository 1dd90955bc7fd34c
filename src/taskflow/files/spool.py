"""
A file while it comes in: on disk under no name, hashed on the way, so that a crash leaves nothing and memory holds a
megabyte of it at most. Disk and hash run in a thread: other requests do not wait for either.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from taskflow.kernel.errors import TooLarge

MAX_FILE_BYTES = 100 * 1024 * 1024
BUFFER_BYTES = 1024 * 1024
HEAD_BYTES = 64 * 1024  # what types are told by


class Spool:
    """
    Use as a context manager; `write` what comes, then `finish`, then read it with `content`.

    Args:
        folder: where the disk has room; None is the system's temporary directory.
    """

    def __init__(self, folder: Path | None = None, *, limit_bytes: int = MAX_FILE_BYTES) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._file: IO[bytes] | None = None
        self._buffer = bytearray()
        self._digest = hashlib.sha256()
        self.size = 0
        self.head = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def sha256(self) -> bytes:
        """Of all that was written, once it is finished."""
        return self._digest.digest()

    async def write(self, data: bytes | memoryview) -> None:
        """Append *data*. Raises TooLarge, naming the limit."""
        self.size += len(data)
        if self.size > self._limit_bytes:
            raise TooLarge(f"the file is over the limit of {self._limit_bytes} bytes", code="file_too_large")
        if len(self.head) < HEAD_BYTES:
            self.head += bytes(data[: HEAD_BYTES - len(self.head)])
        self._buffer += data
        if len(self._buffer) >= BUFFER_BYTES:
            await self._flush()

    async def finish(self) -> None:
        """Write what is left in memory; the file is whole then."""
        await self._flush()

    async def content(self) -> AsyncIterator[bytes]:
        """Yield what was written, from the beginning, in pieces of `BUFFER_BYTES`."""
        file = self._file
        if file is None:
            return
        await asyncio.to_thread(file.seek, 0)
        while piece := await asyncio.to_thread(file.read, BUFFER_BYTES):
            yield piece

    async def _flush(self) -> None:
        if self._buffer:
            data, self._buffer = self._buffer, bytearray()
            await asyncio.to_thread(self._append, data)

    def _append(self, data: bytearray) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder, prefix="taskflow-")  # noqa: SIM115 -- closed at exit
        self._digest.update(data)
        self._file.write(data)
