"""
Which attempts a worker process has begun, in memory that outlives it.

The supervisor makes a board for each worker process and passes its descriptor on; the worker writes a line when a
handler is called and wipes it when the attempt has ended. When the process dies, by whatever signal, the supervisor
reads who was running: those jobs are suspect, all others of its leases are not. While it lives, a line that is overdue
tells of a blocked event loop.

Memory shared through an unlinked file. A line is one store of its contents and one of its first byte, the mark that it
counts, in that order; the reader comes after the writer's death, or only wants to log.
"""

import mmap
import os
import struct
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from taskflow.engine.job import MAX_NAME_LENGTH, Claim, JobId, LeaseId

SPARE_LINES = 16
_LINE = struct.Struct(f"=?16s16sdd??B{MAX_NAME_LENGTH}s")
_FREE = b"\x00"


@dataclass(frozen=True, slots=True)
class Begun:
    """
    An attempt that was running. Times are of the monotonic clock, which all processes of a machine share.

    Args:
        alone: in a child process, so that it cannot have ended its worker by accident; but it can have killed it.
        suspect: it was running before when a process died.
    """

    lease_id: LeaseId
    job_id: JobId
    kind: str
    began_s: float
    deadline_s: float
    alone: bool = False
    suspect: bool = False


class Board:
    """`create` and `begun` are the supervisor's, `open`, `enter` and `leave` the worker's."""

    def __init__(self, fd: int, *, owned: bool) -> None:
        self.fd = fd
        self._owned = owned
        self._memory = mmap.mmap(fd, os.fstat(fd).st_size)
        self._free = list(range(len(self._memory) // _LINE.size))

    @classmethod
    def create(cls, places: int) -> "Board":
        """Make an empty board for a process with so many places."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("taskflow-board", os.MFD_CLOEXEC)
        else:
            fd, path = tempfile.mkstemp(prefix="taskflow-board-")
            Path(path).unlink()
        os.ftruncate(fd, (places + SPARE_LINES) * _LINE.size)
        return cls(fd, owned=True)

    @classmethod
    def open(cls, fd: int) -> "Board":
        """Write on the board that a supervisor made."""
        return cls(fd, owned=False)

    def enter(self, claim: Claim, *, alone: bool = False) -> int | None:
        """Note that an attempt begins now; None if the board is full, and then nobody knows of it."""
        if not self._free:
            return None
        line = self._free.pop()
        at = line * _LINE.size
        kind = claim.kind.encode()
        now_s = time.monotonic()
        _LINE.pack_into(
            self._memory, at, False, claim.lease_id.bytes, claim.job_id.bytes, now_s, now_s + claim.timeout_s,
            alone, claim.suspect, len(kind), kind,
        )  # fmt: skip
        self._memory[at] = 1
        return line

    def leave(self, line: int) -> None:
        """The attempt has ended."""
        self._memory[line * _LINE.size] = 0
        self._free.append(line)

    def begun(self) -> list[Begun]:
        """Return what is running, or was when the process died."""
        found = []
        for at in range(0, len(self._memory), _LINE.size):
            counts, lease_id, job_id, began_s, deadline_s, alone, suspect, length, kind = _LINE.unpack_from(
                self._memory, at
            )
            if counts:
                name = kind[:length].decode(errors="replace")
                lease, job = LeaseId(UUID(bytes=lease_id)), JobId(UUID(bytes=job_id))
                found.append(Begun(lease, job, name, began_s, deadline_s, alone, suspect))
        return found

    def __enter__(self) -> "Board":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._memory.close()
        if self._owned:
            os.close(self.fd)
