"""Send a stream to a peer who may be slow, or gone."""

import asyncio
from collections.abc import Iterable
from typing import Protocol


class Writer(Protocol):
    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...

    def abort(self) -> None: ...


async def send_stream(pieces: Iterable[bytes], writer: Writer, timeout_s: float) -> int:
    sent = 0
    try:
        for piece in pieces:
            if not piece:
                continue
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            async with asyncio.timeout(timeout_s):
                await writer.drain()
            await asyncio.sleep(0)
            sent += len(piece)
        writer.write(b"0\r\n\r\n")
        async with asyncio.timeout(timeout_s):
            await writer.drain()
    except TimeoutError:
        writer.abort()
        raise
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()
    return sent
