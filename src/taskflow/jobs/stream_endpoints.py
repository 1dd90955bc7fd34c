"""`POST /jobs/stream`: lines come in and summaries go out at the same time, in the memory of one batch."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from starlette.requests import Request
from starlette.responses import Response

from taskflow.http import idempotency, operation
from taskflow.http.body import check_ndjson_type, read_query
from taskflow.http.call import Call
from taskflow.http.drain import Drain
from taskflow.http.fields import digits, whole
from taskflow.http.limits import LimitName
from taskflow.http.operation import ALIAS_PREFIX, PREFIX, Operation, below
from taskflow.http.places import Places
from taskflow.http.problem import OUTAGES, BodyTimeout
from taskflow.http.streaming import NDJSON, Incoming, ServerDrains, StreamedAnswer, Write
from taskflow.identity.access import Permission
from taskflow.identity.guard import Guard
from taskflow.jobs.streams import (
    MAX_BATCH_BYTES,
    MAX_BATCH_LINES,
    MAX_ERROR_LINES,
    MAX_LINE_BYTES,
    MAX_LINE_NUMBER,
    Batch,
    Checked,
    SubmitStream,
    SubmitStreams,
)
from taskflow.kernel.errors import DomainError, Unavailable
from taskflow.kernel.lines import Line, LineSplitter
from taskflow.telemetry.log import get_logger

MAX_STREAMS = 16  # at work in one process
FLUSH_S = 1.0  # lines of a slow sender wait so long for company
IDLE_TIMEOUT_S = 60.0  # without a byte; an empty line is a sign of life

_encode = msgspec.json.Encoder().encode
_log = get_logger(__name__)


class StreamJobs(BaseModel):
    """How a stream of submits is taken."""

    model_config = ConfigDict(extra="forbid")

    fromLine: Annotated[  # noqa: N815
        int,
        PlainValidator(lambda value: whole(1, MAX_LINE_NUMBER)(digits(value))),
        WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_LINE_NUMBER, "default": 1}),
    ] = Field(default=1, description="Number of the first line that is sent; those before it were sent earlier.")


class StreamEndpoints:
    """Handler of the route; see the module."""

    def __init__(self, streams: SubmitStreams, guard: Guard, drain: Drain) -> None:
        self._streams = streams
        self._guard = guard
        self._drain = drain
        self._places = Places("streams are open", retry_after_s=5.0)

    async def submit(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.WRITE_JOBS)
        call = Call.of(request.scope)
        check_ndjson_type(call.headers)
        key = idempotency.read_key(call.headers)
        query = read_query(request, StreamJobs)
        if self._drain.has_begun:
            raise Unavailable("the service is shutting down", retry_after_s=1.0)
        stream = await self._streams.open(principal, key=key, first_line=query.fromLine, headers=call.job_headers)
        self._places.check(principal.namespace, MAX_STREAMS)
        call.streams = True

        async def produce(write: Write) -> None:
            with self._places.hold(principal.namespace):
                async with Incoming(request, self._drain) as incoming:
                    await self._pump(request, stream, incoming, _Telling(write))

        return StreamedAnswer(produce, media_type=NDJSON)

    async def _pump(self, request: Request, stream: SubmitStream, incoming: Incoming, telling: "_Telling") -> None:
        end: DomainError | None = None
        storing = _Storing(stream, telling)
        try:
            try:
                await telling.tell_errors(stream)
                async for lines in self._batches(incoming, stream.first_line, storing):
                    # A key may be revoked while its stream goes on.
                    await self._guard.check_again(request, Permission.WRITE_JOBS)
                    await storing.start(await stream.check(lines))
            finally:
                await storing.finish()  # the batch under way, also for a client that has left
        except ServerDrains:
            # What waits is not stored: the client sends it again from `resumeFrom`, wherever it goes on.
            end = Unavailable("this process is about to end; go on with a new request", code="draining")
        except DomainError as error:
            end = error
        except OUTAGES as error:
            _log.warning("taskflow.request.outage", error=type(error).__name__)
            end = Unavailable("the database cannot be reached")
        await telling.tell_end(stream, end)

    async def _batches(self, incoming: Incoming, first_line: int, storing: "_Storing") -> AsyncIterator[list[Line]]:
        """Yield the lines of the body, as many as make a batch."""
        splitter = LineSplitter(max_bytes=MAX_LINE_BYTES, first=first_line)
        waiting = _Waiting()
        more, idle_s = True, 0.0
        while more:
            timeout_s = FLUSH_S if waiting.lines else IDLE_TIMEOUT_S - idle_s
            try:
                chunk, more = await incoming.read(timeout_s, beside=storing.task)
            except TimeoutError:
                idle_s += timeout_s
                if not waiting.lines:
                    raise BodyTimeout(f"no line came for {IDLE_TIMEOUT_S:g} s") from None
                yield waiting.take()
                continue
            idle_s = 0.0
            for line in splitter.feed(chunk):
                if waiting.add(line):
                    yield waiting.take()
        for line in splitter.close():
            waiting.add(line)
        if waiting.lines:
            yield waiting.take()


class _Storing:
    """Stores a batch while the next is read and checked: both this process and the database are at work then."""

    def __init__(self, stream: SubmitStream, telling: "_Telling") -> None:
        self._stream = stream
        self._telling = telling
        self.task: asyncio.Task[None] | None = None

    async def start(self, checked: Checked) -> None:
        """Begin to store a batch when the one before is stored. Raises what that one raised."""
        await self.finish()
        self.task = asyncio.create_task(self._store(checked), name="taskflow-stream-batch")

    async def finish(self) -> None:
        """Wait for the batch under way. Raises what it raised."""
        task, self.task = self.task, None
        if task is not None:
            await task

    async def _store(self, checked: Checked) -> None:
        await self._telling.tell(await self._stream.store(checked))


class _Waiting:
    """Lines of the next batch."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._bytes = 0

    def add(self, line: Line) -> bool:
        """Add a line; True when the batch is full."""
        self.lines.append(line)
        self._bytes += len(line.data or b"")
        return len(self.lines) >= MAX_BATCH_LINES or self._bytes >= MAX_BATCH_BYTES

    def take(self) -> list[Line]:
        lines, self.lines, self._bytes = self.lines, [], 0
        return lines


class _Telling:
    """Writes the lines of the answer; of what is wrong, the first `MAX_ERROR_LINES`."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._errors_left = MAX_ERROR_LINES

    async def tell(self, batches: list[Batch]) -> None:
        lines = bytearray()
        for batch in batches:
            shown = batch.errors[: self._errors_left]
            self._errors_left -= len(shown)
            for item in (*shown, batch.summary):
                lines += _encode(item) + b"\n"
        await self._write(bytes(lines))

    async def tell_errors(self, stream: SubmitStream) -> None:
        """Tell again what was wrong with lines that came before."""
        if known := stream.known_errors:
            self._errors_left -= len(known)
            await self._write(b"".join(_encode(item) + b"\n" for item in known))

    async def tell_end(self, stream: SubmitStream, end: DomainError | None) -> None:
        totals = stream.totals
        last: dict[str, Any] = {
            "_end": end is None,
            "count": totals.accepted + totals.rejected,
            "accepted": totals.accepted,
            "rejected": totals.rejected,
        }
        if end is not None:
            last |= {"code": end.code, "detail": end.detail, **end.facts, "resumeFrom": stream.next_line}
        await self._write(_encode(last) + b"\n")


# What OpenAPI says ---------------------------------------------------------------------------------------------------

_EXAMPLE_BODY = (
    '{"taskType": "send_email", "payload": {"to": "ada@example.com", "subject": "Hi", "body": "Hello."}}\n'
    '{"taskType": "send_email", "payload": {"to": "nobody", "subject": "Hi", "body": "Hello."}}\n'
)
_EXAMPLE_ANSWER = (
    '{"line":2,"errors":[{"pointer":"/payload/to","code":"pattern",'
    '"detail":"is not a mail address such as ada@example.com"}]}\n'
    '{"from":1,"to":2,"accepted":1,"rejected":1}\n'
    '{"_end":true,"count":2,"accepted":1,"rejected":1}\n'
)
_DESCRIPTION = (
    "The body is NDJSON of any size, each line a job as `POST /api/v1/jobs` takes it, at most "
    f"{MAX_LINE_BYTES} bytes. Lines are stored in batches of {MAX_BATCH_LINES} (fewer when they come to "
    f"{MAX_BATCH_BYTES} bytes or the sender pauses for {FLUSH_S:g} s), each in one commit, and the answer has a line "
    "for each batch as soon as it is stored: `{from, to, accepted, rejected}`. A line that is wrong is left out and "
    f"told as `{{line, errors}}`, the first {MAX_ERROR_LINES} of them. The last line has `_end`: true, or false with "
    "why the stream broke off and where to go on (`resumeFrom`); an answer without it was cut. With an "
    "`Idempotency-Key`, the same lines can be sent again, from any line up to the one that is next: those that are "
    "stored are not stored again."
)


def operations(endpoints: StreamEndpoints) -> Iterator[Operation]:
    """Yield the route, also under the alias without a version."""
    problems: Mapping[int, str] = {
        409: "Lines before `fromLine` are missing from the stream of this key; `lastLine` is the last that is stored.",
        503: f"{MAX_STREAMS} streams are open, or half as many of this namespace.",
    }
    for prefix in (PREFIX, ALIAS_PREFIX):
        yield below(
            prefix,
            "POST",
            "/jobs/stream",
            endpoints.submit,
            name="streamJobs",
            summary="Submit a stream of jobs",
            description=_DESCRIPTION,
            tag="jobs",
            query=StreamJobs,
            text_body=operation.TextBody(NDJSON, _EXAMPLE_BODY),
            answers={200: operation.Answer("A line per batch.", None, _EXAMPLE_ANSWER, media_type=NDJSON)},
            problems=problems,
            scope="jobs:write",
            resumable=True,
            limit=LimitName.STREAM,
        )
