"""The routes of jobs: they read requests and write answers; what happens in between is `jobs.service`."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from taskflow.db.query import Connection
from taskflow.engine.job import JobId, NewJob, State
from taskflow.http import idempotency, operation
from taskflow.http.body import check_json_type, parse_json, read_body, read_query
from taskflow.http.call import Call
from taskflow.http.fields import NoQuery
from taskflow.http.idempotency import Answer
from taskflow.http.link import LINK, link_headers
from taskflow.http.operation import ALIAS_PREFIX, PREFIX, Operation, below
from taskflow.http.paging import MAX_PAGE_BYTES, Cursors
from taskflow.identity.access import Permission, Principal
from taskflow.identity.guard import Guard
from taskflow.jobs.log_events import MAX_FOLLOWERS, LogEvents
from taskflow.jobs.schemas import (
    JobPageView,
    JobView,
    KindPageView,
    ListJobs,
    ListLogs,
    LogPageView,
    SubmitJob,
    chosen_by,
    view_of_job,
    view_of_kind,
    view_of_line,
    view_of_new,
)
from taskflow.jobs.service import Jobs, job_id_of
from taskflow.jobs.writes import Writes, later
from taskflow.kernel.errors import FieldError, Invalid

_encode = msgspec.json.Encoder().encode


class JobEndpoints:
    """Handlers of the routes that `operations` lists."""

    def __init__(self, jobs: Jobs, guard: Guard, writes: Writes, cursors: Cursors, followers: LogEvents) -> None:
        self._jobs = jobs
        self._followers = followers
        self._guard = guard
        self._writes = writes
        self._cursors = cursors

    async def submit(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.WRITE_JOBS)
        call = Call.of(request.scope)
        check_json_type(call.headers)
        key = idempotency.read_key(call.headers)
        body = await read_body(request)
        data = parse_json(body)
        if key is None:
            job = await self._jobs.prepare(principal, data, call.job_headers)
            return (await self._store(principal, job)).response()
        prepared = await later(self._jobs.prepare(principal, data, call.job_headers))

        async def write(connection: Connection) -> Answer:
            return await self._store(principal, prepared(), connection)

        return await self._writes.once(
            request, principal, key, body, write, after=lambda _answer: self._jobs.wake([prepared().queue])
        )

    async def _store(self, principal: Principal, job: NewJob, connection: Connection | None = None) -> Answer:
        enqueued = await self._jobs.submit(job, connection=connection)
        if not enqueued.duplicate:
            return _created(view_of_new(job, enqueued))
        found = await self._jobs.get_job(principal, enqueued.id, connection=connection)
        return Answer(200, _encode(view_of_job(found, duplicate=True)), {"Location": _location(found.id)})

    async def list_jobs(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.READ_JOBS)
        query = read_query(request, ListJobs)
        chosen = chosen_by(query)
        binding = ("jobs", principal.namespace, chosen, query.sort)
        before = None
        if query.cursor is not None:
            before = JobId(UUID(bytes=self._cursors.open(query.cursor, *binding)))
        # One more than asked for, to know whether there is a next page.
        page = await self._jobs.list_jobs(principal, chosen, limit=query.limit + 1, before=before)
        items, position = [], page.next_before
        size_bytes = 0
        for job in page.items:
            item = _encode(view_of_job(job))
            items.append(msgspec.Raw(item))
            size_bytes += len(item)
            if (size_bytes >= MAX_PAGE_BYTES or len(items) == query.limit) and job is not page.items[-1]:
                position = job.id
                break
        cursor = None if position is None else self._cursors.seal(position.bytes, *binding)
        return _page(request, items, cursor)

    async def get_job(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.READ_JOBS)
        read_query(request, NoQuery)
        job, attempts = await self._jobs.get_job_with_attempts(principal, _job_id(request))
        return Answer(200, _encode(view_of_job(job, attempts))).response()

    async def list_logs(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.READ_JOBS)
        query = read_query(request, ListLogs)
        job_id = _job_id(request)
        if query.follow == "true":
            if alone := query.model_fields_set - {"follow"}:
                errors = [FieldError(name, "exclusive", "does not go with follow=true") for name in sorted(alone)]
                raise Invalid("the query has invalid parameters", errors=errors)
            return await self._followers.answer(request, principal, job_id)
        binding = ("logs", principal.namespace, job_id)
        after_seq = 0
        if query.cursor is not None:
            after_seq = int.from_bytes(self._cursors.open(query.cursor, *binding), "big")
        lines = await self._jobs.list_logs(principal, job_id, after_seq=after_seq, limit=query.limit + 1)
        more = len(lines) > query.limit
        lines = lines[: query.limit]
        cursor = self._cursors.seal(lines[-1].seq.to_bytes(8, "big"), *binding) if more else None
        return _page(request, [view_of_line(line) for line in lines], cursor)

    async def cancel(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.WRITE_JOBS)
        job_id = _job_id(request)

        async def write(connection: Connection | None) -> Answer:
            cancellation = await self._jobs.cancel(principal, job_id, connection=connection)
            job = await self._jobs.get_job(principal, job_id, connection=connection)
            return Answer(200 if cancellation.state is State.CANCELLED else 202, _encode(view_of_job(job)))

        def announce(answer: Answer) -> None:
            if answer.status == 202:
                self._jobs.announce_cancel(job_id)

        return await self._writes.act(request, principal, write, after=announce)

    async def retry(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.WRITE_JOBS)
        job_id = _job_id(request)
        queues: list[str] = []

        async def write(connection: Connection | None) -> Answer:
            job = await self._jobs.replay(principal, job_id, connection=connection)
            queues.append(job.queue)
            return Answer(200, _encode(view_of_job(job)))

        return await self._writes.act(request, principal, write, after=lambda _answer: self._jobs.wake(queues))

    async def list_kinds(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.READ_JOBS)
        read_query(request, NoQuery)
        page = KindPageView([view_of_kind(kind) for kind in await self._jobs.list_kinds(principal)])
        return Answer(200, _encode(page)).response()


def _created(view: JobView) -> Answer:
    return Answer(201, _encode(view), {"Location": _location(view.job_id)})


def _location(job_id: UUID) -> str:
    return f"{PREFIX}/jobs/{job_id}"


def _page(request: Request, items: list[Any], cursor: str | None) -> Response:
    return Answer(200, _encode({"items": items, "nextCursor": cursor}), link_headers(request, cursor)).response()


def _job_id(request: Request) -> JobId:
    return job_id_of(request.path_params["jobId"])


# What OpenAPI says ---------------------------------------------------------------------------------------------------

_EXAMPLE_ID = "019ab0f2-6b3e-7c41-9d5a-3f6f0c9d2e11"
EXAMPLE_JOB: Mapping[str, Any] = {
    "jobId": _EXAMPLE_ID,
    "taskType": "send_email",
    "queue": "builtin",
    "status": "pending",
    "priority": 5,
    "payload": {"to": "ada@example.com", "subject": "Hello", "body": "It works."},
    "retries": 3,
    "timeout": 30000,
    "tags": [],
    "attempt": 0,
    "failures": 0,
    "createdAt": "2026-11-23T09:30:00.123456Z",
    "runAt": "2026-11-23T09:30:00.123456Z",
    "startedAt": None,
    "finishedAt": None,
    "nextRetryAt": None,
    "cancelRequestedAt": None,
    "result": None,
    "error": None,
    "errorType": None,
    "failureReason": None,
    "expiresAt": None,
    "uniqueKey": None,
    "uniqueScope": None,
    "callbackUrl": None,
    "deliveries": None,
}
_EXAMPLE_DONE = {
    **EXAMPLE_JOB,
    "status": "completed",
    "attempt": 1,
    "startedAt": "2026-11-23T09:30:00.125Z",
    "finishedAt": "2026-11-23T09:30:00.161Z",
    "result": {
        "emailId": f"email_{_EXAMPLE_ID}",
        "sentAt": "2026-11-23T09:30:00.127Z",
        "delivery": "smtp",
        "messageId": f"<email_{_EXAMPLE_ID}@example.com>",
        "path": None,
        "refused": [],
    },
    "attempts": [
        {
            "attempt": 1,
            "outcome": "completed",
            "startedAt": "2026-11-23T09:30:00.125Z",
            "finishedAt": "2026-11-23T09:30:00.161Z",
            "error": None,
            "errorType": None,
            "traceback": None,
            "nextRetryAt": None,
        }
    ],
}
_EXAMPLE_SUBMITS = {
    "mail": {
        "taskType": "send_email",
        "payload": {"to": "ada@example.com", "subject": "Hello", "body": "It works."},
    },
    "urgent": {
        "taskType": "send_email",
        "payload": {"to": ["ada@example.com", "bob@example.com"], "subject": "Now", "body": "Please look."},
        "priority": "high",
        "retries": 5,
        "timeout": 10000,
        "tags": ["order-42"],
    },
    "once": {
        "taskType": "send_email",
        "payload": {"to": "ada@example.com", "subject": "Your receipt", "body": "Order 42."},
        "uniqueKey": "receipt-42",
        "ttl": 3600000,
    },
    "later": {
        "taskType": "send_email",
        "payload": {"to": "ada@example.com", "subject": "Tomorrow", "body": "As you wished."},
        "delay": 86400000,
    },
}
JOB_ID = {"jobId": "Of the job."}
NO_JOB = "No such job in the key's namespace."
_LOGS = (
    "Lines that the handler wrote, oldest first. With `follow=true` they come as server-sent events "
    "(`text/event-stream`), those there are and then each as it is written: `log` with a line as in the page, and "
    "`end` with the job's status when it has ended. `Last-Event-ID` goes on after that event. A connection that closes "
    "without `end` is to be made again."
)


def operations(endpoints: JobEndpoints) -> Iterator[Operation]:
    """Yield the routes, each also under the alias without a version."""
    for prefix in (PREFIX, ALIAS_PREFIX):
        route = partial(below, prefix, tag="jobs")
        yield route(
            "POST",
            "/jobs",
            endpoints.submit,
            name="submitJob",
            summary="Submit a job",
            description="Answered when the job is stored for good; it ends in exactly one of completed, failed and "
            "cancelled. The payload is checked against the kind's schema first.",
            body=SubmitJob,
            body_examples=_EXAMPLE_SUBMITS,
            answers={
                201: operation.Answer(
                    "The job, stored.", JobView, EXAMPLE_JOB, {"Location": "Where the job is from now on."}
                ),
                200: operation.Answer(
                    "Nothing was stored: this job holds the unique key (`duplicate`).",
                    JobView,
                    {**EXAMPLE_JOB, "uniqueKey": "order-42", "uniqueScope": "until_finished", "duplicate": True},
                    {"Location": "Where that job is."},
                ),
            },
            problems={
                409: "The queue drains and takes no new jobs.",
                422: "With the code `unknown_kind`: no worker offers the kind; `knownKinds` names those there are.",
            },
            scope="jobs:write",
            once=True,
        )
        yield route(
            "GET",
            "/jobs",
            endpoints.list_jobs,
            name="listJobs",
            summary="List jobs",
            description="Newest first.",
            query=ListJobs,
            answers={200: operation.Answer("A page.", JobPageView, {"items": [EXAMPLE_JOB], "nextCursor": None}, LINK)},
            scope="jobs:read",
        )
        yield route(
            "GET",
            "/jobs/{jobId}",
            endpoints.get_job,
            name="getJob",
            summary="Look at a job",
            description="With the history of its attempts.",
            query=NoQuery,
            path_parameters=JOB_ID,
            answers={200: operation.Answer("The job.", JobView, _EXAMPLE_DONE)},
            problems={404: NO_JOB},
            scope="jobs:read",
        )
        yield route(
            "GET",
            "/jobs/{jobId}/logs",
            endpoints.list_logs,
            name="listJobLogs",
            summary="Read a job's log",
            description=_LOGS,
            query=ListLogs,
            path_parameters=JOB_ID,
            answers={
                200: operation.Answer("A page.", LogPageView, headers=LINK),
                204: operation.Answer("With `follow=true`: the end was told before.", None, media_type=""),
            },
            problems={404: NO_JOB, 503: f"{MAX_FOLLOWERS} clients follow logs, or half as many of this namespace."},
            scope="jobs:read",
        )
        for method, path, name in (
            ("POST", "/jobs/{jobId}/cancel", "cancelJob"),
            ("DELETE", "/jobs/{jobId}", "deleteJob"),
        ):
            yield route(
                method,
                path,
                endpoints.cancel,
                name=name,
                summary="Cancel a job",
                description="At once where nobody runs it; else its worker is asked to stop it.",
                query=NoQuery,
                path_parameters=JOB_ID,
                answers={
                    200: operation.Answer("Cancelled.", JobView, {**EXAMPLE_JOB, "status": "cancelled"}),
                    202: operation.Answer(
                        "Still active; its worker has been asked (`cancelRequestedAt`).",
                        JobView,
                        {**EXAMPLE_JOB, "status": "active", "cancelRequestedAt": "2026-11-23T09:30:01.5Z"},
                    ),
                },
                problems={404: NO_JOB, 409: "The job has ended; `state` says how."},
                scope="jobs:write",
                once=method == "POST",
            )
        yield route(
            "POST",
            "/jobs/{jobId}/retry",
            endpoints.retry,
            name="retryJob",
            summary="Run a failed job again",
            description="The same job: its history is kept, its failures are forgiven.",
            query=NoQuery,
            path_parameters=JOB_ID,
            answers={200: operation.Answer("Pending again.", JobView, EXAMPLE_JOB)},
            problems={
                404: NO_JOB,
                409: "The job has not failed, `state` says what it is; or another job holds its unique key by now.",
            },
            scope="jobs:write",
            once=True,
        )
        yield route(
            "GET",
            "/job-types",
            endpoints.list_kinds,
            name="listJobTypes",
            summary="List the kinds of jobs",
            description="Those that workers have offered, with the schema of their payloads. Kinds that workers over "
            "HTTP have published are seen in their own namespace only.",
            query=NoQuery,
            answers={200: operation.Answer("All of them.", KindPageView)},
            scope="jobs:read",
        )
