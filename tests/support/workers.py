"""
Workers in a test's own event loop, with the real supervision above them, on a real database.

    async with working(database_url, registry) as worker: ...

starts both and stops both; `supervising` gives the upper half alone, for several children or none.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import msgspec

from taskflow.db.query import Connection
from taskflow.engine.client import Engine
from taskflow.engine.job import DEFAULT_QUEUE, Claim, Enqueued, Job, JobId, State, WorkerId
from taskflow.engine.registry import Registry
from taskflow.engine.store import Store
from taskflow.engine.supervision import SupervisorInfo, WorkerSupervision
from taskflow.engine.worker import Worker
from taskflow.telemetry.metrics import REGISTRY
from tests.support.waiting import eventually

STOP_S = 15.0


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """The payload of handlers that need none."""


class Number(msgspec.Struct, forbid_unknown_fields=True):
    """The payload of handlers that want to know which job they run."""

    number: int = 0


class Supervisor:
    """`WorkerSupervision` and the workers that its heartbeats reach."""

    def __init__(
        self,
        url: str,
        *,
        queues: Sequence[str] = (DEFAULT_QUEUE,),
        concurrency: int = 10,
        kept_days: int | None = None,
    ) -> None:
        self.children: list[Worker] = []
        self.beats = 0
        self.supervision = WorkerSupervision(
            url,
            SupervisorInfo("test", os.getpid(), queues, concurrency),
            on_beat=self._on_beat,
            kept_days=kept_days,
        )

    @property
    def id(self) -> WorkerId:
        return self.supervision.worker_id

    def _on_beat(self) -> None:
        self.beats += 1
        for child in self.children:
            child.beat()


@asynccontextmanager
async def supervising(url: str, **options: Any) -> AsyncIterator[Supervisor]:
    """Run a supervision that is registered; at the end it signs off as in production."""
    supervisor = Supervisor(url, **options)
    task = asyncio.create_task(supervisor.supervision.run(), name="test-supervision")
    try:
        registered = asyncio.ensure_future(supervisor.supervision.wait_registered())
        await asyncio.wait({task, registered}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            registered.cancel()
            await task
        yield supervisor
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await supervisor.supervision.stop()


@asynccontextmanager
async def working(
    url: str,
    registry: Registry,
    *,
    under: Supervisor | None = None,
    queues: Sequence[str] = (DEFAULT_QUEUE,),
    concurrency: int = 10,
    incarnation: int = 1,
    **options: Any,
) -> AsyncIterator[Worker]:
    """Run a worker, and a supervision for it unless *under* is one; at the end both are stopped."""
    if under is None:
        async with (
            supervising(url, queues=queues, concurrency=concurrency) as own,
            working(
                url,
                registry,
                under=own,
                queues=queues,
                concurrency=concurrency,
                incarnation=incarnation,
                **options,
            ) as worker,
        ):
            yield worker
        return
    worker = Worker(
        url,
        registry,
        worker_id=under.id,
        incarnation=incarnation,
        queues=queues,
        concurrency=concurrency,
        log_attempts=False,
        **options,
    )
    under.children.append(worker)
    task = asyncio.create_task(worker.run(), name="test-worker")
    _TASKS[worker] = task
    try:
        yield worker
    finally:
        worker.request_stop()
        worker.request_stop()
        try:
            await asyncio.wait_for(task, STOP_S)
        finally:
            under.children.remove(worker)


_TASKS: dict[Worker, "asyncio.Task[None]"] = {}


async def stopped(worker: Worker, *, within_s: float = STOP_S) -> None:
    """Wait until a worker that was told to stop has returned."""
    async with asyncio.timeout(within_s):
        await asyncio.shield(_TASKS[worker])


async def reaches(engine: Engine, job: Enqueued | JobId, *states: State, within_s: float = 8.0) -> Job:
    """Wait until a job is in one of *states* and return it; by default in a terminal one."""
    job_id = job.id if isinstance(job, Enqueued) else job

    async def look() -> Job | None:
        found = await engine.get_job(job_id)
        return found if (found.state in states if states else found.state.is_terminal) else None

    wanted = " or ".join(states) or "its end"
    return await eventually(f"job {job_id} to reach {wanted}", look, within_s=within_s)


async def register(connection: Connection, *, store: Store | None = None) -> WorkerId:
    """Make a worker's row, for claims that a test makes itself."""
    worker_id = WorkerId(uuid4())
    await (store or Store()).register_worker(
        connection, worker_id=worker_id, host="test", pid=os.getpid(), queues=[DEFAULT_QUEUE], concurrency=10
    )
    return worker_id


async def claim(
    connection: Connection,
    worker_id: WorkerId,
    *,
    kinds: Sequence[str],
    limit: int = 10,
    incarnation: int = 1,
    store: Store | None = None,
) -> list[Claim]:
    """Claim as a worker would."""
    return await (store or Store()).claim(
        connection,
        worker_id=worker_id,
        incarnation=incarnation,
        queues=[DEFAULT_QUEUE],
        kinds=kinds,
        limit=limit,
    )


async def drop_partitions(connection: Connection, table: str) -> None:
    """Leave what a deployment finds that nobody led for longer than partitions had been made ahead."""
    rows = await connection.fetch(
        "SELECT inhrelid::regclass::text AS part FROM pg_inherits WHERE inhparent = $1::regclass", f"taskflow.{table}"
    )
    for row in rows:
        await connection.execute(f"DROP TABLE {row['part']}")


def metric(name: str, **labels: str) -> float:
    """The present value of one of this process' metrics; 0 if nothing was counted yet."""
    return REGISTRY.get_sample_value(name, labels) or 0.0
