"""What `taskflow jobs import` does with the lines, and what it says on the way."""

import asyncio
import hashlib
import os
import stat
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import typer

from taskflow.apps.cli.output import Output, clean, plural
from taskflow.apps.cli.session import MISUSED, REFUSED, Failure, Session, complain, describe
from taskflow.db.pool import DATABASE_ERRORS
from taskflow.http.idempotency import read_key
from taskflow.http.problem import FieldProblem
from taskflow.jobs.repository import LineErrors
from taskflow.jobs.streams import (
    MAX_BATCH_BYTES,
    MAX_BATCH_LINES,
    MAX_ERROR_LINES,
    MAX_LINE_BYTES,
    Batch,
    SubmitStream,
    SubmitStreams,
)
from taskflow.kernel.lines import Line, LineSplitter

CHUNK_BYTES = 256 * 1024
RETRY_S = 1.0
MAX_ERRORS_TOLD = 20  # on stderr; --json tells `MAX_ERROR_LINES`
PROGRESS_S, PIPE_PROGRESS_S = 0.2, 5.0


async def import_lines(session: Session, path: str, key: str | None, *, as_json: bool) -> None:
    """
    Store the jobs of *path* and print how many that were.

    Raises:
        Failure: the file cannot be read, or the database went away and there is no key to go on with.
        typer.Exit: some lines were refused.
    """
    if key is not None:
        read_key({"idempotency-key": key})  # raises where it cannot be one
    with _opened(path) as file:
        if key is None and path != "-" and file.seekable():
            key = await asyncio.to_thread(_key_of, file)
        stream = await SubmitStreams(session.database, session.jobs).open(session.principal, key=key, headers={})
        telling = _Telling(stream, as_json=as_json)
        known = stream.totals.accepted
        if stream.totals.last_line:
            telling.remark(f"going on after line {stream.totals.last_line:,}, where this import was before")
        telling.errors(stream.known_errors)
        async with session.engine:
            try:
                async for lines in _batches(file):
                    telling.batches(await _store(stream, lines, resumable=key is not None))
            except asyncio.CancelledError:
                telling.end()
                again = "run it again to go on" if key is not None else "lines after that are not stored"
                complain(f"stopped after line {stream.next_line - 1:,}; {again}")
                raise
    telling.end()
    totals = stream.totals
    if as_json:
        Output(session.now).json(
            {
                "key": key,
                "count": totals.accepted + totals.rejected,
                "accepted": totals.accepted,
                "new": totals.accepted - known - telling.duplicates,
                "known": known,
                "duplicates": telling.duplicates,
                "rejected": totals.rejected,
                "errors": telling.found,
            }
        )
    else:
        parts = [
            (totals.accepted - known - telling.duplicates, "new"),
            (known, "imported before"),
            (telling.duplicates, "there already under their unique keys"),
        ]
        told = ", ".join(f"{count:,} {words}" for count, words in parts if count or words == "new")
        accepted = f"{totals.accepted:,} accepted{f' ({told})' if known or telling.duplicates else ''}"
        typer.echo(f"{accepted}, {totals.rejected:,} rejected")
    if totals.rejected:
        raise typer.Exit(REFUSED)


async def _store(stream: SubmitStream, lines: Sequence[Line], *, resumable: bool) -> list[Batch]:
    """Store a batch, however long the database is away, if doing it again cannot store it twice."""
    away = False
    while True:
        try:
            return await stream.store(await stream.check(lines))
        except DATABASE_ERRORS as error:
            if not resumable:
                where = f"lines {lines[0].number:,} to {lines[-1].number:,} may have been stored"
                raise Failure(f"{describe(error)}; {where}, those after them are not") from None
            if not away:
                complain(f"the database is away, trying again: {describe(error)}")
            away = True
            await asyncio.sleep(RETRY_S)


async def _batches(file: BinaryIO) -> AsyncIterator[list[Line]]:
    splitter = LineSplitter(max_bytes=MAX_LINE_BYTES)
    lines: list[Line] = []
    size = 0

    def full(found: Iterable[Line]) -> Iterable[list[Line]]:
        nonlocal lines, size
        for line in found:
            lines.append(line)
            size += len(line.data or b"")
            if len(lines) >= MAX_BATCH_LINES or size >= MAX_BATCH_BYTES:
                yield lines
                lines, size = [], 0

    async for chunk in _chunks(file):
        for batch in full(splitter.feed(chunk)):
            yield batch
    for batch in full(splitter.close()):
        yield batch
    if lines:
        yield lines


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    """Yield what is there to read. A pipe is waited for in the event loop, which hears Ctrl-C meanwhile."""
    try:
        is_plain = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except OSError:  # what a test gives for standard input
        is_plain = True
    if is_plain:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
        return
    reader = asyncio.StreamReader(limit=CHUNK_BYTES)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), file
    )
    try:
        while chunk := await reader.read(CHUNK_BYTES):
            yield chunk
    finally:
        transport.close()


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    if path == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(path).open("rb")  # noqa: SIM115 -- closed below; only the opening may fail
    except OSError as error:
        raise Failure(f"FILE: cannot read {path!r}: {error.strerror}", MISUSED) from error
    with file:
        yield file


def _key_of(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
    file.seek(0)
    return f"import-{digest.hexdigest()}"


def _described(error: FieldProblem) -> str:
    if not error.pointer:  # of the line as a whole, which the line's number says already
        return error.detail.removeprefix("the line ")
    return f"/{error.pointer.lstrip('/')}: {error.detail}"


class _Telling:
    """Errors and progress on stderr."""

    def __init__(self, stream: SubmitStream, *, as_json: bool) -> None:
        self._stream = stream
        self._as_json = as_json
        self._is_terminal = sys.stderr.isatty()
        self._began_s = self._told_s = time.monotonic()
        self._first = stream.totals.last_line
        self._shown = False
        self._told = 0
        self.duplicates = 0  # jobs of this run that were there, by their unique keys
        self.found: list[LineErrors] = []

    def remark(self, text: str) -> None:
        self._wipe()
        typer.echo(text, err=True)

    def batches(self, batches: Iterable[Batch]) -> None:
        for batch in batches:
            self.errors(batch.errors)
            self.duplicates += batch.summary.duplicates
        now_s = time.monotonic()
        if now_s - self._told_s >= (PROGRESS_S if self._is_terminal else PIPE_PROGRESS_S):
            self._told_s = now_s
            self._progress(now_s)

    def errors(self, found: Iterable[LineErrors]) -> None:
        for item in found:
            if len(self.found) < MAX_ERROR_LINES:
                self.found.append(item)
            self._told += 1
            if self._told <= MAX_ERRORS_TOLD and not self._as_json:
                named = "; ".join(_described(error) for error in item.errors)
                self.remark(clean(f"line {item.line}: {named}"))

    def end(self) -> None:
        self._wipe()
        if (more := self._told - MAX_ERRORS_TOLD) > 0 and not self._as_json:
            self.remark(f"and {plural(more, 'more wrong line')}; --json shows {MAX_ERROR_LINES:,}")

    def _progress(self, now_s: float) -> None:
        totals = self._stream.totals
        done = self._stream.next_line - 1 - self._first
        rate = done / max(now_s - self._began_s, 0.001)
        text = f"line {self._stream.next_line - 1:,}: {totals.accepted:,} accepted, {totals.rejected:,} rejected"
        self._wipe()
        typer.echo(f"{text}, {rate:,.0f} lines/s", err=True, nl=not self._is_terminal)
        self._shown = self._is_terminal

    def _wipe(self) -> None:
        if self._shown:
            typer.echo("\r\x1b[K", err=True, nl=False)
            self._shown = False
