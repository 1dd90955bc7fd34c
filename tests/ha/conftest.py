"""A pair of PostgreSQL servers, and a deployment on a URL with both: an API, two supervisors of workers."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest
from tests.support.cluster import Cluster
from tests.support.up import SOURCE, Up, free_port, wait_until

LISTENING = "SELECT count(*) FROM pg_stat_activity WHERE application_name ~ 'listener$'"
LISTENERS = 3  # of the API and of two worker processes


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/ha/" in item.nodeid:
            for mark in (pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(300)):
                item.add_marker(mark)
            if sys.platform != "linux":
                item.add_marker(pytest.mark.skip(reason="looks at processes through /proc"))


@dataclass(frozen=True)
class Deployment:
    """What runs on the pair."""

    cluster: Cluster
    environ: dict[str, str]
    url: str
    key: str

    def taskflow(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end, as an operator would."""
        return subprocess.run(
            [sys.executable, "-m", "taskflow", *words], env=self.environ, capture_output=True, text=True, check=False
        )

    def client(self, timeout_s: float = 15.0) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=timeout_s)

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/ready", timeout=5).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def ends(self, jobs: list[str]) -> dict[str, list[str]]:
        """Return the terminal rows of each job that has any, as the server says that takes writes."""
        query = (
            "SELECT job_id::text, array_agg(state) FROM taskflow.done WHERE job_id = ANY(%s::uuid[]) GROUP BY job_id"
        )
        with psycopg.connect(self.cluster.url) as connection:
            return dict(connection.execute(query, [jobs]).fetchall())


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    base = Path(tempfile.mkdtemp(prefix="tf-ha-", dir="/tmp"))
    base.chmod(0o755)
    cluster = Cluster(base)
    started: list[Up] = []
    try:
        cluster.start()
        port = free_port()
        environ = {
            "PYTHONPATH": str(SOURCE),
            "TASKFLOW_ENV": "development",  # for jobs that fail when told to
            "TASKFLOW_DATABASE_URL": cluster.url,
            "TASKFLOW_SECRET_KEY": "x" * 32,
            "TASKFLOW_DATA_DIR": str(base / "files"),
            "PATH": "/usr/bin:/bin",
        }
        _taskflow(environ, "migrate")
        key = _taskflow(environ, "keys", "create", "load", "--scope", "owner", "--scope", "operator")
        made = Deployment(cluster, environ, f"http://127.0.0.1:{port}", key.split()[-1])
        started.append(Up(base / "api", "--port", str(port), command="api", environ=environ, at_url=True))
        started += [
            Up(base / f"w{n}", "--processes", "1", command="worker", environ=environ, at_url=True) for n in (1, 2)
        ]
        wait_until(made.is_ready, 60)
        wait_until(lambda: cluster.a.ask(LISTENING) == LISTENERS, 60)
        yield made
        for one in started:
            assert one.process.poll() is None, one.output  # nobody needs a new start
    finally:
        for one in started:
            if one.process.poll() is None:
                one.interrupt()
        for one in started:
            one.stop()
        cluster.stop()
        shutil.rmtree(base)


def _taskflow(environ: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "taskflow", *words], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def say(line: str) -> None:
    """Print what was measured; `make test-ha` shows it."""
    sys.stdout.write(f"\n{line}\n")
