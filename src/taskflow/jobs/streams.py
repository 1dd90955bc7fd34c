"""
Streams of submits: any number of lines, one JSON submit each, stored a batch at a time in bounded memory.

    lines ──> check each as a single submit is ──> one bulk INSERT per batch ──> a summary per batch
                    └─ wrong ones are reported and left out; they stop nothing

A stream with a key can be sent again after it broke off. The line that it has come to is a row, moved on in the
transaction that stores the lines before it; so whatever line of code a process dies on, the row says exactly which
lines are stored, and those are skipped when they come again. The row's lock lets two requests that send the same stream
at once take turns. What was wrong with refused lines is kept beside it, because the answer that told it may be lost.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import asyncpg
import msgspec

from taskflow.db.pool import CONNECTION_ERRORS, Database, is_partition_missing
from taskflow.db.pruning import prune_for_ever
from taskflow.db.query import Connection
from taskflow.engine.job import MAX_BATCH, NewJob
from taskflow.engine.policy import check_new_job
from taskflow.http.body import parse_json
from taskflow.http.problem import FieldProblem, NotJson, as_domain_error
from taskflow.identity.access import Principal
from taskflow.jobs.repository import LineErrors, Position, StreamId, StreamRepository
from taskflow.jobs.service import Jobs
from taskflow.kernel.errors import Conflict, DomainError, FieldError, Invalid, PayloadTooLarge, Unavailable
from taskflow.kernel.lines import Line
from taskflow.telemetry.log import get_logger

MAX_LINE_BYTES = 1024 * 1024  # a payload at its limit fits, however its JSON is written
MAX_BATCH_LINES = MAX_BATCH
MAX_BATCH_BYTES = 4 * 1024 * 1024  # a batch of long lines ends early
MAX_ERROR_LINES = 1000  # that one answer tells, and that are kept per key
MAX_ERRORS_PER_LINE = 10
MAX_LINE_NUMBER = 10**15
KEPT = timedelta(hours=24)
LOCK_TIMEOUT_S = 5.0  # for a twin that stores the same batch
PRUNE_INTERVAL_S = 600.0
PRUNE_BATCH = 100
QUEUE_DRAINING = "queue_draining"  # code of the refusal of a job whose queue takes no more
_YIELD_EVERY = 50  # lines checked before others get their turn
_FAULTS = ("22", "23", "54")  # classes of SQLSTATE that blame the data

_log = get_logger(__name__)


class Summary(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    What became of a batch. *duplicates* of what was accepted were not stored, because another job holds their unique
    key; *replayed*: the lines had been dealt with when they came before.
    """

    from_: int = msgspec.field(name="from")
    to: int
    accepted: int | None = None
    rejected: int | None = None
    duplicates: int = 0
    replayed: bool = False


@dataclass(slots=True)
class Batch:
    """Lines of one step: their summary, and what was wrong with which."""

    summary: Summary
    errors: Sequence[LineErrors] = ()


@dataclass(slots=True)
class Checked:
    """The lines *first* to *last* after their checks: by their numbers, jobs to store and what is wrong."""

    first: int
    last: int
    jobs: list[tuple[int, NewJob]] = field(default_factory=list)
    errors: list[LineErrors] = field(default_factory=list)

    def after(self, line: int) -> "Checked":
        """Without the lines up to *line*."""
        if line < self.first:
            return self
        return Checked(
            line + 1,
            self.last,
            [item for item in self.jobs if item[0] > line],
            [item for item in self.errors if item.line > line],
        )


class SubmitStreams:
    """Opens streams, and forgets old ones."""

    def __init__(self, database: Database, jobs: Jobs, *, now: Callable[[], datetime | None] = lambda: None) -> None:
        self._database = database
        self._jobs = jobs
        self._repository = StreamRepository(now)

    async def open(
        self, principal: Principal, *, key: str | None, first_line: int = 1, headers: Mapping[str, str]
    ) -> "SubmitStream":
        """
        Begin a stream whose next line is *first_line*, or go on with the one of that *key*.

        Args:
            headers: ride along with each job.

        Raises:
            Conflict: lines before *first_line* are missing from the stream of that key.
        """
        stream = SubmitStream(self._database, self._jobs, self._repository, principal, key, first_line, headers)
        await stream.find_position()
        return stream

    async def run(self) -> None:
        """Forget old streams now and then, for ever."""

        def tell(error: Exception) -> None:
            _log.warning("taskflow.stream.prune.exception", error=type(error).__name__)

        await prune_for_ever(self.prune, batch=PRUNE_BATCH, interval_s=PRUNE_INTERVAL_S, on_error=tell)

    async def prune(self) -> int:
        async with self._database.acquire() as connection:
            return await self._repository.prune(connection, kept=KEPT, limit=PRUNE_BATCH)


class SubmitStream:
    """
    One stream: its lines go through `check` and `store` batch by batch, in order; the next batch may be checked while
    one is being stored.

    *totals* is of all that was ever sent with the key, or of this stream if it has none; *next_line* is the first line
    that is not known to be dealt with.
    """

    def __init__(
        self,
        database: Database,
        jobs: Jobs,
        repository: StreamRepository,
        principal: Principal,
        key: str | None,
        first_line: int,
        headers: Mapping[str, str],
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._repository = repository
        self._principal = principal
        self._id = None if key is None else StreamId(principal.id, key)
        self._headers = headers
        self._errors_kept = 0
        self.first_line = first_line
        self.next_line = first_line
        self.totals = Position()
        self.known_errors: Sequence[LineErrors] = ()  # of lines from *first_line* on that were refused before

    async def find_position(self) -> None:
        """Read how far the stream has come. Raises Conflict: lines are missing."""
        if self._id is None:
            return
        async with self._database.acquire() as connection:
            found = await self._repository.find(connection, self._id)
            self.totals = found or Position()
            self._check_gap(self.totals, self.first_line)
            kept = await self._repository.list_errors(connection, self._id, from_line=1, limit=MAX_ERROR_LINES)
        self._errors_kept = len(kept)
        self.known_errors = [item for item in kept if item.line >= self.first_line]

    async def check(self, lines: Sequence[Line]) -> Checked:
        """
        Check the next lines, at most `MAX_BATCH_LINES`, for `store`; lines that are known to be dealt with are not.

        Raises:
            Unavailable: it was never possible to look what kinds there are.
        """
        done = self.totals.last_line if self._id is not None else 0
        checked = Checked(lines[0].number, lines[-1].number)
        for index, line in enumerate(lines):
            if index % _YIELD_EVERY == _YIELD_EVERY - 1:
                await asyncio.sleep(0)
            if line.number <= done or line.is_blank:
                continue
            try:
                checked.jobs.append((line.number, await self._job_of(line)))
            except Unavailable:
                raise
            except (DomainError, PayloadTooLarge) as error:
                checked.errors.append(LineErrors(line.number, _problems(error)))
        return checked

    async def store(self, checked: Checked) -> list[Batch]:
        """
        Store what is right in a checked batch, in one commit, and return what became of it.

        Batches come in the order of their lines, one at a time. Of a key that was sent before, lines that were dealt
        with then are a batch of their own in the answer.

        Raises:
            Unavailable: the database is away. Without a key the lines may have been stored all the same; with one they
                can be sent again.
            Conflict: another request stores lines of the same key, or lines are missing.
        """
        batches = []
        if self._id is not None and checked.first <= self.totals.last_line:
            to = min(self.totals.last_line, checked.last)
            batches.append(Batch(Summary(checked.first, to, replayed=True)))
            checked = checked.after(to)
        if checked.first <= checked.last:
            batches += await self._store(checked)
        self.next_line = checked.last + 1
        return batches

    async def _job_of(self, line: Line) -> NewJob:
        if line.data is None:
            detail = f"the line is over the limit of {MAX_LINE_BYTES} bytes"
            raise Invalid(detail, errors=[FieldError("", "line_too_long", detail)])
        job = await self._jobs.prepare(self._principal, parse_json(line.data, what="the line"), self._headers)
        check_new_job(job)
        return job

    async def _store(self, checked: Checked) -> list[Batch]:
        try:
            try:
                return await self._write(checked, apart=False)
            except asyncpg.PostgresError as error:
                if is_partition_missing(error):
                    await self._jobs.make_partitions()
                    return await self._write(checked, apart=False)
                if (error.sqlstate or "")[:2] not in _FAULTS:
                    raise
                return await self._write(checked, apart=True)
            except Conflict as error:
                if error.code != QUEUE_DRAINING:
                    raise
                return await self._write(checked, apart=True)
        except asyncpg.LockNotAvailableError:
            detail = "another request stores lines of this Idempotency-Key; try again shortly"
            raise Conflict(detail, code="idempotency_in_progress", retry_after_s=1.0) from None
        except CONNECTION_ERRORS as error:
            lines = f"lines {checked.first} to {checked.last}"
            raise Unavailable(f"the database went away; {lines} may have been stored", retry_after_s=1.0) from error

    async def _write(self, checked: Checked, *, apart: bool) -> list[Batch]:
        """Store the batch and move the stream on, in one transaction. *apart*: find the row that PostgreSQL refuses."""
        batches = []
        async with self._database.transaction() as connection:
            if self._id is not None:
                await connection.execute(f"SET LOCAL lock_timeout = {int(LOCK_TIMEOUT_S * 1000)}")
                position = await self._repository.lock(connection, self._id, self._principal.namespace)
                self._check_gap(position, checked.first)
                if position.last_line >= checked.first:  # a twin was here
                    to = min(position.last_line, checked.last)
                    batches.append(Batch(Summary(checked.first, to, replayed=True)))
                    checked = checked.after(position.last_line)
            refused, duplicates = await self._insert(connection, [job for _, job in checked.jobs], apart=apart)
            errors = [*checked.errors, *(LineErrors(checked.jobs[at][0], text) for at, text in refused.items())]
            errors.sort(key=lambda item: item.line)
            accepted, rejected = len(checked.jobs) - len(refused), len(errors)
            kept = errors[: max(0, MAX_ERROR_LINES - self._errors_kept)]
            if self._id is None:
                before = self.totals
                totals = Position(checked.last, before.accepted + accepted, before.rejected + rejected)
            elif checked.first > checked.last:
                totals = position
            else:
                await self._repository.keep_errors(connection, self._id, kept)
                totals = await self._repository.move(
                    connection, self._id, last_line=checked.last, accepted=accepted, rejected=rejected
                )
        # Committed: from here on nothing can fail.
        self.totals = totals
        self._errors_kept += len(kept)
        if checked.first <= checked.last:
            batches.append(Batch(Summary(checked.first, checked.last, accepted, rejected, duplicates), errors))
            self._jobs.wake({job.queue for _, job in checked.jobs})
        return batches

    async def _insert(
        self, connection: Connection, jobs: Sequence[NewJob], *, apart: bool
    ) -> tuple[dict[int, tuple[FieldProblem, ...]], int]:
        """Store *jobs*; return why which of them were refused, by index, and how many were duplicates."""
        if not apart:  # one refusal refuses all, as an exception
            stored = await self._jobs.submit_many(jobs, connection=connection)
            return {}, sum(enqueued.duplicate for enqueued in stored)
        refused: dict[int, tuple[FieldProblem, ...]] = {}
        duplicates = 0
        for index, job in enumerate(jobs):
            try:
                async with connection.transaction():
                    [enqueued] = await self._jobs.submit_many([job], connection=connection)
                    duplicates += enqueued.duplicate
            except Conflict as error:
                if error.code != QUEUE_DRAINING:
                    raise
                refused[index] = _problems(error)
            except asyncpg.PostgresError as error:
                if (error.sqlstate or "")[:2] not in _FAULTS or is_partition_missing(error):
                    raise
                _log.warning("taskflow.submit.refused", error=type(error).__name__)  # its text has the payload
                refused[index] = (FieldProblem("", "unstorable", "the database cannot store this job"),)
        return refused, duplicates

    @staticmethod
    def _check_gap(position: Position, first_line: int) -> None:
        if first_line > position.last_line + 1:
            detail = (
                f"lines up to {position.last_line} are stored under this key, so line {position.last_line + 1} is "
                f"next, not {first_line}"
            )
            raise Conflict(detail, code="stream_gap", facts={"lastLine": position.last_line})


def _problems(error: DomainError | PayloadTooLarge) -> tuple[FieldProblem, ...]:
    if isinstance(error, PayloadTooLarge):
        return (FieldProblem("/payload", "payload_too_large", str(error)),)
    if isinstance(error, NotJson):
        return (FieldProblem("", "not_json", error.detail),)
    found = as_domain_error(error)
    if not found.errors:
        return (FieldProblem("", found.code, found.detail),)
    return tuple(FieldProblem(item.pointer, item.code, item.detail) for item in found.errors[:MAX_ERRORS_PER_LINE])
