"""Steps of the exercise send_stream."""

import asyncio
import time
import unittest
from collections.abc import Iterator

from send_stream import send_stream

HINTS = [
    'b"%x\\r\\n%b\\r\\n" % (len(piece), piece) is a chunk; the last one is b"0\\r\\n\\r\\n"',
    "await writer.drain() after each write, inside the loop",
    "await asyncio.sleep(0) after the drain: it returns at once while there is room",
    "async with asyncio.timeout(timeout_s) around the drain of one piece; on TimeoutError abort, and raise again",
    "a timeout around the whole loop would punish the slow; put it around each drain",
    "write the last chunk after the loop and not in a `finally`",
    "close the pieces in a `finally`, whatever happened",
]


class FakeWriter:
    """Takes everything; each drain takes *pause_s*, and the one with the number *breaks_at* breaks."""

    def __init__(self, pause_s: float = 0.0, breaks_at: int = 0) -> None:
        self.events: list[str] = []
        self.sent = b""
        self.pause_s = pause_s
        self.breaks_at = breaks_at

    def write(self, data: bytes) -> None:
        self.events.append("write")
        self.sent += data

    async def drain(self) -> None:
        self.events.append("drain")
        if self.events.count("drain") == self.breaks_at:
            raise ConnectionResetError("gone")
        if self.pause_s:
            await asyncio.sleep(self.pause_s)

    def abort(self) -> None:
        self.events.append("abort")


class SendStream(unittest.IsolatedAsyncioTestCase):
    async def test_chunks(self) -> None:
        """Pieces become chunks, and the count is right."""
        writer = FakeWriter()
        self.assertEqual(await send_stream([b"a" * 20, b"", b"bc"], writer, 1), 22)
        self.assertEqual(writer.sent, b"14\r\n" + b"a" * 20 + b"\r\n2\r\nbc\r\n0\r\n\r\n")

    async def test_drains(self) -> None:
        """No second piece is made before the first has drained."""
        writer, made = FakeWriter(), []

        def pieces() -> Iterator[bytes]:
            for number in range(5):
                made.append((number, writer.events.count("drain")))
                yield b"x"

        await send_stream(pieces(), writer, 1)
        self.assertEqual(made, [(number, number) for number in range(5)])

    async def test_polite(self) -> None:
        """Others have their turns, also while the peer reads fast."""
        sending = asyncio.create_task(send_stream([b"x"] * 50, FakeWriter(), 1))
        turns = 0
        while not sending.done():
            await asyncio.sleep(0)
            turns += 1
        self.assertGreaterEqual(turns, 50)

    async def test_timeout(self) -> None:
        """A peer who stands still is cut off."""
        writer, started = FakeWriter(pause_s=3), time.perf_counter()
        with self.assertRaises(TimeoutError):
            await send_stream([b"x"] * 5, writer, 0.05)
        self.assertLess(time.perf_counter() - started, 1)
        self.assertEqual(writer.events[-1], "abort")

    async def test_slow(self) -> None:
        """A peer who is slow is not."""
        self.assertEqual(await send_stream([b"x"] * 6, FakeWriter(pause_s=0.03), 0.15), 6)

    async def test_gone(self) -> None:
        """What was cut off does not look complete."""
        writer = FakeWriter(breaks_at=2)
        with self.assertRaises(ConnectionResetError):
            await send_stream([b"x"] * 5, writer, 1)
        self.assertFalse(writer.sent.endswith(b"0\r\n\r\n"), writer.sent)

    async def test_closed(self) -> None:
        """The pieces are closed, whatever happened."""
        ended: list[int] = []

        def pieces() -> Iterator[bytes]:
            try:
                yield b"x"
                yield b"y"
            finally:
                ended.append(1)

        with self.assertRaises(ConnectionResetError):
            await send_stream(pieces(), FakeWriter(breaks_at=1), 1)
        self.assertEqual(ended, [1])
