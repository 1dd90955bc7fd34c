"""
Wake-ups: one NOTIFY after commit, on a connection of its own, shared by everything that asked meanwhile.

Never inside a caller's transaction: commits that notify take turns on one lock of the whole server (3.4 times fewer
submits per second on ten connections, measured). A wake-up that is lost costs a poll interval, never a job, so a
failed one is dropped.

A submit that finds nobody to share with has the server notify right after its commit, before it is answered (see
`submitter`): the worker hears of the job as soon as the caller does. That counts as a round here.
"""

import asyncio
import time
from collections.abc import Collection, Iterable

from taskflow.db.pool import DATABASE_ERRORS, Lend
from taskflow.db.query import Connection
from taskflow.engine.job import JobId

WAKE_CHANNEL = "taskflow_wake"  # payload: a queue
CANCEL_CHANNEL = "taskflow_cancel"  # payload: a job id
PAUSE_S = 0.002  # between two rounds: a burst of submits is one wake-up

# A NOTIFY is a commit like any other; not waiting for its sync saves the better part of its time, and loses nothing
# that the poll would not find.
_NOTIFY = """
SELECT set_config('synchronous_commit', 'off', true), pg_notify(channel, payload)
FROM unnest($1::text[], $2::text[]) AS n(channel, payload)
"""


async def send(connection: Connection, notes: Collection[tuple[str, str]]) -> None:
    """Send pairs of channel and payload, outside of any transaction."""
    await connection.execute(_NOTIFY, [channel for channel, _ in notes], [payload for _, payload in notes])


class Notifier:
    """Collects wake-ups from this process; `run` sends them on connections that *lend* gives."""

    def __init__(self, lend: Lend) -> None:
        self._lend = lend
        self._waiting: dict[tuple[str, str], None] = {}
        self._asked = asyncio.Event()
        self._sent_s = 0.0
        self._sending = False

    @property
    def is_rested(self) -> bool:
        """Say whether a wake-up would be sent at once, and alone."""
        return not (self._waiting or self._sending) and time.monotonic() - self._sent_s > PAUSE_S

    def note_sent(self) -> None:
        """Somebody has sent a wake-up by other means: a round's pause begins."""
        self._sent_s = time.monotonic()

    def wake(self, queues: Iterable[str]) -> None:
        """Tell workers that *queues* have ready jobs. Returns at once."""
        for queue in queues:
            self._waiting[WAKE_CHANNEL, queue] = None
        self._asked.set()

    def cancel(self, job_id: JobId) -> None:
        """Tell the worker that runs *job_id* to look for a cancel."""
        self._waiting[CANCEL_CHANNEL, str(job_id)] = None
        self._asked.set()

    async def run(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self.flush()
            await asyncio.sleep(PAUSE_S)

    async def flush(self) -> None:
        """Send what has been asked for; cancelled on the way, it stays asked for."""
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        self._sending = True
        try:
            async with self._lend() as connection:
                await send(connection, waiting)
        except DATABASE_ERRORS:
            return
        except asyncio.CancelledError:
            self._waiting = {**waiting, **self._waiting}
            raise
        finally:
            self._sending = False
            self.note_sent()
