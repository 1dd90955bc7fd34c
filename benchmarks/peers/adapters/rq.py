"""RQ on Redis: `Queue.enqueue`, and `rq worker` without a fork per job."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from rq import Queue

from benchmarks.peers.adapters.harness import Adapter, Client, handler, main, payload

FUNCTION = "benchmarks.peers.adapters.rq.noop"


@contextmanager
def client(url: str) -> Iterator[Client]:
    queue = Queue(connection=Redis.from_url(url))

    def one(n: int) -> None:
        queue.enqueue(FUNCTION, kwargs=payload(n), result_ttl=0)

    def many(numbers: range) -> None:
        queue.enqueue_many(
            [queue.prepare_data(FUNCTION, kwargs=payload(n), result_ttl=0) for n in numbers],
        )

    yield Client(one, many)


def worker(url: str) -> None:
    program = str(Path(sys.executable).with_name("rq"))
    os.execv(program, [program, "worker", "--url", url, "--worker-class", "rq.worker.SimpleWorker", "--quiet"])


if __name__ != "__main__" and Path("run.json").exists():
    started = handler()


def noop(n: int, padding: str) -> None:
    started(n)


ADAPTER = Adapter(
    packages=("rq", "redis", "hiredis"),
    settings="`rq worker --worker-class rq.worker.SimpleWorker` (the default forks for each job), result_ttl=0",
    client=client,
    worker=worker,
)

if __name__ == "__main__":
    main(ADAPTER)
