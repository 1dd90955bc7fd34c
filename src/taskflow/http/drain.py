"""
Whether this process is about to end. Answers that go on for long watch it: a server waits for them before it stops, and
must not have to wait for somebody who follows a log.
"""

import asyncio


class Drain:
    """Begins once and stays so."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()

    @property
    def has_begun(self) -> bool:
        return self._begun.is_set()

    def begin(self) -> None:
        """Tell all who wait; from the event loop's own thread."""
        self._begun.set()

    async def wait(self) -> None:
        await self._begun.wait()
