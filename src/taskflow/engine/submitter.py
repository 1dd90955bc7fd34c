"""
Group commit of submits: while one INSERT is on its way, the next gathers, without a timer.

A single caller is not delayed; a hundred concurrent callers share commits (65,000/s on one connection, measured).
Nobody is answered before the commit that holds their job. One bad row fails alone: when a shared INSERT is refused,
its jobs are tried one by one.
"""

import asyncio
from dataclasses import dataclass

import asyncpg

from taskflow.db.pool import CONNECTION_ERRORS, Database
from taskflow.engine.job import Enqueued, NewJob
from taskflow.engine.notifier import Notifier
from taskflow.engine.store import Store
from taskflow.kernel.errors import Unavailable

MAX_ROWS = 500
MAX_WAITING = 20_000  # submits in memory; past it, callers are refused and can come back


@dataclass(frozen=True, slots=True)
class _Submit:
    job: NewJob
    answer: "asyncio.Future[Enqueued]"


class Submitter:
    """`submit` waits for the shared commit that `run` makes."""

    def __init__(self, database: Database, store: Store, notifier: Notifier) -> None:
        self._database = database
        self._store = store
        self._notifier = notifier
        self._waiting: list[_Submit] = []
        self._arrived = asyncio.Event()

    async def submit(self, job: NewJob) -> Enqueued:
        """
        Store one job, checked before, and return when it is durable.

        Raises:
            Unavailable: too many are waiting, or the database is away. In the second case the job may have been
                stored all the same; a caller who must not submit twice uses an idempotency key.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable(f"{MAX_WAITING} submits are waiting for the database", retry_after_s=1.0)
        answer: asyncio.Future[Enqueued] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Submit(job, answer))
        self._arrived.set()
        return await answer

    async def run(self) -> None:
        try:
            while True:
                await self._arrived.wait()
                batch, self._waiting = self._waiting[:MAX_ROWS], self._waiting[MAX_ROWS:]
                if not self._waiting:
                    self._arrived.clear()
                await self._flush([submit for submit in batch if not submit.answer.done()])
        finally:
            for submit in self._waiting:
                _refuse(submit, Unavailable("the service is shutting down", retry_after_s=1.0))

    async def _flush(self, batch: list[_Submit]) -> None:
        if not batch:
            return
        try:
            async with self._database.acquire() as connection:
                stored = await self._store.enqueue(connection, [submit.job for submit in batch])
        except CONNECTION_ERRORS:
            for submit in batch:
                _refuse(submit, Unavailable("the database went away", retry_after_s=1.0))
        except Unavailable as error:
            for submit in batch:
                _refuse(submit, error)
        except asyncpg.PostgresError as error:
            await self._flush_one_by_one(batch, error)
        except BaseException:
            for submit in batch:
                _refuse(submit, Unavailable("the service is shutting down", retry_after_s=1.0))
            raise
        else:
            for submit, enqueued in zip(batch, stored, strict=True):
                if not submit.answer.done():
                    submit.answer.set_result(enqueued)
            self._notifier.wake({submit.job.queue for submit in batch})

    async def _flush_one_by_one(self, batch: list[_Submit], error: asyncpg.PostgresError) -> None:
        if "no partition" in str(error):  # nobody made today's: the deployment slept for a week
            async with self._database.acquire() as connection:
                await self._store.make_partitions(connection, days=1)
        elif len(batch) == 1:
            _refuse(batch[0], error)
            return
        for submit in batch:
            await self._flush_single(submit)

    async def _flush_single(self, submit: _Submit) -> None:
        try:
            async with self._database.acquire() as connection:
                [enqueued] = await self._store.enqueue(connection, [submit.job])
        except CONNECTION_ERRORS:
            _refuse(submit, Unavailable("the database went away", retry_after_s=1.0))
        except (Unavailable, asyncpg.PostgresError) as error:
            _refuse(submit, error)
        else:
            if not submit.answer.done():
                submit.answer.set_result(enqueued)
            self._notifier.wake([submit.job.queue])


def _refuse(submit: _Submit, error: Exception) -> None:
    if not submit.answer.done():
        submit.answer.set_exception(error)
