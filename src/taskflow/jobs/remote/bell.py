"""Wakes claims that wait: this process' one connection for notifications rings, those whose queue it is look again."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Bell:
    """`ring` is a callback of `db.listen.Listener` on the channel that names queues with ready jobs."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Event, frozenset[str]] = {}

    def ring(self, queue: str) -> None:
        """There may be ready jobs in *queue*; an empty name means that nobody knows."""
        for event, queues in self._waiting.items():
            if not queue or queue in queues:
                event.set()

    @contextmanager
    def heard(self, event: asyncio.Event, queues: Iterable[str]) -> Iterator[None]:
        """Set *event* at each ring for one of *queues*, until the end of the block."""
        self._waiting[event] = frozenset(queues)
        try:
            yield
        finally:
            del self._waiting[event]
