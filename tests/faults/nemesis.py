"""Carries a plan out. What it broke it heals, whatever happens to itself meanwhile."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from tests.faults.cluster import Cluster
from tests.faults.plan import Plan, Step
from tests.history.events import Fault
from tests.history.recorder import Recorder, now

MAX_EXTRA_CONNECTIONS = 400
PATIENCE_S = 15.0  # for a target that has just ended
BALLAST = "ballast"
CHUNK_BYTES = 1024 * 1024
SERVER = "taskflow"  # application names of the deployment's connections begin with it


class Nemesis:
    """Two lanes of faults. `failed` has what could not be done at all: a bug of the test."""

    def __init__(self, cluster: Cluster, plan: Plan, recorder: Recorder, block: Callable[[float], None]) -> None:
        self.failed: list[str] = []
        self.done: list[Step] = []
        self.missed: list[Step] = []  # nobody was there to be hurt
        self._cluster = cluster
        self._recorder = recorder
        self._block = block
        self._random = random.Random(plan.seed)
        self._over = threading.Event()
        self._began_s = time.monotonic()
        self._lanes = [
            threading.Thread(target=self._walk, args=(lane,), name=name)
            for name, lane in (("sudden", plan.sudden), ("lasting", plan.lasting))
        ]

    def run(self, seconds: float) -> None:
        """Break things for so long, then heal."""
        self._began_s = time.monotonic()
        for lane in self._lanes:
            lane.start()
        time.sleep(max(0.0, self._began_s + seconds - time.monotonic()))
        self._over.set()
        for lane in self._lanes:
            lane.join()

    def _walk(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if self._over.wait(max(0.0, self._began_s + step.at_s - time.monotonic())):
                return
            try:
                with self._apply(step) as hurt:
                    (self.done if hurt else self.missed).append(step)
                    if hurt and step.lasts_s:
                        self._over.wait(step.lasts_s)
            except psycopg.OperationalError:
                self.missed.append(step)  # the database was away, and nobody could be asked
            except Exception as error:  # noqa: BLE001 -- told at the end, with the plan
                self.failed.append(f"{step}: {type(error).__name__}: {error}")

    @contextmanager
    def _apply(self, step: Step) -> Iterator[bool]:
        self._note(str(step))
        with getattr(self, f"_{step.fault}")(step) as hurt:
            yield hurt
        if step.lasts_s:
            self._note(f"healed: {step.fault} {step.target}")

    def _wait_until(self, condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > deadline or self._over.wait(0.1):
                return False
        return True

    def _find(self, target: str) -> list[int]:
        """Return the target's processes, which may be starting again: none if they do not within a while."""
        found: list[int] = []

        def look() -> bool:
            with suppress(psycopg.OperationalError):
                found[:] = self._cluster.find(target)
            return bool(found)

        self._wait_until(look)
        return found

    def _note(self, what: str) -> None:
        self._recorder.record(Fault(at=now(), what=what))

    # Sudden ---------------------------------------------------------------------------------------------------------

    @contextmanager
    def _kill(self, step: Step) -> Iterator[bool]:
        pids = self._find(step.target)
        if step.target == "postgres":
            pids = pids[:1]  # the server itself; its processes follow
        elif len(pids) > 1:
            pids = [self._random.choice(pids)]
        yield _signal(pids, signal.SIGKILL) > 0

    @contextmanager
    def _terminate(self, step: Step) -> Iterator[bool]:
        query = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE %s AND random() < %s"
        )
        with self._cluster.connect() as connection:
            rows = connection.execute(query, [f"{SERVER}%", 1.0 if step.target == "all" else 0.5]).fetchall()
        yield bool(rows)

    @contextmanager
    def _cut(self, _step: Step) -> Iterator[bool]:
        proxy = self._cluster.proxy
        hurt = self._wait_until(lambda: proxy.proxy.open > 0)
        proxy.call(proxy.proxy.cut)
        yield hurt

    # Lasting --------------------------------------------------------------------------------------------------------

    @contextmanager
    def _freeze(self, step: Step) -> Iterator[bool]:
        pids = self._find(step.target)
        if not step.target.startswith(("fleet", "postgres")) and len(pids) > 1:
            pids = [self._random.choice(pids)]
        try:
            yield _signal(pids, signal.SIGSTOP) > 0
        finally:
            _signal(pids, signal.SIGCONT)

    @contextmanager
    def _swallow(self, _step: Step) -> Iterator[bool]:
        """Connections stay open and nothing passes; then they are gone."""
        proxy = self._cluster.proxy
        hurt = self._wait_until(lambda: proxy.proxy.open > 0)
        proxy.call(proxy.proxy.swallow)
        try:
            yield hurt
        finally:
            proxy.run(proxy.proxy.heal())

    @contextmanager
    def _refuse(self, _step: Step) -> Iterator[bool]:
        """The port answers nobody."""
        proxy = self._cluster.proxy
        proxy.run(proxy.proxy.close_door())
        try:
            yield True
        finally:
            proxy.run(proxy.proxy.heal())

    @contextmanager
    def _exhaust(self, _step: Step) -> Iterator[bool]:
        """Take every connection that the server has, and then those that the deployment had."""
        taken: list[psycopg.Connection[Any]] = []
        self._wait_until(self._cluster.is_answering)
        try:
            with self._cluster.connect(application_name="exhausting") as first:
                _fill_connections(self._cluster, taken)
                query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE %s"
                first.execute(query, [f"{SERVER}%"])
                _fill_connections(self._cluster, taken)
                yield len(taken) > 0
        finally:
            for connection in taken:
                with suppress(psycopg.Error):
                    connection.close()

    @contextmanager
    def _fill(self, _step: Step) -> Iterator[bool]:
        """Leave no byte on the disk that PostgreSQL is on."""
        if not self._cluster.has_disk:
            yield False
            return
        ballast = self._cluster.data / BALLAST
        try:
            with ballast.open("wb", buffering=0) as file, suppress(OSError):
                for size in (CHUNK_BYTES, 4096):
                    with suppress(OSError):
                        while True:
                            file.write(b"\0" * size)
            yield ballast.stat().st_size > 0
        finally:
            ballast.unlink(missing_ok=True)

    @contextmanager
    def _stall(self, step: Step) -> Iterator[bool]:
        self._block(step.lasts_s)
        yield True


def _signal(pids: Iterable[int], signum: signal.Signals) -> int:
    """Send to those that are still there; return how many."""
    sent = 0
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signum)
            sent += 1
    return sent


def _fill_connections(cluster: Cluster, taken: list[psycopg.Connection[Any]]) -> None:
    with suppress(psycopg.OperationalError):
        while len(taken) < MAX_EXTRA_CONNECTIONS:
            taken.append(cluster.connect(application_name="exhausting"))
