"""The routes of schedules: they read requests and write answers; what happens in between is `schedules.service`."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine.schedule import Schedule
from taskflow.http import idempotency, operation
from taskflow.http.body import check_json_type, parse_json, read_body, read_query
from taskflow.http.call import Call
from taskflow.http.fields import NoQuery
from taskflow.http.idempotency import Answer, Idempotency
from taskflow.http.link import LINK, link_headers
from taskflow.http.operation import PREFIX, Operation
from taskflow.http.paging import Cursors
from taskflow.identity.access import Permission, Principal
from taskflow.identity.guard import Guard
from taskflow.jobs.schemas import JobView, view_of_job, view_of_new
from taskflow.jobs.writes import later
from taskflow.kernel.json import JSONValue
from taskflow.schedules.schemas import (
    CreateSchedule,
    ListSchedules,
    ListTicks,
    PreviewView,
    SchedulePageView,
    ScheduleView,
    TickPageView,
    Timing,
    UpdateSchedule,
    view_of_preview,
    view_of_schedule,
    view_of_tick,
)
from taskflow.schedules.service import Schedules, coming, schedule_id_of

_encode = msgspec.json.Encoder().encode
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ScheduleEndpoints:
    """Handlers of the routes that `operations` lists."""

    def __init__(
        self, schedules: Schedules, database: Database, guard: Guard, once: Idempotency, cursors: Cursors
    ) -> None:
        self._schedules = schedules
        self._database = database
        self._guard = guard
        self._once = once
        self._cursors = cursors

    async def create(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.WRITE_JOBS)
        body, data = await _read_json(request)
        prepared = await later(self._schedules.prepare(principal, data))

        async def write(connection: Connection) -> Answer:
            plan, paused = prepared()
            schedule = await self._schedules.create(plan, paused=paused, connection=connection)
            return _answer(schedule, 201, {"Location": f"{PREFIX}/schedules/{schedule.id}"})

        return await self._write(request, principal, body, write)

    async def preview(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.READ_JOBS)
        _, data = await _read_json(request)
        timing, times = await self._schedules.preview(principal, data)
        return Answer(200, _encode(view_of_preview(timing, times))).response()

    async def list_schedules(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.READ_JOBS)
        query = read_query(request, ListSchedules)
        if query.name is not None:
            found = await self._schedules.find(principal, query.name)
            return _page(request, [] if found is None else [view_of_schedule(found)], None)
        binding = ("schedules", principal.namespace)
        before = None if query.cursor is None else UUID(bytes=self._cursors.open(query.cursor, *binding))
        schedules = await self._schedules.list_schedules(principal, before=before, limit=query.limit + 1)
        shown = schedules[: query.limit]
        cursor = self._cursors.seal(shown[-1].id.bytes, *binding) if len(schedules) > query.limit else None
        return _page(request, [view_of_schedule(schedule) for schedule in shown], cursor)

    async def get(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.READ_JOBS)
        read_query(request, NoQuery)
        return _answer(await self._schedules.get(principal, schedule_id_of(_id(request)))).response()

    async def list_ticks(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.READ_JOBS)
        query = read_query(request, ListTicks)
        schedule_id = schedule_id_of(_id(request))
        binding = ("ticks", principal.namespace, schedule_id)
        before = None
        if query.cursor is not None:
            position = int.from_bytes(self._cursors.open(query.cursor, *binding), "big")
            before = _EPOCH + timedelta(microseconds=position)
        ticks = await self._schedules.list_ticks(principal, schedule_id, before=before, limit=query.limit + 1)
        shown = ticks[: query.limit]
        cursor = None
        if len(ticks) > query.limit:
            position = (shown[-1].fire_at - _EPOCH) // timedelta(microseconds=1)
            cursor = self._cursors.seal(position.to_bytes(8, "big"), *binding)
        return _page(request, [view_of_tick(tick) for tick in shown], cursor)

    async def update(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.WRITE_JOBS)
        schedule_id = schedule_id_of(_id(request))
        body, data = await _read_json(request)
        prepared = await later(self._schedules.prepare_update(principal, schedule_id, data))

        async def write(connection: Connection) -> Answer:
            seen, plan = prepared()
            return _answer(await self._schedules.update(seen, plan, connection=connection))

        return await self._write(request, principal, body, write)

    async def delete(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.WRITE_JOBS)
        read_query(request, NoQuery)
        schedule_id = schedule_id_of(_id(request))
        async with self._database.transaction() as connection:
            schedule = await self._schedules.get(principal, schedule_id, connection=connection)
            await self._schedules.delete(principal, schedule_id, connection=connection)
        return Answer(200, _encode(view_of_schedule(schedule))).response()

    async def pause(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.WRITE_JOBS)
        read_query(request, NoQuery)
        schedule_id = schedule_id_of(_id(request))

        async def write(connection: Connection) -> Answer:
            return _answer(await self._schedules.pause(principal, schedule_id, connection=connection))

        return await self._write(request, principal, b"", write)

    async def resume(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.WRITE_JOBS)
        read_query(request, NoQuery)
        schedule_id = schedule_id_of(_id(request))

        async def write(connection: Connection) -> Answer:
            return _answer(await self._schedules.resume(principal, schedule_id, connection=connection))

        return await self._write(request, principal, b"", write)

    async def run_now(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.WRITE_JOBS)
        read_query(request, NoQuery)
        schedule_id = schedule_id_of(_id(request))
        queues: list[str] = []

        async def write(connection: Connection) -> Answer:
            job, enqueued = await self._schedules.run_now(principal, schedule_id, connection=connection)
            headers = {"Location": f"{PREFIX}/jobs/{enqueued.id}"}
            if enqueued.duplicate:
                holder = await self._schedules.get_job(principal, enqueued.id, connection=connection)
                return Answer(200, _encode(view_of_job(holder, duplicate=True)), headers)
            queues.append(job.queue)
            return Answer(201, _encode(view_of_new(job, enqueued)), headers)

        response = await self._write(request, principal, b"", write)
        self._schedules.wake(queues)
        return response

    async def _write(
        self, request: Request, principal: Principal, body: bytes, write: Callable[[Connection], Awaitable[Answer]]
    ) -> Response:
        """Carry out *write* in a transaction, once if the request has a key."""
        call = Call.of(request.scope)
        key = idempotency.read_key(call.headers)
        if key is None:
            async with self._database.transaction() as connection:
                answer = await write(connection)
            return answer.response()
        asked = idempotency.Request(
            principal_id=principal.id,
            namespace=principal.namespace,
            route=f"{request.method} {call.route}",
            key=key,
            fingerprint=idempotency.fingerprint(str(request.path_params.get("scheduleId", "")).encode(), body),
        )
        answer, replayed = await self._once.once(asked, write)
        return answer.response(replayed=replayed)


async def _read_json(request: Request) -> tuple[bytes, JSONValue]:
    read_query(request, NoQuery)
    check_json_type(Call.of(request.scope).headers)
    body = await read_body(request)
    return body, parse_json(body)


def _answer(schedule: Schedule, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, _encode(view_of_schedule(schedule, coming(schedule))), headers or {})


def _page(request: Request, items: Sequence[msgspec.Struct], cursor: str | None) -> Response:
    return Answer(200, _encode({"items": items, "nextCursor": cursor}), link_headers(request, cursor)).response()


def _id(request: Request) -> str:
    return str(request.path_params["scheduleId"])


# What OpenAPI says ---------------------------------------------------------------------------------------------------

_EXAMPLE_ID = "019ab0f2-6b3e-7c41-9d5a-3f6f0c9d2e12"
_EXAMPLE_JOB_ID = "019ab0f2-6b3e-7c41-9d5a-3f6f0c9d2e11"
_MAIL = {"to": "ada@example.com", "subject": "Good morning", "body": "The report is ready."}
_EXAMPLE: Mapping[str, Any] = {
    "scheduleId": _EXAMPLE_ID,
    "name": "morning mail",
    "cron": "30 7 * * MON-FRI",
    "timezone": "Europe/Berlin",
    "every": None,
    "taskType": "send_email",
    "payload": _MAIL,
    "queue": None,
    "priority": None,
    "retries": None,
    "timeout": None,
    "tags": [],
    "catchup": "latest",
    "overlap": "skip",
    "callbackUrl": None,
    "ttl": None,
    "uniqueKey": None,
    "uniqueScope": None,
    "uniqueWindow": None,
    "pausedAt": None,
    "createdAt": "2026-11-22T18:00:00Z",
    "updatedAt": "2026-11-22T18:00:00Z",
    "nextRunAt": "2026-11-24T06:30:00Z",
    "lastRunAt": "2026-11-23T06:30:00Z",
    "lastOutcome": "fired",
    "lastJobId": _EXAMPLE_JOB_ID,
    "lastJobAt": "2026-11-23T06:30:00Z",
}
_EXAMPLE_ONE = {**_EXAMPLE, "upcoming": ["2026-11-24T06:30:00Z", "2026-11-25T06:30:00Z", "2026-11-26T06:30:00Z"]}
_EXAMPLE_CREATES = {
    "cron": {
        "name": "morning mail",
        "cron": "30 7 * * MON-FRI",
        "timezone": "Europe/Berlin",
        "taskType": "send_email",
        "payload": _MAIL,
    },
    "interval": {
        "name": "every five minutes",
        "every": 300000,
        "taskType": "send_email",
        "payload": _MAIL,
        "catchup": "none",
        "overlap": "allow",
        "ttl": 300000,
        "callbackUrl": "https://shop.example/done",
    },
}
_EXAMPLE_TICK = {
    "fireAt": "2026-11-23T06:30:00Z",
    "outcome": "fired",
    "manual": False,
    "jobId": _EXAMPLE_JOB_ID,
    "detail": None,
    "missedUntil": None,
    "decidedAt": "2026-11-23T06:30:00.021Z",
}
_SCHEDULE_ID = {"scheduleId": "Of the schedule."}
_NO_SCHEDULE = "No such schedule in the key's namespace."


def operations(endpoints: ScheduleEndpoints) -> Iterator[Operation]:
    """Yield the routes."""

    def route(method: str, path: str, handler: Any, *, scope: str, **said: Any) -> Operation:
        said.setdefault("problems", {404: _NO_SCHEDULE} if "{scheduleId}" in path else None)
        said.setdefault("path_parameters", _SCHEDULE_ID if "{scheduleId}" in path else None)
        return Operation(method, f"{PREFIX}/schedules{path}", handler, tag="schedules", scope=scope, **said)

    one = {200: operation.Answer("The schedule.", ScheduleView, _EXAMPLE_ONE)}
    yield route(
        "POST",
        "",
        endpoints.create,
        name="createSchedule",
        summary="Make a schedule",
        description="Its job is checked as if it were submitted now, and again each time it fires.",
        body=CreateSchedule,
        body_examples=_EXAMPLE_CREATES,
        answers={
            201: operation.Answer(
                "The schedule, stored.", ScheduleView, _EXAMPLE_ONE, {"Location": "Where it is from now on."}
            )
        },
        problems={409: "With the code `name_taken`: the namespace has a schedule of that name."},
        scope="jobs:write",
        once=True,
    )
    yield route(
        "GET",
        "",
        endpoints.list_schedules,
        name="listSchedules",
        summary="List schedules",
        description="Newest first.",
        query=ListSchedules,
        answers={200: operation.Answer("A page.", SchedulePageView, {"items": [_EXAMPLE], "nextCursor": None}, LINK)},
        scope="jobs:read",
    )
    yield route(
        "POST",
        "/preview",
        endpoints.preview,
        name="previewSchedule",
        summary="See when a schedule would fire",
        description="The next five times, by the database's clock; nothing is stored.",
        body=Timing,
        body_examples={"cron": {"cron": "30 2 * * *", "timezone": "America/New_York"}, "interval": {"every": 90000}},
        answers={
            200: operation.Answer(
                "The times.",
                PreviewView,
                {"items": [{"at": "2026-11-24T07:30:00Z", "local": "2026-11-24T02:30:00-05:00"}]},
            )
        },
        scope="jobs:read",
    )
    yield route(
        "GET",
        "/{scheduleId}",
        endpoints.get,
        name="getSchedule",
        summary="Look at a schedule",
        description="With the next five times.",
        query=NoQuery,
        answers=one,
        scope="jobs:read",
    )
    yield route(
        "PATCH",
        "/{scheduleId}",
        endpoints.update,
        name="updateSchedule",
        summary="Change a schedule",
        description="What is left out stays. New times count from now on.",
        body=UpdateSchedule,
        body_examples={"times": {"cron": "0 8 * * MON-FRI"}, "job": {"priority": "high", "retries": None}},
        answers=one,
        problems={
            404: _NO_SCHEDULE,
            409: "`name_taken`: another schedule has that name. `changed_meanwhile`: somebody was faster; read again.",
        },
        scope="jobs:write",
        once=True,
    )
    yield route(
        "DELETE",
        "/{scheduleId}",
        endpoints.delete,
        name="deleteSchedule",
        summary="Delete a schedule",
        description="Jobs that it submitted go on.",
        query=NoQuery,
        answers={200: operation.Answer("The schedule as it was.", ScheduleView, _EXAMPLE)},
        scope="jobs:write",
    )
    for verb, handler, summary, description in (
        ("pause", endpoints.pause, "Pause a schedule", "It fires no more until it is resumed; paused already is fine."),
        (
            "resume",
            endpoints.resume,
            "Resume a schedule",
            "It fires from its next time on; what came while it was paused is not made up for.",
        ),
    ):
        yield route(
            "POST",
            f"/{{scheduleId}}/{verb}",
            handler,
            name=f"{verb}Schedule",
            summary=summary,
            description=description,
            query=NoQuery,
            answers=one,
            scope="jobs:write",
            once=True,
        )
    yield route(
        "POST",
        "/{scheduleId}/run-now",
        endpoints.run_now,
        name="runScheduleNow",
        summary="Submit a schedule's job now",
        description="Paused or not, and whatever runs. Its times stay as they are; the ledger shows it as `manual`.",
        query=NoQuery,
        answers={
            200: operation.Answer(
                "Nothing was submitted: this job holds the unique key (`duplicate`).",
                JobView,
                headers={"Location": "Where that job is."},
            ),
            201: operation.Answer("The job.", JobView, headers={"Location": "Where the job is from now on."}),
        },
        problems={404: _NO_SCHEDULE, 422: "The kind takes the payload no longer."},
        scope="jobs:write",
        once=True,
    )
    yield route(
        "GET",
        "/{scheduleId}/ticks",
        endpoints.list_ticks,
        name="listScheduleTicks",
        summary="Read a schedule's ledger",
        description="What became of each of its times, newest first; kept for 30 days.",
        query=ListTicks,
        answers={200: operation.Answer("A page.", TickPageView, {"items": [_EXAMPLE_TICK], "nextCursor": None}, LINK)},
        scope="jobs:read",
    )
