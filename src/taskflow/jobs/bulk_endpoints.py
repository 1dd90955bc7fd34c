"""Operations on all jobs that a filter finds, over HTTP: started here, carried out by workers, looked at here."""

from collections.abc import Iterator
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from taskflow import kinds
from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine.bulk import Bulk
from taskflow.engine.client import Engine
from taskflow.engine.record import BulkAction, OperationId
from taskflow.http import operation
from taskflow.http.body import check_json_type, parse_json, read_body, read_query
from taskflow.http.call import Call
from taskflow.http.fields import NoQuery
from taskflow.http.idempotency import Answer
from taskflow.http.operation import ALIAS_PREFIX, PREFIX, below
from taskflow.http.operation import Operation as Route
from taskflow.identity.access import Permission
from taskflow.identity.guard import Guard
from taskflow.jobs.bulk import BulkCountView, OperationView, read_filter, said_of, view_of_operation
from taskflow.jobs.naming import unknown_in
from taskflow.jobs.schemas import ChooseJobs, chosen_by
from taskflow.jobs.writes import Writes
from taskflow.kernel.errors import NotFound

_encode = msgspec.json.Encoder().encode


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
        asked = read_filter(parse_json(body))
        chosen = chosen_by(asked)
        action = BulkAction(request.scope["path"].rpartition("/")[2])
        if asked.dry_run:
            read_query(request, NoQuery)
            matching, has_more = await self._bulk.count(principal.namespace, action, chosen)
            unknown = UNSET if matching else await unknown_in(self._engine, principal.namespace, chosen) or UNSET
            return Answer(200, _encode(BulkCountView(action, said_of(chosen), matching, has_more, unknown))).response()
        unknown = await unknown_in(self._engine, principal.namespace, chosen) or UNSET

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
            view = msgspec.structs.replace(view_of_operation(started), unknown=unknown)
            return Answer(202, _encode(view), headers)

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
        route = partial(below, prefix, tag="jobs")
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
                body_examples={
                    "kind": {"taskType": "send_email", "from": "2026-11-23T00:00:00Z"},
                    "all": {},
                    "dry run": {"queue": "images", "dryRun": True},
                },
                answers={
                    200: operation.Answer(
                        "With `dryRun`: what it would be done to. Nothing was changed.",
                        BulkCountView,
                        {"action": action, "filter": {"queue": "images"}, "matching": 1234, "hasMore": False},
                    ),
                    202: operation.Answer(
                        "It will be done.",
                        OperationView,
                        {**_EXAMPLE, "action": action},
                        {"Location": "Where to see how far it is."},
                    ),
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
