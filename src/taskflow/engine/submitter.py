"""
Group commit of submits: while one INSERT is on its way, the next gathers, without a timer.

A single caller is not delayed, and writes its job itself, without a change of tasks; a hundred concurrent callers
share commits (65,000/s on one connection, measured). Nobody is answered before the commit that holds their job. One bad
row fails alone: when a shared INSERT is refused, its jobs are tried one by one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import asyncpg

from taskflow.db.pool import CONNECTION_ERRORS, Database, Lend, is_partition_missing
from taskflow.db.query import Connection
from taskflow.engine.job import Enqueued, NewJob
from taskflow.engine.notifier import WAKE_CHANNEL, Notifier
from taskflow.engine.policy import is_plain
from taskflow.engine.store import Store
from taskflow.engine.store.copying import Check
from taskflow.engine.store.keys import draining
from taskflow.kernel.errors import Unavailable

MAX_ROWS = 500
T = TypeVar("T")

MAX_WAIT_S = 10.0  # in memory: with a statement's own timeout, callers are answered within 40 s
TOO_LATE = "the database takes too long over earlier submits; this one has not happened"
MAX_WAITING = 20_000  # submits in memory; past it, callers are refused and can come back


@dataclass(frozen=True, slots=True)
class _Submit:
    job: NewJob
    answer: "asyncio.Future[Enqueued]"
    until_s: float  # monotonic; not sent after that


class Submitter:
    """`submit` waits for the shared commit that `run` makes."""

    def __init__(self, lend: Lend, store: Store, notifier: Notifier) -> None:
        self._lend = lend  # to one at a time
        self._store = store
        self._notifier = notifier
        self._waiting: list[_Submit] = []
        self._writing = False  # one at a time uses the connection: `run`, or a caller that found nobody else
        self._arrived = asyncio.Event()

    async def submit(self, job: NewJob) -> Enqueued:
        """
        Store one job, checked before, and return when it is durable.

        Raises:
            Unavailable: too many are waiting, or the database is away. In the second case the job may have been
                stored all the same; a caller who must not submit twice uses an idempotency key.
        """
        if not self._writing and not self._waiting:
            return await self._submit_alone(job)
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable(f"{MAX_WAITING} submits are waiting for the database", retry_after_s=1.0)
        answer: asyncio.Future[Enqueued] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Submit(job, answer, time.monotonic() + MAX_WAIT_S))
        self._arrived.set()
        return await answer

    async def run(self) -> None:
        batch: list[_Submit] = []
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while self._waiting and not self._writing:  # whoever writes calls us when it is done
                    batch, self._waiting = self._waiting[:MAX_ROWS], self._waiting[MAX_ROWS:]
                    self._writing = True
                    try:
                        await self._flush(batch)
                        await asyncio.sleep(0)  # whoever was answered and submits again is in the next commit, too
                    finally:
                        self._writing = False
        finally:
            for submit in (*batch, *self._waiting):
                _refuse(submit, Unavailable("the service is shutting down", retry_after_s=1.0))

    async def _submit_alone(self, job: NewJob) -> Enqueued:
        self._writing = True
        try:
            wakes = self._notifier.is_rested and is_plain(job)
            if wakes and (enqueued := await self._store_and_wake(job)) is not None:
                self._notifier.note_sent()
                return enqueued
            [enqueued] = await self._store_each([job])
        finally:
            self._writing = False
            if self._waiting:
                self._arrived.set()
        if enqueued is None:
            raise draining(job.queue)
        self._notifier.wake((job.queue,))
        return enqueued

    async def _store_and_wake(self, job: NewJob) -> Enqueued | None:
        """Store a job and wake workers in one round trip; None if its queue may drain."""
        return await _commit(
            self._lend,
            self._store,
            lambda connection: self._store.store_and_wake(connection, job, WAKE_CHANNEL),
        )

    async def _flush(self, submits: Sequence[_Submit]) -> None:
        """Store what is still waited for, in one commit, and answer; nothing that a row can do ends the service."""
        now_s = time.monotonic()
        for submit in submits:
            if submit.until_s < now_s:  # those before it took a timeout each: the database answers, but does not commit
                _refuse(submit, Unavailable(TOO_LATE, retry_after_s=1.0))
        batch = [submit for submit in submits if not submit.answer.done()]
        if not batch:
            return
        try:
            stored = await self._store_each([submit.job for submit in batch])
        except Unavailable as error:
            for submit in batch:
                _refuse(submit, error)
        except Exception as error:  # noqa: BLE001 -- PostgreSQL or an encoder refuses a row: its caller shall hear of it
            if len(batch) == 1:
                _refuse(batch[0], error)
            else:
                for submit in batch:
                    await self._flush([submit])
        else:
            for submit, enqueued in zip(batch, stored, strict=True):
                if enqueued is None:
                    _refuse(submit, draining(submit.job.queue))
                elif not submit.answer.done():
                    submit.answer.set_result(enqueued)
            self._notifier.wake({submit.job.queue for submit in batch})

    async def _store_each(self, jobs: Sequence[NewJob]) -> list[Enqueued | None]:
        """Store all but those whose queue drains."""

        async def write(connection: Connection) -> list[Enqueued | None]:
            return await self._store.store(connection, jobs, atomic=False)

        return await _commit(self._lend, self._store, write)


async def store_jobs(
    database: Database, store: Store, jobs: Sequence[NewJob], *, check: Check | None = None
) -> list[Enqueued]:
    """
    Store *jobs*, all or none, in a commit of their own.

    Args:
        check: as for `Store.store`; a large batch is checked while what was checked before is on its way.

    Raises:
        Conflict: a queue drains, or a unique key has been on its way in another transaction for too long.
        Unavailable: the database is, or went, away.
    """
    return await _commit(database.acquire, store, lambda connection: store.enqueue(connection, jobs, check=check))


async def _commit(lend: Lend, store: Store, write: Callable[[Connection], Awaitable[T]]) -> T:
    """
    Let *write* store jobs on a connection that is lent. Partitions that nobody made (a deployment that slept) are made
    first.

    Raises:
        Unavailable: the database is, or went, away.
    """
    try:
        async with lend() as connection:
            try:
                return await write(connection)
            except asyncpg.CheckViolationError as error:
                if not is_partition_missing(error):
                    raise
            except asyncpg.DeadlockDetectedError:
                pass  # two batches of unique keys, each with some that the other had just freed: one of us comes again
            await store.make_partitions(connection, days=1)
            return await write(connection)
    except CONNECTION_ERRORS as error:
        raise Unavailable("the database went away; the submit may have happened", retry_after_s=1.0) from error


def _refuse(submit: _Submit, error: Exception) -> None:
    if not submit.answer.done():
        submit.answer.set_exception(error)
