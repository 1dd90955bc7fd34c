"""TaskFlow itself: `Engine` as the client; a worker process watched over by its supervisor, as in `taskflow up`."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import UUID

import uvloop

from benchmarks import worker
from benchmarks.peers.adapters.harness import Adapter, Client, handler, main, payload
from taskflow.db.migrate import migrate
from taskflow.db.pool import Database
from taskflow.engine.client import Engine
from taskflow.engine.job import NewJob
from taskflow.engine.registry import JobContext, Registry
from taskflow.engine.supervision import SupervisorInfo, WorkerSupervision
from taskflow.telemetry.log import configure

CONCURRENCY = 1000


@asynccontextmanager
async def client(url: str) -> AsyncIterator[Client]:
    database = Database(url, application_name="benchmark")
    await database.start()
    async with Engine(database) as engine:

        async def one(n: int) -> None:
            await engine.enqueue(NewJob("noop", payload(n)))

        async def many(numbers: range) -> None:
            await engine.enqueue_many([NewJob("noop", payload(n)) for n in numbers])

        yield Client(one, many)
    await database.stop()


def supervise(url: str) -> None:
    """The worker's parent: its heartbeats keep the leases of the child alive."""
    uvloop.run(_supervise(url))


async def _supervise(url: str) -> None:
    child: asyncio.subprocess.Process | None = None

    def pass_on() -> None:
        if child is not None and child.stdin is not None:
            child.stdin.write(b"beat\n")

    supervision = WorkerSupervision(url, SupervisorInfo("benchmark", 0, ["default"], CONCURRENCY), on_beat=pass_on)
    watching = asyncio.create_task(supervision.run())
    await supervision.wait_registered()
    command = [sys.executable, "-m", "benchmarks.peers.adapters.taskflow", "child", url, str(supervision.worker_id)]
    child = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, child.terminate)
    await child.wait()
    watching.cancel()
    await asyncio.wait([watching])
    await supervision.stop()


async def run_child(url: str, worker_id: UUID) -> None:
    registry = Registry()
    started = handler()

    @registry.job("noop", payload=worker.Nothing)
    async def noop(ctx: JobContext, payload: worker.Nothing) -> None:
        started(payload.n)

    with suppress(asyncio.CancelledError):
        await worker.work(url, registry, worker_id, CONCURRENCY)


ADAPTER = Adapter(
    packages=("taskflow-server", "asyncpg", "uvloop"),
    settings=(
        "worker with 1,000 places under its supervisor, no log line per attempt; concurrent callers share INSERTs; "
        "bodies, outcomes and times are kept"
    ),
    client=client,
    worker=supervise,
    setup=migrate,
)

if __name__ == "__main__":
    configure("text", level="warning")
    if sys.argv[1] == "child":
        assert Path("tally").exists(), "started by the worker role"
        uvloop.run(run_child(sys.argv[2], UUID(sys.argv[3])))
    else:
        main(ADAPTER)
