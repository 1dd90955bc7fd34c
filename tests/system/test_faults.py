"""Everything is killed, again and again, while clients submit; nothing that was answered is lost, nothing runs on."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import psycopg
import pytest
from tests.support.up import MAIL, Up, free_port, wait_until

from taskflow.db.embedded import find_running

CLIENTS = 4
ROUNDS = 3  # of each part killed once, in random order
PAUSE_S = (0.3, 1.5)
SETTLE_S = 90.0  # a vanished supervisor's jobs come back after half a minute at most
PARTS = ("worker", "api", "postgres", "supervisor")

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(not Path("/proc").exists(), reason="looks at processes through /proc"),
]


class Clients:
    """Threads that submit without pause and note what was answered."""

    def __init__(self, up: Up) -> None:
        self.answered: dict[str, bool] = {}  # job id -> whether it fails on purpose
        self.unanswered = 0
        self.refused: Counter[str] = Counter()
        self._stop = threading.Event()
        key, self._url = up.credentials["apiKey"], f"{up.url}/api/v1/jobs"
        self._headers = {"Authorization": f"Bearer {key}"}
        self._threads = [threading.Thread(target=self._submit, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _submit(self, number: int) -> None:
        count = 0
        with httpx.Client(headers=self._headers, timeout=15) as client:
            while not self._stop.wait(0.01):
                count += 1
                fails = count % 7 == number
                body = {**MAIL, "payload": {**MAIL["payload"], "forceFail": fails}, "retries": count % 2}  # type: ignore[dict-item]
                try:
                    answer = client.post(self._url, json=body)
                except httpx.TransportError:
                    self.unanswered += 1
                    continue
                if answer.status_code == httpx.codes.CREATED:
                    self.answered[answer.json()["jobId"]] = fails
                else:
                    self.refused[f"{answer.status_code} {answer.text[:200]}"] += 1


@pytest.mark.covers("S2-2", "S3-21", "S4-1")
@pytest.mark.usefixtures("made")
def test_whatever_is_killed_every_answered_submit_ends_in_exactly_one_state(data: Path, up: Callable[..., Up]) -> None:
    seed = random.randrange(10**9)
    order = random.Random(seed)
    # Not an ephemeral port: while nobody listens, clients that connect to one may be given it as their own.
    port = str(free_port())
    running = up("--port", port).wait_ready()

    with Clients(running) as clients:
        for _ in range(ROUNDS):
            for part in order.sample(PARTS, len(PARTS)):
                time.sleep(order.uniform(*PAUSE_S))
                wait_until(partial(running.kill, part), 20)
                if part == "supervisor":
                    running = up("--port", port).wait_ready()
        time.sleep(1)

    assert set(map(_status, clients.refused)) <= {"503"}, clients.refused
    assert len(clients.answered) > 100, (seed, clients.unanswered, clients.refused)
    url = find_running(data / "postgres")
    assert url is not None
    wait_until(lambda: not _open(url, clients.answered), SETTLE_S)
    ends = _ends(url, clients.answered)
    assert set(ends) == set(clients.answered), f"seed {seed}: lost"
    for job_id, states in ends.items():
        assert states == ["failed" if clients.answered[job_id] else "completed"], (seed, job_id)
    with running.client() as client:
        for job_id in order.sample(sorted(clients.answered), 20):
            assert [client.get(f"/jobs/{job_id}").json()["status"]] == ends[job_id]


def _status(line: str) -> str:
    return line.split()[0]


def _open(url: str, answered: dict[str, bool]) -> int:
    """Count answered jobs that have not ended; the server may be restarting still."""
    try:
        return len(answered) - len(_ends(url, answered))
    except psycopg.OperationalError:
        return len(answered)


def _ends(url: str, answered: dict[str, bool]) -> dict[str, list[str]]:
    """Return the terminal rows of each job that has any."""
    query = "SELECT job_id::text, array_agg(state) FROM taskflow.done WHERE job_id = ANY(%s::uuid[]) GROUP BY job_id"
    with psycopg.connect(url) as connection:
        return dict(connection.execute(query, [list(answered)]).fetchall())
