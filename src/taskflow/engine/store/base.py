"""What every part of the store shares: the statements, the clock that tests move, how errors are stored."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from taskflow.db.query import Connection, load_queries
from taskflow.engine.job import JobError, JobId

LEASE_S = 15.0  # a worker that has not proved life for this long is dead

QUERIES = load_queries(Path(__file__).parent.parent / "queries")
decode_error = msgspec.json.Decoder(JobError).decode


class StoreBase:
    """Holds *now*, the clock of the statements; None from it means the database's own, as in production."""

    def __init__(self, now: Callable[[], datetime | None] = lambda: None) -> None:
        self._now = now

    async def settle(self, connection: Connection, job_ids: Sequence[JobId]) -> None:
        """Write what follows from *job_ids* having ended, in the transaction that ended them."""
        await QUERIES["settle"].execute(connection, job_ids=job_ids, now=self._now())

    async def limit_lock_wait(self, connection: Connection, limit_s: float) -> str:
        """Wait for no lock longer than that in this transaction, until `reset_lock_wait` is given what this returns."""
        before: str = await QUERIES["limit_lock_wait"].fetchval(connection, limit_s=limit_s)
        return before

    async def reset_lock_wait(self, connection: Connection, before: str) -> None:
        await QUERIES["reset_lock_wait"].fetchval(connection, before=before)
