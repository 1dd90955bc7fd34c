"""Reports about all tasks, made by worker processes or, to compare, by the event loop itself."""

from time import perf_counter

from taskflow_learn.errors import Code, JSONValue, Refusal
from taskflow_learn.http.request import Request
from taskflow_learn.http.response import Response, json_response
from taskflow_learn.http.router import Router
from taskflow_learn.middleware import Authentication, Link, Permission, compose
from taskflow_learn.services import Services
from taskflow_learn.workers.computation import burn
from taskflow_learn.workers.job import Job, JobStatus

ITERATION_LIMIT = 120_000_000  # some 6 seconds of one core
DEFAULT_ITERATIONS = 5_000_000


def register(router: Router, services: Services) -> None:
    handlers = ReportHandlers(services)
    guard: list[Link] = [Authentication(services.settings, services.log), Permission(services.log)]
    router.add("POST", "/tasks/reports/start", compose(guard, handlers.start))
    router.add("GET", "/tasks/reports/stats", compose(guard, handlers.stats))
    router.add("GET", "/tasks/reports/blocking", compose(guard, handlers.blocking))
    router.add("GET", "/tasks/reports/worker-run", compose(guard, handlers.worker_run))
    router.add("GET", "/tasks/reports/:jobId", compose(guard, handlers.get))


class ReportHandlers:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._pool = services.reports

    async def start(self, request: Request) -> Response:
        job = self._submit(request.query_int("heavyIterations", 0, 0, ITERATION_LIMIT))
        path = f"/tasks/reports/{job.id}"
        data: JSONValue = {
            "requestId": request.id,
            "message": "Task report queued",
            "jobId": job.id,
            "statusPath": path,
        }
        return json_response(data, 202, (("Location", path),))

    async def get(self, request: Request) -> Response:
        job = self._pool.find(request.params["jobId"])
        if job is None:
            raise Refusal(Code.NOT_FOUND, "Task report job not found", {"jobId": request.params["jobId"][:80]})
        return json_response({"requestId": request.id, **job.to_json()})

    async def stats(self, request: Request) -> Response:
        return json_response(self._pool.stats())

    async def blocking(self, request: Request) -> Response:
        """Compute right here. Until it is done, no other request is even read: that is the lesson."""
        self._services.check_lesson("blocking")
        iterations = request.query_int("iterations", DEFAULT_ITERATIONS, 0, ITERATION_LIMIT)
        return json_response(run_blocking(iterations))

    async def worker_run(self, request: Request) -> Response:
        """Compute elsewhere and wait for it: this request takes as long, the others do not notice."""
        iterations = request.query_int("iterations", DEFAULT_ITERATIONS, 0, ITERATION_LIMIT)
        job = await self._pool.wait(self._submit(iterations))
        check_completed(job)
        return json_response({"mode": "worker-thread-report", "jobId": job.id, "output": job.output})

    def _submit(self, iterations: int) -> Job:
        store = self._services.store

        def payload() -> JSONValue:
            rows: list[JSONValue] = [
                [task.id, task.status, task.priority, [*task.dependencies]] for task in store.all()
            ]
            return {"tasks": rows, "heavyIterations": iterations}

        return self._pool.submit("report", payload, {"heavyIterations": iterations, "taskCount": len(store)})


def run_blocking(iterations: int) -> dict[str, JSONValue]:
    """Burn on the event loop."""
    started = perf_counter()
    result = burn(iterations)
    duration_ms = round((perf_counter() - started) * 1000, 3)
    return {"mode": "main-thread-blocking", "iterations": iterations, "result": result, "durationMs": duration_ms}


def check_completed(job: Job) -> None:
    """Raise `Refusal` for a job that has failed while its caller waited."""
    if job.status is JobStatus.FAILED:
        raise Refusal(Code.INTERNAL_ERROR, f"the job failed: {job.error}", {"jobId": job.id})
