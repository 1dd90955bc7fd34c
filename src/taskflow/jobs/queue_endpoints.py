"""Queues over HTTP: look at them, pause, resume, drain, limit. For operators: queues belong to the whole deployment."""

from collections.abc import Iterator
from typing import Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from taskflow.db.query import Connection
from taskflow.engine.client import Engine
from taskflow.engine.job import MAX_QUEUE_CONCURRENCY, QueueInfo
from taskflow.http import operation
from taskflow.http.body import check_json_type, parse_json, read_body, read_query
from taskflow.http.call import Call
from taskflow.http.fields import NoQuery, bounded
from taskflow.http.idempotency import Answer
from taskflow.http.link import LINK, link_headers
from taskflow.http.operation import PREFIX, Operation
from taskflow.http.paging import Cursors
from taskflow.http.validation import field_errors
from taskflow.identity.access import Permission, Principal
from taskflow.identity.guard import Guard
from taskflow.jobs.queues import QueuePageView, QueueView, view_of_queue
from taskflow.jobs.schemas import ListQueues
from taskflow.jobs.writes import Writes
from taskflow.kernel.errors import Invalid

_encode = msgspec.json.Encoder().encode


class ChangeQueue(BaseModel):
    """What to change of a queue."""

    model_config = ConfigDict(extra="forbid", strict=True, title="ChangeQueue")

    concurrency: bounded(1, MAX_QUEUE_CONCURRENCY) = Field(  # type: ignore[valid-type]
        description="How many of its jobs may be active at once, over all workers; `null` for no limit."
    )


class QueueEndpoints:
    """Handlers of the routes that `operations` lists."""

    def __init__(self, engine: Engine, guard: Guard, writes: Writes, cursors: Cursors) -> None:
        self._engine = engine
        self._guard = guard
        self._writes = writes
        self._cursors = cursors

    async def list_queues(self, request: Request) -> Response:
        await self._guard.admit(request, Permission.OPERATE)
        query = read_query(request, ListQueues)
        after = "" if query.cursor is None else self._cursors.open(query.cursor, "queues").decode()
        found = await self._engine.list_queues(after=after, limit=query.limit + 1)
        more, found = len(found) > query.limit, found[: query.limit]
        cursor = self._cursors.seal(found[-1].name.encode(), "queues") if more else None
        page = QueuePageView([view_of_queue(queue) for queue in found], cursor)
        return Answer(200, _encode(page), link_headers(request, cursor)).response()

    async def get_queue(self, request: Request) -> Response:
        await self._guard.admit(request, Permission.OPERATE)
        read_query(request, NoQuery)
        return _answer(await self._engine.get_queue(request.path_params["name"])).response()

    async def change(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.OPERATE)
        check_json_type(Call.of(request.scope).headers)
        body = await read_body(request)
        try:
            change = ChangeQueue.model_validate(parse_json(body))
        except ValidationError as error:
            raise Invalid("the change has invalid fields", errors=field_errors(error)) from None
        return await self._set(request, principal, body=body, limits=True, concurrency=change.concurrency)

    async def pause(self, request: Request) -> Response:
        return await self._set(request, await self._guard.admit(request, Permission.OPERATE), paused=True)

    async def resume(self, request: Request) -> Response:
        return await self._set(
            request, await self._guard.admit(request, Permission.OPERATE), paused=False, draining=False
        )

    async def drain(self, request: Request) -> Response:
        return await self._set(request, await self._guard.admit(request, Permission.OPERATE), draining=True)

    async def _set(self, request: Request, principal: Principal, *, body: bytes = b"", **settings: Any) -> Response:
        name: str = request.path_params["name"]

        async def write(connection: Connection | None) -> Answer:
            return _answer(await self._engine.set_queue(name, **settings, connection=connection))

        return await self._writes.act(
            request, principal, write, body=body, after=lambda _answer: self._engine.wake([name])
        )


def _answer(queue: QueueInfo) -> Answer:
    return Answer(200, _encode(view_of_queue(queue)))


_EXAMPLE: dict[str, Any] = {
    "name": "images",
    "known": True,
    "paused": False,
    "pausedAt": None,
    "draining": False,
    "drainingAt": None,
    "concurrency": 4,
    "pending": 12,
    "active": 4,
    "oldestDueAge": 1500,
    "workers": 2,
}
_AT = "2026-11-23T09:30:00.123Z"
_NAME = {"name": "Of the queue; it need not exist yet."}


def operations(endpoints: QueueEndpoints) -> Iterator[Operation]:
    """Yield the routes."""

    def route(method: str, path: str, handler: Any, answer: operation.Answer, **said: Any) -> Operation:
        return Operation(method, PREFIX + path, handler, tag="queues", scope="operator", answers={200: answer}, **said)

    yield route(
        "GET",
        "/queues",
        endpoints.list_queues,
        operation.Answer(
            "A page.",
            QueuePageView,
            {"items": [_EXAMPLE], "nextCursor": None},
            LINK,
        ),
        name="listQueues",
        summary="List queues",
        description="Those that jobs, workers, kinds or settings name, in the order of their names.",
        query=ListQueues,
    )
    for verb, handler, summary, description, example in (
        ("pause", endpoints.pause, "Pause a queue", "No job of it is handed out; what runs goes on.", {"paused": True}),
        (
            "resume",
            endpoints.resume,
            "Resume a queue",
            "Ends both a pause and a drain. A queue without a limit that nothing else names then leaves the list.",
            {},
        ),
        (
            "drain",
            endpoints.drain,
            "Drain a queue",
            "It takes no new jobs (409 `queue_draining`) while those that are there run, retries too.",
            {"draining": True},
        ),
    ):
        at = {f"{name}At": _AT for name in example}
        yield route(
            "POST",
            f"/queues/{{name:path}}/{verb}",
            handler,
            operation.Answer("The queue as it is now.", QueueView, {**_EXAMPLE, **example, **at}),
            name=f"{verb}Queue",
            summary=summary,
            description=description,
            query=NoQuery,
            path_parameters=_NAME,
            problems={409: "1,000 queues have settings already."},
            once=True,
        )
    yield route(
        "GET",
        "/queues/{name:path}",
        endpoints.get_queue,
        operation.Answer("The queue.", QueueView, _EXAMPLE),
        name="getQueue",
        summary="Look at a queue",
        query=NoQuery,
        path_parameters=_NAME,
        problems={404: "Nothing names such a queue."},
    )
    yield route(
        "PATCH",
        "/queues/{name:path}",
        endpoints.change,
        operation.Answer("The queue as it is now.", QueueView, _EXAMPLE),
        name="changeQueue",
        summary="Limit a queue",
        description="Exact over all workers, counting what was claimed before. What runs above a lowered limit runs "
        "to its end.",
        body=ChangeQueue,
        body_examples={"four": {"concurrency": 4}},
        path_parameters=_NAME,
        problems={409: "1,000 queues have settings already."},
        once=True,
    )
