"""Operations on all jobs that a filter finds, over HTTP: started here, carried out by workers, looked at here."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from taskflow import kinds
from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine.bulk import Bulk
from taskflow.engine.client import Engine
from taskflow.engine.job import JobFilter
from taskflow.engine.record import BulkAction, Operation, OperationId
from taskflow.http import operation
from taskflow.http.body import check_json_type, parse_json, read_body, read_query
from taskflow.http.call import Call
from taskflow.http.idempotency import Answer
from taskflow.http.operation import Operation as Route
from taskflow.http.validation import field_errors
from taskflow.identity.access import Permission
from taskflow.identity.guard import Guard
from taskflow.jobs.endpoints import ALIAS_PREFIX, PREFIX
from taskflow.jobs.schemas import ChooseJobs, NoQuery
from taskflow.jobs.writes import Writes
from taskflow.kernel.errors import Invalid, NotFound
from taskflow.kernel.json import JSONValue

_encode = msgspec.json.Encoder().encode


class OperationProgress(msgspec.Struct, frozen=True, rename="camel"):
    """How far an operation has come. How many jobs there are in all is not known before its end."""

    done: Annotated[int, Meta(description="Jobs it was done to.")]
    failed: Annotated[int, Meta(description="Jobs it could not be done to: they had changed meanwhile.")]
    total: Annotated[int | None, Meta(description="Both together, once the operation is over.")]


class OperationView(msgspec.Struct, frozen=True, rename="camel"):
    """Something done to many jobs."""

    operation_id: UUID
    action: BulkAction
    status: Annotated[str, Meta(description="`pending`, `running`, `completed`, or `failed` if it was given up.")]
    filter: dict[str, Any]
    progress: OperationProgress
    created_at: datetime
    finished_at: datetime | None


def view_of_operation(found: Operation, *, abandoned: bool = False) -> OperationView:
    over = found.state == "completed"
    chosen = found.chosen
    said = {
        "status": chosen.state,
        "taskType": chosen.kind,
        "queue": chosen.queue,
        "tag": chosen.tag,
        "from": chosen.created_from,
        "to": chosen.created_to,
    }
    return OperationView(
        operation_id=found.id,
        action=found.action,
        status="failed" if abandoned else found.state,
        filter={name: value for name, value in said.items() if value is not None},
        progress=OperationProgress(found.done, found.failed, found.done + found.failed if over else None),
        created_at=found.created_at,
        finished_at=found.finished_at,
    )


def filter_of(data: JSONValue) -> JobFilter:
    """Return the filter that *data* asks for. Raises Invalid."""
    try:
        asked = ChooseJobs.model_validate(data)
    except ValidationError as error:
        raise Invalid("the filter has invalid fields", errors=field_errors(error)) from None
    return JobFilter(
        kind=None if asked.taskType is None else kinds.canonical(asked.taskType),
        state=asked.status,
        queue=asked.queue,
        tag=asked.tag,
        created_from=asked.created_from,
        created_to=asked.created_to,
    )


class BulkEndpoints:
    """Handlers of the routes that `operations` lists."""

    def __init__(self, database: Database, engine: Engine, guard: Guard, writes: Writes) -> None:
        self._database = database
        self._engine = engine
        self._bulk = Bulk(database, engine)
        self._guard = guard
        self._writes = writes

    async def start(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.WRITE_JOBS)
        check_json_type(Call.of(request.scope).headers)
        body = await read_body(request)
        chosen = filter_of(parse_json(body))
        action = BulkAction(request.scope["path"].rpartition("/")[2])

        async def write(connection: Connection | None) -> Answer:
            if connection is None:
                async with self._database.transaction() as own:
                    answer = await write(own)
                self._engine.wake([kinds.QUEUE])
                return answer
            started = await self._bulk.start(
                principal.namespace, action, chosen, queue=kinds.QUEUE, connection=connection
            )
            headers = {"Location": f"{PREFIX}/operations/{started.id}"}
            return Answer(202, _encode(view_of_operation(started)), headers)

        return await self._writes.act(
            request, principal, write, body=body, after=lambda _answer: self._engine.wake([kinds.QUEUE])
        )

    async def get(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.READ_JOBS)
        read_query(request, NoQuery)
        try:
            operation_id = OperationId(UUID(request.path_params["operationId"]))
        except ValueError:
            raise NotFound("there is no such operation") from None
        found = await self._bulk.find(operation_id, namespace=principal.namespace)
        view = view_of_operation(found, abandoned=await self._bulk.is_abandoned(found))
        return Answer(200, _encode(view)).response()


_EXAMPLE: dict[str, Any] = {
    "operationId": "5f0c7d2e-8a4b-4c1d-9e3f-2b6a7c8d9e0f",
    "action": "retry",
    "status": "pending",
    "filter": {"status": "failed", "taskType": "send_email", "from": "2026-11-23T00:00:00Z"},
    "progress": {"done": 0, "failed": 0, "total": None},
    "createdAt": "2026-11-23T09:30:00.123Z",
    "finishedAt": None,
}
_DONE = {
    **_EXAMPLE,
    "status": "completed",
    "progress": {"done": 1234, "failed": 2, "total": 1236},
    "finishedAt": "2026-11-23T09:30:02.4Z",
}
_SUMMARIES = {
    BulkAction.CANCEL: ("Cancel many jobs", "Jobs that wait are cancelled, workers are asked to stop those that run."),
    BulkAction.RETRY: ("Run many failed jobs again", "As `POST /jobs/{jobId}/retry` does, one by one."),
    BulkAction.DELETE: (
        "Delete many ended jobs",
        "With all that was kept of them, deliveries of callbacks too, made or not. Others are left alone.",
    ),
}


def operations(endpoints: BulkEndpoints) -> Iterator[Route]:
    """Yield the routes, each also under the alias without a version."""
    for prefix in (PREFIX, ALIAS_PREFIX):

        def route(method: str, path: str, handler: Any, *, prefix: str = prefix, **said: Any) -> Route:
            alias_of = None if prefix == PREFIX else PREFIX + path
            return Route(method, prefix + path, handler, tag="jobs", alias_of=alias_of, **said)

        for action, (summary, description) in _SUMMARIES.items():
            yield route(
                "POST",
                f"/jobs/bulk/{action}",
                endpoints.start,
                name=f"{action}JobsInBulk",
                summary=summary,
                description=f"{description} A worker does it in the background, from the newest job down; jobs "
                "submitted after the request are left alone.",
                body=ChooseJobs,
                body_examples={"kind": {"taskType": "send_email", "from": "2026-11-23T00:00:00Z"}, "all": {}},
                answers={
                    202: operation.Answer(
                        "It will be done.",
                        OperationView,
                        {**_EXAMPLE, "action": action},
                        {"Location": "Where to see how far it is."},
                    )
                },
                scope="jobs:write",
                once=True,
            )
        yield route(
            "GET",
            "/operations/{operationId}",
            endpoints.get,
            name="getOperation",
            summary="See how far an operation is",
            query=NoQuery,
            path_parameters={"operationId": "Of the operation."},
            answers={200: operation.Answer("The operation.", OperationView, _DONE)},
            problems={404: "No such operation in the key's namespace."},
            scope="jobs:read",
        )
