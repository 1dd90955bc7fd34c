"""
Records events as lines of JSON, one file per process and role, so that kill -9 loses nothing that happened before.

An event is one `write` to a file opened with O_APPEND: it is in the kernel when `record` returns, and lines of several
threads do not mix. What a killed process had not written did not happen, as far as anybody can tell.
"""

import os
import time
from pathlib import Path
from typing import Final

import msgspec

from tests.history.events import Event

SUFFIX: Final = ".ndjson"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Event).decode


class Recorder:
    """Writes to *directory*. Safe in threads; after a fork, make another."""

    def __init__(self, directory: Path, role: str) -> None:
        self.path = directory / f"{role}-{os.getpid()}{SUFFIX}"
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def record(self, event: Event) -> None:
        line = _encode(event) + b"\n"
        written = os.write(self._fd, line)
        if written != len(line):
            raise OSError(f"{self.path}: {written} of {len(line)} bytes were written; the history has a gap")

    def close(self) -> None:
        os.close(self._fd)


def now() -> float:
    """Return the machine's time, also where a test has put `time.time` wrong."""
    return time.clock_gettime(time.CLOCK_REALTIME)


def read(directory: Path) -> list[Event]:
    """
    Return all events below *directory*, each with its file and line as its source.

    The last line of a file may be cut off; one that is damaged elsewhere raises ValueError, for then the history would
    have a hole.
    """
    events: list[Event] = []
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        lines = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines[:-1], 1):
            try:
                event = _decode(line)
            except msgspec.DecodeError as error:
                raise ValueError(f"{path.name}:{number} is no event: {error}") from error
            events.append(msgspec.structs.replace(event, source=f"{path.name}:{number}"))
    return events
