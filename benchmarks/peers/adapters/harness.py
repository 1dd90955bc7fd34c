"""
What the Python adapters share. It runs in every peer's own environment, so it imports the standard library alone.

An adapter is started as `python -m benchmarks.peers.adapters.NAME ROLE` in a folder of its own:

    about     prints which versions run here and how the peer is set up
    setup     makes the peer's tables, if it has any
    produce   does the producer's half of a workload and prints what it measured
    worker    becomes the worker, until it is stopped

    run.json  what to do: the server's URL, the workload, for how long (see `Run`)
    tally     what the handlers write: when each job started and how often (see `Tally`)

A producer prints one line of JSON. It holds readings of the machine's monotonic clock in nanoseconds, never figures:
those are worked out in one place for all peers (`measure.py`).
"""

import asyncio
import inspect
import json
import logging
import mmap
import platform
import random
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

PADDING = "x" * 160
BULK = 1000
CALLERS = 10
OUTSTANDING = 1000  # steady: callers wait while so many jobs have not started
COUNT_EVERY_S = 0.005
WARM_UP_CALLS = 200
WARM_UP_JOBS = 100
WARM_UP_S = 30.0
PAUSE_S = 0.02  # pickup: between two jobs; as much again at random, so that no poll is met in step


@dataclass(frozen=True, slots=True)
class Run:
    """What `run.json` says. *jobs* is how many a drain fills in; *capacity* is how many the tally holds."""

    url: str
    workload: str
    seconds: float
    jobs: int
    capacity: int

    @classmethod
    def read(cls) -> "Run":
        return cls(**json.loads(Path("run.json").read_text()))


class Tally:
    """
    A file that every process of a run maps: eight bytes per job for when it started last, then a byte per job for how
    often. A job writes only what is its own, so threads and forked workers need no lock.
    """

    def __init__(self, path: Path, capacity: int) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 9 * capacity)
        self._capacity = capacity
        view = memoryview(self._map)
        self.starts = view[: 8 * capacity].cast("q")
        self.runs = view[8 * capacity :]

    @staticmethod
    def create(path: Path, capacity: int) -> None:
        with path.open("wb") as file:
            file.truncate(9 * capacity)

    def count(self, issued: int) -> int:
        """How many of the first *issued* jobs have started."""
        return issued - self._map[8 * self._capacity : 8 * self._capacity + issued].count(0)


def handler() -> Callable[[int], None]:
    """Return what a job does: note that it started. Made once in a worker process, before it forks."""
    tally = Tally(Path("tally"), Run.read().capacity)
    starts, runs, clock = tally.starts, tally.runs, time.monotonic_ns

    def started(n: int) -> None:
        runs[n] = min(runs[n] + 1, 255)
        starts[n] = clock()

    return started


@dataclass(frozen=True, slots=True)
class Client:
    """
    How the peer takes jobs; *n* is the number of the job. Both calls return when the peer says the job is stored, both
    are coroutine functions or neither is. *many* is None where the peer has no call for it.
    """

    one: Callable[[int], Any]
    many: Callable[[range], Any] | None = None


@dataclass(frozen=True, slots=True)
class Adapter:
    """
    Args:
        packages: whose versions are reported.
        settings: how the peer is set up, for the reader of the results.
        client: gives a `Client` for a URL, as a context manager (async if its calls are).
        worker: becomes the worker; returns when it has been stopped, or not at all.
        setup: makes tables.
    """

    packages: tuple[str, ...]
    settings: str
    client: Callable[[str], AbstractContextManager[Client] | AbstractAsyncContextManager[Client]]
    worker: Callable[[str], None]
    setup: Callable[[str], object] | None = None


def main(adapter: Adapter) -> None:
    """Play the role that the command line names."""
    logging.basicConfig(level=logging.WARNING)
    role = sys.argv[1]
    if role == "about":
        versions = {name: version(name) for name in adapter.packages}
        about = {"runtime": f"Python {platform.python_version()}", "versions": versions, "settings": adapter.settings}
        print(json.dumps(about))
        return
    run = Run.read()
    if role == "setup" and adapter.setup is not None:
        adapter.setup(run.url)
    elif role == "worker":
        adapter.worker(run.url)
    elif role == "produce":
        print(json.dumps(run_on_a_fast_loop(_produce(adapter, run))), flush=True)


def run_on_a_fast_loop(coroutine: Any) -> Any:
    """`asyncio.run`, on uvloop where the environment has it."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(coroutine)
    return uvloop.run(coroutine)


async def _produce(adapter: Adapter, run: Run) -> dict[str, Any]:
    async with _entered(adapter.client(run.url)) as client:
        workload = {"drain": _fill, "steady": _steady, "single": _single, "bulk": _bulk, "pickup": _pickup}[
            run.workload
        ]
        return await workload(client, run)


async def _fill(client: Client, run: Run) -> dict[str, Any]:
    """The quickest way there is: this part is not measured."""
    if client.many is not None:
        for first in range(0, run.jobs, BULK):
            await _done(client.many(range(first, min(first + BULK, run.jobs))))
    else:
        await _call_from_many(client, iter(range(run.jobs)))
    return {"filled": run.jobs}


async def _single(client: Client, run: Run) -> dict[str, Any]:
    for n in range(WARM_UP_CALLS):
        await _done(client.one(n))
    took, n = [], WARM_UP_CALLS
    end = time.monotonic() + run.seconds
    while time.monotonic() < end and n < run.capacity:
        begin = time.monotonic_ns()
        await _done(client.one(n))
        took.append(time.monotonic_ns() - begin)
        n += 1
    return {"took_ns": took}


async def _bulk(client: Client, run: Run) -> dict[str, Any]:
    if client.many is None:
        return {"unsupported": True}
    await _done(client.many(range(BULK)))
    begin, n = time.monotonic_ns(), BULK
    while time.monotonic_ns() < begin + run.seconds * 1e9 and n + BULK <= run.capacity:
        await _done(client.many(range(n, n + BULK)))
        n += BULK
    return {"stored": n - BULK, "took_ns": time.monotonic_ns() - begin}


async def _steady(client: Client, run: Run) -> dict[str, Any]:
    tally = Tally(Path("tally"), run.capacity)
    first = await _warm_up(client, tally)
    numbers = _Numbers(tally, first, run)
    begin = time.monotonic_ns()
    await _call_from_many(client, numbers)
    return {"first": first, "issued": numbers.issued, "begin_ns": begin, "end_ns": time.monotonic_ns()}


async def _pickup(client: Client, run: Run) -> dict[str, Any]:
    tally = Tally(Path("tally"), run.capacity)
    first = n = await _warm_up(client, tally)
    called, returned = [], []
    end = time.monotonic() + run.seconds
    while time.monotonic() < end and n < run.capacity:
        await asyncio.sleep(PAUSE_S * (1 + random.random()))
        called.append(time.monotonic_ns())
        await _done(client.one(n))
        returned.append(time.monotonic_ns())
        await _until_started(tally, n)
        n += 1
    return {"first": first, "called_ns": called, "returned_ns": returned}


async def _warm_up(client: Client, tally: Tally) -> int:
    """Send some jobs until all of them have started; return the number of the next one."""
    for n in range(WARM_UP_JOBS):
        await _done(client.one(n))
    for n in range(WARM_UP_JOBS):
        await _until_started(tally, n)
    await asyncio.sleep(0.2)
    return WARM_UP_JOBS


async def _until_started(tally: Tally, n: int) -> None:
    end = time.monotonic() + WARM_UP_S
    while not tally.runs[n]:
        if time.monotonic() > end:
            raise TimeoutError(f"job {n} did not start within {WARM_UP_S:g} s")
        await asyncio.sleep(0.001)


class _Numbers:
    """Hands out job numbers until the time is up; raises `BlockingIOError` while too many jobs have not started."""

    def __init__(self, tally: Tally, first: int, run: Run) -> None:
        self.issued = first
        self._capacity = run.capacity
        self._tally = tally
        self._end = time.monotonic() + run.seconds
        self._lock = threading.Lock()
        self._counted, self._counted_at = first, 0.0

    def __iter__(self) -> "_Numbers":
        return self

    def __next__(self) -> int:
        with self._lock:
            now = time.monotonic()
            if now >= self._end or self.issued >= self._capacity:
                raise StopIteration
            if self.issued - self._counted >= OUTSTANDING:
                if now < self._counted_at + COUNT_EVERY_S:
                    raise BlockingIOError
                self._counted, self._counted_at = self._tally.count(self.issued), now
                if self.issued - self._counted >= OUTSTANDING:
                    raise BlockingIOError
            self.issued += 1
            return self.issued - 1


async def _call_from_many(client: Client, numbers: Iterator[int]) -> None:
    """Ten callers at a time: coroutines, or threads where calls block."""
    lock = threading.Lock()

    def following() -> int | None:
        with lock:
            return next(numbers, None)

    def call_in_thread() -> None:
        while True:
            try:
                n = following()
            except BlockingIOError:
                time.sleep(COUNT_EVERY_S)
                continue
            if n is None:
                return
            client.one(n)

    async def call() -> None:
        while True:
            try:
                n = following()
            except BlockingIOError:
                await asyncio.sleep(COUNT_EVERY_S)
                continue
            if n is None:
                return
            await client.one(n)

    if inspect.iscoroutinefunction(client.one):
        await asyncio.gather(*(call() for _ in range(CALLERS)))
    else:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(CALLERS) as threads:
            await asyncio.gather(*(loop.run_in_executor(threads, call_in_thread) for _ in range(CALLERS)))


async def _done(result: Any) -> None:
    if inspect.isawaitable(result):
        await result


@asynccontextmanager
async def _entered(
    manager: AbstractContextManager[Client] | AbstractAsyncContextManager[Client],
) -> AsyncIterator[Client]:
    if isinstance(manager, AbstractAsyncContextManager):
        async with manager as client:
            yield client
    else:
        with manager as client:
            yield client


def payload(n: int) -> dict[str, Any]:
    """About 200 bytes of arguments."""
    return {"n": n, "padding": PADDING}
