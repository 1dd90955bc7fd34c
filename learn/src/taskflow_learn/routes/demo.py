"""
Demonstrations: things to break and to watch.

They need a token as soon as one is configured, also as `?token=`, so that a link in a browser works. Those that hurt
are switched on by name (`LESSONS`), have a limit, and say in their answer what they are.
"""

from collections.abc import Iterator

from taskflow_learn.clock import timestamp
from taskflow_learn.errors import Code, JSONValue, Refusal
from taskflow_learn.http.request import Request
from taskflow_learn.http.response import Response, json_response
from taskflow_learn.http.router import Handler, Router
from taskflow_learn.middleware import Authentication, Link, Permission, compose
from taskflow_learn.routes.memory import MemoryHandlers
from taskflow_learn.routes.reports import DEFAULT_ITERATIONS, check_completed, run_blocking
from taskflow_learn.routes.system import SystemHandlers
from taskflow_learn.services import Services
from taskflow_learn.tasks.export import csv_rows, in_pieces, ndjson_rows
from taskflow_learn.tasks.model import Task
from taskflow_learn.workers.job import Job

ITERATION_LIMIT = 350_000_000  # some 20 seconds of one core
ROW_LIMIT = 300_000


def register(router: Router, services: Services) -> None:
    cpu, memory = CpuHandlers(services), MemoryHandlers(services)
    authentication = Authentication(services.settings, services.log, from_query=True, open_without_tokens=True)
    guard: list[Link] = [authentication, Permission(services.log)]

    def add(method: str, path: str, handler: Handler) -> None:
        router.add(method, path, compose(guard, handler))

    add("GET", "/demo/cpu/ping", cpu.ping)
    add("GET", "/demo/cpu/blocking", cpu.blocking)
    add("GET", "/demo/cpu/worker/run", cpu.worker_run)
    add("GET", "/demo/cpu/worker/start", cpu.worker_start)
    add("GET", "/demo/cpu/worker/stats", cpu.worker_stats)
    add("GET", "/demo/cpu/worker/jobs/:id", cpu.worker_job)
    add("GET", "/demo/memory/usage", memory.usage)
    add("GET", "/demo/memory/stats", memory.stats)
    add("POST", "/demo/memory/leak", memory.leak)
    add("POST", "/demo/memory/safe", memory.safe)
    add("POST", "/demo/memory/clear", memory.clear)
    add("GET", "/demo/ws/stats", SystemHandlers(services).sockets)
    add("GET", "/demo/stream/csv", stream_csv)
    add("GET", "/demo/stream/ndjson", stream_ndjson)
    for method, name, refusal in ERRORS:
        add(method, f"/demo/error/{name}", _raiser(refusal))


class CpuHandlers:
    """The same computation on the event loop and in a worker."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._pool = services.workers

    async def ping(self, request: Request) -> Response:
        """Answer at once, if the loop is free. How long it takes is the measure of all demos here."""
        return json_response({"requestId": request.id, "message": "pong", "timestamp": timestamp()})

    async def blocking(self, request: Request) -> Response:
        self._services.check_lesson("blocking")
        return json_response({"requestId": request.id, **run_blocking(_iterations(request))})

    async def worker_run(self, request: Request) -> Response:
        job = await self._pool.wait(self._submit(request))
        check_completed(job)
        data: JSONValue = {"requestId": request.id, "mode": "worker-thread", "jobId": job.id, "output": job.output}
        return json_response(data)

    async def worker_start(self, request: Request) -> Response:
        job = self._submit(request)
        path = f"/demo/cpu/worker/jobs/{job.id}"
        data: JSONValue = {"requestId": request.id, "message": "Job queued", "jobId": job.id, "statusPath": path}
        return json_response(data, 202, (("Location", path),))

    async def worker_job(self, request: Request) -> Response:
        job = self._pool.find(request.params["id"])
        if job is None:
            raise Refusal(Code.NOT_FOUND, "Worker job not found", {"jobId": request.params["id"][:80]})
        return json_response({"requestId": request.id, **job.to_json()})

    async def worker_stats(self, request: Request) -> Response:
        return json_response(self._pool.stats())

    def _submit(self, request: Request) -> Job:
        data: dict[str, JSONValue] = {"iterations": _iterations(request)}
        return self._pool.submit("cpu", lambda: data, data)


async def stream_csv(request: Request) -> Response:
    rows = csv_rows(_synthetic_tasks(_count(request)))
    return Response(200, (("Content-Type", "text/csv; charset=utf-8"),), stream=in_pieces(rows))


async def stream_ndjson(request: Request) -> Response:
    rows = ndjson_rows(_synthetic_tasks(_count(request)))
    return Response(200, (("Content-Type", "application/x-ndjson; charset=utf-8"),), stream=in_pieces(rows))


def _synthetic_tasks(count: int) -> Iterator[Task]:
    """Yield tasks that exist only while they are written."""
    now = timestamp()
    for number in range(1, count + 1):
        yield Task(
            id=f"00000000-0000-4000-8000-{number:012x}",
            arrival=number,
            title=f"Synthetic task {number}",
            description='A row with a comma, and a "quote"',
            priority=number % 10 + 1,
            created_at=now,
            updated_at=now,
        )


ERRORS = (
    ("GET", "internal", None),  # not a refusal but a bug: see `_raiser`
    ("GET", "unauthorized", Refusal(Code.UNAUTHORIZED, "This is what 401 looks like")),
    ("GET", "forbidden", Refusal(Code.FORBIDDEN, "This is what 403 looks like")),
    ("GET", "notfound", Refusal(Code.NOT_FOUND, "This is what 404 looks like")),
    ("POST", "validation", Refusal(Code.VALIDATION_ERROR, "This is what 422 looks like", {"field": "priority"})),
    ("POST", "missingfield", Refusal(Code.MISSING_REQUIRED_FIELD, "title is required", {"field": "title"})),
)


def _raiser(refusal: Refusal | None) -> Handler:
    async def handler(request: Request) -> Response:
        if refusal is None:
            raise RuntimeError("a bug, made for this demonstration: look for its traceback in the log")
        raise Refusal(refusal.code, refusal.message, refusal.details)  # anew: a raised exception keeps its traceback

    return handler


def _iterations(request: Request) -> int:
    return request.query_int("iterations", DEFAULT_ITERATIONS, 0, ITERATION_LIMIT)


def _count(request: Request) -> int:
    return request.query_int("count", 50_000, 1, ROW_LIMIT)
