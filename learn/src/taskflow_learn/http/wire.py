"""
Bytes in, with limits.

TCP delivers a stream of bytes, not messages. One read may bring half a request line or three whole requests. So whoever
reads needs a buffer: take from it what was asked for, leave the rest for the next question. Both HTTP and WebSocket
read through this class, and whatever one leaves in the buffer the other finds there after the upgrade.
"""

import asyncio

READ_BYTES = 65_536


class EndOfStream(Exception):
    """The peer will send nothing more."""


class LimitExceeded(Exception):
    """What was asked for did not appear within the limit."""


class Wire:
    """A buffered reader over an asyncio stream."""

    __slots__ = ("_buffer", "_reader")

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._buffer = bytearray()

    @property
    def buffered(self) -> int:
        """How many bytes have arrived that nobody took yet."""
        return len(self._buffer)

    async def fill(self) -> None:
        """Wait for more bytes. Raise `EndOfStream` when there are none to come."""
        data = await self._reader.read(READ_BYTES)
        if not data:
            raise EndOfStream
        self._buffer += data

    async def until(self, separator: bytes, limit: int) -> bytes:
        """Take what stands before *separator*, and drop that. Raise `LimitExceeded` after *limit* bytes without it."""
        start = 0
        while (index := self._buffer.find(separator, start)) < 0:
            if len(self._buffer) > limit:
                raise LimitExceeded
            start = max(0, len(self._buffer) - len(separator) + 1)  # searched already, but it may straddle two reads
            await self.fill()
        if index > limit:
            raise LimitExceeded
        data = bytes(self._buffer[:index])
        del self._buffer[: index + len(separator)]
        return data

    async def exactly(self, count: int) -> bytes:
        """Take *count* bytes."""
        while len(self._buffer) < count:
            await self.fill()
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def holds(self, data: bytes) -> bool:
        return data in self._buffer

    def startswith(self, prefix: bytes) -> bool:
        return self._buffer.startswith(prefix)
