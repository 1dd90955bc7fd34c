"""Routes that change jobs before they are active, and the one that stores many at once."""

from collections.abc import Iterator
from functools import partial

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from taskflow.db.query import Connection
from taskflow.engine.job import NewJob
from taskflow.http import operation
from taskflow.http.body import check_json_type, parse_json, read_body
from taskflow.http.call import Call
from taskflow.http.fields import NoQuery
from taskflow.http.idempotency import Answer, read_key
from taskflow.http.operation import ALIAS_PREFIX, PREFIX, Operation, below
from taskflow.identity.access import Permission, Principal
from taskflow.identity.guard import Guard
from taskflow.jobs.endpoints import EXAMPLE_JOB, JOB_ID, NO_JOB
from taskflow.jobs.schemas import ChangeJob, JobBatchView, JobView, SubmitBatch, view_of_job, view_of_new
from taskflow.jobs.service import Jobs, job_id_of
from taskflow.jobs.writes import Writes, later

_encode = msgspec.json.Encoder().encode


class ChangeEndpoints:
    """Handlers of the routes that `operations` lists."""

    def __init__(self, jobs: Jobs, guard: Guard, writes: Writes) -> None:
        self._jobs = jobs
        self._guard = guard
        self._writes = writes

    async def submit_batch(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.WRITE_JOBS)
        call = Call.of(request.scope)
        check_json_type(call.headers)
        key = read_key(call.headers)
        body = await read_body(request)
        data = parse_json(body)
        if key is None:
            jobs = await self._jobs.prepare_batch(principal, data, call.job_headers)
            return (await self._store(principal, jobs, None)).response()
        prepared = await later(self._jobs.prepare_batch(principal, data, call.job_headers))

        async def write(connection: Connection) -> Answer:
            return await self._store(principal, prepared(), connection)

        def wake(_answer: Answer) -> None:
            self._jobs.wake({job.queue for job in prepared()})

        return await self._writes.once(request, principal, key, body, write, after=wake)

    async def run_now(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.WRITE_JOBS)
        job_id = job_id_of(request.path_params["jobId"])
        queues: list[str] = []

        async def write(connection: Connection | None) -> Answer:
            job = await self._jobs.run_now(principal, job_id, connection=connection)
            queues.append(job.queue)
            return Answer(200, _encode(view_of_job(job)))

        return await self._writes.act(request, principal, write, after=lambda _answer: self._jobs.wake(queues))

    async def change(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.WRITE_JOBS)
        check_json_type(Call.of(request.scope).headers)
        body = await read_body(request)
        change = self._jobs.check_change(parse_json(body))
        job_id = job_id_of(request.path_params["jobId"])
        queues: list[str] = []

        async def write(connection: Connection | None) -> Answer:
            job = await self._jobs.change(principal, job_id, change, connection=connection)
            queues.append(job.queue)
            return Answer(200, _encode(view_of_job(job)))

        return await self._writes.act(
            request, principal, write, body=body, after=lambda _answer: self._jobs.wake(queues)
        )

    async def _store(self, principal: Principal, jobs: list[NewJob], connection: Connection | None) -> Answer:
        stored = await self._jobs.submit_batch(jobs, connection=connection)
        items = []
        for job, enqueued in zip(jobs, stored, strict=True):
            if enqueued.duplicate:
                found = await self._jobs.get_job(principal, enqueued.id, connection=connection)
                items.append(view_of_job(found, duplicate=True))
            else:
                items.append(view_of_new(job, enqueued))
        return Answer(201, _encode(JobBatchView(items)))


_EXAMPLE_BATCH = [
    {"taskType": "send_email", "payload": {"to": "ada@example.com", "subject": "Hello", "body": "One."}},
    {"taskType": "send_email", "payload": {"to": "bob@example.com", "subject": "Hello", "body": "Two."}},
]


def operations(endpoints: ChangeEndpoints) -> Iterator[Operation]:
    """Yield the routes, each also under the alias without a version."""
    for prefix in (PREFIX, ALIAS_PREFIX):
        route = partial(below, prefix, tag="jobs", scope="jobs:write", once=True)
        yield route(
            "POST",
            "/jobs/batch",
            endpoints.submit_batch,
            name="submitJobBatch",
            summary="Submit up to 1,000 jobs at once",
            description="All or none: where one job is refused, none is stored, and every bad field is named with a "
            "pointer that begins with the job's index. A job whose unique key is held is not stored; the job that "
            "holds it takes its place, marked `duplicate`. The whole body is at most 1 MiB.",
            body=SubmitBatch,
            body_examples={"two": _EXAMPLE_BATCH},
            answers={201: operation.Answer("The jobs, in order.", JobBatchView, {"items": [EXAMPLE_JOB]})},
            problems={409: "A queue drains and takes no new jobs."},
        )
        yield route(
            "POST",
            "/jobs/{jobId}/run-now",
            endpoints.run_now,
            name="runJobNow",
            summary="Run a waiting job now",
            description="A scheduled or retrying job becomes pending at once.",
            query=NoQuery,
            path_parameters=JOB_ID,
            answers={200: operation.Answer("Pending.", JobView, EXAMPLE_JOB)},
            problems={404: NO_JOB, 409: "The job waits for no time; `state` says what it is."},
        )
        yield route(
            "PATCH",
            "/jobs/{jobId}",
            endpoints.change,
            name="changeJob",
            summary="Change a job before it is active",
            description="Its priority, and when it is due. A pending job that is put off becomes scheduled.",
            body=ChangeJob,
            body_examples={"urgent": {"priority": "high"}, "tomorrow": {"delay": 86400000}},
            path_parameters=JOB_ID,
            answers={200: operation.Answer("The job as it is now.", JobView, {**EXAMPLE_JOB, "priority": 8})},
            problems={404: NO_JOB, 409: "The job is active or has ended; `state` says which."},
        )
