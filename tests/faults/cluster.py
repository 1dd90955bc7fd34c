"""
The deployment that is hurt: real processes, each started again when it has ended.

    up     `taskflow up`: PostgreSQL, an API, a worker of the built-in kinds (it delivers callbacks)
    near   `taskflow worker --app`: two processes, on PostgreSQL itself
    far    the same with one process that is ten minutes ahead, by way of the proxy
    api    a further API, by way of the proxy

The data directory is a small disk of its own where we may mount one (root): then it can be filled.
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from taskflow.apps.data_dir import DataDirectory
from tests.faults.shop import HISTORY_DIR
from tests.support.proxy import Proxy
from tests.support.up import command_line, free_port, left_over, parent, processes, wait_until

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
SKEWED = Path(__file__).with_name("skewed")
DISK_BYTES = 768 * 1024 * 1024
START_S = 90.0
STOP_S = 60.0
AGAIN_S = 0.5


class Program:
    """One command, kept running."""

    def __init__(self, name: str, words: list[str], environ: Mapping[str, str], log: Path, ready: str) -> None:
        self.name = name
        self.starts = 0
        self._words = words
        self._environ = environ
        self._log = log
        self._ready = ready
        self._seen = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self.starts += 1
        self._seen = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "taskflow", *self._words],
                env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{SOURCE}:{ROOT}", **self._environ},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None and self.process.poll() is None else None

    @property
    def is_ready(self) -> bool:
        with self._log.open("rb") as log:
            log.seek(self._seen)
            return self.pid is not None and self._ready.encode() in log.read()

    def stop(self) -> int | None:
        """Stop it in order; None if it had to be killed."""
        if self.process is None:
            return None
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None


class ProxyThread:
    """The proxy before PostgreSQL, on an event loop of its own."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        self._thread.start()
        self.proxy = Proxy(url)
        self.run(self.proxy.__aenter__())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def call(self, function: Callable[[], object]) -> None:
        async def called() -> None:
            function()

        self.run(called())

    def stop(self) -> None:
        self.run(self.proxy.close_door())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Cluster:
    """See the module. `start`, `stop`; the programs are in `programs`."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.data = base / "data"
        self.history = base / "history"
        self.logs = base / "logs"
        for directory in (self.data, self.history, self.logs):
            directory.mkdir(mode=0o755)
        self.has_disk = _mount(self.data)
        self.programs: dict[str, Program] = {}
        self.port, self.api_port = free_port(), free_port()
        self._keeping = threading.Event()
        self._keeper: threading.Thread | None = None
        self.proxy: ProxyThread

    def start(self, prepare: Callable[[psycopg.Connection[Any]], None]) -> None:
        """Start everything and wait until it is ready; *prepare* is given the migrated database before workers are."""
        up = ["up", "--data-dir", str(self.data), "--port", str(self.port), "--workers", "1"]
        self._program("up", up, {}, "Ctrl-C drains and stops everything")
        self._wait_ready("up")
        self.url = DataDirectory(self.data).get_database_url()
        with self.connect() as connection:
            prepare(connection)
        self.proxy = ProxyThread(self.url)
        worker = ["worker", "--app", "tests.faults.shop:app", "--concurrency", "8", "--processes"]
        ready = "Ctrl-C drains"
        near = {"TASKFLOW_DATABASE_URL": self.url}
        far = {"TASKFLOW_DATABASE_URL": self.proxy.proxy.url, "PYTHONPATH": f"{SOURCE}:{ROOT}:{SKEWED}"}
        self._program("near", [*worker, "2"], near, ready)
        self._program("far", [*worker, "1"], far, ready)
        self._program("api", ["api", "--port", str(self.api_port)], far, "taskflow.api.start")
        for name in ("near", "far", "api"):
            self._wait_ready(name)
        self._keeper = threading.Thread(target=self._keep, name="keeper")
        self._keeper.start()

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        """Connect to PostgreSQL itself."""
        return psycopg.connect(self.url, autocommit=True, connect_timeout=5, **options)

    @property
    def api_key(self) -> str:
        return DataDirectory(self.data).read_credentials()["apiKey"]

    @property
    def api_urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}/api/v1" for port in (self.port, self.api_port)]

    def stop(self) -> list[str]:
        """Stop everything; return what was wrong with that."""
        self._keeping.set()
        if self._keeper is not None:
            self._keeper.join()
        wrong = [
            f"{name} did not stop by itself: exit code {code}"
            for name in ("far", "near", "api", "up")
            if name in self.programs and (code := self.programs[name].stop()) != 0
        ]
        if hasattr(self, "proxy"):
            self.proxy.stop()
        try:
            wait_until(lambda: not self.left_over(), 20)
        except AssertionError:
            wrong += [f"still runs: {words}" for words in self.left_over()]
        return wrong

    def unmount(self) -> None:
        if self.has_disk:
            subprocess.run(["umount", "--lazy", str(self.data)], check=False)

    def left_over(self) -> list[str]:
        return left_over(self.data)

    # Who is who -----------------------------------------------------------------------------------------------------

    def find(self, target: str) -> list[int]:
        """Return the processes called *target*, none if they are just not there."""
        if target == "postgres":
            return self._postgres()
        if target == "leader":
            return self._leader()
        role, _, owner = target.rpartition(" of ") if " of " in target else ("", "", target)
        if target.startswith("fleet "):
            owner = target.removeprefix("fleet ")
            above = self._pid(owner)
            return [*above, *(pid for top in above for pid in _below(top))]
        tops = self._pid(owner)
        if not role:
            return tops
        if role == "child":
            workers = [pid for top in tops for pid in _children(top) if "worker" in command_line(pid)]
            return [pid for worker in workers for pid in _children(worker) if "attempt" in command_line(pid)]
        return [pid for top in tops for pid in _children(top) if role in command_line(pid)]

    def _pid(self, name: str) -> list[int]:
        pid = self.programs[name].pid if name in self.programs else None
        return [] if pid is None else [pid]

    def _postgres(self) -> list[int]:
        """The server and, after it, its own processes."""
        below = [pid for top in self._pid("up") for pid in _children(top)]
        servers = [pid for pid in below if Path((command_line(pid) or [""])[0]).name == "postgres"]
        return [*servers, *(pid for server in servers for pid in _below(server))]

    def _leader(self) -> list[int]:
        query = "SELECT w.pid FROM taskflow.leader l JOIN taskflow.worker w ON w.id = l.holder"
        with self.connect() as connection:
            pids = [int(row[0]) for row in connection.execute(query)]
        ours = {program.pid for program in self.programs.values()}
        return [pid for pid in pids if pid in ours]

    # Keeping --------------------------------------------------------------------------------------------------------

    def _program(self, name: str, words: list[str], environ: Mapping[str, str], ready: str) -> None:
        environ = {
            "TASKFLOW_ENV": "development",
            "TASKFLOW_DATA_DIR": str(self.data),
            HISTORY_DIR: str(self.history),
            **environ,
        }
        self.programs[name] = Program(name, words, environ, self.logs / f"{name}.log", ready)

    def _wait_ready(self, name: str) -> None:
        program = self.programs[name]
        wait_until(lambda: program.is_ready or program.pid is None, START_S)
        if program.pid is None:
            raise AssertionError(f"{name} ended before it was ready; its log is {self.logs / name}.log")

    def _keep(self) -> None:
        ended_at: dict[str, float] = {}
        while not self._keeping.wait(0.1):
            for name, program in self.programs.items():
                if program.pid is not None:
                    ended_at.pop(name, None)
                elif time.monotonic() - ended_at.setdefault(name, time.monotonic()) > AGAIN_S:
                    ended_at.pop(name)
                    program.start()

    def wait_all_ready(self) -> None:
        """Wait until every program runs and says that it is ready. AssertionError if one does not."""
        for name, program in self.programs.items():
            try:
                wait_until(lambda program=program: program.is_ready, START_S)  # type: ignore[misc]
            except AssertionError:
                raise AssertionError(f"{name} is not ready after everything was healed") from None

    def is_answering(self) -> bool:
        """Say whether PostgreSQL takes connections."""
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True


def make_base() -> Path:
    base = Path(tempfile.mkdtemp(prefix="tf-faults-", dir="/tmp"))
    base.chmod(0o755)
    return base


def _mount(directory: Path) -> bool:
    """Put a small disk there; False where that is not allowed."""
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=755", "none", str(directory)]
    return os.geteuid() == 0 and subprocess.run(words, check=False, capture_output=True).returncode == 0


def _children(pid: int) -> list[int]:
    return [other for other in processes() if parent(other) == pid]


def _below(pid: int) -> Iterator[int]:
    for child in _children(pid):
        yield child
        yield from _below(child)
