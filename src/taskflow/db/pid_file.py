"""Which server a data directory has: what its pid file says, and whether such a process is there."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from taskflow.db.server_program import LINUX


@dataclass(frozen=True, slots=True)
class PidFile:
    """What a server's `postmaster.pid` says; *ready* once it takes connections."""

    pid: int
    port: int
    ready: bool


def read_pid_file(directory: Path) -> PidFile | None:
    """Read `postmaster.pid`: the pid in line 1, the port in line 4, "ready" in line 8 once connections are taken."""
    try:
        lines = (directory / "postmaster.pid").read_text().splitlines()
        return PidFile(abs(int(lines[0])), int(lines[3]), len(lines) >= 8 and lines[7].strip() == "ready")
    except (OSError, ValueError, IndexError):
        return None


def disown(path: Path) -> None:
    """
    Write our own pid over that of a process that lives, in the pid file of a server that does not.

    In place: the file stays the server's user's.
    """
    try:
        owner, _, rest = path.read_text().partition("\n")
    except FileNotFoundError:
        return
    if owner.strip().lstrip("-").isdecimal() and _is_alive(abs(int(owner))):
        path.write_text(f"{os.getpid()}\n{rest}")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def serves(pid: int, directory: Path) -> bool:
    """Say whether process *pid* is a PostgreSQL on *directory*: pids are reused, so the number alone says nothing."""
    if LINUX:
        try:
            status = Path(f"/proc/{pid}/stat").read_text()
            name, rest = status.partition("(")[2].rpartition(")")[::2]
            return name == "postgres" and rest.split()[0] != "Z" and Path(f"/proc/{pid}/cwd").samefile(directory)
        except OSError:
            return False
    words = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603
    return "postgres" in done.stdout and f"-D {directory}" in done.stdout


def servers_of(directory: Path) -> Iterator[int]:
    """Yield the pids of server processes on *directory*, backends included (Linux; elsewhere none are found)."""
    for entry in Path("/proc").glob("[0-9]*") if LINUX else ():
        if serves(int(entry.name), directory):
            yield int(entry.name)
