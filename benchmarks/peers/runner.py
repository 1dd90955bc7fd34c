"""Carries out one measurement: a fresh store, the worker where one is needed, the producer, and an end for all."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.adapters.harness import WARM_UP_S, Run, Tally
from benchmarks.peers.environments import Environment, last_words, with_variables
from benchmarks.peers.measure import Figures, figures, ran_twice
from benchmarks.peers.plan import WORKLOADS, Peer, Step
from benchmarks.peers.servers import EVERYSEC, Postgres, running_redis

CAPACITY_PER_S = 300_000  # of the tally, for workloads that go on for a time
EXTRA_S = 120.0  # that a producer may take on top: filling, warming up
STOP_S = 5.0
WATCH_S = 0.02


class MeasurementError(Exception):
    """A measurement came to nothing, and why."""


@dataclass(frozen=True, slots=True)
class Measured:
    figures: Figures
    ran_twice: int
    took_s: float
    load: float


class Runner:
    """
    Args:
        folder: for the files of measurements, each of which is gone when it ends.
        postgres: running; None if no peer needs it.
        redis: the program; None if no peer needs it.
        redis_fsync: when it syncs.
    """

    def __init__(
        self, folder: Path, postgres: Postgres | None, redis: Path | None, *, redis_fsync: str = EVERYSEC
    ) -> None:
        self._redis_fsync = redis_fsync
        self._folder = folder
        self._postgres = postgres
        self._redis = redis
        self._templates: set[str] = set()
        self._count = 0

    def measure(self, step: Step, environment: Environment, seconds: float) -> Measured:
        """
        Raises:
            MeasurementError: with the last words of the process that failed.
        """
        begin, load = time.monotonic(), os.getloadavg()[0]
        self._count += 1
        folder = self._folder / f"{self._count}-{step.peer.name}-{step.workload}"
        folder.mkdir()
        seconds *= WORKLOADS[step.workload]
        try:
            with self._store(step.peer, environment, folder) as (url, database):
                jobs = int(step.peer.drain_guess * seconds) if step.workload == "drain" else 0
                run = Run(url, step.workload, seconds, jobs, jobs or int(CAPACITY_PER_S * (seconds + 1)))
                tally = _hand_out(run, folder)
                if step.workload == "drain":
                    readings = self._drain(environment, folder, run, tally, database)
                else:
                    readings = _produce_beside_worker(environment, folder, run)
                try:
                    worked_out = figures(step.workload, readings, tally)
                except ValueError as error:
                    raise MeasurementError(str(error)) from error
                return Measured(worked_out, ran_twice(tally), time.monotonic() - begin, load)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _store(self, peer: Peer, environment: Environment, folder: Path) -> Iterator[tuple[str, str | None]]:
        """A fresh database or Redis; gives its URL, and the database's name."""
        if peer.store == "Redis":
            assert self._redis is not None, "the caller leaves peers on Redis out"
            with running_redis(self._redis, folder, fsync=self._redis_fsync) as url:
                yield url, None
            return
        assert self._postgres is not None, "the caller starts PostgreSQL"
        template, database = f"template_{peer.name}", f"run_{self._count}"
        if template not in self._templates:
            self._postgres.create(template)
            run = Run(self._postgres.url(template), "setup", 0, 0, 1)
            _hand_out(run, folder)
            _call(environment, "setup", folder, EXTRA_S)
            self._templates.add(template)
        self._postgres.create(database, template)
        try:
            yield self._postgres.url(database), database
        finally:
            self._postgres.drop(database)

    def _drain(
        self, environment: Environment, folder: Path, run: Run, tally: Tally, database: str | None
    ) -> dict[str, Any]:
        """Fill the queue, then start the worker and look on until the queue is empty or the time is up."""
        readings = json.loads(_call(environment, "produce", folder, run.seconds + EXTRA_S))
        if database is not None and self._postgres is not None:
            self._postgres.settle(database)
        with _process(environment, "worker", folder) as worker:
            first: float | None = None
            begin = time.monotonic()
            while first is None or time.monotonic() < first + run.seconds:
                started = tally.count(run.jobs)
                if started and first is None:
                    first = time.monotonic()
                if started >= run.jobs:
                    break
                if worker.poll() is not None:
                    raise MeasurementError(f"the worker ended: {_last_words(folder, 'worker')}")
                if first is None and time.monotonic() > begin + WARM_UP_S:
                    words = _last_words(folder, "worker")
                    raise MeasurementError(f"the worker started nothing within {WARM_UP_S:g} s: {words}")
                time.sleep(WATCH_S)
        return {**readings, "seconds": run.seconds}


def _produce_beside_worker(environment: Environment, folder: Path, run: Run) -> dict[str, Any]:
    if run.workload in {"single", "bulk"}:
        return dict(json.loads(_call(environment, "produce", folder, run.seconds + EXTRA_S)))
    with _process(environment, "worker", folder):
        try:
            return dict(json.loads(_call(environment, "produce", folder, run.seconds + EXTRA_S)))
        except MeasurementError as error:
            raise MeasurementError(f"{error} (worker: {_last_words(folder, 'worker')})") from error


def _hand_out(run: Run, folder: Path) -> Tally:
    values: Mapping[str, object] = {name: getattr(run, name) for name in Run.__slots__}
    (folder / "run.json").write_text(json.dumps(values))
    Tally.create(folder / "tally", run.capacity)
    return Tally(folder / "tally", run.capacity)


def _call(environment: Environment, role: str, folder: Path, timeout_s: float) -> str:
    """Play a role that ends by itself; return the last line it prints."""
    with _process(environment, role, folder) as process:
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise MeasurementError(f"{role} was not done within {timeout_s:g} s") from error
    if status:
        raise MeasurementError(f"{role} failed: {_last_words(folder, role)}")
    lines = (folder / f"{role}.out").read_text().splitlines()
    return lines[-1] if lines else "{}"


@contextmanager
def _process(environment: Environment, role: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An adapter in a session of its own, so that Ctrl-C reaches only us; it and its children end with the block."""
    with (folder / f"{role}.out").open("wb") as out, (folder / f"{role}.err").open("wb") as err:
        process = subprocess.Popen(
            [*environment.command, role],
            cwd=folder,
            env=with_variables(environment.variables),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # children it left, or itself
        process.wait()


def _last_words(folder: Path, role: str) -> str:
    return last_words((folder / f"{role}.err").read_text(errors="replace"))
