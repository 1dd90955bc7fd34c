"""
Bulk submits by COPY: a third of what the same rows cost as arrays, once there are enough of them for its round trips.

The rows are written here in PostgreSQL's binary format; what the jobs of a bulk have in common, as nearly all have most
of it, is written once. The ids are made here instead of by `taskflow.uuid_v7`, from the database's clock as it is
there: half of what the server did for a job was to ask its system for randomness.

The server stores the rows of a COPY when it has all of them (or a thousand), so a bulk goes in several: while it works
on one, the next is checked and written. It is also quicker with less at a time: in one COPY of a thousand rows,
PostgreSQL 18 spends 24 % of its time on its list of what it holds, in four of 250 it is 7 % (seen with perf).

Format: https://www.postgresql.org/docs/current/sql-copy.html (file formats, binary format); of values, the `_send` and
`_recv` functions of their types.
"""

import asyncio
import itertools
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Self, TypeAlias

import msgspec
from asyncpg.pgproto.pgproto import UUID

from taskflow.db.query import Connection
from taskflow.engine.job import Enqueued, JobId, NewJob, State
from taskflow.engine.policy import payload_bytes

MIN_ROWS = 200
FIRST_ROWS = 100  # the server waits for them
COPY_ROWS = 300
PIECE_ROWS = 150  # between two turns of the event loop
COPY_BYTES = 4_000_000  # a COPY is in memory twice: here and in what is yet to be sent
PIECE_BYTES = 1_000_000

_BODY = (
    *("id", "namespace", "queue", "kind", "payload", "priority", "retries", "timeout_ms", "tags", "headers"),
    "created_at",
)
_READY = ("job_id", "namespace", "queue", "kind", "priority", "attempt", "failures", "run_at")
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_MICROSECOND = timedelta(microseconds=1)
_POSTGRES_EPOCH_US = 946_684_800_000_000  # 2000-01-01, by Unix time

# A row is its number of columns, and for each column a length and so many bytes.
_BEGIN = b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0)
_END = struct.pack(">h", -1)
_ID = struct.Struct(">hi16s")
_LENGTH = struct.Struct(">i")
_JSONB = struct.Struct(">iB")
_JSONB_VERSION = 1
_TIME = struct.Struct(">iq")
_SMALLINT = struct.Struct(">ih")
_INTEGER = struct.Struct(">ii")
_TEXT_OID = 25

_TWO_WORDS = struct.Struct(">QQ")

_SHARED = attrgetter("namespace", "queue", "kind", "priority", "retries", "timeout_s", "tags", "headers")
_encode = msgspec.json.encode

Check: TypeAlias = Callable[[int, NewJob], None]


async def copy_jobs(
    connection: Connection, jobs: Sequence[NewJob], at: datetime, *, check: Check | None = None
) -> list[Enqueued]:
    """
    Store plain *jobs* as submitted at *at*, all or none. Answer in their order, which is the order of ids.

    Args:
        check: called with each job and its place before it is sent; what it raises is raised, and nothing is stored.
    """
    stored: list[Enqueued] = []
    async with connection.transaction(), _Line(connection) as line:
        for begin, end in itertools.pairwise((0, *range(FIRST_ROWS, len(jobs), COPY_ROWS), len(jobs))):
            rows = _Rows(jobs[begin:end], begin, at, check)
            await line.send("ready", _READY, rows.places())
            await line.send("job", _BODY, rows.bodies())
            stored += rows.answers()
    return stored


class _Line:
    """
    Sends COPYs, one after the other: `send` returns when the last of its own is on its way, the context ends when all
    have arrived. Left by an error, it gives up what is on its way.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending: asyncio.Task[object] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            await self._wait()
        elif self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])
            if not self._sending.cancelled():
                self._sending.exception()  # the first error counts

    async def send(self, table: str, columns: Sequence[str], pieces: Iterator[bytes]) -> None:
        data = bytearray(_BEGIN)
        for piece in pieces:
            if len(data) > COPY_BYTES:
                await self._copy(table, columns, data)
                data = bytearray(_BEGIN)
            data += piece
            await asyncio.sleep(0)  # lets the event loop send the rest of the one before
        await self._copy(table, columns, data)

    async def _copy(self, table: str, columns: Sequence[str], data: bytearray) -> None:
        data += _END
        await self._wait()
        copying = self._connection.copy_to_table(
            table,
            schema_name="taskflow",
            columns=columns,
            source=data,  # type: ignore[arg-type]  # it takes a buffer, in one go: an iterator would cost two tasks
            format="binary",
        )
        if getattr(self._connection, "blocks", False):
            await copying
            return
        self._sending = asyncio.ensure_future(copying)
        for _ in range(2):  # it begins, and the event loop sends
            await asyncio.sleep(0)

    async def _wait(self) -> None:
        sending, self._sending = self._sending, None
        if sending is not None:
            await sending


class _Rows:
    """The rows of *jobs*, the first of which is number *begin* of its bulk: take `places`, then `bodies`."""

    def __init__(self, jobs: Sequence[NewJob], begin: int, at: datetime, check: Check | None) -> None:
        self._jobs = jobs
        self._begin = begin
        self._at = at + begin * _MICROSECOND
        self._at_us = (self._at - _EPOCH) // _MICROSECOND
        self._check = check
        self._ids: list[bytes] = []
        self._commons: list[_Common] = []

    def answers(self) -> list[Enqueued]:
        times = (self._at + n * _MICROSECOND for n in range(1, len(self._jobs) + 1))
        return [Enqueued(JobId(UUID(id_)), State.PENDING, at, at) for id_, at in zip(self._ids, times, strict=True)]

    def places(self) -> Iterator[bytes]:
        find = _Commons().find
        at_us = self._at_us - _POSTGRES_EPOCH_US
        for begin, jobs in self._pieces():
            rows: list[bytes] = []
            ids = _ids(self._at_us + begin, len(jobs))
            for n, (job, id_) in enumerate(zip(jobs, ids, strict=True), begin):
                if self._check is not None:
                    self._check(self._begin + n, job)
                common = find(job)
                self._commons.append(common)
                rows += (_ID.pack(len(_READY), 16, id_), common.whose, common.place, _TIME.pack(8, at_us + n + 1))
            self._ids += ids
            yield b"".join(rows)

    def bodies(self) -> Iterator[bytes]:
        at_us = self._at_us - _POSTGRES_EPOCH_US
        for begin, jobs in self._pieces():
            size, rows = 0, list[bytes]()
            for n, job in enumerate(jobs, begin):
                payload = payload_bytes(job.payload)
                common = self._commons[n]
                rows += (
                    *(_ID.pack(len(_BODY), 16, self._ids[n]), common.whose),
                    *(_JSONB.pack(len(payload) + 1, _JSONB_VERSION), payload),
                    *(common.settings, _TIME.pack(8, at_us + n + 1)),
                )
                size += len(payload)
                if size > PIECE_BYTES:
                    yield b"".join(rows)
                    size, rows = 0, []
            yield b"".join(rows)

    def _pieces(self) -> Iterator[tuple[int, Sequence[NewJob]]]:
        for begin in range(0, len(self._jobs), PIECE_ROWS):
            yield begin, self._jobs[begin : begin + PIECE_ROWS]


@dataclass(frozen=True, slots=True)
class _Common:
    """What a bulk has few of, as it stands in rows: whose a job is, what follows that in `ready`, and in `job`."""

    whose: bytes
    place: bytes
    settings: bytes


class _Commons:
    """Finds what jobs have in common; most often it is what the one before has."""

    def __init__(self) -> None:
        self._known: dict[object, _Common] = {}
        self._last: tuple[object, _Common] | None = None

    def find(self, job: NewJob) -> _Common:
        shared = _SHARED(job)
        if self._last is not None and self._last[0] == shared:
            return self._last[1]
        headers = _encode(job.headers) if job.headers else b"{}"
        key = (*shared[:-2], tuple(job.tags), headers)
        if (found := self._known.get(key)) is None:
            found = self._known[key] = _written(job, headers)
        self._last = shared, found
        return found


def _written(job: NewJob, headers: bytes) -> _Common:
    tags = b"".join(map(_text, job.tags))
    shape = struct.pack(">iiiii", 1, 0, _TEXT_OID, len(job.tags), 1) if tags else struct.pack(">iii", 0, 0, _TEXT_OID)
    priority = _SMALLINT.pack(2, job.priority)
    return _Common(
        whose=_LENGTH.pack(16) + job.namespace.bytes + _text(job.queue) + _text(job.kind),
        place=priority + _INTEGER.pack(4, 0) + _SMALLINT.pack(2, 0),  # attempt and failures
        settings=priority
        + _SMALLINT.pack(2, job.retries)
        + _INTEGER.pack(4, round(job.timeout_s * 1000))
        + _LENGTH.pack(len(shape) + len(tags)) + shape + tags
        + _JSONB.pack(len(headers) + 1, _JSONB_VERSION) + headers,
    )  # fmt: skip


def _text(text: str) -> bytes:
    data = text.encode()
    return _LENGTH.pack(len(data)) + data


def make_ids(at: datetime, count: int) -> list[JobId]:
    """Return UUIDv7 like those of `taskflow.uuid_v7`, a microsecond apart, the first one after *at*."""
    return [JobId(UUID(id_)) for id_ in _ids((at - _EPOCH) // _MICROSECOND, count)]


def _ids(at_us: int, count: int) -> list[bytes]:
    ids = []
    for n, low in enumerate(struct.unpack(f">{count}Q", os.urandom(8 * count)), 1):
        milliseconds, microseconds = divmod(at_us + n, 1000)
        high = milliseconds << 16 | 0x7000 | microseconds * 4096 // 1000
        ids.append(_TWO_WORDS.pack(high, low & 0x3FFFFFFFFFFFFFFF | 0x8000000000000000))
    return ids
