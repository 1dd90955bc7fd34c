"""Tasks: read, write, order, export."""

from collections.abc import Iterator
from typing import cast

from taskflow_learn.errors import Code, JSONValue, Refusal
from taskflow_learn.http.request import Request
from taskflow_learn.http.response import JSON_TYPE, Response, json_response
from taskflow_learn.http.router import Router
from taskflow_learn.middleware import Authentication, Link, Permission, Validation, compose
from taskflow_learn.services import Services
from taskflow_learn.structures.resolver import Cycle
from taskflow_learn.tasks.export import csv_rows, in_pieces, json_array, json_object, ndjson_rows
from taskflow_learn.tasks.validation import TaskFields, check_changes, check_new_task

NO_STORE = ("Cache-Control", "no-store")


def register(router: Router, services: Services) -> None:
    handlers = TaskHandlers(services)
    log = services.log
    guard: list[Link] = [Authentication(services.settings, log), Permission(log)]
    check_create, check_update = Validation(check_new_task, log), Validation(check_changes, log)

    router.add("POST", "/tasks", compose([*guard, check_create], handlers.create))
    router.add("GET", "/tasks", compose(guard, handlers.list_all))
    router.add("GET", "/tasks/next", compose(guard, handlers.next))
    router.add("GET", "/tasks/peek", compose(guard, handlers.peek))
    router.add("GET", "/tasks/queue", compose(guard, handlers.queue))
    router.add("GET", "/tasks/count", compose(guard, handlers.count))
    router.add("GET", "/tasks/resolve", compose(guard, handlers.resolve))
    router.add("GET", "/tasks/export.csv", compose(guard, handlers.export_csv))
    router.add("GET", "/tasks/stream.ndjson", compose(guard, handlers.stream_ndjson))
    router.add("GET", "/tasks/:id", compose(guard, handlers.get))
    router.add("PUT", "/tasks/:id", compose([*guard, check_update], handlers.update))
    router.add("DELETE", "/tasks/:id", compose(guard, handlers.delete))
    router.add("GET", "/tasks/:id/resolve", compose(guard, handlers.resolve))


class TaskHandlers:
    """Each method answers one route; the chain before it has checked who asks and what they sent."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store

    async def create(self, request: Request) -> Response:
        task = self._store.create(cast(TaskFields, request.data))
        self._services.announce("task.created", task, task.id, request)
        return json_response(task.to_json(), 201, (("Location", f"/tasks/{task.id}"),))

    async def list_all(self, request: Request) -> Response:
        # One array, as documented, but never one string: it leaves in pieces, so a long list costs time and not memory.
        return _json_stream(json_array(self._store.all()))

    async def get(self, request: Request) -> Response:
        return json_response(self._store.get(request.params["id"]).to_json())

    async def update(self, request: Request) -> Response:
        task = self._store.update(request.params["id"], cast(TaskFields, request.data))
        self._services.announce("task.updated", task, task.id, request)
        return json_response(task.to_json())

    async def delete(self, request: Request) -> Response:
        task_id = request.params["id"]
        self._store.delete(task_id)
        self._services.announce("task.deleted", None, task_id, request)
        return Response(204)

    async def next(self, request: Request) -> Response:
        return self._top("No tasks in queue")

    async def peek(self, request: Request) -> Response:
        return self._top("Queue is empty")

    async def queue(self, request: Request) -> Response:
        return _json_stream(json_array(self._store.queue()))

    async def count(self, request: Request) -> Response:
        return json_response({"count": len(self._store)})

    async def resolve(self, request: Request) -> Response:
        task_id = request.params.get("id")
        resolution = self._store.resolve(task_id)
        order: list[JSONValue] = [*resolution.order]
        if resolution.problems:
            # What is broken is refused, and what is not broken is answered all the same, in the details.
            rest: dict[str, JSONValue] = {"orderedTaskIds": order, "unresolvedTaskIds": [*resolution.unresolved]}
            problem = resolution.problems[0]
            if isinstance(problem, Cycle):
                raise Refusal(Code.CONFLICT, "Tasks wait for each other", {"cyclePath": [*problem.path], **rest})
            raise Refusal(
                Code.VALIDATION_ERROR,
                "A dependency does not exist",
                {"missingTaskId": problem.task, "requiredBy": problem.required_by, **rest},
            )
        summary: dict[str, JSONValue] = {
            "requestId": request.id,
            "scope": "all" if task_id is None else "task",
            "scopedTaskId": task_id,
            "totalTasksInOrder": len(order),
            "orderedTaskIds": order,
        }
        ordered = [self._store.get(ordered_id) for ordered_id in resolution.order]
        return _json_stream(json_object(summary, "orderedTasks", ordered))

    async def export_csv(self, request: Request) -> Response:
        headers = (
            ("Content-Type", "text/csv; charset=utf-8"),
            ("Content-Disposition", "attachment; filename=tasks-export.csv"),
            NO_STORE,
        )
        return Response(200, headers, stream=in_pieces(csv_rows(self._store.all())))

    async def stream_ndjson(self, request: Request) -> Response:
        headers = (("Content-Type", "application/x-ndjson; charset=utf-8"), NO_STORE)
        return Response(200, headers, stream=in_pieces(ndjson_rows(self._store.all())))

    def _top(self, nothing: str) -> Response:
        task = self._store.next()
        return json_response({"message": nothing} if task is None else task.to_json())


def _json_stream(rows: Iterator[str]) -> Response:
    return Response(200, (("Content-Type", JSON_TYPE),), stream=in_pieces(rows))
