"""Dramatiq on Redis: `send`, and the `dramatiq` command."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers.adapters.harness import Adapter, Client, Run, handler, main, payload

THREADS = 8


@contextmanager
def client(url: str) -> Iterator[Client]:
    broker = RedisBroker(url=url)

    @dramatiq.actor(broker=broker, actor_name="noop")
    def noop(n: int, padding: str) -> None:
        """Runs in the worker."""

    yield Client(lambda n: noop.send(**payload(n)))
    broker.close()


def worker(url: str) -> None:
    program = str(Path(sys.executable).with_name("dramatiq"))
    served = "benchmarks.peers.adapters.dramatiq:served"
    os.execv(program, [program, served, "--processes", "1", "--threads", str(THREADS)])


if __name__ != "__main__" and Path("run.json").exists():
    served = RedisBroker(url=Run.read().url)
    started = handler()

    @dramatiq.actor(broker=served, actor_name="noop")
    def served_noop(n: int, padding: str) -> None:
        started(n)


ADAPTER = Adapter(
    packages=("dramatiq", "redis", "hiredis"),
    settings=f"RedisBroker, `dramatiq --processes 1 --threads {THREADS}` (its default of threads), no results",
    client=client,
    worker=worker,
)

if __name__ == "__main__":
    main(ADAPTER)
