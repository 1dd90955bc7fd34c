"""DBOS: a workflow on a queue, enqueued by `DBOSClient`."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dbos import DBOS, DBOSClient, DBOSConfig

from benchmarks.peers.adapters.harness import CALLERS, Adapter, Client, handler, main, payload

QUEUE = "noop"
CONCURRENCY = 100
POLL_S = 0.01


def config(url: str) -> DBOSConfig:
    return {
        "name": "benchmark",
        "application_version": "1",
        "system_database_url": url,
        "log_level": "WARNING",
        "run_admin_server": False,
    }


@contextmanager
def client(url: str) -> Iterator[Client]:
    dbos = DBOSClient(system_database_url=url, system_database_pool_size=CALLERS)
    options = {"queue_name": QUEUE, "workflow_name": "noop", "app_version": "1"}
    try:
        yield Client(lambda n: dbos.enqueue(options, payload(n)))
    finally:
        dbos.destroy()


def set_up(url: str) -> None:
    DBOS(config=config(url))
    DBOS.launch()
    DBOS.destroy()


def work(url: str) -> None:
    started = handler()
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda signum, frame: stopped.set())
    DBOS(config=config(url))

    @DBOS.workflow(name="noop")
    def noop(job: dict[str, object]) -> None:
        started(job["n"])  # type: ignore[arg-type]

    DBOS.launch()
    DBOS.register_queue(QUEUE, worker_concurrency=CONCURRENCY, polling_interval_sec=POLL_S)
    stopped.wait()


ADAPTER = Adapter(
    packages=("dbos", "psycopg"),
    settings=(
        f"queue with worker_concurrency={CONCURRENCY} and polling_interval_sec={POLL_S} (default 1 s), a workflow "
        f"without steps; pool of {CALLERS}; each job is a workflow with its status and output kept"
    ),
    client=client,
    worker=work,
    setup=set_up,
)

if __name__ == "__main__":
    main(ADAPTER)
