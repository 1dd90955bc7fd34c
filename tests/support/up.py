"""A real `taskflow up` in a test: started, looked at from outside, killed in parts, stopped."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import httpx

SOURCE = Path(__file__).parents[2] / "src"
READY = "Ctrl-C drains and stops everything"
START_S = 60.0
MAIL = {"taskType": "send_email", "payload": {"to": "ada@example.com", "subject": "Hi", "body": "Hello."}}


class Up:
    """
    One `taskflow up` on *data*, in a session of its own like a terminal's. Linux: it is looked at through /proc.

    Args:
        command: another command than `up`, on the same data directory.
        ready: what it prints once it is ready.
        prefix: words before the command, to run it as somebody else.
        environ: on top of a clean environment.
        at_url: it works on the TASKFLOW_DATABASE_URL of *environ*; *data* then only names its log.
    """

    def __init__(
        self,
        data: Path,
        *options: str,
        command: str = "up",
        ready: str = READY,
        prefix: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        at_url: bool = False,
    ) -> None:
        self.data = data
        self.log = data.with_name(f"{data.name}.{time.monotonic_ns()}.log")
        self._ready = ready
        words = [sys.executable, "-m", "taskflow", command, *(() if at_url else ("--data-dir", str(data)))]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*prefix, *words, *(options or (["--port", "0"] if command == "up" else []))],
                env={"PYTHONPATH": str(SOURCE), "PATH": os.environ["PATH"], **(environ or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_ready(self) -> "Up":
        wait_until(lambda: self._ready in self.output or self.process.poll() is not None, START_S)
        assert self.process.poll() is None, self.output
        return self

    def wait_end(self, timeout_s: float = 40.0) -> int:
        return self.process.wait(timeout_s)

    @property
    def credentials(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.data / "credentials.json").read_text())
        return found

    @property
    def url(self) -> str:
        return self.credentials["url"]

    def client(self, timeout_s: float = 10.0) -> httpx.Client:
        """A client with the key, for paths like `/jobs`."""
        headers = {"Authorization": f"Bearer {self.credentials['apiKey']}"}
        return httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=timeout_s)

    def find(self, role: str) -> int | None:
        """Return the process id of the `api`, `worker` or `postgres`, while it runs below this supervisor."""
        for pid in processes():
            words = command_line(pid)
            named = role in words[2:5] or Path(words[0]).name == role if words else False
            if named and parent(pid) == self.process.pid:
                return pid
        return None

    def processes(self) -> list[int]:
        """The process ids of this supervisor, its processes, and theirs."""
        parents = {pid: parent(pid) for pid in processes()}
        found = [self.process.pid]
        for pid in found:  # which grows
            found += [child for child, above in parents.items() if above == pid]
        return found

    def python(self) -> list[int]:
        """Those of them that are ours, and not PostgreSQL's."""
        return [pid for pid in self.processes() if command_line(pid)[1:3] == ["-m", "taskflow"]]

    def attempts(self) -> list[int]:
        """The child processes of the worker that run attempts."""
        worker = self.find("worker")
        return [pid for pid in processes() if parent(pid) == worker and "attempt" in command_line(pid)]

    def kill(self, role: str) -> bool:
        """Kill -9 the part; False if it is just not there."""
        pid = self.process.pid if role == "supervisor" else self.find(role)
        if pid is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if role == "supervisor":
            self.process.wait(10)
        return True

    def interrupt(self) -> None:
        """Press Ctrl-C: the whole foreground group gets it."""
        os.killpg(self.process.pid, signal.SIGINT)

    def stop(self) -> None:
        """End it whatever state it is in."""
        if self.process.poll() is None:
            self.interrupt()
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.unlink(missing_ok=True)


def submit(up: Up) -> str:
    """Submit a mail and return its job's id."""
    with up.client() as client:
        answer = client.post("/jobs", json=MAIL)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["jobId"])


def job(up: Up, job_id: str) -> dict[str, object]:
    with up.client() as client:
        found: dict[str, object] = client.get(f"/jobs/{job_id}").raise_for_status().json()
        return found


def left_over(data: Path) -> list[str]:
    """Return the command lines of processes that belong to the data directory *data*."""
    found = []
    for pid in processes():
        words = command_line(pid)
        if words and (str(data) in " ".join(words) or f"TASKFLOW_DATA_DIR={data}" in environment(pid)):
            found.append(f"{pid}: {' '.join(words)}")
    return found


def free_port(first: int = 10_000, last: int = 19_999) -> int:
    """Return a port that nobody has, and that no outgoing connection will be given."""
    while True:
        port = random.randint(first, last)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s in vain"
        time.sleep(0.02)


def processes() -> Iterator[int]:
    for entry in Path("/proc").glob("[0-9]*"):
        yield int(entry.name)


def command_line(pid: int) -> list[str]:
    return _read(pid, "cmdline").rstrip("\0").split("\0") if _read(pid, "cmdline") else []


def environment(pid: int) -> list[str]:
    return _read(pid, "environ").split("\0")


def parent(pid: int) -> int:
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return int(fields[1]) if fields else 0


def rss_bytes(pid: int) -> int:
    return int(_read(pid, "statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory_bytes(pid: int) -> tuple[int, int]:
    """Return a process' share of memory, where what several have is divided among them, and what it alone has."""
    found = dict(re.findall(r"^(\w+): +(\d+) kB$", _read(pid, "smaps_rollup"), re.MULTILINE))
    return int(found["Pss"]) * 1024, (int(found["Private_Clean"]) + int(found["Private_Dirty"])) * 1024


def cpu_s(pid: int, *, reaped: bool = False) -> float:
    """Seconds of processor time used so far; with what children have used that are gone, if *reaped*."""
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if reaped else 13])) / os.sysconf("SC_CLK_TCK")


def starved_s(pid: int) -> float:
    """Seconds for which its main thread was ready to run and had no core."""
    return int((_read(pid, "schedstat") or "0 0 0").split()[1]) / 1e9


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""
