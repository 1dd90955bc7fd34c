"""What tests of submits look at: a job that greets, how many jobs there are, and whom a submit wakes."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from taskflow import JobFunction
from taskflow.engine.notifier import WAKE_CHANNEL

Greet = JobFunction[[str, int], str]


def jobs_in(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM taskflow.job").fetchone()
    assert row is not None
    return int(row[0])


def driver_url(url: str, driver: str) -> str:
    return url.replace("postgresql://", f"postgresql+{driver}://")


@contextmanager
def hearing(url: str) -> Iterator["list[str]"]:
    """Collect the queues that workers are woken for, as a worker would hear of them."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"LISTEN {WAKE_CHANNEL}")
        heard: list[str] = []
        yield heard
        heard += [note.payload for note in connection.notifies(timeout=0.3)]
