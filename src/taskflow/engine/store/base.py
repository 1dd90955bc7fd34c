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
