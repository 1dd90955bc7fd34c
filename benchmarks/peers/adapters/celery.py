"""Celery on Redis: `delay`, and `celery worker` with one child."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from celery import Celery

from benchmarks.peers.adapters.harness import CALLERS, Adapter, Client, Run, handler, main, payload

PREFETCH = 128


def make_app(url: str) -> Celery:
    app = Celery("benchmark", broker=url)
    app.conf.update(
        task_ignore_result=True,
        worker_prefetch_multiplier=PREFETCH,
        broker_pool_limit=CALLERS,
        broker_connection_retry_on_startup=True,
    )
    return app


@contextmanager
def client(url: str) -> Iterator[Client]:
    app = make_app(url)

    @app.task(name="noop")
    def noop(n: int, padding: str) -> None:
        """Runs in the worker."""

    yield Client(lambda n: noop.delay(**payload(n)))
    app.close()


def worker(url: str) -> None:
    program = str(Path(sys.executable).with_name("celery"))
    options = ["--concurrency=1", "--without-gossip", "--without-mingle", "--loglevel=WARNING"]
    os.execv(program, [program, "--app=benchmarks.peers.adapters.celery:served", "worker", *options])


if __name__ != "__main__" and Path("run.json").exists():
    served = make_app(Run.read().url)
    started = handler()

    @served.task(name="noop")
    def served_noop(n: int, padding: str) -> None:
        started(n)


ADAPTER = Adapter(
    packages=("celery", "kombu", "redis", "hiredis"),
    settings=(
        f"`celery worker --concurrency=1 --without-gossip --without-mingle` (prefork), worker_prefetch_multiplier="
        f"{PREFETCH}, task_ignore_result, acknowledged before the job (its default); pool of {CALLERS}"
    ),
    client=client,
    worker=worker,
)

if __name__ == "__main__":
    main(ADAPTER)
