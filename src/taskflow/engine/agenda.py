"""
What the leader's duties have before them, asked for all of them in one statement a second.

A duty looks, and sleeps until its time has come or the look is old; so all of them wake to one new look, and whoever
is first asks. Between two looks time is counted by the monotonic clock: what was going to be due in 0.3 s is tried then
without asking again. A look is a hint, and each duty decides by what its own transaction finds.
"""

import asyncio
import time

from taskflow.db.pool import Database
from taskflow.engine.record import Ahead
from taskflow.engine.store import Store

MAX_AGE_S = 1.0  # how late may happen what came before anything that was seen at the last look
PAUSE_FLOOR_S = 0.02
GRACE_S = 10.0  # what an attempt of a worker over HTTP may outlive its timeout by


class Agenda:
    """`look` before a duty, `forget` after it."""

    def __init__(self, database: Database, store: Store) -> None:
        self._database = database
        self._store = store
        self._looking = asyncio.Lock()
        self._ahead: Ahead | None = None
        self._looked_s = 0.0  # when the answer came, by the monotonic clock: a job is tried late rather than early

    async def look(self) -> Ahead:
        """Return what there is to do, as of now."""
        async with self._looking:
            ahead = self._ahead
            if ahead is None or self._fresh_s < PAUSE_FLOOR_S:
                async with self._database.acquire() as connection:
                    ahead = await self._store.look_ahead(connection, grace_s=GRACE_S)
                self._ahead, self._looked_s = ahead, time.monotonic()
            age_s = time.monotonic() - self._looked_s
        return Ahead(
            _later(ahead.due_s, age_s),
            _later(ahead.schedule_s, age_s),
            _later(ahead.expiry_s, age_s),
            ahead.has_old_remote_lease,
        )

    def forget(self) -> None:
        """What was seen has been done: whoever looks next asks anew."""
        self._ahead = None

    def pause_s(self, next_s: float | None) -> float:
        """Return how long a duty may sleep whose time is in *next_s* seconds; None: it has nothing to do."""
        fresh_s = self._fresh_s if next_s is None else min(next_s, self._fresh_s)
        return max(fresh_s, PAUSE_FLOOR_S)

    @property
    def _fresh_s(self) -> float:
        return MAX_AGE_S - (time.monotonic() - self._looked_s)


def _later(seconds: float | None, age_s: float) -> float | None:
    return None if seconds is None else seconds - age_s
