"""A job's log as server-sent events: what is there, then each line as it is written, then the end."""

import asyncio
import re
import time
from contextlib import suppress
from dataclasses import replace

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from taskflow.engine.client import Engine
from taskflow.engine.job import JobId, State
from taskflow.engine.record import LogNews, LogPosition
from taskflow.http.call import Call
from taskflow.http.drain import Drain
from taskflow.http.places import Places
from taskflow.http.problem import BadHeader
from taskflow.http.streaming import EVENT_STREAM, StreamedAnswer, Write
from taskflow.identity.access import Permission, Principal
from taskflow.identity.guard import Guard
from taskflow.jobs.following import MAX_LINES, LogFollowing
from taskflow.jobs.schemas import view_of_line
from taskflow.kernel.errors import DomainError, FieldError, Unavailable

MAX_FOLLOWERS = 200  # in one process
HEARTBEAT_S = 15.0  # proxies and clients drop connections that are silent for long
ADMIT_S = 2.0  # how long a key that was revoked may go on
RETRY_MS = 1000  # what a client is told to wait before it connects again

_LAST_EVENT = re.compile(r"([0-9]{1,18})(-end)?")
_encode = msgspec.json.Encoder().encode


class LogEvents:
    """
    Answers those who follow.

    An event's id is the line's `seq`; the end's is the last `seq` with `-end` after it. A browser connects again after
    the end as after any other close and then sends that id: it is answered 204, which makes it stop.
    """

    def __init__(self, engine: Engine, following: LogFollowing, guard: Guard, drain: Drain) -> None:
        self._engine = engine
        self._following = following
        self._guard = guard
        self._drain = drain
        self._places = Places("clients follow logs", retry_after_s=5.0)

    async def answer(self, request: Request, principal: Principal, job_id: JobId) -> Response:
        """
        Return the stream of a job's log.

        Raises:
            NotFound: no such job in the principal's namespace.
            BadHeader: `Last-Event-ID` is none of ours.
            Unavailable: too many follow already, or this process is about to end.
        """
        after_seq, ended = _last_event(request)
        position = await self._engine.find_log_position(job_id, after_seq=after_seq, namespace=principal.namespace)
        if ended:
            [news] = await self._engine.follow_logs([position], limit=1)
            if news.end is not None and not news.lines:
                return Response(status_code=204)
        if self._drain.has_begun:
            raise Unavailable("the service is shutting down", retry_after_s=1.0)
        self._places.check(principal.namespace, MAX_FOLLOWERS)

        async def produce(write: Write) -> None:
            with self._places.hold(principal.namespace):
                gone = asyncio.create_task(self._gone(request), name="taskflow-follower-gone")
                try:
                    await write(b"retry: %d\n\n" % RETRY_MS)
                    with suppress(DomainError):  # the key was revoked, or the database is away: the client comes again
                        await self._tell(request, position, write, gone)
                finally:
                    gone.cancel()
                    with suppress(asyncio.CancelledError):
                        await gone

        return StreamedAnswer(produce, media_type=EVENT_STREAM, headers={"X-Accel-Buffering": "no"})

    async def _tell(self, request: Request, position: LogPosition, write: Write, gone: "asyncio.Task[None]") -> None:
        # What is there already, without waiting for anybody's look.
        [news] = await self._engine.follow_logs([position], limit=MAX_LINES)
        said_s = time.monotonic()
        while not gone.done():
            await self._guard.check_again(request, Permission.READ_JOBS)
            if news.lines or news.end is not None:
                said_s = time.monotonic()
                position = replace(position, after_seq=news.lines[-1].seq if news.lines else position.after_seq)
                await write(_events(position, news))
            if news.end is not None:
                return
            if len(news.lines) == MAX_LINES:
                [news] = await self._engine.follow_logs([position], limit=MAX_LINES)
                continue
            coming = asyncio.create_task(self._following.next(position), name="taskflow-follower")
            try:
                while not coming.done() and not gone.done():
                    watched: set[asyncio.Task[LogNews] | asyncio.Task[None]] = {coming, gone}
                    pause_s = min(ADMIT_S, HEARTBEAT_S)
                    done, _ = await asyncio.wait(watched, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
                    if not done:
                        await self._guard.check_again(request, Permission.READ_JOBS)
                        if time.monotonic() - said_s >= HEARTBEAT_S:
                            await write(b": nothing new\n\n")
                            said_s = time.monotonic()
                if coming.done():
                    news = coming.result()
            finally:
                coming.cancel()

    async def _gone(self, request: Request) -> None:
        """Return when the client has left, or this process is about to end."""
        leaving = asyncio.create_task(_left(request), name="taskflow-follower-left")
        draining = asyncio.create_task(self._drain.wait(), name="taskflow-follower-drain")
        try:
            await asyncio.wait({leaving, draining}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            draining.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _events(position: LogPosition, news: LogNews) -> bytes:
    events = bytearray()
    for line in news.lines:
        events += b"id: %d\nevent: log\ndata: %b\n\n" % (line.seq, _encode(view_of_line(line)))
    if news.end is not None:
        data = _encode(_End(news.end))
        events += b"id: %d-end\nevent: end\ndata: %b\n\n" % (position.after_seq, data)
    return bytes(events)


class _End(msgspec.Struct, frozen=True):
    status: State


def _last_event(request: Request) -> tuple[int, bool]:
    """Return after which line to go on, and whether the end was told."""
    text = Call.of(request.scope).headers.get("last-event-id", "")
    if not text:
        return 0, False
    match = _LAST_EVENT.fullmatch(text)
    if match is None:
        detail = "must be the id of an event of this stream"
        raise BadHeader(
            f"Last-Event-ID {detail}", code="bad_event_id", errors=[FieldError("Last-Event-ID", "bad", detail)]
        )
    return int(match[1]), match[2] is not None
