"""Huey on Redis: a task call as the client, and `huey_consumer`."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from huey import RedisHuey

from benchmarks.peers.adapters.harness import Adapter, Client, Run, handler, main, payload

THREADS = 4


def name(function: Callable[[int, str], None]) -> Callable[[int, str], None]:
    """Huey names a task by its module as well; the module of a program is `__main__`, which the consumer is not."""
    function.__module__ = "benchmark"
    return function


@contextmanager
def client(url: str) -> Iterator[Client]:
    huey = RedisHuey("benchmark", url=url, results=False)

    @huey.task()
    @name
    def noop(n: int, padding: str) -> None:
        """Runs in the consumer."""

    yield Client(lambda n: noop(**payload(n)))


def worker(url: str) -> None:
    program = str(Path(sys.executable).with_name("huey_consumer"))
    served = "benchmarks.peers.adapters.huey.served"
    os.execv(program, [program, served, "--workers", str(THREADS), "--worker-type", "thread", "--quiet"])


if __name__ != "__main__" and Path("run.json").exists():
    served = RedisHuey("benchmark", url=Run.read().url, results=False)
    started = handler()

    @served.task()
    @name
    def noop(n: int, padding: str) -> None:
        started(n)


ADAPTER = Adapter(
    packages=("huey", "redis", "hiredis"),
    settings=f"RedisHuey, `huey_consumer --workers {THREADS} --worker-type thread`, blocking pops, results off",
    client=client,
    worker=worker,
)

if __name__ == "__main__":
    main(ADAPTER)
