"""Lines out of a stream of bytes, in bounded memory: a line over the limit is named and skipped, not kept."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its end. *data* is None where it was over the limit."""

    number: int
    data: bytes | None

    @property
    def is_blank(self) -> bool:
        return self.data is not None and not self.data.strip()


class LineSplitter:
    """
    Cuts chunks into lines at LF; a CR before it stays with the line.

    Args:
        max_bytes: of a line.
        first: number of the first line.
    """

    def __init__(self, *, max_bytes: int, first: int = 1) -> None:
        self._max_bytes = max_bytes
        self._number = first
        self._parts: list[bytes] = []  # of the line that has not ended yet
        self._size = 0

    @property
    def number(self) -> int:
        """Of the line that comes next."""
        return self._number

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """Yield the lines that end in *chunk*."""
        head, *rest = chunk.split(b"\n")
        self._keep(head)
        for part in rest:
            yield self._take()
            self._keep(part)

    def close(self) -> Iterator[Line]:
        """Yield the last line if it has no end."""
        if self._size:
            yield self._take()

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size <= self._max_bytes:
            self._parts.append(part)
        else:
            self._parts.clear()

    def _take(self) -> Line:
        fits = self._size <= self._max_bytes
        line = Line(self._number, b"".join(self._parts) if fits else None)
        self._number += 1
        self._parts, self._size = [], 0
        return line
