"""
One run: start, load, faults, heal, wait until everything has come to its end, judge.

What is kept of a run that failed (`Result.kept`): `history/` with every event and the database's rows, `logs/` of the
processes, `plan.txt`, `verdict.txt`.
"""

import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psycopg

from tests.faults import shop
from tests.faults.clients import Client, Receiver, RestClient, SdkClient
from tests.faults.cluster import Cluster, make_base
from tests.faults.nemesis import Nemesis
from tests.faults.plan import Plan
from tests.history import checker, database
from tests.history.events import Claimed, Final, Finished, History, Promises, Released, Stored, in_order
from tests.history.recorder import SUFFIX, Recorder, read

CLIENTS = 2  # of each way to submit
END_S = 120.0  # after healing, until everything has ended
CLIENT_STOP_S = 45.0
LOOKS = 20
LONG_S = 120.0  # a run so long has everything in it
EVERY_MS = (1000, 1500)
SCHEDULES = ("allow", "skip")
SHORTEN = "UPDATE taskflow.deferred SET run_at = now() WHERE run_at > now() + interval '1 second'"


@dataclass(slots=True)
class Result:
    """What a run came to; *wrong* is empty if all is well."""

    plan: Plan
    wrong: list[str] = field(default_factory=list)
    counts: Mapping[str, int] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    end_s: float | None = None
    has_disk: bool = True
    kept: Path | None = None

    def __str__(self) -> str:
        lines = [f"counted: {', '.join(f'{name} {count}' for name, count in self.counts.items())}"]
        if self.end_s is not None:
            lines.append(f"everything had ended {self.end_s:.1f} s after healing")
        if not self.has_disk:
            lines.append("NOT TESTED: a full disk. It needs root, to mount a small one")
        if self.missed:
            lines.append(f"{len(self.missed)} faults found nobody to hurt: {'; '.join(self.missed)}")
        if self.wrong:
            lines += [*self.wrong, f"FAILED with seed {self.plan.seed}; histories and logs are in {self.kept}"]
        return "\n".join(lines)


def run(plan: Plan, say: Callable[[str], None]) -> Result:
    """Run *plan* and return its result; processes, threads and files are gone at the end, unless it failed."""
    base = make_base()
    (base / "plan.txt").write_text(f"{plan}\n")
    cluster = Cluster(base)
    result = Result(plan, has_disk=cluster.has_disk)
    try:
        _Run(cluster, plan, result, say).run()
    except BaseException as error:
        result.wrong.append(f"the run broke off: {type(error).__name__}: {error}")
        if not isinstance(error, Exception):
            raise
    finally:
        result.wrong += cluster.stop()
        (base / "verdict.txt").write_text(f"{result}\n")
        cluster.unmount()
        if result.wrong:
            result.kept = base
            shutil.rmtree(cluster.data, ignore_errors=True)
        else:
            shutil.rmtree(base)
    return result


class _Run:
    def __init__(self, cluster: Cluster, plan: Plan, result: Result, say: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._plan = plan
        self._result = result
        self._say = say
        self._recorder = Recorder(cluster.history, "run")
        self._schedules: dict[str, int] = {}
        self._stalls = 0

    def run(self) -> None:
        began_s = time.monotonic()
        self._cluster.start(self._prepare)
        receiver = Receiver(self._plan.seed, self._recorder)
        holder = _SnapshotHolder(self._cluster)
        try:
            self._schedule()
            shop.app.database.use(self._cluster.proxy.proxy.url)
            clients = self._clients(receiver.url)
            for client in clients:
                client.start()
            holder.start()
            self._say(f"ready after {time.monotonic() - began_s:.1f} s; breaking things for {self._plan.seconds:g} s")
            nemesis = Nemesis(self._cluster, self._plan, self._recorder, self._stall)
            nemesis.run(self._plan.seconds)
            healed_s = time.monotonic()
            receiver.is_moody = False
            self._stop_clients(clients)
            self._result.missed += map(str, nemesis.missed)
            self._result.wrong += _idle(nemesis, self._plan, has_disk=self._cluster.has_disk)
            self._result.wrong += nemesis.failed
            self._cluster.wait_all_ready()
            self._pause_schedules()
            self._wait_for_the_end(healed_s + END_S)
            self._result.end_s = time.monotonic() - healed_s
            self._judge()
            self._result.wrong += [f"a traceback in {log.name}" for log in self._cluster.logs.iterdir() if _burst(log)]
        finally:
            holder.stop()
            shop.app.close_sync()
            receiver.stop()
            self._recorder.close()

    # Before -----------------------------------------------------------------------------------------------------------

    @staticmethod
    def _prepare(connection: psycopg.Connection[Any]) -> None:
        database.install(connection)

    def _schedule(self) -> None:
        """Say what is promised before anything happens."""
        with self._http() as http:
            limit = {"concurrency": shop.NARROW_LIMIT}
            http.patch("/queues/narrow", json=limit).raise_for_status()
            for every_ms, overlap in zip(EVERY_MS, SCHEDULES, strict=True):
                body = {
                    "name": f"tick-{every_ms}",
                    "taskType": "tick",
                    "every": every_ms,
                    "catchup": "all",
                    "overlap": overlap,
                }
                made = http.post("/schedules", json=body).raise_for_status().json()
                self._schedules[made["scheduleId"]] = every_ms

    def _clients(self, callback_url: str) -> list[Client]:
        seed, urls, key = self._plan.seed, self._cluster.api_urls, self._cluster.api_key
        return [
            *(RestClient(n, seed, self._recorder, callback_url, urls, key) for n in range(CLIENTS)),
            *(SdkClient(n, seed, self._recorder, callback_url, self._cluster.url) for n in range(CLIENTS)),
        ]

    def _http(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self._cluster.api_key}"}
        return httpx.Client(base_url=self._cluster.api_urls[0], headers=headers, timeout=20)

    # Meanwhile --------------------------------------------------------------------------------------------------------

    def _stall(self, seconds: float) -> None:
        """Submit a job that blocks an event loop."""
        self._stalls += 1
        with suppress(httpx.HTTPError), self._http() as http:
            payload = {"op": f"stall-{self._stalls}", "seconds": seconds}
            http.post("/jobs", json={"taskType": "block", "payload": payload, "priority": 9})

    # After ------------------------------------------------------------------------------------------------------------

    def _stop_clients(self, clients: list[Client]) -> None:
        for client in clients:
            client.stop()
        deadline = time.monotonic() + CLIENT_STOP_S
        for client in clients:
            client.join(max(0.1, deadline - time.monotonic()))
            if client.is_alive():
                self._result.wrong.append(f"client {client.name} still waits for an answer {CLIENT_STOP_S:g} s later")
            self._result.wrong += [f"a strange answer: {words}" for words in client.strange]

    def _pause_schedules(self) -> None:
        with self._http() as http:
            for schedule_id in self._schedules:
                http.post(f"/schedules/{schedule_id}/pause").raise_for_status()

    def _wait_for_the_end(self, deadline: float) -> None:
        """Wait until every job has ended; waits that are only waits are cut short."""
        while True:
            with self._cluster.connect() as connection:
                connection.execute(SHORTEN)
                left = database.count_unended(connection)
            if not left:
                return
            if time.monotonic() > deadline:
                self._result.wrong.append(f"{left} jobs had not ended {END_S:g} s after everything was healed")
                return
            time.sleep(0.5)

    def _judge(self) -> None:
        with self._cluster.connect() as connection:
            recorded, final = database.read_events(connection), database.read_final(connection)
        _keep(self._cluster.history, recorded, final)
        promises = Promises({"narrow": shop.NARROW_LIMIT}, self._schedules, shop.EFFECTS)
        history = History(in_order([*read(self._cluster.history), *recorded]), final, promises)
        self._result.wrong += [str(violation) for violation in checker.check(history)]
        self._result.counts = checker.count(history)
        self._result.wrong += _vacuous(history, self._result.counts, self._plan.seconds)
        self._look(final)

    def _look(self, final: Final) -> None:
        """Compare a few ends with what clients are told of them."""
        own = [
            job_id for job_id in sorted(final.places) if job_id not in {delivery.id for delivery in final.deliveries}
        ]
        with self._http() as http:
            for job_id in random.Random(self._plan.seed).sample(own, min(LOOKS, len(own))):
                told = http.get(f"/jobs/{job_id}").raise_for_status().json()["status"]
                if [told] != list(final.places[job_id]):
                    self._result.wrong.append(f"job {job_id} is {final.places[job_id]} and is told to be {told}")


def _idle(nemesis: Nemesis, plan: Plan, *, has_disk: bool) -> list[str]:
    """Say which faults never hurt anybody: a nemesis that does not find its targets proves nothing."""
    if len(nemesis.missed) > len(nemesis.done):
        return [f"only {len(nemesis.done)} faults found somebody to hurt"]
    if plan.seconds < LONG_S:
        return []
    done = {(step.fault, step.target) for step in nemesis.done}
    wanted = {(step.fault, step.target) for step in (*plan.sudden, *plan.lasting)}
    return [
        f"nothing was hurt by: {' '.join(fault)}" for fault in sorted(wanted - done) if has_disk or fault[0] != "fill"
    ]


def _vacuous(history: History, counts: Mapping[str, int], seconds: float) -> Iterator[str]:
    """Say what was not put to the test: a run in which nothing happened breaks no rule."""
    ended = {event.job_id for event in history.events if isinstance(event, Finished) and event.state == "completed"}
    kinds = Counter(event.kind for event in history.events if isinstance(event, Stored) and event.job_id in ended)
    wanted = set(shop.app.jobs) - {"doomed", "block"} | {"deliver_webhook"}
    if _peak(history, "narrow") < shop.NARROW_LIMIT:
        yield "the limit of the queue narrow was never reached"
    wanted_events = ["answered", "unknown", *(["cut short"] if seconds >= LONG_S else [])]
    yield from (f"no job of {kind} completed" for kind in sorted(wanted - kinds.keys()))
    yield from (f"nothing counts as {name}" for name in wanted_events if not counts.get(name))


def _peak(history: History, queue: str) -> int:
    """Return how many jobs of *queue* were leased at once at most."""
    here = {event.job_id for event in history.events if isinstance(event, Stored) and event.queue == queue}
    held = peak = 0
    for event in history.events:
        if isinstance(event, (Claimed, Released)) and event.job_id in here:
            held += 1 if isinstance(event, Claimed) else -1
            peak = max(peak, held)
    return peak


def _burst(log: Path) -> bool:
    """Say whether something ended in an error that nobody had thought of: an outage is logged with its traceback."""
    before = ""
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith("Traceback (") and before and "taskflow.request.outage" not in before:
            return True
        before = line  # empty inside a chain of tracebacks
    return False


def _keep(directory: Path, recorded: list[Any], final: Final) -> None:
    """Write what the database said beside what the others said; not as events to be read again."""
    lines = b"".join(msgspec.json.encode(event) + b"\n" for event in recorded)
    (directory / f"database{SUFFIX}.txt").write_bytes(lines)
    (directory / "final.json").write_bytes(msgspec.json.format(msgspec.json.encode(final)))


class _SnapshotHolder(threading.Thread):
    """Holds a snapshot open all the time, as a forgotten report does: nothing that dies since can be vacuumed."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(name="snapshot")
        self._cluster = cluster
        self._over = threading.Event()

    def stop(self) -> None:
        self._over.set()
        if self.is_alive():
            self.join()

    def run(self) -> None:
        while not self._over.wait(0.5):
            with suppress(psycopg.Error), self._cluster.connect(application_name="forgotten") as connection:
                connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
                while not self._over.wait(1.0):
                    connection.execute("SELECT count(*) FROM history.effect")


def random_seed() -> int:
    return random.randrange(10**6)
